/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * zsmalloc: an allocator for objects of any size up to a slot that packs
 * them with little waste, and may move them.
 *
 *   class (size)      fullness groups              zspages
 *   +-----------+     +-------------------+
 *   | lock      |     |   0 %             |--> z
 *   | 1936 bytes|---->|  10 % … 90 %, 99 %|--> z <-> z
 *   | counters  |     | 100 %             |--> z <-> z <-> z <-> z
 *   +-----------+     +-------------------+
 *
 * Allocation takes from the fullest zspage that has room, so that the emptier
 * ones drain.  A zspage whose last object is freed leaves its class.
 *
 * Since objects move (compaction, migration), they are named by handles, and
 * a handle lives in one cell, which the pool knows and rewrites when it moves
 * the object (zspage.h draws both).  The life of an object:
 *
 *   zs_alloc            in transit: only its maker knows it, it stays put
 *   maker fills it in, stores the handle into the cell
 *   zs_attach           from here on it may move, and the cell with it
 *   zs_pin … zs_unpin   its address, for as long as it is pinned
 *   zs_replace          the cell gets another value, the object is freed, in
 *                       one critical section of the class lock
 *
 * The last point matters: a cell that holds no handle may hold any 64 bits
 * (a fill pattern) that happen to equal an old handle.  The mover trusts a
 * back pointer only under the class lock, and there an attached object is
 * always named by its cell.
 *
 * Who calls what: the owner of a cell calls zs_attach, zs_pin and zs_replace
 * with the cell's own lock held (the slot lock: shared for zs_pin, exclusive
 * for the others), so that nobody else frees the object meanwhile.
 *
 * Invariants of a class, under its lock:
 *   every zspage of the class is on the list of its fullness group
 *   inuse = sum of z->inuse     fresh = sum of z->fresh
 *   resident = sum of z->resident
 *   freeable pages = resident - pages that inuse objects need  >= 0
 *
 * Source: the design of Linux' mm/zsmalloc.c (Documentation/mm/zsmalloc.rst);
 * layout of zspages, handle cells and locks are ours.
 */

#ifndef ZRAM_ZSMALLOC_H
#define ZRAM_ZSMALLOC_H

#include "mem/arena.h"
#include "mem/pool.h"
#include "mem/size_class.h"
#include "mem/zspage.h"

struct zs_class {
  _Alignas(CACHE_LINE) struct mutex lock; /* rank CLASS */
  span_link group[ZS_GROUPS] GUARDED_BY (lock);
  uint32_t zspages[ZS_GROUPS] GUARDED_BY (lock); /* in each group */
  uint64_t fresh GUARDED_BY (lock);              /* objects */

  /* Written with the lock held; statistics read them without it, since an
   * audit holds it for as long as the class has objects.
   */
  _Atomic uint64_t inuse;    /* objects */
  _Atomic uint64_t resident; /* pages */
};

struct zs_pool {
  struct pool base;
  struct size_classes classes;
  struct arena arena;
  struct zs_class class[CLASS_MAX];
};

extern const struct pool_ops zs_pool_ops;

/* max_bytes: addresses to reserve at the most.  The budget is not owned and
 * must outlive the pool.  NULL with errno set.
 */
struct zs_pool *zs_create (uint32_t slot_size, uint64_t max_bytes,
                           struct budget *budget) MUST_USE;

/* Nothing may be pinned or running; objects still there are forgotten. */
void zs_destroy (struct zs_pool *pool);

/* An object of 'size' bytes (1 to slot_size), in transit.  *mem is where to
 * write it.  0 with errno ENOSPC (over the budget) or ENOMEM.  Takes a class
 * lock and the arena lock; may do system calls.
 */
uint64_t zs_alloc (struct zs_pool *pool, uint32_t size, void **mem) MUST_USE;

/* Free an object in transit. */
void zs_drop (struct zs_pool *pool, uint64_t handle);

/* The cell holds the handle now: the object may move from here on. */
void zs_attach (struct zs_pool *pool, uint64_t handle, zs_cell *cell);

/* Store 'value' into the cell and free the object that it named.  Takes a
 * class lock and the arena lock; may do system calls.
 */
void zs_replace (struct zs_pool *pool, zs_cell *cell, uint64_t value);

/* The address of the object that the cell names; it does not move until
 * zs_unpin.  *handle is what to give zs_unpin.  Takes the zspage's read lock
 * and keeps it.
 */
void *zs_pin (struct zs_pool *pool, zs_cell *cell, uint64_t *handle) MUST_USE;
void zs_unpin (struct zs_pool *pool, uint64_t handle);

/* -- moving objects: zs_compact.c, zs_migrate.c ------------------------- */

/* What compaction could free now, in pages.  Takes class locks in turn. */
uint64_t zs_freeable_pages (struct zs_pool *pool);

/* Empty one zspage into fuller ones of its class.  True if there may be more
 * to do, false (and the cursor back at the start) at the end of the round.
 * Holds a class lock while it copies one zspage's objects at the most.
 */
bool zs_compact_step (struct zs_pool *pool, struct pool_cursor *at);

/* Are so many spans free below the arena's end that migration would let it
 * sink by half or more?
 */
bool zs_migration_pays (struct zs_pool *pool);

/* Move the highest zspage to a lower span.  True if there may be more to do.
 * At the end of the round the arena's end is trimmed.
 */
bool zs_migrate_step (struct zs_pool *pool, struct pool_cursor *at);

/* -- looking ------------------------------------------------------------ */

/* Takes the class lock. */
struct pool_class_stats zs_class_stats (struct zs_pool *pool,
                                        unsigned class_id);

static inline unsigned
zs_class_count (const struct zs_pool *pool)
{
  return pool->classes.n;
}

/* Does the object's back pointer name this cell?  The object is pinned. */
bool zs_is_attached (struct zs_pool *pool, uint64_t handle,
                     const zs_cell *cell);

/* For the auditor, with nothing running: walk every list and every object.
 * A message (static) about an invariant that does not hold, or NULL.
 */
const char *zs_audit (struct zs_pool *pool, struct pool_audit *result);

#endif /* ZRAM_ZSMALLOC_H */
