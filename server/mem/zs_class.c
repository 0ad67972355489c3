/* SPDX-License-Identifier: BSD-3-Clause */
/* zsmalloc: the zspages of a class, and objects in and out of them.
 * Contract: mem/zs_internal.h.
 */

#include <config.h>

#include "mem/zs_internal.h"

/* -- zspages in and out of a class -------------------------------------- */

static unsigned
group_of (const struct zspage *z, uint32_t objs)
{
  if (z->inuse == 0)
    return ZS_INUSE_RATIO_0;
  if (z->inuse == objs)
    return ZS_INUSE_RATIO_100;
  unsigned percent = 100u * z->inuse / objs;
  return percent >= 90 ? ZS_INUSE_RATIO_99 : percent / 10 + 1;
}

void
zs_unlist_locked (struct zs_pool *pool, unsigned class_id, struct zspage *z)
{
  struct zs_class *c = &pool->class[class_id];
  unsigned g = zspage_group (z);

  if (z->prev)
    arena_zspage (&pool->arena, z->prev - 1)->next = z->next;
  else
    c->group[g] = z->next;
  if (z->next)
    arena_zspage (&pool->arena, z->next - 1)->prev = z->prev;
  c->zspages[g]--;
  zs_adjust_locked (&c->resident, -(int64_t) z->resident);
  zspage_set_group (z, ZS_NO_GROUP);
}

void
zs_regroup_locked (struct zs_pool *pool, unsigned class_id, struct zspage *z)
{
  struct zs_class *c = &pool->class[class_id];
  unsigned is = zspage_group (z);
  unsigned want = group_of (z, zs_geometry (pool, class_id)->objs);

  if (is == want)
    return;
  if (is != ZS_NO_GROUP)
    zs_unlist_locked (pool, class_id, z);
  span_link self = arena_span_of (&pool->arena, z) + 1;
  z->prev = 0;
  z->next = c->group[want];
  if (z->next)
    arena_zspage (&pool->arena, z->next - 1)->prev = self;
  c->group[want] = self;
  c->zspages[want]++;
  zs_adjust_locked (&c->resident, z->resident);
  zspage_set_group (z, want);
}

struct zspage *
zs_new_zspage (struct zs_pool *pool, unsigned class_id)
{
  const struct size_class_geometry *g = zs_geometry (pool, class_id);
  uint32_t span = arena_alloc (&pool->arena, g->pages);

  if (span == ARENA_NO_SPAN)
    return NULL;
  if (arena_keeps (&pool->arena))
    arena_fill_span (&pool->arena, span, g->pages);

  struct zspage *z = arena_zspage (&pool->arena, span);
  z->next = z->prev = 0;
  z->inuse = z->fresh = z->free_head = 0;
  z->huge_back = zs_huge_back (pool, class_id, span);
  atomic_store_explicit (&z->class_id, class_id, memory_order_relaxed);
  zspage_set_group (z, ZS_NO_GROUP);
  return z;
}

void
zs_release_zspage (struct zs_pool *pool, struct zspage *z)
{
  z->huge_back = NULL;
  arena_free (&pool->arena, arena_span_of (&pool->arena, z));
}

/* -- objects in and out of a zspage ------------------------------------- */

unsigned
zs_take_object_locked (struct zs_pool *pool, unsigned class_id,
                       struct zspage *z, uint64_t back)
{
  zs_back *backs = zs_backs (pool, z);
  unsigned obj;

  if (z->free_head) {
    obj = z->free_head - 1;
    z->free_head = atomic_load_explicit (&backs[obj], memory_order_relaxed) >>
                   1;
  }
  else {
    obj = z->fresh++;
    pool->class[class_id].fresh++;
  }
  z->inuse++;
  zs_adjust_locked (&pool->class[class_id].inuse, 1);
  atomic_store_explicit (&backs[obj], back, memory_order_relaxed);
  return obj;
}

void
zs_put_object_locked (struct zs_pool *pool, unsigned class_id, struct zspage *z,
                      unsigned obj)
{
  uint64_t link = (uint64_t) z->free_head << 1 | ZS_BACK_FREE;

  check_always (z->inuse > 0);
  atomic_store_explicit (&zs_backs (pool, z)[obj], link, memory_order_relaxed);
  z->free_head = obj + 1;
  z->inuse--;
  zs_adjust_locked (&pool->class[class_id].inuse, -1);
}

struct zspage *
zs_remove_if_empty_locked (struct zs_pool *pool, unsigned class_id,
                           struct zspage *z)
{
  if (z->inuse) {
    zs_regroup_locked (pool, class_id, z);
    return NULL;
  }
  zs_unlist_locked (pool, class_id, z);
  pool->class[class_id].fresh -= z->fresh;
  return z;
}

struct zspage *
zs_fullest_with_room_locked (struct zs_pool *pool, unsigned class_id)
{
  struct zs_class *c = &pool->class[class_id];

  for (int g = ZS_INUSE_RATIO_99; g >= 0; g--)
    if (c->group[g])
      return arena_zspage (&pool->arena, c->group[g] - 1);
  return NULL;
}

struct zspage *
zs_other_with_room_locked (struct zs_pool *pool, unsigned class_id,
                           const struct zspage *z)
{
  const struct size_class_geometry *geo = zs_geometry (pool, class_id);
  struct zs_class *c = &pool->class[class_id];

  for (unsigned g = ZS_INUSE_RATIO_99; g >= ZS_INUSE_RATIO_10; g--)
    for (span_link l = c->group[g]; l;) {
      struct zspage *other = arena_zspage (&pool->arena, l - 1);

      if (other != z &&
          (other->free_head ||
           (other->fresh < geo->objs &&
            zs_pages_for (geo, other->fresh + 1u) <= other->resident)))
        return other;
      l = other->next;
    }
  return NULL;
}
