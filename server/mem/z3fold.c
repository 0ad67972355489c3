/* SPDX-License-Identifier: BSD-3-Clause */
/* z3fold: the operations of the pool on objects.
 * Contract: mem/pool.h, mem/z3fold.h.
 */

#include <config.h>

#include <errno.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "base/check.h"
#include "base/keep_errno.h"
#include "mem/z3_internal.h"

/* -- looking at one ----------------------------------------------------- */

/* The handle cannot be out of date: it changes only with the object, and the
 * object stays as long as the cell's lock is held.  (The auditor may pin an
 * object that is not the cell's, and then asks z3_is_attached.)
 */
static void *
z3_pin (struct pool *p, pool_cell *cell, uint64_t *handle)
{
  struct z3_pool *pool = z3_of (p);
  uint64_t h = atomic_load_explicit (cell, memory_order_relaxed);
  struct z3page *z = z3_handle_page (pool, h);
  unsigned e = z3_handle_entry (h);
  void *mem;

  z3_get (z);
  z3_lock (z);
  z->pins[e]++;
  mem = z3_bytes (pool, z, z->start[e]);
  z3_unlock (z);
  *handle = h;
  return mem;
}

static void
z3_unpin (struct pool *p, uint64_t handle)
{
  struct z3_pool *pool = z3_of (p);
  struct z3page *z = z3_handle_page (pool, handle);
  unsigned e = z3_handle_entry (handle);

  z3_lock (z);
  check_always (z->pins[e] > 0);
  if (--z->pins[e] == 0 && z->untidy) {
    z3_compact_locked (pool, z);
    z3_list_locked (pool, z, false);
  }
  z3_unlock (z);
  z3_put (pool, z, 1);
}

static void
z3_used (struct pool *p, uint64_t handle)
{
  struct z3_pool *pool = z3_of (p);
  struct z3page *z = z3_handle_page (pool, handle);

  if (!atomic_load_explicit (&z->referenced, memory_order_relaxed))
    atomic_store_explicit (&z->referenced, 1, memory_order_relaxed);
}

/* -- in ----------------------------------------------------------------- */

/* Put an object of so many chunks into the page.  Returns its entry, or -1 if
 * the page has no room any more.
 */
static int
take_entry_locked (struct z3_pool *pool, struct z3page *z, uint32_t chunks)
  REQUIRES (z->lock)
{
  struct z3_gap gap = z3_largest_gap_locked (pool, z);
  int e = 0;

  if (z->state != Z3_LIVE || gap.chunks < chunks)
    return -1;
  while (z->chunks[e])
    e++;
  z->start[e] = (uint16_t) z3_place_in (pool, gap, chunks);
  z->chunks[e] = (uint16_t) chunks;
  z->back[e] = NULL;
  z->pins[e] = 1; /* its maker's, until it is attached */
  z3_list_locked (pool, z, true);
  return e;
}

static uint64_t
z3_alloc (struct pool *p, uint32_t size, void **mem)
{
  struct z3_pool *pool = z3_of (p);
  uint32_t chunks = z3_chunks_for (size);

  if (fault_hit ("z3.alloc")) {
    errno = ENOSPC;
    return 0;
  }
  for (;;) {
    struct z3page *z = z3_find_page (pool, chunks);

    if (z)
      fault_pause ("z3.alloc.found");
    else if (!(z = z3_new_page (pool)))
      return 0;
    z3_lock (z);
    int e = take_entry_locked (pool, z, chunks);
    if (e >= 0)
      *mem = z3_bytes (pool, z, z->start[e]);
    z3_unlock (z);
    z3_put (pool, z, 1);
    /* Otherwise another thread took the room, or the page died: try another
     * page.
     */
    if (e >= 0)
      return z3_handle (z3_number (pool, z), (unsigned) e);
  }
}

static void
z3_attach (struct pool *p, uint64_t handle, pool_cell *cell)
{
  struct z3_pool *pool = z3_of (p);
  struct z3page *z = z3_handle_page (pool, handle);

  z3_get (z);
  z3_lock (z);
  check_debug (!z->back[z3_handle_entry (handle)]);
  z->back[z3_handle_entry (handle)] = cell;
  z3_unlock (z);
  z3_unpin (p, handle);
}

/* -- out ---------------------------------------------------------------- */

/* Returns the references to drop once the page is unlocked, the caller's own
 * included.
 */
static unsigned
free_locked (struct z3_pool *pool, struct z3page *z, unsigned e)
  REQUIRES (z->lock)
{
  check_always (z->state == Z3_LIVE && z->chunks[e] && !z->pins[e]);
  z->chunks[e] = 0;
  z->back[e] = NULL;
  if (z3_objects_locked (z) == 0) {
    z3_kill_locked (pool, z);
    return 3;
  }
  z3_compact_locked (pool, z);
  z3_list_locked (pool, z, false);
  return 1;
}

static void
z3_drop (struct pool *p, uint64_t handle)
{
  struct z3_pool *pool = z3_of (p);
  struct z3page *z = z3_handle_page (pool, handle);
  unsigned e = z3_handle_entry (handle), refs;

  z3_get (z);
  z3_lock (z);
  check_always (!z->back[e] && z->pins[e] == 1);
  z->pins[e] = 0;
  refs = free_locked (pool, z, e);
  z3_unlock (z);
  z3_put (pool, z, refs);
}

static void
z3_replace (struct pool *p, pool_cell *cell, uint64_t value)
{
  struct z3_pool *pool = z3_of (p);
  uint64_t handle = atomic_load_explicit (cell, memory_order_relaxed);
  struct z3page *z = z3_handle_page (pool, handle);
  unsigned e = z3_handle_entry (handle), refs;

  z3_get (z);
  z3_lock (z);
  check_always (z->back[e] == cell);
  atomic_store_explicit (cell, value, memory_order_relaxed);
  refs = free_locked (pool, z, e);
  z3_unlock (z);
  fault_pause ("z3.free.unlocked");
  z3_put (pool, z, refs);
}

static void
z3_hand_over (struct pool *p, pool_cell *from, pool_cell *to, uint64_t value)
{
  struct z3_pool *pool = z3_of (p);
  uint64_t handle = atomic_load_explicit (from, memory_order_relaxed);
  struct z3page *z = z3_handle_page (pool, handle);
  unsigned e = z3_handle_entry (handle);

  /* The object keeps its page LIVE meanwhile, so no reference is needed: the
   * page is not used after it is unlocked.
   */
  z3_lock (z);
  check_always (z->back[e] == from);
  atomic_store_explicit (to, handle, memory_order_relaxed);
  z->back[e] = to;
  atomic_store_explicit (from, value, memory_order_relaxed);
  z3_unlock (z);
}

/* -- sizes, and what does not move objects ------------------------------- */

static uint32_t
z3_largest (struct pool *p)
{
  return (z3_of (p)->chunks - 1) * Z3_CHUNK;
}

static uint32_t
z3_room_for (struct pool *p, uint32_t size)
{
  (void) p;
  return z3_chunks_for (size) * Z3_CHUNK;
}

static uint32_t
z3_smaller_than (struct pool *p, uint32_t size)
{
  (void) p;
  return (z3_chunks_for (size) - 1) * Z3_CHUNK;
}

/* No lock needed: the chunks change only with the object. */
static bool
z3_fits (struct pool *p, uint64_t handle, uint32_t size)
{
  const struct z3page *z = z3_handle_page (z3_of (p), handle);

  return size <= z->chunks[z3_handle_entry (handle)] * Z3_CHUNK;
}

static uint64_t
z3_freeable_pages (struct pool *p)
{
  (void) p;
  return 0;
}

/* Pages are compacted as their objects are freed and unpinned. */
static bool
z3_compact_step (struct pool *p, struct pool_cursor *at)
{
  (void) p;
  *at = (struct pool_cursor){ 0 };
  return false;
}

static bool
z3_migration_pays (struct pool *p)
{
  (void) p;
  return false;
}

static bool
z3_migrate_step (struct pool *p, struct pool_cursor *at)
{
  *at = (struct pool_cursor){ 0 };
  z3_give_back (p);
  return false;
}

static unsigned
z3_class_count (struct pool *p)
{
  (void) p;
  return 2;
}

/* -- life -------------------------------------------------------------------
 */

static void
z3_destroy (struct pool *p)
{
  KEEP_ERRNO;
  struct z3_pool *pool = z3_of (p);
  uint64_t pages = (uint64_t) pool->top - pool->cold_pages;

  budget_refund (pool->budget, pages * pool->page_size +
                                 (uint64_t) pool->described * MEM_PAGE);
  mutex_destroy (&pool->lock);
  reserve_close (&pool->cold);
  reserve_close (&pool->pages);
  reserve_close (&pool->memory);
  counter_set_destroy (&pool->base.counters);
  free (pool);
}

static const struct pool_ops ops = {
  .name = "z3fold",
  .has_lru = true,
  .destroy = z3_destroy,
  .alloc = z3_alloc,
  .drop = z3_drop,
  .attach = z3_attach,
  .replace = z3_replace,
  .hand_over = z3_hand_over,
  .pin = z3_pin,
  .unpin = z3_unpin,
  .largest = z3_largest,
  .room_for = z3_room_for,
  .smaller_than = z3_smaller_than,
  .fits = z3_fits,
  .freeable_pages = z3_freeable_pages,
  .compact_step = z3_compact_step,
  .migration_pays = z3_migration_pays,
  .migrate_step = z3_migrate_step,
  .give_back = z3_give_back,
  .keep = z3_keep,
  .fill = z3_fill,
  .kept = z3_kept,
  .spread = z3_spread,
  .class_count = z3_class_count,
  .class_stats = z3_class_stats,
  .is_attached = z3_is_attached,
  .audit = z3_audit,
  .used = z3_used,
  .reclaim = z3_reclaim,
};

struct pool *
z3_create (uint32_t slot_size, uint64_t max_bytes, struct budget *budget)
{
  struct z3_pool *pool = alloc_zeroed (CACHE_LINE, sizeof *pool);

  if (!pool)
    return NULL;
  pool->base.ops = &ops;
  pool->page_size = slot_size;
  pool->chunks = slot_size / Z3_CHUNK;
  pool->budget = budget;
  if (counter_set_init (&pool->base.counters, POOL_COUNTERS) == -1)
    goto fail_counters;
  if (reserve_open (&pool->memory, max_bytes, 64 * (size_t) slot_size) == -1)
    goto fail_memory;
  uint64_t pages = pool->memory.reserved / slot_size;
  pool->max_pages = pages > UINT32_MAX - 1 ? UINT32_MAX - 1 : (uint32_t) pages;
  size_t described = (size_t) pool->max_pages * sizeof (struct z3page);
  size_t map = ((size_t) pool->max_pages / 64 + 1) * sizeof (uint64_t);
  if (reserve_open (&pool->pages, described, described) == -1)
    goto fail_pages;
  if (reserve_open (&pool->cold, map, map) == -1)
    goto fail_cold;
  mutex_init (&pool->lock, RANK_Z3_LISTS);
  return &pool->base;

fail_cold:
  reserve_close (&pool->pages);
fail_pages:
  reserve_close (&pool->memory);
fail_memory:
  counter_set_destroy (&pool->base.counters);
fail_counters:
  free (pool);
  return NULL;
}
