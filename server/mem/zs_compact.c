/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Compaction: the objects of the emptiest zspage of a class move into the
 * fullest that have room, until the class would need no fewer zspages.
 *
 * Under the class lock nothing of the class is allocated, freed or moved by
 * anybody else; the source's write lock keeps the readers of its objects
 * out.  The destination needs no lock: its free objects have no readers.
 */

#include <config.h>

#include <string.h>

#include "base/fault.h"
#include "mem/zs_internal.h"

static uint64_t
freeable_zspages_locked (struct zs_pool *pool, unsigned class_id)
  REQUIRES (pool->class[class_id].lock)
{
  struct zs_class *c = &pool->class[class_id];

  check_debug (c->fresh >= c->inuse);
  return (c->fresh - c->inuse) / zs_geometry (pool, class_id)->objs;
}

uint64_t
zs_freeable_pages (struct zs_pool *pool)
{
  uint64_t pages = 0;

  for (unsigned id = 0; id < pool->classes.n; id++) {
    zs_class_lock (pool, id);
    pages += freeable_zspages_locked (pool, id) * zs_geometry (pool, id)->pages;
    zs_class_unlock (pool, id);
  }
  return pages;
}

/* The emptiest zspage that no reader is in, write-locked; NULL if there is
 * none among the first few.
 */
static struct zspage *
lock_source_locked (struct zs_pool *pool, unsigned class_id)
  REQUIRES (pool->class[class_id].lock) NO_THREAD_SAFETY_ANALYSIS
{
  enum { TRIES = 8 };
  struct zs_class *c = &pool->class[class_id];
  unsigned tries = 0;

  for (unsigned g = ZS_INUSE_RATIO_10; g <= ZS_INUSE_RATIO_99; g++)
    for (span_link l = c->group[g]; l;) {
      struct zspage *z = arena_zspage (&pool->arena, l - 1);

      if (zspage_try_write_lock (z))
        return z;
      counter_add (&pool->counters, ZS_MOVER_SKIPS, 1);
      if (++tries == TRIES)
        return NULL;
      l = z->next;
    }
  return NULL;
}

static void
move_object_locked (struct zs_pool *pool, unsigned class_id,
                    struct zspage *from, unsigned obj, struct zspage *to)
  REQUIRES (pool->class[class_id].lock)
{
  uint64_t back = atomic_load_explicit (&zs_backs (pool, from)[obj],
                                        memory_order_acquire);
  zs_cell *cell = (zs_cell *) (uintptr_t) back;
  uint32_t from_span = arena_span_of (&pool->arena, from);
  uint32_t to_span = arena_span_of (&pool->arena, to);
  unsigned new_obj = zs_take_object_locked (pool, class_id, to, back);
  uint64_t old = zs_handle (class_id, obj, from_span);

  memcpy (zs_object (pool, class_id, to_span, new_obj),
          zs_object (pool, class_id, from_span, obj),
          zs_geometry (pool, class_id)->size);
  /* Release: whoever reads the new handle reads the bytes behind it. */
  check_always (atomic_compare_exchange_strong_explicit (
    cell, &old, zs_handle (class_id, new_obj, to_span), memory_order_release,
    memory_order_relaxed));
  zs_put_object_locked (pool, class_id, from, obj);
}

/* Objects in transit stay, and so does then their zspage. */
static unsigned
move_objects_locked (struct zs_pool *pool, unsigned class_id,
                     struct zspage *from) REQUIRES (pool->class[class_id].lock)
{
  struct zspage *to = NULL;
  unsigned moved = 0;

  for (unsigned obj = 0; obj < from->fresh && from->inuse; obj++) {
    uint64_t back = atomic_load_explicit (&zs_backs (pool, from)[obj],
                                          memory_order_relaxed);

    if (back == 0 || (back & ZS_BACK_FREE))
      continue;
    to = zs_other_with_room_locked (pool, class_id, from);
    if (!to)
      break;
    move_object_locked (pool, class_id, from, obj, to);
    zs_regroup_locked (pool, class_id, to);
    moved++;
  }
  return moved;
}

/* Move the emptiest zspage's objects away.  Returns it if it is empty then,
 * out of its class.
 */
static struct zspage *
empty_a_source_locked (struct zs_pool *pool, unsigned class_id, unsigned *moved)
  REQUIRES (pool->class[class_id].lock) NO_THREAD_SAFETY_ANALYSIS
{
  struct zspage *z = lock_source_locked (pool, class_id);

  if (!z)
    return NULL;
  *moved = move_objects_locked (pool, class_id, z);
  fault_pause ("zs.compact.moved");
  zspage_write_unlock (z);
  return zs_remove_if_empty_locked (pool, class_id, z);
}

static struct zspage *
compact_one (struct zs_pool *pool, unsigned class_id, unsigned *moved)
{
  struct zs_class *c = &pool->class[class_id];
  struct zspage *empty = NULL;

  zs_class_lock (pool, class_id);
  if (c->group[ZS_INUSE_RATIO_0])
    /* Two allocations made a zspage at once, and one was enough. */
    empty = zs_remove_if_empty_locked (
      pool, class_id,
      arena_zspage (&pool->arena, c->group[ZS_INUSE_RATIO_0] - 1));
  else if (freeable_zspages_locked (pool, class_id) > 0)
    empty = empty_a_source_locked (pool, class_id, moved);
  zs_class_unlock (pool, class_id);
  return empty;
}

bool
zs_compact_step (struct zs_pool *pool, struct zs_cursor *at)
{
  while (at->class_id < pool->classes.n) {
    unsigned moved = 0;
    struct zspage *empty = compact_one (pool, at->class_id, &moved);

    if (moved)
      counter_add (&pool->counters, ZS_OBJECTS_MOVED, moved);
    if (empty) {
      counter_add (&pool->counters, ZS_PAGES_COMPACTED, empty->resident);
      zs_release_zspage (pool, empty);
      return true;
    }
    /* Nothing to win, or busy: this class is done for this round. */
    at->class_id++;
    if (moved)
      return true;
  }
  at->class_id = 0;
  return false;
}
