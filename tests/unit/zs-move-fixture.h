/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the tests of moving objects share: one pool and one table of items,
 * most of them of one size, and readers that stay inside.
 */

#ifndef ZRAM_ZS_MOVE_FIXTURE_H
#define ZRAM_ZS_MOVE_FIXTURE_H

#include "zs-fixture.h"

#define SIZE 1000
#define ITEMS 4000

static struct item items[ITEMS];
static struct fixture f;

static inline unsigned
class_of (uint32_t size)
{
  return size_class_of (&f.pool->classes, size);
}

static inline unsigned
objs_of (uint32_t size)
{
  return zs_geometry (f.pool, class_of (size))->objs;
}

static inline void
open_with (unsigned n, uint32_t size)
{
  memset (items, 0, sizeof items);
  fixture_open (&f, 4096, 0);
  for (unsigned i = 0; i < n; i++)
    check_always (item_write (f.any, &items[i], size, i));
}

static inline void
check_and_close (void)
{
  items_check (f.any, items, ITEMS);
  fixture_audit (&f, items, ITEMS);
  items_free (f.any, items, ITEMS);
  fixture_audit (&f, items, ITEMS);
  fixture_close (&f);
}

static inline uint32_t
span_of (const struct item *it)
{
  return zs_handle_span (atomic_load (&it->cell));
}

static inline uint32_t
zspages_of (uint32_t size)
{
  struct pool_class_stats st = pool_class_stats (f.any, class_of (size));
  uint32_t n = 0;

  for (unsigned g = 0; g < ZS_GROUPS; g++)
    n += st.zspages[g];
  return n;
}

static inline uint32_t
top (void)
{
  return arena_stats (&f.pool->arena).top;
}

/* Fill, and free what is in the lower spans, whole zspages of it. */
static inline void
open_with_low_end_free (unsigned n, unsigned freed)
{
  open_with (n, SIZE);
  for (unsigned i = 0; i < freed; i++)
    item_free (f.any, &items[i]);
  arena_return_hot (&f.pool->arena);
}

/* -- a reader that pins an object and stays until it is told to leave ---- */

struct reader {
  struct item *item;
  atomic_bool pinned, leave;
  _Atomic uint64_t handle;
  struct unit_thread thread;
};

static inline void *
read_and_stay (void *arg)
{
  struct reader *r = arg;
  uint64_t handle;
  void *mem = pool_pin (f.any, &r->item->cell, &handle);

  atomic_store (&r->handle, handle);
  atomic_store (&r->pinned, true);
  while (!atomic_load (&r->leave)) {
    check_always (bytes_are_right (mem, r->item->size, r->item->tag));
    check_always (atomic_load (&r->item->cell) == handle);
    sched_yield ();
  }
  pool_unpin (f.any, handle);
  return NULL;
}

static inline void
start_reader (struct reader *r, struct item *it)
{
  *r = (struct reader){ .item = it };
  unit_start (&r->thread, read_and_stay, r);
}

static inline void
end_reader (struct reader *r)
{
  atomic_store (&r->leave, true);
  unit_join (&r->thread);
}

static inline void
wait_until_pinned (struct reader *r)
{
  while (!atomic_load (&r->pinned))
    sched_yield ();
}

#endif /* ZRAM_ZS_MOVE_FIXTURE_H */
