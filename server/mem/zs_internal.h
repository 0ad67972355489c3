/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Shared by the files of zsmalloc.  The calls go:
 *
 *   zsmalloc.c (objects) --> zs_compact.c -------> zs_class.c (zspages)
 *            zs_migrate.c, zs_audit.c ------^
 *
 * The caller of everything below the ruled line holds the class lock.
 */

#ifndef ZRAM_ZS_INTERNAL_H
#define ZRAM_ZS_INTERNAL_H

#include "mem/zsmalloc.h"

#define ZS_BACK_FREE 1u

_Static_assert(offsetof (struct zs_pool, base) == 0, "cast below");

static inline struct zs_pool *
zs_of (struct pool *p)
{
  return (struct zs_pool *) p;
}

/* -- the pool's operations (pool.h) that have files of their own ---------- */

/* zs_compact.c.  A step empties one zspage into fuller ones of its class.  It
 * holds that class's lock while it copies the objects of at most one zspage.
 */
uint64_t zs_freeable_pages (struct pool *p);
bool zs_compact_step (struct pool *p, struct pool_cursor *at);

/* zs_migrate.c.  It pays when so many spans are free below the arena's end that
 * the end would sink by half or more.  A step moves the highest zspage to a
 * lower span, and holds its class's lock during the copy.
 */
bool zs_migration_pays (struct pool *p);
bool zs_migrate_step (struct pool *p, struct pool_cursor *at);

/* zs_audit.c.  Class locks in turn. */
struct pool_class_stats zs_class_stats (struct pool *p, unsigned class_id);
bool zs_is_attached (struct pool *p, uint64_t handle, const zs_cell *cell);
const char *zs_audit (struct pool *p, const atomic_bool *cancel,
                      struct pool_audit *result);

/* -- zspages: zs_class.c ------------------------------------------------- */

/* Pages populated at once when a zspage grows: a fault costs more than the page
 * (4.0 µs a page one by one, 1.2 in twos, 1.1 in fours).  But the pages that
 * one zspage of each of 250 classes has ahead cost memory.
 */
#define ZS_GROW_PAGES 2u

static inline const struct size_class_geometry *
zs_geometry (const struct zs_pool *pool, unsigned class_id)
{
  return &pool->classes.g[class_id];
}

static inline zs_back *
zs_backs (struct zs_pool *pool, struct zspage *z)
{
  return z->huge_back ? z->huge_back
                      : (zs_back *) arena_address (
                          &pool->arena, arena_span_of (&pool->arena, z));
}

/* Where a zspage of that class has its back[] if it is not in the span, or
 * NULL: the objects of the huge class leave no room in the span.
 */
static inline zs_back *
zs_huge_back (const struct zs_pool *pool, unsigned class_id, uint32_t span)
{
  return class_id == size_class_huge (&pool->classes)
           ? arena_beside (&pool->arena, span)
           : NULL;
}

static inline char *
zs_object (const struct zs_pool *pool, unsigned class_id, uint32_t span,
           unsigned obj)
{
  const struct size_class_geometry *g = zs_geometry (pool, class_id);

  return arena_address (&pool->arena, span) + g->first + (size_t) obj * g->size;
}

/* Pages that objects 0 … objs-1 lie in. */
static inline uint32_t
zs_pages_for (const struct size_class_geometry *g, uint32_t objs)
{
  return (g->first + objs * g->size + MEM_PAGE - 1) / MEM_PAGE;
}

/* Change a class's count.  All writers hold the class lock, so this need not be
 * atomic.
 */
static inline void
zs_adjust_locked (_Atomic uint64_t *count, int64_t by)
{
  atomic_store_explicit (
    count, atomic_load_explicit (count, memory_order_relaxed) + (uint64_t) by,
    memory_order_relaxed);
}

/* Pages that the class does not need.  Exact with the class lock held; without
 * it the two counts may be of different moments.
 */
static inline uint64_t
zs_freeable (const struct zs_pool *pool, unsigned class_id)
{
  const struct size_class_geometry *g = zs_geometry (pool, class_id);
  const struct zs_class *c = &pool->class[class_id];
  uint64_t inuse = atomic_load_explicit (&c->inuse, memory_order_relaxed);
  uint64_t resident = atomic_load_explicit (&c->resident, memory_order_relaxed);
  uint32_t rest = (uint32_t) (inuse % g->objs);
  /* If memory is kept ready, a zspage in use has all of its pages. */
  uint32_t last = arena_keeps (&pool->arena) ? g->pages
                                             : zs_pages_for (g, rest);
  uint64_t need = inuse / g->objs * zs_pages_for (g, g->objs) +
                  (rest ? last : 0);

  return resident > need ? resident - need : 0;
}

static inline void
zs_class_lock (struct zs_pool *pool, unsigned class_id)
  ACQUIRE (pool->class[class_id].lock)
{
  mutex_lock (&pool->class[class_id].lock);
}

static inline void
zs_class_unlock (struct zs_pool *pool, unsigned class_id)
  RELEASE (pool->class[class_id].lock)
{
  mutex_unlock (&pool->class[class_id].lock);
}

/* Free a zspage that has left its class.  Takes no class lock. */
void zs_release_zspage (struct zs_pool *pool, struct zspage *z);

/* Make a free span a zspage of the class, on no list yet; NULL with errno
 * ENOMEM.  Takes the arena lock.
 */
struct zspage *zs_new_zspage (struct zs_pool *pool, unsigned class_id) MUST_USE;

/* -- below this line the caller holds the class lock -------------------- */

/* Move the zspage from its list (if any) to the list of its inuse. */
void zs_regroup_locked (struct zs_pool *pool, unsigned class_id,
                        struct zspage *z) REQUIRES (pool->class[class_id].lock);

/* Take it off its list. */
void zs_unlist_locked (struct zs_pool *pool, unsigned class_id,
                       struct zspage *z) REQUIRES (pool->class[class_id].lock);

/* A free object of the zspage, whose back[] entry becomes 'back'; the zspage
 * stays on its list.  It must have one.
 */
unsigned zs_take_object_locked (struct zs_pool *pool, unsigned class_id,
                                struct zspage *z, uint64_t back)
  REQUIRES (pool->class[class_id].lock);

/* The fullest zspage that is not full; NULL if all are. */
struct zspage *zs_fullest_with_room_locked (struct zs_pool *pool,
                                            unsigned class_id)
  REQUIRES (pool->class[class_id].lock) MUST_USE;

/* The fullest zspage except this one that has a free object whose memory is
 * charged already; NULL if no zspage has.
 */
struct zspage *zs_other_with_room_locked (struct zs_pool *pool,
                                          unsigned class_id,
                                          const struct zspage *z)
  REQUIRES (pool->class[class_id].lock) MUST_USE;

/* If the zspage has no object left, it leaves its class and is returned; the
 * caller releases it after unlocking.  Otherwise NULL, and it is regrouped.
 */
struct zspage *zs_remove_if_empty_locked (struct zs_pool *pool,
                                          unsigned class_id, struct zspage *z)
  REQUIRES (pool->class[class_id].lock) MUST_USE;

/* Give an object back; the zspage stays on its list. */
void zs_put_object_locked (struct zs_pool *pool, unsigned class_id,
                           struct zspage *z, unsigned obj)
  REQUIRES (pool->class[class_id].lock);

#endif /* ZRAM_ZS_INTERNAL_H */
