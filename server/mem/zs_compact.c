/* SPDX-License-Identifier: BSD-3-Clause */
/* zsmalloc: compaction of a size class.
 * Contract: mem/zs_internal.h.
 */

/*
 * The objects of the emptiest zspage of a class move into the
 * holes of the fullest.  When those have no more, what is left in it is packed
 * to its front, and the pages behind go back to the system:
 *
 *   before  |a.b.cde.|fgh.ijk.|l.m..n..o...|     . free, | zspage
 *   after   |aobncdem|fghlijk.|                  (the last one freed)
 *   or, with fewer holes,     |lm          |     (packed, its tail freed)
 *
 * At the end a class has at most one zspage that is not full, and that has less
 * than a page to spare.  With some 250 classes this keeps memory close to the
 * size of the objects: half a zspage a class would be 16 MiB.
 *
 * Under the class lock no other thread allocates, frees or moves objects of the
 * class.  The source's write lock keeps the readers of its objects out.  The
 * destination needs no lock: its free objects have no readers.
 *
 * The class lock is held while the objects of one zspage (a span of 128 KiB)
 * are copied, and for the one madvise that gives its tail back.  Calls that ask
 * the system for memory are made without it.
 */

#include <config.h>

#include <string.h>

#include "base/fault.h"
#include "mem/zs_internal.h"

uint64_t
zs_freeable_pages (struct pool *p)
{
  struct zs_pool *pool = zs_of (p);
  uint64_t pages = 0;

  for (unsigned id = 0; id < pool->classes.n; id++)
    pages += zs_freeable (pool, id);
  return pages;
}

/* The emptiest zspage without a reader inside, write-locked; false if all of
 * the first few have readers.
 */
static bool
lock_source_locked (struct zs_pool *pool, unsigned class_id, struct zspage **z)
  REQUIRES (pool->class[class_id].lock) TRY_ACQUIRE (true, (*z)->lock)
{
  enum { TRIES = 8 };
  struct zs_class *c = &pool->class[class_id];
  unsigned tries = 0;

  for (unsigned g = ZS_INUSE_RATIO_10; g <= ZS_INUSE_RATIO_99; g++)
    for (span_link l = c->group[g]; l;) {
      *z = arena_zspage (&pool->arena, l - 1);
      if (zspage_try_write_lock (*z))
        return true;
      counter_add (&pool->base.counters, POOL_MOVER_SKIPS, 1);
      if (++tries == TRIES)
        return false;
      l = (*z)->next;
    }
  return false;
}

/* Copy an attached object to another place of its class, give that place the
 * object's back pointer, and let the cell name it. 'from' is write-locked.
 */
static void
relocate_locked (struct zs_pool *pool, unsigned class_id, struct zspage *from,
                 unsigned obj, struct zspage *to, unsigned new_obj)
  REQUIRES (pool->class[class_id].lock)
{
  uint64_t back = atomic_load_explicit (&zs_backs (pool, from)[obj],
                                        memory_order_acquire);
  uint32_t from_span = arena_span_of (&pool->arena, from);
  uint32_t to_span = arena_span_of (&pool->arena, to);
  uint64_t old = zs_handle (class_id, obj, from_span);

  atomic_store_explicit (&zs_backs (pool, to)[new_obj], back,
                         memory_order_relaxed);
  memcpy (zs_object (pool, class_id, to_span, new_obj),
          zs_object (pool, class_id, from_span, obj),
          zs_geometry (pool, class_id)->size);
  /* Release: a thread that reads the new handle also sees the copied bytes. */
  check_always (atomic_compare_exchange_strong_explicit (
    (zs_cell *) (uintptr_t) back, &old, zs_handle (class_id, new_obj, to_span),
    memory_order_release, memory_order_relaxed));
}

/* Objects in transit stay, and so does their zspage. */
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
    relocate_locked (pool, class_id, from, obj, to,
                     zs_take_object_locked (pool, class_id, to, back));
    zs_put_object_locked (pool, class_id, from, obj);
    zs_regroup_locked (pool, class_id, to);
    moved++;
  }
  return moved;
}

static bool
is_free (zs_back *backs, unsigned obj)
{
  return atomic_load_explicit (&backs[obj], memory_order_relaxed) &
         ZS_BACK_FREE;
}

/* Link the free objects below 'fresh' anew, the lowest first. */
static void
rebuild_free_list_locked (struct zspage *z, zs_back *backs)
{
  z->free_head = 0;
  for (unsigned obj = z->fresh; obj-- > 0;)
    if (is_free (backs, obj)) {
      atomic_store_explicit (&backs[obj],
                             (uint64_t) z->free_head << 1 | ZS_BACK_FREE,
                             memory_order_relaxed);
      z->free_head = (uint16_t) (obj + 1);
    }
}

/* Fill the zspage's holes with its own last objects, down to the first one in
 * transit.  The zspage is write-locked.
 */
static unsigned
pack_locked (struct zs_pool *pool, unsigned class_id, struct zspage *z)
  REQUIRES (pool->class[class_id].lock)
{
  zs_back *backs = zs_backs (pool, z);
  unsigned hole = 0, end = z->fresh, moved = 0;

  for (;; moved++) {
    while (end > 0 && is_free (backs, end - 1))
      end--;
    while (hole < end && !is_free (backs, hole))
      hole++;
    if (hole >= end ||
        atomic_load_explicit (&backs[end - 1], memory_order_relaxed) == 0)
      break;
    relocate_locked (pool, class_id, z, end - 1, z, hole);
    /* A mark that rebuild_free_list_locked turns into a link. */
    atomic_store_explicit (&backs[end - 1], ZS_BACK_FREE, memory_order_relaxed);
  }
  pool->class[class_id].fresh -= z->fresh - end;
  z->fresh = (uint16_t) end;
  rebuild_free_list_locked (z, backs);
  return moved;
}

/* Give back the pages without objects.  With the class lock held, because the
 * next allocation may need them; takes at most some 10 us.
 */
static uint64_t
drop_tail_locked (struct zs_pool *pool, unsigned class_id, struct zspage *z)
  REQUIRES (pool->class[class_id].lock)
{
  uint32_t need = zs_pages_for (zs_geometry (pool, class_id), z->fresh);
  uint32_t over = z->resident > need ? z->resident - need : 0;

  /* Keep the pages then, for the next allocation. */
  if (arena_keeps (&pool->arena))
    return 0;
  arena_shrink (&pool->arena, z, need);
  zs_adjust_locked (&pool->class[class_id].resident, -(int64_t) over);
  return over;
}

struct gain {
  struct zspage *empty; /* to be released once the class is unlocked */
  int64_t pages;        /* freed, or about to be */
  unsigned moved;
};

/* The first zspage of the groups, from the emptiest or from the fullest, that
 * is not full and not this one; NULL if no other is left.
 */
static struct zspage *
partial_locked (struct zs_pool *pool, unsigned class_id, bool fullest,
                const struct zspage *not_this)
  REQUIRES (pool->class[class_id].lock)
{
  struct zs_class *c = &pool->class[class_id];

  for (unsigned i = ZS_INUSE_RATIO_10; i <= ZS_INUSE_RATIO_99; i++) {
    unsigned g = fullest ? ZS_INUSE_RATIO_99 + ZS_INUSE_RATIO_10 - i : i;
    span_link l = c->group[g];
    struct zspage *z = l ? arena_zspage (&pool->arena, l - 1) : NULL;

    if (z == not_this && z && z->next)
      z = arena_zspage (&pool->arena, z->next - 1);
    if (z && z != not_this)
      return z;
  }
  return NULL;
}

/* A destination that got more pages, which must be made resident with no lock
 * held.  An object in transit prevents that the zspage is freed meanwhile, and
 * its read lock prevents that its tail is given back.
 */
struct extension {
  struct zspage *z; /* NULL: none */
  unsigned keeper;  /* the object in transit */
  uint32_t from, to;
};

/* Two zspages without holes may still fit in one, with pages that the fuller
 * one does not have yet.  Charge those.  Returns no destination if that is over
 * the limit.
 */
static struct extension
extend_destination_locked (struct zs_pool *pool, unsigned class_id)
  REQUIRES (pool->class[class_id].lock)
{
  const struct size_class_geometry *g = zs_geometry (pool, class_id);
  struct zspage *from = partial_locked (pool, class_id, false, NULL);
  struct zspage *to = from ? partial_locked (pool, class_id, true, from) : NULL;
  struct extension none = { 0 }, e = { .z = to };
  uint32_t objs;

  if (!to || zs_other_with_room_locked (pool, class_id, from))
    return none;
  objs = to->fresh + from->inuse < g->objs ? to->fresh + from->inuse : g->objs;
  e.from = to->resident;
  e.to = zs_pages_for (g, objs);
  if (e.to <= e.from || !arena_charge (&pool->arena, to, e.to))
    return none;
  zs_adjust_locked (&pool->class[class_id].resident,
                    (int64_t) e.to - (int64_t) e.from);
  e.keeper = zs_take_object_locked (pool, class_id, to, 0);
  zs_regroup_locked (pool, class_id, to);
  zspage_read_lock (to); /* at once: its writers hold the class lock */
  return e;
}

/* Make the new pages resident.  This system call may take long, so the class is
 * unlocked meanwhile.  Writers must not fault pages in, so this comes first.
 */
static void
populate_extension_locked (struct zs_pool *pool, unsigned class_id,
                           const struct extension *e, struct gain *gain)
  REQUIRES (pool->class[class_id].lock)
{
  zs_class_unlock (pool, class_id);
  fault_pause ("zs.compact.populate");
  arena_populate (&pool->arena, arena_span_of (&pool->arena, e->z), e->from,
                  e->to);
  zspage_read_unlock (e->z);
  zs_class_lock (pool, class_id);
  zs_put_object_locked (pool, class_id, e->z, e->keeper);
  gain->empty = zs_remove_if_empty_locked (pool, class_id, e->z);
  gain->pages -= e->to - e->from;
}

/* Empty the emptiest zspage, or move out as many objects as possible. */
static void
drain_a_source_locked (struct zs_pool *pool, unsigned class_id,
                       struct gain *gain) REQUIRES (pool->class[class_id].lock)
{
  struct extension e = extend_destination_locked (pool, class_id);

  if (e.z)
    populate_extension_locked (pool, class_id, &e, gain);
  if (gain->empty) { /* its other objects were freed meanwhile */
    gain->pages += gain->empty->resident;
    return;
  }
  struct zspage *z;
  if (!lock_source_locked (pool, class_id, &z))
    return;
  gain->moved = move_objects_locked (pool, class_id, z);
  if (z->inuse)
    gain->moved += pack_locked (pool, class_id, z);
  fault_pause ("zs.compact.moved");
  zspage_write_unlock (z);
  gain->empty = zs_remove_if_empty_locked (pool, class_id, z);
  gain->pages += gain->empty ? z->resident
                             : (int64_t) drop_tail_locked (pool, class_id, z);
}

static struct gain
compact_one (struct zs_pool *pool, unsigned class_id)
{
  struct zs_class *c = &pool->class[class_id];
  struct gain gain = { 0 };

  zs_class_lock (pool, class_id);
  if (c->group[ZS_INUSE_RATIO_0]) {
    /* Two allocations made a zspage at the same time, and one was enough. */
    gain.empty = zs_remove_if_empty_locked (
      pool, class_id,
      arena_zspage (&pool->arena, c->group[ZS_INUSE_RATIO_0] - 1));
    gain.pages = gain.empty->resident;
  }
  else if (zs_freeable (pool, class_id) > 0)
    drain_a_source_locked (pool, class_id, &gain);
  zs_class_unlock (pool, class_id);
  return gain;
}

bool
zs_compact_step (struct pool *p, struct pool_cursor *at)
{
  struct zs_pool *pool = zs_of (p);
  while (at->class_id < pool->classes.n) {
    struct gain gain = compact_one (pool, at->class_id);

    counter_add (&pool->base.counters, POOL_OBJECTS_MOVED, gain.moved);
    counter_add (&pool->base.counters, POOL_PAGES_COMPACTED, gain.pages);
    if (gain.empty)
      zs_release_zspage (pool, gain.empty);
    /* Nothing more to gain, or busy: this class is done for this round. */
    if (gain.pages <= 0)
      at->class_id++;
    if (gain.pages || gain.moved)
      return true;
  }
  at->class_id = 0;
  return false;
}
