/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Pool: where objects live, with either allocator.
 *
 *   store ---> pool ---> zsmalloc   size classes; packs best, moves objects
 *                 \----> z3fold     three objects a page; has an LRU of pages
 *
 * Objects may move, so they are named by handles.  A handle lives in one cell,
 * which the pool knows and rewrites when it moves the object.  Bit 63 of a
 * handle is set; the allocator defines the rest.
 *
 * The life of an object:
 *   pool_alloc          in transit: only its maker knows it; it does not move
 *   maker fills it in, stores the handle into the cell
 *   pool_attach         from here on it may move, and the cell with it
 *   pool_pin … unpin    its address, for as long as it is pinned
 *   pool_hand_over      another cell gets it
 *   pool_replace        the cell gets another value and the object is freed
 *
 * Contract of all of them: the owner of a cell calls pool_attach, pool_pin,
 * pool_hand_over and pool_replace with the cell's own lock held (the slot lock:
 * shared for pool_pin, exclusive for the others).  They take the allocator's
 * locks, ranks CLASS to TABLE. A function sleeps only if its comment says so.
 * Only pool_reclaim calls back, with no lock held.
 */

#ifndef ZRAM_POOL_H
#define ZRAM_POOL_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/budget.h"
#include "base/compiler.h"
#include "base/counter.h"

#define MEM_PAGE 4096u

typedef _Atomic uint64_t pool_cell;

enum pool_counter_id {
  POOL_PAGES_COMPACTED, /* pages freed by compaction */
  POOL_OBJECTS_MOVED,
  POOL_ZSPAGES_MIGRATED,
  POOL_MOVER_SKIPS,     /* skipped because a reader was inside */
  POOL_PAGES_RECLAIMED, /* of which all objects were evicted, or are about to */
  POOL_RECLAIM_FAILURES, /* of which one could not be */
  POOL_COUNTERS
};

/* Fullness in percent: 0, up to 10, … up to 90, up to 99, 100. */
#define POOL_GROUPS 12

struct pool_class_stats {
  uint32_t size, pages, objs; /* bytes; pages and objects a zspage */
  uint32_t zspages[POOL_GROUPS];
  uint64_t inuse, allocated; /* objects in use; in all zspages */
  uint64_t freeable_pages;
};

/* A place in a compaction or migration; all zero: at the start. */
struct pool_cursor {
  unsigned class_id; /* compaction: the class at work */
  uint32_t span;     /* the span or page at work */
};

struct pool_audit {
  uint64_t objects;        /* attached */
  uint64_t resident_pages; /* of 4 KiB: what is charged */
};

/* How addresses are used: spans (zsmalloc) or pages (z3fold). */
struct pool_spread {
  uint64_t top;  /* below this */
  uint64_t used; /* of them */
};

/* Evict the object that the cell named a moment ago from memory.  True if it is
 * gone or on its way; otherwise it stays unchanged.  May sleep, and may call
 * the pool.
 */
typedef bool pool_evict (void *ctx, pool_cell *cell);

enum pool_reclaimed {
  POOL_NOTHING, /* there is no page */
  POOL_FAILED,  /* an object of the page stays: the page keeps it */
  POOL_GOING,   /* all its objects leave, and the page with the last of them */
};

struct pool;

struct pool_ops {
  const char *name; /* as allocator= has it */
  bool has_lru;
  void (*destroy) (struct pool *);
  uint64_t (*alloc) (struct pool *, uint32_t, void **);
  void (*drop) (struct pool *, uint64_t);
  void (*attach) (struct pool *, uint64_t, pool_cell *);
  void (*replace) (struct pool *, pool_cell *, uint64_t);
  void (*hand_over) (struct pool *, pool_cell *, pool_cell *, uint64_t);
  void *(*pin) (struct pool *, pool_cell *, uint64_t *);
  void (*unpin) (struct pool *, uint64_t);
  void (*prefetch) (const struct pool *, uint64_t); /* or NULL */
  uint32_t (*largest) (struct pool *);
  uint32_t (*room_for) (struct pool *, uint32_t);
  uint32_t (*smaller_than) (struct pool *, uint32_t);
  bool (*fits) (struct pool *, uint64_t, uint32_t);
  uint64_t (*freeable_pages) (struct pool *);
  bool (*compact_step) (struct pool *, struct pool_cursor *);
  bool (*migration_pays) (struct pool *);
  bool (*migrate_step) (struct pool *, struct pool_cursor *);
  uint64_t (*give_back) (struct pool *);
  void (*keep) (struct pool *, uint64_t);
  bool (*fill) (struct pool *);
  uint64_t (*kept) (struct pool *);
  struct pool_spread (*spread) (struct pool *);
  unsigned (*class_count) (struct pool *);
  struct pool_class_stats (*class_stats) (struct pool *, unsigned);
  bool (*is_attached) (struct pool *, uint64_t, const pool_cell *);
  const char *(*audit) (struct pool *, const atomic_bool *,
                        struct pool_audit *);
  void (*used) (struct pool *, uint64_t);
  enum pool_reclaimed (*reclaim) (struct pool *, pool_evict *, void *);
};

/* The first member of every allocator's pool. */
struct pool {
  const struct pool_ops *ops;
  struct counter_set counters;
};

/* The i-th allocator's name, the default first; NULL past the end. */
const char *pool_allocator (unsigned i);

/* A pool of that allocator, which reserves at most max_bytes of addresses.  The
 * budget is not owned and must outlive the pool.  NULL with errno (EINVAL: no
 * such allocator).
 */
struct pool *pool_create (const char *allocator, uint32_t slot_size,
                          uint64_t max_bytes, struct budget *budget) MUST_USE;

/* No object may be pinned and no call may run.  Remaining objects are dropped.
 * NULL is allowed.
 */
static inline void
pool_destroy (struct pool *p)
{
  if (p)
    p->ops->destroy (p);
}

static inline const char *
pool_name (const struct pool *p)
{
  return p->ops->name;
}

/* -- objects ------------------------------------------------------------ */

/* An object of 'size' bytes (1 to slot_size), in transit.  *mem is where to
 * write it.  0 with errno ENOSPC (over the budget) or ENOMEM.  May do system
 * calls.
 */
static inline uint64_t MUST_USE
pool_alloc (struct pool *p, uint32_t size, void **mem)
{
  return p->ops->alloc (p, size, mem);
}

/* Free an object in transit. */
static inline void
pool_drop (struct pool *p, uint64_t handle)
{
  p->ops->drop (p, handle);
}

/* The caller has stored the handle into the cell: the object may move from here
 * on.
 */
static inline void
pool_attach (struct pool *p, uint64_t handle, pool_cell *cell)
{
  p->ops->attach (p, handle, cell);
}

/* Store 'value' into the cell and free the object that it named.  May do system
 * calls.
 */
static inline void
pool_replace (struct pool *p, pool_cell *cell, uint64_t value)
{
  p->ops->replace (p, cell, value);
}

/* The object that 'from' names gets another cell: 'to' gets its handle, 'from'
 * gets 'value', and the object's back pointer becomes 'to', all in one critical
 * section of the object's class or page lock.  The object stays where it is,
 * and a mover finds it named by its cell at every moment. 'to' is overwritten,
 * so it must not name an object of its own.  The caller holds the locks of both
 * cells, exclusively, and has pinned nothing.
 */
static inline void
pool_hand_over (struct pool *p, pool_cell *from, pool_cell *to, uint64_t value)
{
  p->ops->hand_over (p, from, to, value);
}

/* The address of the object that the cell names; it does not move until
 * pool_unpin.  Pass *handle to pool_unpin.  May wait for a mover.
 */
static inline void *MUST_USE
pool_pin (struct pool *p, pool_cell *cell, uint64_t *handle)
{
  return p->ops->pin (p, cell, handle);
}

static inline void
pool_unpin (struct pool *p, uint64_t handle)
{
  p->ops->unpin (p, handle);
}

/* Prefetch the first cache lines of an object that will be read soon.  Takes no
 * lock and promises nothing: the handle may be out of date, or not a handle.
 */
static inline void
pool_prefetch (const struct pool *p, uint64_t handle)
{
  if (p->ops->prefetch)
    p->ops->prefetch (p, handle);
}

/* A client has read the object; the owner of its cell still holds the cell's
 * lock.  With an LRU, the object's page counts as used.
 */
static inline void
pool_used (struct pool *p, uint64_t handle)
{
  if (p->ops->has_lru)
    p->ops->used (p, handle);
}

/* -- sizes; none of them takes a lock ----------------------------------- */

/* The largest object that takes less than a whole slot.  Data that compress to
 * more than this are best stored as they are.
 */
static inline uint32_t
pool_largest (struct pool *p)
{
  return p->ops->largest (p);
}

/* Bytes of memory that an object of that size takes, without the waste between
 * objects.
 */
static inline uint32_t
pool_room_for (struct pool *p, uint32_t size)
{
  return p->ops->room_for (p, size);
}

/* The largest object that takes less memory than one of that size; 0: no object
 * does.
 */
static inline uint32_t
pool_smaller_than (struct pool *p, uint32_t size)
{
  return p->ops->smaller_than (p, size);
}

/* Can an object of that size overwrite this object in its place?  The owner of
 * its cell holds the cell's lock.
 */
static inline bool
pool_fits (struct pool *p, uint64_t handle, uint32_t size)
{
  return p->ops->fits (p, handle, size);
}

/* -- moving objects and giving memory back ------------------------------ */

/* How much compaction could free now, in pages of 4 KiB. */
static inline uint64_t
pool_freeable_pages (struct pool *p)
{
  return p->ops->freeable_pages (p);
}

/* A bounded piece of compaction.  True if there may be more to do, false (and
 * the cursor back at the start) at the end of the round.
 */
static inline bool
pool_compact_step (struct pool *p, struct pool_cursor *at)
{
  return p->ops->compact_step (p, at);
}

/* Would migration allow to give back a large part of the addresses, with their
 * page tables and descriptors?
 */
static inline bool
pool_migration_pays (struct pool *p)
{
  return p->ops->migration_pays (p);
}

/* As pool_compact_step, for migration. */
static inline bool
pool_migrate_step (struct pool *p, struct pool_cursor *at)
{
  return p->ops->migrate_step (p, at);
}

/* Give the memory that is kept for reuse back to the system, except the memory
 * that pool_keep keeps.  Returns bytes.  Does system calls.
 */
static inline uint64_t
pool_give_back (struct pool *p)
{
  return p->ops->give_back (p);
}

/* Always keep so many bytes of resident free memory, so that objects find room
 * when the system has no memory.  Call it before the pool is used.
 */
static inline void
pool_keep (struct pool *p, uint64_t bytes)
{
  p->ops->keep (p, bytes);
}

/* A bounded step towards that, by one thread.  True if there is more to do and
 * it can be done; near the budget's limit it cannot.  Waits if the system has
 * no memory, with no lock held.
 */
static inline bool
pool_fill (struct pool *p)
{
  return p->ops->fill (p);
}

/* Bytes of resident free memory. */
static inline uint64_t
pool_kept (struct pool *p)
{
  return p->ops->kept (p);
}

/* -- the least recently used -------------------------------------------- */

/* Can pool_reclaim be asked? */
static inline bool
pool_has_lru (const struct pool *p)
{
  return p->ops->has_lru;
}

/* Evict the objects of the least recently used page.  Objects that 'evict' does
 * not take stay readable, and the page stays on its lists.  May sleep if
 * 'evict' does.
 */
static inline enum pool_reclaimed
pool_reclaim (struct pool *p, pool_evict *evict, void *ctx)
{
  return p->ops->has_lru ? p->ops->reclaim (p, evict, ctx) : POOL_NOTHING;
}

/* -- looking ------------------------------------------------------------ */

static inline struct pool_spread
pool_spread (struct pool *p)
{
  return p->ops->spread (p);
}

static inline unsigned
pool_class_count (struct pool *p)
{
  return p->ops->class_count (p);
}

static inline struct pool_class_stats
pool_class_stats (struct pool *p, unsigned class_id)
{
  return p->ops->class_stats (p, class_id);
}

/* Does the object's back pointer name this cell?  The object is pinned. */
static inline bool
pool_is_attached (struct pool *p, uint64_t handle, const pool_cell *cell)
{
  return p->ops->is_attached (p, handle, cell);
}

/* For the auditor, with nothing running: walk every list and every object.  A
 * static message about an invariant that does not hold, or NULL.
 */
static inline const char *
pool_audit (struct pool *p, struct pool_audit *result)
{
  return p->ops->audit (p, NULL, result);
}

/* The same, but it ends early when *cancel is set, and the message says so. */
#define POOL_AUDIT_CANCELLED "cancelled"

static inline const char *
pool_audit_until (struct pool *p, const atomic_bool *cancel,
                  struct pool_audit *result)
{
  return p->ops->audit (p, cancel, result);
}

#endif /* ZRAM_POOL_H */
