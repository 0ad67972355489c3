/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Readers and movers: which waits for which, which is skipped, and which comes
 * too late.  Threads are held at named points and let go in a chosen order;
 * nothing here is left to chance.
 */

#include <config.h>

#include "zs-move-fixture.h"

/* ------------------------------------------------------------------------
 * A reader that stays inside.
 */

/* Compaction goes on to the next zspage, and returns. */
static void
test_compaction_beside_reader (void **state)
{
  struct reader r;

  (void) state;
  open_with (0, 0);
  unsigned objs = objs_of (SIZE), kept = objs / 10;
  for (unsigned i = 0; i < 4 * objs; i++)
    check_always (item_write (f.any, &items[i], SIZE, i));
  /* The emptiest is the one where the reader is. */
  for (unsigned z = 0; z < 4; z++)
    for (unsigned i = kept + z; i < objs; i++)
      item_free (f.any, &items[z * objs + i]);
  uint32_t busy = span_of (&items[0]);
  start_reader (&r, &items[0]);
  wait_until_pinned (&r);

  compact_all (f.pool);
  assert_int_equal (zspages_of (SIZE), 1);
  assert_true (pool_counter (f.pool, POOL_MOVER_SKIPS) > 0);
  for (unsigned i = 0; i < 4 * objs; i++)
    assert_true (items[i].size == 0 || span_of (&items[i]) == busy);
  end_reader (&r);
  check_and_close ();
}

/* Migration too: the highest zspage stays where it is, over free spans. */
static void
test_migration_beside_reader (void **state)
{
  struct reader r;

  (void) state;
  open_with_low_end_free (ITEMS, ITEMS * 3 / 4);
  start_reader (&r, &items[ITEMS - 1]);
  wait_until_pinned (&r);
  uint32_t highest = zs_handle_span (atomic_load (&r.handle));
  migrate_all (f.pool);
  assert_int_equal (pool_counter (f.pool, POOL_MOVER_SKIPS), 1);
  assert_true (pool_counter (f.pool, POOL_ZSPAGES_MIGRATED) > 0);
  assert_int_equal (span_of (&items[ITEMS - 1]), highest);
  assert_true (top () > highest);
  items_check (f.any, items, ITEMS);

  end_reader (&r);
  migrate_all (f.pool);
  assert_true (top () <= highest);
  check_and_close ();
}

/* Readers in every zspage: nothing can move, and it returns all the same. */
static void
test_readers_everywhere (void **state)
{
  enum { N = 12 };
  static struct reader r[N];

  (void) state;
  open_with (0, 0);
  unsigned objs = objs_of (SIZE);
  for (unsigned i = 0; i < N * objs; i++)
    check_always (item_write (f.any, &items[i], SIZE, i));
  for (unsigned i = 0; i < N * objs; i++)
    if (i % objs)
      item_free (f.any, &items[i]);
  for (unsigned i = 0; i < N; i++)
    start_reader (&r[i], &items[i * objs]);
  for (unsigned i = 0; i < N; i++)
    wait_until_pinned (&r[i]);
  compact_all (f.pool);
  migrate_all (f.pool);
  assert_int_equal (pool_counter (f.pool, POOL_OBJECTS_MOVED), 0);
  assert_int_equal (pool_counter (f.pool, POOL_ZSPAGES_MIGRATED), 0);
  assert_in_range (pool_counter (f.pool, POOL_MOVER_SKIPS), 1, 2 * N);
  assert_int_equal (zspages_of (SIZE), N);
  for (unsigned i = 0; i < N; i++)
    end_reader (&r[i]);
  compact_all (f.pool);
  assert_int_equal (zspages_of (SIZE), 1);
  check_and_close ();
}

/* ------------------------------------------------------------------------
 * Held at a named point.
 */

#ifdef ZRAM_FAULTS

static void *
run_compaction (void *arg)
{
  (void) arg;
  compact_all (f.pool);
  return NULL;
}

static void *
run_migration (void *arg)
{
  (void) arg;
  migrate_all (f.pool);
  return NULL;
}

/* Two zspages, of which compaction will make one: items[0 … moved-1] are in
 * the one that it empties.
 */
static unsigned
open_with_two_zspages (void)
{
  open_with (0, 0);
  unsigned objs = objs_of (SIZE);
  for (unsigned i = 0; i < 2 * objs; i++)
    check_always (item_write (f.any, &items[i], SIZE, i));
  for (unsigned i = objs / 4; i < objs; i++)
    item_free (f.any, &items[i]);
  for (unsigned i = objs; i < objs + objs / 2; i++)
    item_free (f.any, &items[i]);
  return objs / 4;
}

/* They sleep, and use no CPU time to speak of. */
static void
check_that_they_sleep (struct reader *r, unsigned n)
{
  enum { MS = 300, MOST_MS = 30, MOST_READERS = 8 };
  uint64_t before[MOST_READERS];

  assert_in_range (n, 1, MOST_READERS);
  for (unsigned i = 0; i < n; i++) {
    unit_wait_asleep (&r[i].thread);
    before[i] = unit_cpu_ns (&r[i].thread);
  }
  unit_sleep_ms (MS);
  for (unsigned i = 0; i < n; i++) {
    assert_false (atomic_load (&r[i].pinned));
    assert_in_range (unit_cpu_ns (&r[i].thread) - before[i], 0,
                     MOST_MS * 1000000);
  }
}

/* A mover that lost its CPU while it has a zspage: readers of that sleep and
 * find the object in its new place; others are not disturbed.
 */
static void
test_preempted_mover (void **state)
{
  enum { N = 3 };
  static struct reader r[N];
  struct unit_thread mover;
  uint64_t old[N];

  (void) state;
  unsigned moved = open_with_two_zspages ();
  assert_true (moved >= N);
  for (unsigned i = 0; i < N; i++)
    old[i] = atomic_load (&items[i].cell);
  /* They come with the old handle, and wait for its zspage. */
  fault_hold ("zs.pin.before_lock");
  for (unsigned i = 0; i < N; i++)
    start_reader (&r[i], &items[i]);
  fault_wait_held ("zs.pin.before_lock");
  for (unsigned i = 0; i < N; i++)
    unit_wait_asleep (&r[i].thread);
  fault_hold ("zs.compact.moved");
  unit_start (&mover, run_compaction, NULL);
  fault_wait_held ("zs.compact.moved");
  fault_release ("zs.pin.before_lock");

  struct zspage *z = arena_zspage (&f.pool->arena, zs_handle_span (old[0]));
  while (!(atomic_load (&z->lock.v) & RW_QUEUED))
    sched_yield ();
  item_check (f.any, &items[objs_of (SIZE) * 2 - 1]); /* another zspage */
  check_that_they_sleep (r, N);

  fault_release ("zs.compact.moved");
  unit_join (&mover);
  for (unsigned i = 0; i < N; i++) {
    wait_until_pinned (&r[i]);
    assert_int_not_equal (atomic_load (&r[i].handle), old[i]);
    end_reader (&r[i]);
  }
  check_and_close ();
}

/* Objects in so many spans, with few objects: one of each class, and then
 * large ones.  Returns how many.
 */
static unsigned
open_with_spans (uint32_t spans)
{
  unsigned n = 0;

  open_with (0, 0);
  for (; n < pool_class_count (f.any) && top () < spans; n++)
    check_always (
      item_write (f.any, &items[n], zs_geometry (f.pool, n)->size, n));
  for (; top () < spans; n++) {
    check_always (n < ITEMS);
    check_always (item_write (f.any, &items[n], 4096, n));
  }
  return n;
}

/* A reader that has read the handle, but not locked its zspage yet. */
static void
start_late_reader (struct reader *r, struct item *it)
{
  fault_hold ("zs.pin.before_lock");
  start_reader (r, it);
  fault_wait_held ("zs.pin.before_lock");
}

static void
end_late_reader (struct reader *r, uint64_t old)
{
  fault_release ("zs.pin.before_lock");
  wait_until_pinned (r);
  assert_int_not_equal (atomic_load (&r->handle), old);
  assert_int_equal (atomic_load (&r->handle), atomic_load (&r->item->cell));
  end_reader (r);
}

static void
test_pin_beside_compaction (void **state)
{
  struct reader r;

  (void) state;
  open_with_two_zspages ();
  uint64_t old = atomic_load (&items[0].cell);
  start_late_reader (&r, &items[0]);
  compact_all (f.pool);
  assert_int_equal (zspages_of (SIZE), 1);
  end_late_reader (&r, old);
  check_and_close ();
}

/* The old zspage is in another class by then, and full of other objects. */
static void
test_pin_beside_reuse (void **state)
{
  struct reader r;

  (void) state;
  open_with_two_zspages ();
  uint64_t old = atomic_load (&items[0].cell);
  start_late_reader (&r, &items[0]);
  compact_all (f.pool);
  for (unsigned i = 0; i < 200; i++)
    check_always (item_write (f.any, &items[1000 + i], 3000, i));
  assert_int_equal (
    atomic_load (
      &arena_zspage (&f.pool->arena, zs_handle_span (old))->class_id),
    class_of (3000));
  end_late_reader (&r, old);
  check_and_close ();
}

/* The old zspage's descriptor is gone, its page given back to the system. */
static void
test_pin_beside_trim (void **state)
{
  struct reader r;

  (void) state;
  uint32_t spans = 2 * MEM_PAGE / sizeof (struct zspage);
  unsigned n = open_with_spans (spans);
  struct item *last = &items[n - 1];
  uint64_t old = atomic_load (&last->cell);
  assert_int_equal (zs_handle_span (old), spans - 1);
  items_free (f.any, items, n - 1);
  arena_return_hot (&f.pool->arena);
  start_late_reader (&r, last);
  migrate_all (f.pool);
  assert_int_equal (top (), 1);
  assert_int_equal (
    reserve_resident (&f.pool->arena.zspages, spans * sizeof (struct zspage)),
    MEM_PAGE);
  end_late_reader (&r, old);
  check_and_close ();
}

static void
test_pin_beside_migration (void **state)
{
  struct reader r;

  (void) state;
  open_with_low_end_free (ITEMS, ITEMS * 3 / 4);
  uint64_t old = atomic_load (&items[ITEMS - 1].cell);
  start_late_reader (&r, &items[ITEMS - 1]);
  migrate_all (f.pool);
  end_late_reader (&r, old);
  check_and_close ();
}

/* Between choosing a zspage and locking its class, migration finds that it
 * was freed; its span may be in another class by then.
 */
static void
migrate_overtaken (void (*overtake) (void))
{
  struct unit_thread mover;

  open_with_low_end_free (ITEMS, ITEMS * 3 / 4);
  fault_hold ("zs.migrate.populated");
  unit_start (&mover, run_migration, NULL);
  fault_wait_held ("zs.migrate.populated");
  overtake ();
  fault_release ("zs.migrate.populated");
  unit_join (&mover);
  check_and_close ();
}

static void
free_the_highest (void)
{
  uint32_t highest = span_of (&items[ITEMS - 1]);

  for (unsigned i = 0; i < ITEMS; i++)
    if (items[i].size && span_of (&items[i]) == highest)
      item_free (f.any, &items[i]);
  assert_int_equal (zspage_group (arena_zspage (&f.pool->arena, highest)),
                    ZS_NO_GROUP);
}

static void
reuse_the_highest (void)
{
  uint32_t highest = span_of (&items[ITEMS - 1]), spans = top ();

  free_the_highest ();
  for (unsigned i = 0; i < ITEMS / 2 && top () == spans; i++)
    check_always (item_write (f.any, &items[i], 3500, i));
  assert_int_equal (
    atomic_load (&arena_zspage (&f.pool->arena, highest)->class_id),
    class_of (3500));
}

/* The zspage got more pages than the place that was made for it. */
static void
grow_the_highest (void)
{
  for (unsigned i = 0; i < objs_of (SIZE); i++)
    check_always (item_write (f.any, &items[i], SIZE, i));
}

static void
overwrite_the_highest (void)
{
  for (unsigned i = ITEMS * 3 / 4; i < ITEMS; i++)
    check_always (item_write (f.any, &items[i], SIZE, i + 1));
}

static void
test_migration_overtaken (void **state)
{
  (void) state;
  migrate_overtaken (free_the_highest);
  migrate_overtaken (reuse_the_highest);
  migrate_overtaken (grow_the_highest);
  migrate_overtaken (overwrite_the_highest);
}

/* The arena's end sinks while others go on, and what it claimed comes back
 * as free spans with zeroed descriptors: migration leaves those alone.
 */
static void
test_trim_overtaken (void **state)
{
  struct unit_thread mover;

  (void) state;
  unsigned n = open_with_spans (300);
  items_free (f.any, items, n);
  fault_hold ("arena.trim.returned");
  unit_start (&mover, run_migration, NULL);
  fault_wait_held ("arena.trim.returned");
  check_always (item_write (f.any, &items[0], 100, 1));
  fault_release ("arena.trim.returned");
  unit_join (&mover);
  assert_int_equal (top (), 301);
  fixture_audit (&f, items, ITEMS);
  migrate_all (f.pool);
  assert_int_equal (pool_counter (f.pool, POOL_ZSPAGES_MIGRATED), 1);
  assert_int_equal (top (), 1);
  check_and_close ();
}

#endif

static const struct CMUnitTest tests[] = {
  UNIT_TEST (test_compaction_beside_reader),
  UNIT_TEST (test_migration_beside_reader),
  UNIT_TEST (test_readers_everywhere),
#ifdef ZRAM_FAULTS
  UNIT_TEST (test_preempted_mover),
  UNIT_TEST (test_pin_beside_compaction),
  UNIT_TEST (test_pin_beside_reuse),
  UNIT_TEST (test_pin_beside_trim),
  UNIT_TEST (test_pin_beside_migration),
  UNIT_TEST (test_migration_overtaken),
  UNIT_TEST (test_trim_overtaken),
#endif
};

int
main (void)
{
  return UNIT_RUN (tests);
}
