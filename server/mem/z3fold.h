/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * z3fold: an allocator that puts up to three objects in a page and keeps the
 * pages in the order of their use.
 *
 *   page (slot_size bytes, in chunks of 64)
 *   +-------+--------+- - - - - - - -+-------+
 *   | first | middle |     gap       | last  |     no room for a fourth
 *   +-------+--------+- - - - - - - -+-------+
 *   lists[0]   pages without room: three objects, or headless (one object that
 *              leaves no chunk)
 *   lists[n]   unbuddied: fewer than three, and a largest gap of n chunks
 *   LRU        all of them, the most recently used first
 *
 * A handle names the page and one of its three entries.  The descriptor says
 * where the entry's object lies in the page, so a handle stays valid when the
 * object moves.
 *
 *    63  62...34  33..32  31.............0
 *   +---+--------+-------+----------------+
 *   | 1 |   0    | entry |      page      |
 *   +---+--------+-------+----------------+
 *
 * In-page compaction: when an object is freed, the others are pushed together
 * so that there is one gap.  A pinned object stays where it is (an object in
 * transit is pinned by its maker); the thread that unpins it does the work
 * then.
 *
 * Life of a page, and the owner of each step:
 *
 *   FREE --taken by an allocation--> LIVE --its last object is freed--> DEAD
 *     ^                                                                  |
 *     +----------------- the last reference is dropped <-----------------+
 *
 * LIVE becomes DEAD once, under the page's lock: the thread that frees the last
 * object does it, and takes the page off both lists.  Each of the two lists has
 * a reference, and so has every operation from when it finds the page until it
 * is done with it.  So an operation on a page that died meanwhile finds it
 * DEAD, and drops its reference.  No other bits claim a page.  Modelled in
 * tests/model/z3-page.pml.
 *
 * Locks: the page's (rank Z3_PAGE) protects where its objects lie, their back
 * pointers, pins and the state.  'lock' (rank Z3_LISTS, taken inside) protects
 * the lists, the LRU and the free pages.  While a page's lock is free, the page
 * is on the list of its largest gap.
 *
 * Source: the design of Linux' mm/z3fold.c as of 2016, its review on linux-mm
 * (reference counts, one lock a page); layout and handles are ours.
 */

#ifndef ZRAM_Z3FOLD_H
#define ZRAM_Z3FOLD_H

#include "base/mutex.h"
#include "base/reserve.h"
#include "mem/pool.h"

#define Z3_CHUNK 64u
#define Z3_MAX_CHUNKS 1024u /* slots of 64 KiB */
#define Z3_BUDDIES 3u

/* Page number + 1, so that 0 is "none". */
typedef uint32_t z3_link;

struct z3_pool {
  struct pool base;
  uint32_t page_size; /* bytes: a slot */
  uint32_t chunks;    /* of a page */
  uint32_t max_pages;
  struct budget *budget; /* not owned */
  struct reserve memory; /* the pages */
  struct reserve pages;  /* struct z3page, one a page; type-stable below top */
  struct reserve cold;   /* a bit a page: free, and its memory given back */

  struct mutex lock; /* rank Z3_LISTS */
  z3_link lists[Z3_MAX_CHUNKS + 1] GUARDED_BY (lock);
  uint64_t
    filled[Z3_MAX_CHUNKS / 64 + 1] GUARDED_BY (lock); /* lists with any */
  z3_link newest GUARDED_BY (lock), oldest GUARDED_BY (lock);
  uint32_t live GUARDED_BY (lock);      /* pages on the lists */
  uint32_t shapes[5] GUARDED_BY (lock); /* of them: by objects; headless */
  z3_link hot GUARDED_BY (lock);        /* free, memory kept and charged */
  uint32_t hot_pages GUARDED_BY (lock);
  uint32_t cold_pages GUARDED_BY (lock);
  uint32_t cold_hint GUARDED_BY (lock); /* no bit is set in words below */
  uint32_t top GUARDED_BY (lock);       /* pages ever used */
  uint32_t described GUARDED_BY (lock); /* 4 KiB of descriptors, charged */
  uint64_t keep;       /* hot pages, at least.  Set before use. */
  atomic_bool filling; /* z3_fill is trying to get there, and may */
};

/* As zs_create. */
struct pool *z3_create (uint32_t slot_size, uint64_t max_bytes,
                        struct budget *budget) MUST_USE;

#endif /* ZRAM_Z3FOLD_H */
