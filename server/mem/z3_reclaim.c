/* SPDX-License-Identifier: BSD-3-Clause */
/* z3fold: evicts the objects of the least recently used page.
 * Contract: mem/z3_internal.h.
 */

/*
 *   newest                              oldest
 *   page <-> page <-> page <-> page <-> page ---> its cells ---> evict
 *    ^------------- used since -----------|
 *
 * The chosen page goes to the front of the LRU at once, so that another thread,
 * or the next call, takes the next one.  It stays on both its lists all the
 * time, whether the eviction succeeds or not.  The cells are copied with the
 * page locked, and passed to 'evict' with it unlocked.  An object may be freed
 * in between, and its cell may then have any value, so 'evict' has to check.
 * The thread that frees the last object frees the page: the eviction, later, or
 * any other.
 */

#include <config.h>

#include "base/check.h"
#include "mem/z3_internal.h"

/* The oldest page that was not used since it last was the oldest, with a
 * reference; NULL if there is no page.
 */
static struct z3page *
take_oldest (struct z3_pool *pool)
{
  struct z3page *z = NULL;
  bool used = true;

  mutex_lock (&pool->lock);
  for (uint32_t n = 0; pool->oldest && used && n <= pool->live; n++) {
    z = z3_page (pool, pool->oldest - 1);
    used = atomic_exchange_explicit (&z->referenced, 0, memory_order_relaxed);
    z3_lru_remove_locked (pool, z);
    z3_lru_push_locked (pool, z);
  }
  if (z)
    z3_get (z);
  mutex_unlock (&pool->lock);
  return z;
}

/* The cells of the page's objects; *all: none is in transit. */
static unsigned
copy_cells_locked (const struct z3page *z, pool_cell **cells, bool *all)
  REQUIRES (z->lock)
{
  unsigned n = 0;

  *all = true;
  for (unsigned e = 0; e < Z3_BUDDIES; e++)
    if (z->chunks[e] && z->back[e])
      cells[n++] = z->back[e];
    else if (z->chunks[e])
      *all = false;
  return n;
}

enum pool_reclaimed
z3_reclaim (struct pool *p, pool_evict *evict, void *ctx)
{
  struct z3_pool *pool = z3_of (p);
  struct z3page *z = take_oldest (pool);
  pool_cell *cells[Z3_BUDDIES];
  bool all;

  if (!z)
    return POOL_NOTHING;
  fault_pause ("z3.reclaim.taken");
  z3_lock (z);
  unsigned n = copy_cells_locked (z, cells, &all);
  z3_unlock (z);
  fault_pause ("z3.reclaim.copied");
  for (unsigned i = 0; i < n; i++)
    all &= evict (ctx, cells[i]);
  z3_put (pool, z, 1);
  counter_add (&pool->base.counters,
               all ? POOL_PAGES_RECLAIMED : POOL_RECLAIM_FAILURES, 1);
  return all ? POOL_GOING : POOL_FAILED;
}
