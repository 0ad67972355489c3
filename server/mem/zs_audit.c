/* SPDX-License-Identifier: BSD-3-Clause */
/* zsmalloc: statistics, and the allocator's part of the audit.
 * Contract: mem/zs_internal.h.
 */

#include <config.h>

#include "mem/zs_internal.h"

struct pool_class_stats
zs_class_stats (struct pool *p, unsigned class_id)
{
  struct zs_pool *pool = zs_of (p);
  const struct size_class_geometry *g = zs_geometry (pool, class_id);
  struct zs_class *c = &pool->class[class_id];
  struct pool_class_stats st = { .size = g->size,
                                 .pages = g->pages,
                                 .objs = g->objs };
  uint64_t zspages = 0;

  zs_class_lock (pool, class_id);
  for (unsigned i = 0; i < ZS_GROUPS; i++) {
    st.zspages[i] = c->zspages[i];
    zspages += c->zspages[i];
  }
  st.inuse = c->inuse;
  st.freeable_pages = zs_freeable (pool, class_id);
  zs_class_unlock (pool, class_id);
  st.allocated = zspages * g->objs;
  return st;
}

bool
zs_is_attached (struct pool *p, uint64_t handle, const zs_cell *cell)
{
  struct zs_pool *pool = zs_of (p);
  struct zspage *z = arena_zspage (&pool->arena, zs_handle_span (handle));

  return atomic_load_explicit (&zs_backs (pool, z)[zs_handle_obj (handle)],
                               memory_order_acquire) == (uintptr_t) cell;
}

struct audit {
  uint64_t objects, inuse, fresh, resident_pages, zspages;
  const atomic_bool *cancel; /* or NULL */
  const char *wrong;
};

static void
audit_object (struct zs_pool *pool, unsigned class_id, struct zspage *z,
              unsigned obj, struct audit *a)
{
  uint64_t back = atomic_load_explicit (&zs_backs (pool, z)[obj],
                                        memory_order_relaxed);
  uint64_t handle = zs_handle (class_id, obj, arena_span_of (&pool->arena, z));

  if (back & ZS_BACK_FREE)
    return;
  if (back == 0)
    a->wrong = "an object is in transit";
  else if (atomic_load_explicit ((zs_cell *) (uintptr_t) back,
                                 memory_order_relaxed) != handle)
    a->wrong = "an object's cell does not name it";
  else
    a->objects++;
}

static unsigned
free_list_length (const struct zspage *z, zs_back *backs)
{
  unsigned n = 0;

  for (unsigned at = z->free_head; at && n <= z->fresh; n++)
    at = atomic_load_explicit (&backs[at - 1], memory_order_relaxed) >> 1;
  return n;
}

static void
audit_zspage (struct zs_pool *pool, unsigned class_id, unsigned group,
              struct zspage *z, struct audit *a)
{
  const struct size_class_geometry *g = zs_geometry (pool, class_id);

  if (atomic_load (&z->class_id) != class_id || zspage_group (z) != group)
    a->wrong = "a zspage is on a list that is not its own";
  else if (z->inuse > z->fresh || z->fresh > g->objs)
    a->wrong = "a zspage has more objects in use than it has";
  else if (z->fresh && zs_pages_for (g, z->fresh) > z->resident)
    a->wrong = "an object lies in a page that was not charged";
  else if (z->inuse + free_list_length (z, zs_backs (pool, z)) != z->fresh)
    a->wrong = "a zspage's free list has the wrong length";
  for (unsigned obj = 0; obj < z->fresh && !a->wrong; obj++)
    audit_object (pool, class_id, z, obj, a);
  a->inuse += z->inuse;
  a->fresh += z->fresh;
  a->resident_pages += z->resident;
  a->zspages++;
}

static void
audit_class (struct zs_pool *pool, unsigned class_id, struct audit *all)
{
  struct zs_class *c = &pool->class[class_id];
  struct audit a = { .cancel = all->cancel };

  zs_class_lock (pool, class_id);
  for (unsigned g = 0; g < ZS_GROUPS && !a.wrong; g++) {
    uint64_t before = a.zspages;
    span_link prev = 0;

    for (span_link l = c->group[g]; l && !a.wrong;) {
      struct zspage *z = arena_zspage (&pool->arena, l - 1);

      if (z->prev != prev)
        a.wrong = "a fullness list is broken";
      else if (a.cancel && atomic_load (a.cancel))
        a.wrong = POOL_AUDIT_CANCELLED;
      audit_zspage (pool, class_id, g, z, &a);
      prev = l;
      l = z->next;
    }
    if (!a.wrong && a.zspages - before != c->zspages[g])
      a.wrong = "a fullness list has the wrong length";
  }
  if (!a.wrong && (a.inuse != c->inuse || a.fresh != c->fresh ||
                   a.resident_pages != c->resident))
    a.wrong = "objects or pages of a class miscounted";
  zs_class_unlock (pool, class_id);

  all->objects += a.objects;
  all->resident_pages += a.resident_pages;
  all->zspages += a.zspages;
  all->wrong = a.wrong;
}

const char *
zs_audit (struct pool *p, const atomic_bool *cancel, struct pool_audit *result)
{
  struct zs_pool *pool = zs_of (p);
  struct audit all = { .cancel = cancel };

  for (unsigned c = 0; c < pool->classes.n && !all.wrong; c++)
    audit_class (pool, c, &all);
  if (all.wrong)
    return all.wrong;

  struct arena_stats st = arena_stats (&pool->arena);
  if (st.used_spans != all.zspages)
    return "a span is in use by no class";
  result->objects = all.objects;
  result->resident_pages = all.resident_pages + st.hot_pages;
  return arena_audit (&pool->arena);
}
