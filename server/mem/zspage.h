/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * zspage: a span in use by a size class, its descriptor and its lock.
 *
 *   descriptors (one per span, never moved)      spans
 *   +--------+--------+--------+ - -             +----------------+
 *   | zspage | zspage | zspage |                 | back[] objects |
 *   +--------+--------+--------+ - -             +----------------+
 *
 * An object is named by a handle, and the handle is kept in a cell that
 * belongs to the object's owner (a slot's first word):
 *
 *    63  62....54  53......41  40..............0
 *   +---+--------+-----------+------------------+
 *   | 1 | class  |  object   |       span       |
 *   +---+--------+-----------+------------------+
 *
 * back[i] of an object that is
 *   free        (next free object + 1) << 1 | 1
 *   in transit  0: allocated, but its owner has not put it into a cell yet; it
 *               does not move
 *   attached    the cell's address.  Then *cell is this object's handle.
 *
 * Invariants, under the class lock:
 *   inuse <= fresh <= objs of the class
 *   inuse + length of the free list == fresh
 *   first + fresh * size <= resident * 4096   (objects handed out are charged)
 *   the zspage is on exactly one list, that of its fullness group
 *   an object's class never changes, wherever the object moves
 *
 * The zspage lock protects the bytes of attached objects against being
 * moved.  Its rules:
 *   1. A reader waits only for a writer; a reader may sleep inside.
 *   2.  A writer (compaction, migration) only ever tries, and skips this zspage
 *      if a reader is inside.
 *   3. A writer does not sleep, allocate or do I/O while it holds the lock:
 *      it copies the objects of at most one zspage.  (Debug builds check.)
 *   4.  So a reader may wait for a writer.  It spins first, but not for ever:
 *      in user space a writer can lose its CPU, so the reader then sleeps.
 *
 * To pin an object without any pool-wide lock: read the handle, read-lock the
 * zspage that it names, read the handle again, and start over if it changed.
 * Descriptors are type-stable: a handle that is out of date still leads to a
 * descriptor, whose lock can be taken and dropped without harm.  So only the
 * lock's own operations ever write to a lock word, also when the span changes
 * its class.  Only arena_trim gives descriptors back, page by page, while it
 * holds all the locks in the page (zeroed means unlocked).
 *
 * Source: zsmalloc's zspage lock as discussed on linux-mm in January and
 * February 2025.  Modelled in tests/model/zspage-pin.pml.
 */

#ifndef ZRAM_ZSPAGE_H
#define ZRAM_ZSPAGE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/rank.h"
#include "base/rwword.h"

/* Span number + 1, so that 0 is "none"; the link type of all span lists. */
typedef uint32_t span_link;

typedef _Atomic uint64_t zs_cell;
typedef _Atomic uint64_t zs_back;

/* Fullness groups: inuse / objs in percent, as zsmalloc counts them. */
enum zs_group {
  ZS_INUSE_RATIO_0,
  ZS_INUSE_RATIO_10, /* up to 10 %, then in steps of 10 */
  ZS_INUSE_RATIO_90 = 9,
  ZS_INUSE_RATIO_99, /* over 90 %, not full */
  ZS_INUSE_RATIO_100,
  ZS_GROUPS,
  ZS_NO_GROUP = 0xff, /* not in a class */
};

struct zspage {
  struct rwword lock; /* see above */
  /* Below: guarded by the class lock while the span is in a class, and by the
   * arena's while it is free.  In between they belong to the allocating thread.
   */
  span_link next, prev;
  uint16_t inuse;     /* objects allocated */
  uint16_t fresh;     /* objects that were ever handed out */
  uint16_t free_head; /* object + 1; linked through back[] */
  uint8_t resident;   /* pages charged, from the span's start */
  /* Read without the lock by migration's search; group: see zspage_group. */
  _Atomic uint8_t group_plus_1;
  _Atomic uint16_t class_id;
  uint16_t unused;
  zs_back *huge_back; /* back[] of the huge class, beside the span; or NULL */
};

_Static_assert(sizeof (struct zspage) == 32,
               "32 bytes a span of 128 KiB or more");

#define ZS_HANDLE_TAG (UINT64_C (1) << 63)
#define ZS_SPAN_BITS 41
#define ZS_OBJ_BITS 13

static inline uint64_t
zs_handle (unsigned class_id, unsigned obj, uint32_t span)
{
  return ZS_HANDLE_TAG | (uint64_t) class_id << (ZS_SPAN_BITS + ZS_OBJ_BITS) |
         (uint64_t) obj << ZS_SPAN_BITS | span;
}

static inline unsigned
zs_handle_class (uint64_t handle)
{
  return handle >> (ZS_SPAN_BITS + ZS_OBJ_BITS) & 0x1ff;
}

static inline unsigned
zs_handle_obj (uint64_t handle)
{
  return handle >> ZS_SPAN_BITS & ((1u << ZS_OBJ_BITS) - 1);
}

static inline uint32_t
zs_handle_span (uint64_t handle)
{
  return (uint32_t) handle;
}

/* The fullness group, or ZS_NO_GROUP. Stored as the group + 1, so that a
 * descriptor that the system zeroed, or that was never used, is in no class.
 */
static inline unsigned
zspage_group (const struct zspage *z)
{
  return (
    uint8_t) (atomic_load_explicit (&z->group_plus_1, memory_order_relaxed) -
              1);
}

static inline void
zspage_set_group (struct zspage *z, unsigned group)
{
  atomic_store_explicit (&z->group_plus_1, (uint8_t) (group + 1),
                         memory_order_relaxed);
}

/* -- the lock, with its rules ------------------------------------------- */

/* May sleep, so the caller holds no class, arena or table lock. */
static inline void
zspage_read_lock (struct zspage *z) NO_THREAD_SAFETY_ANALYSIS
{
  rank_acquire (RANK_ZSPAGE);
  rwword_read_lock (&z->lock, 0, 0);
}

static inline void
zspage_read_unlock (struct zspage *z) NO_THREAD_SAFETY_ANALYSIS
{
  rank_release (RANK_ZSPAGE);
  rwword_read_unlock (&z->lock);
}

static inline bool MUST_USE
zspage_try_write_lock (struct zspage *z) TRY_ACQUIRE (true, z->lock)
{
  if (!rwword_try_write_lock (&z->lock))
    return false;
  rank_acquire_try (RANK_ZSPAGE);
  rank_atomic_begin ();
  return true;
}

static inline void
zspage_write_unlock (struct zspage *z) RELEASE (z->lock)
{
  rank_atomic_end ();
  rank_release (RANK_ZSPAGE);
  rwword_write_unlock (&z->lock);
}

#endif /* ZRAM_ZSPAGE_H */
