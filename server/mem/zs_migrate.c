/* SPDX-License-Identifier: BSD-3-Clause */
/* zsmalloc: migration of a whole zspage to another span.
 * Contract: mem/zs_internal.h.
 */

/*
 * Migration moves a whole zspage to another span, unchanged.  It takes zspages
 * from the arena's end and moves them to the lowest free spans, so that the end
 * can be given back with its page tables and descriptors.
 */

#include <config.h>

#include <string.h>

#include "base/fault.h"
#include "mem/zs_internal.h"

/* Migration does not pay for less than 8 MiB of addresses. */
#define WORTHWHILE_SPANS 64

bool
zs_migration_pays (struct pool *p)
{
  struct zs_pool *pool = zs_of (p);
  struct arena_stats st = arena_stats (&pool->arena);

  return st.top >= WORTHWHILE_SPANS && st.cold_spans > st.top / 2;
}

/* Are all objects attached?  One in transit is about to be named by its maker.
 */
static bool
all_attached (struct zs_pool *pool, struct zspage *z)
{
  for (unsigned obj = 0; obj < z->fresh; obj++)
    if (atomic_load_explicit (&zs_backs (pool, z)[obj], memory_order_acquire) ==
        0)
      return false;
  return true;
}

/* The new zspage takes over everything except the lock and the links. */
static void
move_zspage_locked (struct zs_pool *pool, unsigned class_id,
                    struct zspage *from, struct zspage *to)
  REQUIRES (pool->class[class_id].lock)
{
  const struct size_class_geometry *g = zs_geometry (pool, class_id);
  uint32_t from_span = arena_span_of (&pool->arena, from);
  uint32_t to_span = arena_span_of (&pool->arena, to);

  memcpy (arena_address (&pool->arena, to_span),
          arena_address (&pool->arena, from_span),
          g->first + (size_t) from->fresh * g->size);
  to->inuse = from->inuse;
  to->fresh = from->fresh;
  to->free_head = from->free_head;
  if (from->huge_back)
    memcpy (to->huge_back, from->huge_back,
            from->fresh * sizeof *from->huge_back);
  from->inuse = 0;

  for (unsigned obj = 0; obj < to->fresh; obj++) {
    uint64_t back = atomic_load_explicit (&zs_backs (pool, to)[obj],
                                          memory_order_acquire);
    uint64_t old = zs_handle (class_id, obj, from_span);

    if (!(back & ZS_BACK_FREE))
      check_always (atomic_compare_exchange_strong_explicit (
        (zs_cell *) (uintptr_t) back, &old, zs_handle (class_id, obj, to_span),
        memory_order_release, memory_order_relaxed));
  }
}

static bool
try_move_locked (struct zs_pool *pool, unsigned class_id, struct zspage *from,
                 struct zspage *to) REQUIRES (pool->class[class_id].lock)
{
  /* Check again: the zspage may have been freed, or have grown, since it was
   * chosen.
   */
  if (zspage_group (from) == ZS_NO_GROUP ||
      atomic_load_explicit (&from->class_id, memory_order_relaxed) !=
        class_id ||
      from->resident > to->resident || !all_attached (pool, from))
    return false;
  if (!zspage_try_write_lock (from)) {
    counter_add (&pool->base.counters, POOL_MOVER_SKIPS, 1);
    return false;
  }
  move_zspage_locked (pool, class_id, from, to);
  zspage_write_unlock (from);
  zs_unlist_locked (pool, class_id, from);
  zs_regroup_locked (pool, class_id, to);
  return true;
}

/* Pages that the zspage has now; 0 if it is not in the class any more. */
static uint32_t
resident_pages (struct zs_pool *pool, unsigned class_id, struct zspage *z)
{
  uint32_t pages = 0;

  zs_class_lock (pool, class_id);
  if (zspage_group (z) != ZS_NO_GROUP &&
      atomic_load_explicit (&z->class_id, memory_order_relaxed) == class_id)
    pages = z->resident;
  zs_class_unlock (pool, class_id);
  return pages;
}

/* Migrate the zspage to the free span.  One of the two is free afterwards. */
static bool
migrate (struct zs_pool *pool, struct zspage *from, uint32_t span)
{
  unsigned class_id = atomic_load_explicit (&from->class_id,
                                            memory_order_relaxed);
  struct zspage *to = arena_zspage (&pool->arena, span);
  uint32_t pages = resident_pages (pool, class_id, from);
  bool moved;

  to->next = to->prev = 0;
  to->huge_back = zs_huge_back (pool, class_id, span);
  zspage_set_group (to, ZS_NO_GROUP);
  atomic_store_explicit (&to->class_id, class_id, memory_order_relaxed);
  if (!pages || !arena_charge (&pool->arena, to, pages)) {
    arena_free (&pool->arena, span);
    return false;
  }
  /* Do it now, because the writer below must not fault pages in. */
  arena_populate (&pool->arena, span, 0, to->resident);
  if (to->huge_back)
    arena_populate_beside (&pool->arena, span);
  fault_pause ("zs.migrate.populated");

  zs_class_lock (pool, class_id);
  moved = try_move_locked (pool, class_id, from, to);
  zs_class_unlock (pool, class_id);
  zs_release_zspage (pool, moved ? from : to);
  return moved;
}

bool
zs_migrate_step (struct pool *p, struct pool_cursor *at)
{
  struct zs_pool *pool = zs_of (p);
  uint32_t top = arena_stats (&pool->arena).top;

  if (at->span == 0 || at->span > top)
    at->span = top;
  while (at->span > 0) {
    struct zspage *z = arena_zspage (&pool->arena, --at->span);
    uint32_t span;

    if (zspage_group (z) == ZS_NO_GROUP)
      continue;
    span = arena_alloc_below (&pool->arena, at->span);
    if (span == ARENA_NO_SPAN)
      break;
    if (migrate (pool, z, span))
      counter_add (&pool->base.counters, POOL_ZSPAGES_MIGRATED, 1);
    return true;
  }
  at->span = 0;
  arena_return_hot (&pool->arena);
  arena_trim (&pool->arena);
  return false;
}
