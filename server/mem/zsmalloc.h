/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * zsmalloc: an allocator for objects of any size up to a slot.  It packs them
 * with little waste, and may move them.
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
 * An operation on an object takes the lock of its class for a moment, and the
 * arena's inside it or after it. pool_replace changes the cell and frees the
 * object in one critical section of the class lock, because a cell without a
 * handle may have any 64 bits (a fill pattern), which may equal an old handle.
 * The mover trusts a back pointer only under the class lock, and under it an
 * attached object is always named by its cell.
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

  /* Written with the lock held; statistics read them without it, because an
   * audit holds it for a time that grows with the class's objects.
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

/* A pool of size classes, which reserves at most max_bytes of addresses.  The
 * budget is not owned and must outlive the pool.  NULL with errno set.
 */
struct pool *zs_create (uint32_t slot_size, uint64_t max_bytes,
                        struct budget *budget) MUST_USE;

#endif /* ZRAM_ZSMALLOC_H */
