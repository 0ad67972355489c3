/* SPDX-License-Identifier: BSD-3-Clause */

#include <config.h>

#include <errno.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "mem/zs_internal.h"

struct zs_pool *
zs_create (uint32_t slot_size, uint64_t max_bytes, struct budget *budget)
{
  struct zs_pool *pool = alloc_zeroed (CACHE_LINE, sizeof *pool);

  if (!pool)
    return NULL;
  pool->base.ops = &zs_pool_ops;
  size_classes_init (&pool->classes, slot_size);
  if (counter_set_init (&pool->base.counters, POOL_COUNTERS) == -1)
    goto fail_counters;
  if (arena_init (&pool->arena, pool->classes.span_pages, max_bytes, budget) ==
      -1)
    goto fail_arena;
  for (unsigned c = 0; c < pool->classes.n; c++)
    mutex_init (&pool->class[c].lock, RANK_CLASS);
  return pool;

fail_arena:
  counter_set_destroy (&pool->base.counters);
fail_counters:
  free (pool);
  return NULL;
}

static void
free_huge_backs (struct zs_pool *pool) NO_THREAD_SAFETY_ANALYSIS
{
  struct zs_class *c = &pool->class[size_class_huge (&pool->classes)];

  for (unsigned g = 0; g < ZS_GROUPS; g++)
    for (span_link l = c->group[g]; l;) {
      struct zspage *z = arena_zspage (&pool->arena, l - 1);

      l = z->next;
      free (z->huge_back);
    }
}

void
zs_destroy (struct zs_pool *pool)
{
  if (!pool)
    return;
  free_huge_backs (pool);
  for (unsigned c = 0; c < pool->classes.n; c++)
    mutex_destroy (&pool->class[c].lock);
  arena_destroy (&pool->arena);
  counter_set_destroy (&pool->base.counters);
  free (pool);
}

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
  bool huge = class_id == size_class_huge (&pool->classes);
  zs_back *back = NULL;

  if (huge) {
    back = alloc_zeroed (sizeof *back, g->objs * sizeof *back);
    if (!back)
      return NULL;
  }
  uint32_t span = arena_alloc (&pool->arena, g->pages);
  if (span == ARENA_NO_SPAN) {
    free (back);
    return NULL;
  }
  if (arena_keeps (&pool->arena))
    arena_fill_span (&pool->arena, span, g->pages);

  struct zspage *z = arena_zspage (&pool->arena, span);
  z->next = z->prev = 0;
  z->inuse = z->fresh = z->free_head = 0;
  z->huge_back = back;
  atomic_store_explicit (&z->class_id, class_id, memory_order_relaxed);
  zspage_set_group (z, ZS_NO_GROUP);
  return z;
}

void
zs_release_zspage (struct zs_pool *pool, struct zspage *z)
{
  free (z->huge_back);
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

/* What an allocation charged, to be populated after the lock.  The zspage is
 * pinned meanwhile, or compaction could give back a page that is about to be
 * made resident, and nobody would know of it.
 */
struct growth {
  struct zspage *z; /* NULL: nothing */
  uint32_t from, to;
};

/* Make sure that the zspage has an object to give: a free one, or one more
 * fresh one whose pages are charged.
 */
static bool
grow_locked (struct zs_pool *pool, unsigned class_id, struct zspage *z,
             struct growth *growth) REQUIRES (pool->class[class_id].lock)
  NO_THREAD_SAFETY_ANALYSIS
{
  const struct size_class_geometry *g = zs_geometry (pool, class_id);
  uint32_t need, more;

  if (z->free_head)
    return true;
  need = zs_pages_for (g, z->fresh + 1u);
  if (need <= z->resident)
    return true;
  more = z->resident + ZS_GROW_PAGES;
  if (more > g->pages)
    more = g->pages;
  if (more < need)
    more = need;
  growth->from = z->resident;
  if (!arena_charge (&pool->arena, z, more) &&
      !arena_charge (&pool->arena, z, need)) /* near the limit */
    return false;
  growth->to = z->resident;
  growth->z = z;
  zspage_read_lock (z); /* at once: its writers hold the class lock */
  zs_adjust_locked (&pool->class[class_id].resident,
                    (int64_t) growth->to - growth->from);
  return true;
}

static struct zspage *
fullest_with_room_locked (struct zs_pool *pool, unsigned class_id)
  REQUIRES (pool->class[class_id].lock)
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

/* One allocation from the class as it is.  0 if it has no zspage with room
 * (errno EAGAIN) or the budget is used up (ENOSPC).
 */
static uint64_t
alloc_locked (struct zs_pool *pool, unsigned class_id, struct growth *growth,
              struct zspage **empty) REQUIRES (pool->class[class_id].lock)
{
  struct zspage *z = fullest_with_room_locked (pool, class_id);

  if (!z) {
    errno = EAGAIN;
    return 0;
  }
  if (!grow_locked (pool, class_id, z, growth)) {
    struct zspage *other = zs_other_with_room_locked (pool, class_id, z);

    if (!other) {
      /* A new zspage that got no page must not stay. */
      *empty = zs_remove_if_empty_locked (pool, class_id, z);
      errno = ENOSPC;
      return 0;
    }
    z = other;
  }
  unsigned obj = zs_take_object_locked (pool, class_id, z, 0);
  zs_regroup_locked (pool, class_id, z);
  return zs_handle (class_id, obj, arena_span_of (&pool->arena, z));
}

static void
populate (struct zs_pool *pool, const struct growth *growth)
  NO_THREAD_SAFETY_ANALYSIS
{
  fault_pause ("zs.alloc.populate");
  arena_populate (&pool->arena, arena_span_of (&pool->arena, growth->z),
                  growth->from, growth->to);
  zspage_read_unlock (growth->z);
}

static uint64_t
alloc_from_class (struct zs_pool *pool, unsigned class_id)
{
  struct growth growth = { 0 };
  struct zspage *empty = NULL, *spare = NULL;
  uint64_t handle;

  zs_class_lock (pool, class_id);
  while ((handle = alloc_locked (pool, class_id, &growth, &empty)) == 0 &&
         errno == EAGAIN) {
    zs_class_unlock (pool, class_id);
    struct zspage *z = zs_new_zspage (pool, class_id);
    if (!z)
      return 0;
    fault_pause ("zs.alloc.zspage");
    zs_class_lock (pool, class_id);
    /* Two of us made one at once: one is enough. */
    if (fullest_with_room_locked (pool, class_id))
      spare = z;
    else
      zs_regroup_locked (pool, class_id, z);
  }
  zs_class_unlock (pool, class_id);
  if (spare)
    zs_release_zspage (pool, spare);
  if (empty) {
    zs_release_zspage (pool, empty);
    errno = ENOSPC;
  }
  if (growth.z)
    populate (pool, &growth);
  return handle;
}

/* At the limit: let go what is kept for reuse, and if that is nothing, what
 * compaction can win.  Bounded, for a request waits.  False if there was
 * nothing to be had.
 */
static bool
make_room (struct zs_pool *pool)
{
  enum { STEPS = 16 };
  struct pool_cursor at = { 0 };

  if (arena_return_hot (&pool->arena) > 0)
    return true;
  if (zs_freeable_pages (pool) == 0)
    return false;
  for (unsigned i = 0; i < STEPS && zs_compact_step (pool, &at); i++)
    ;
  arena_return_hot (&pool->arena);
  return true;
}

uint64_t
zs_alloc (struct zs_pool *pool, uint32_t size, void **mem)
{
  unsigned class_id = size_class_of (&pool->classes, size);
  uint64_t handle;

  if (fault_hit ("zs.alloc")) {
    errno = ENOSPC;
    return 0;
  }
  handle = alloc_from_class (pool, class_id);
  if (!handle && errno == ENOSPC) {
    if (make_room (pool))
      handle = alloc_from_class (pool, class_id);
    else
      errno = ENOSPC;
  }
  if (handle)
    *mem = zs_object (pool, class_id, zs_handle_span (handle),
                      zs_handle_obj (handle));
  return handle;
}

/* Free the object, the class lock held; a zspage that it leaves empty is the
 * caller's to release after unlocking.
 */
static struct zspage *
free_locked (struct zs_pool *pool, unsigned class_id, uint64_t handle)
  REQUIRES (pool->class[class_id].lock)
{
  struct zspage *z = arena_zspage (&pool->arena, zs_handle_span (handle));

  check_always (atomic_load_explicit (&z->class_id, memory_order_relaxed) ==
                class_id);
  zs_put_object_locked (pool, class_id, z, zs_handle_obj (handle));
  struct zspage *empty = zs_remove_if_empty_locked (pool, class_id, z);
  if (!empty)
    zs_regroup_locked (pool, class_id, z);
  return empty;
}

void
zs_drop (struct zs_pool *pool, uint64_t handle)
{
  unsigned class_id = zs_handle_class (handle);

  zs_class_lock (pool, class_id);
  struct zspage *empty = free_locked (pool, class_id, handle);
  zs_class_unlock (pool, class_id);
  if (empty)
    zs_release_zspage (pool, empty);
}

void
zs_attach (struct zs_pool *pool, uint64_t handle, zs_cell *cell)
{
  struct zspage *z = arena_zspage (&pool->arena, zs_handle_span (handle));

  /* Release: a mover that sees the back pointer sees the object's bytes and
   * the cell's value too.  The object cannot have moved before this store.
   */
  atomic_store_explicit (&zs_backs (pool, z)[zs_handle_obj (handle)],
                         (uintptr_t) cell, memory_order_release);
}

void
zs_replace (struct zs_pool *pool, zs_cell *cell, uint64_t value)
{
  /* The object may move until the class lock is held, but never to another
   * class, so the lock to take is known before.
   */
  uint64_t handle = atomic_load_explicit (cell, memory_order_relaxed);
  unsigned class_id = zs_handle_class (handle);

  zs_class_lock (pool, class_id);
  handle = atomic_load_explicit (cell, memory_order_relaxed);
  atomic_store_explicit (cell, value, memory_order_relaxed);
  struct zspage *empty = free_locked (pool, class_id, handle);
  zs_class_unlock (pool, class_id);
  if (empty)
    zs_release_zspage (pool, empty);
}

void *
zs_pin (struct zs_pool *pool, zs_cell *cell, uint64_t *handle)
  NO_THREAD_SAFETY_ANALYSIS
{
  uint64_t h = atomic_load_explicit (cell, memory_order_acquire);

  for (;;) {
    struct zspage *z = arena_zspage (&pool->arena, zs_handle_span (h));
    uint64_t again;

    fault_pause ("zs.pin.before_lock");
    zspage_read_lock (z);
    /* Ordered after the lock.  A mover that held this zspage before us wrote
     * the cell before it unlocked; one that comes later cannot get in.
     */
    again = atomic_load_explicit (cell, memory_order_acquire);
    if (likely (again == h))
      break;
    zspage_read_unlock (z);
    h = again;
  }
  *handle = h;
  return zs_object (pool, zs_handle_class (h), zs_handle_span (h),
                    zs_handle_obj (h));
}

void
zs_unpin (struct zs_pool *pool, uint64_t handle) NO_THREAD_SAFETY_ANALYSIS
{
  zspage_read_unlock (arena_zspage (&pool->arena, zs_handle_span (handle)));
}
