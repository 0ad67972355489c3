/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Objects that move: what compaction and migration win, what they must not
 * touch, and who waits for whom.  Threads are held at named points and let
 * go in a chosen order; nothing here is left to chance.
 */

#include <config.h>

#include "zs-fixture.h"

#define SIZE 1000
#define ITEMS 4000

static struct item items[ITEMS];
static struct fixture f;

static unsigned
class_of (uint32_t size)
{
  return size_class_of (&f.pool->classes, size);
}

static unsigned
objs_of (uint32_t size)
{
  return zs_geometry (f.pool, class_of (size))->objs;
}

static void
open_with (unsigned n, uint32_t size)
{
  memset (items, 0, sizeof items);
  fixture_open (&f, 4096, 0);
  for (unsigned i = 0; i < n; i++)
    check_always (item_write (f.pool, &items[i], size, i));
}

static void
check_and_close (void)
{
  items_check (f.pool, items, ITEMS);
  fixture_audit (&f, items, ITEMS);
  items_free (f.pool, items, ITEMS);
  fixture_audit (&f, items, ITEMS);
  fixture_close (&f);
}

static uint32_t
span_of (const struct item *it)
{
  return zs_handle_span (atomic_load (&it->cell));
}

static uint32_t
zspages_of (uint32_t size)
{
  struct zs_class_stats st = zs_class_stats (f.pool, class_of (size));
  uint32_t n = 0;

  for (unsigned g = 0; g < ZS_GROUPS; g++)
    n += st.zspages[g];
  return n;
}

static uint32_t
top (void)
{
  return arena_stats (&f.pool->arena).top;
}

/* ------------------------------------------------------------------------
 * Compaction.
 */

/* Two thirds go, at random; a third of the zspages is left, and the memory of
 * the others goes back.
 */
static void
check_compaction (uint32_t slot_size, uint32_t size, unsigned n)
{
  struct unit_rng rng = unit_rng (size);
  unsigned live = n;

  memset (items, 0, sizeof items);
  fixture_open (&f, slot_size, 0);
  for (unsigned i = 0; i < n; i++)
    check_always (item_write (f.pool, &items[i], size, i));
  for (unsigned i = 0; i < n; i++)
    if (unit_below (&rng, 3)) {
      item_free (f.pool, &items[i]);
      live--;
    }
  arena_return_hot (&f.pool->arena);
  uint64_t before = atomic_load (&f.budget.used);
  uint64_t freeable = zs_freeable_pages (f.pool);
  fixture_audit (&f, items, ITEMS);
  assert_true (freeable > 0);

  compact_all (f.pool);
  assert_int_equal (zspages_of (size),
                    (live + objs_of (size) - 1) / objs_of (size));
  assert_int_equal (zs_freeable_pages (f.pool), 0);
  /* One zspage may not have all of its pages yet, and not all its objects. */
  uint64_t freed = pool_counter (f.pool, ZS_PAGES_COMPACTED);
  assert_in_range (freed, freeable - f.pool->classes.span_pages,
                   freeable + f.pool->classes.span_pages);
  assert_in_range (pool_counter (f.pool, ZS_OBJECTS_MOVED), 1, live);
  items_check (f.pool, items, ITEMS);
  fixture_audit (&f, items, ITEMS);
  arena_return_hot (&f.pool->arena);
  assert_int_equal (before - atomic_load (&f.budget.used), freed * MEM_PAGE);
  assert_int_equal (resident_bytes (&f), atomic_load (&f.budget.used));
  compact_all (f.pool); /* nothing more to win */
  assert_int_equal (pool_counter (f.pool, ZS_PAGES_COMPACTED), freed);
  check_and_close ();
}

static void
test_compaction (void **state)
{
  (void) state;
  check_compaction (4096, SIZE, ITEMS);
  check_compaction (4096, 4096, 1000); /* the huge class */
  check_compaction (4096, 64, ITEMS);
  check_compaction (65536, 20000, 300);
}

/* Every class at once; a step frees no more than one zspage. */
static void
test_compaction_steps (void **state)
{
  struct unit_rng rng = unit_rng (2);
  struct zs_cursor at = { 0 };
  uint64_t steps = 0, freed = 0;

  (void) state;
  open_with (0, 0);
  for (unsigned i = 0; i < ITEMS; i++)
    check_always (item_write (f.pool, &items[i], 200 + i % 7 * 500, i));
  for (unsigned i = 0; i < ITEMS; i++)
    if (unit_below (&rng, 2))
      item_free (f.pool, &items[i]);
  for (bool more = true; more; steps++) {
    uint32_t before = arena_stats (&f.pool->arena).used_spans;
    more = zs_compact_step (f.pool, &at);
    uint32_t now = arena_stats (&f.pool->arena).used_spans;
    assert_in_range (before - now, 0, 1);
    freed += before - now;
  }
  assert_true (freed > 7);
  assert_in_range (steps, freed + 1, freed + 1 + zs_class_count (f.pool));
  assert_int_equal (at.class_id, 0);
  assert_int_equal (zs_freeable_pages (f.pool), 0);
  check_and_close ();
}

/* ------------------------------------------------------------------------
 * Migration.
 */

/* Fill, and free what is in the lower spans, whole zspages of it. */
static void
open_with_low_end_free (unsigned n, unsigned freed)
{
  open_with (n, SIZE);
  for (unsigned i = 0; i < freed; i++)
    item_free (f.pool, &items[i]);
  arena_return_hot (&f.pool->arena);
}

static void
test_migration (void **state)
{
  unsigned n = ITEMS;

  (void) state;
  open_with_low_end_free (n, n * 3 / 4);
  uint32_t used = arena_stats (&f.pool->arena).used_spans;
  uint64_t charged = atomic_load (&f.budget.used);
  int64_t zspages = zspages_of (SIZE);
  assert_true (top () > 3 * used);

  migrate_all (f.pool);
  assert_int_equal (top (), used);
  assert_int_equal (arena_stats (&f.pool->arena).used_spans, used);
  assert_in_range (pool_counter (f.pool, ZS_ZSPAGES_MIGRATED), used - 1,
                   zspages);
  assert_int_equal (pool_counter (f.pool, ZS_MOVER_SKIPS), 0);
  assert_int_equal (atomic_load (&f.budget.used), charged);
  for (unsigned i = n * 3 / 4; i < n; i++)
    assert_in_range (span_of (&items[i]), 0, used - 1);
  items_check (f.pool, items, ITEMS);
  fixture_audit (&f, items, ITEMS);
  migrate_all (f.pool); /* nothing more to win */
  assert_int_equal (top (), used);
  assert_true (item_write (f.pool, &items[0], SIZE, 7));
  check_and_close ();
}

/* A zspage that has few of its pages has no more after it moved. */
static void
test_migration_of_few_pages (void **state)
{
  (void) state;
  open_with (0, 0);
  for (unsigned i = 0; i < 20; i++) /* one zspage each, of a page or two */
    check_always (item_write (f.pool, &items[i], 100 * (i + 1), i));
  for (unsigned i = 0; i < 10; i++)
    item_free (f.pool, &items[i]);
  arena_return_hot (&f.pool->arena);
  uint64_t charged = atomic_load (&f.budget.used);
  migrate_all (f.pool);
  assert_int_equal (pool_counter (f.pool, ZS_ZSPAGES_MIGRATED), 10);
  assert_int_equal (top (), 10);
  assert_int_equal (atomic_load (&f.budget.used), charged);
  check_and_close ();
}

/* It pays where most of the arena has no memory. */
static void
test_migration_pays (void **state)
{
  (void) state;
  open_with (ITEMS, 4096);
  uint32_t spans = top ();
  assert_in_range (spans, 64, 200);
  assert_false (zs_migration_pays (f.pool));
  for (unsigned i = 0; i < ITEMS * 4 / 10; i++)
    item_free (f.pool, &items[i]);
  arena_return_hot (&f.pool->arena);
  assert_false (zs_migration_pays (f.pool));
  for (unsigned i = ITEMS * 4 / 10; i < ITEMS * 6 / 10; i++)
    item_free (f.pool, &items[i]);
  arena_return_hot (&f.pool->arena);
  assert_true (zs_migration_pays (f.pool));
  migrate_all (f.pool);
  assert_false (zs_migration_pays (f.pool));
  assert_in_range (top (), spans * 4 / 10, spans * 4 / 10 + 1);
  check_and_close ();
}

/* A span that is on its way to a class is in none, whatever its descriptor
 * said before: here one that was never used.
 */
static void
test_span_on_its_way (void **state)
{
  (void) state;
  open_with (0, 0);
  struct arena *a = &f.pool->arena;
  assert_int_equal (arena_alloc (a, 1), 0);
  assert_int_equal (arena_alloc (a, 1), 1); /* and no zspage of it yet */
  arena_free (a, 0);
  migrate_all (f.pool);
  assert_int_equal (pool_counter (f.pool, ZS_ZSPAGES_MIGRATED), 0);
  assert_int_equal (arena_stats (a).used_spans, 1);
  arena_free (a, 1);
  check_and_close ();
}

/* ------------------------------------------------------------------------
 * Objects in transit do not move.
 */

static void
check_in_transit (bool lower_is_free)
{
  void *mem;

  unsigned objs = objs_of (SIZE);
  for (unsigned i = 0; i < 4 * objs; i++)
    check_always (item_write (f.pool, &items[i], SIZE, i));
  /* The last zspage: one object in transit and one attached. */
  uint64_t handle = zs_alloc (f.pool, SIZE, &mem);
  assert_true (item_write (f.pool, &items[4 * objs], SIZE, 99));
  assert_int_equal (span_of (&items[4 * objs]), zs_handle_span (handle));
  /* One goes at once; two together have more than one's free objects. */
  for (unsigned i = 0; i < 3 * objs; i++)
    if (i < objs || i % 3)
      item_free (f.pool, &items[i]);

  compact_all (f.pool);
  assert_int_not_equal (span_of (&items[4 * objs]), zs_handle_span (handle));
  items_check (f.pool, items, ITEMS);
  /* Its zspage stays, also for migration, with a lower span free. */
  arena_return_hot (&f.pool->arena);
  assert_true (!lower_is_free || arena_stats (&f.pool->arena).cold_spans > 0);
  migrate_all (f.pool);
  assert_int_equal (
    zspage_group (arena_zspage (&f.pool->arena, zs_handle_span (handle))),
    ZS_INUSE_RATIO_10);

  write_bytes (mem, SIZE, 1234);
  item_set_value (f.pool, &items[0], handle);
  items[0].size = SIZE;
  items[0].tag = 1234;
  zs_attach (f.pool, handle, &items[0].cell);
  items_check (f.pool, items, ITEMS);
  migrate_all (f.pool);
  if (lower_is_free)
    assert_int_not_equal (atomic_load (&items[0].cell), handle);
  compact_all (f.pool);
  check_and_close ();
}

/* On memory never used before, and where the back pointers lie on something
 * that looks like pointers.
 */
static void
test_in_transit (void **state)
{
  (void) state;
  open_with (0, 0);
  check_in_transit (true);

  open_with (0, 0);
  uint32_t spans = 8;
  for (unsigned i = 0; i < spans * objs_of (4096); i++) {
    check_always (item_write (f.pool, &items[i], 4096, i));
    uint64_t handle, *mem = zs_pin (f.pool, &items[i].cell, &handle);
    for (unsigned k = 0; k < 4096 / 8; k++)
      mem[k] = (uintptr_t) &items[k];
    zs_unpin (f.pool, handle);
  }
  /* All of it is kept for reuse, for there seems to be so much more. */
  assert_true (budget_charge (&f.budget, GIB));
  items_free (f.pool, items, ITEMS);
  budget_refund (&f.budget, GIB);
  assert_int_equal (arena_stats (&f.pool->arena).cold_spans, 0);
  check_in_transit (false);
}

/* ------------------------------------------------------------------------
 * Fill patterns that equal a handle.
 */

static void
test_collision (void **state)
{
  (void) state;
  open_with (0, 0);
  unsigned objs = objs_of (SIZE);
  for (unsigned i = 0; i < 3 * objs; i++)
    check_always (item_write (f.pool, &items[i], SIZE, i));

  /* Each cell's value is the handle that it just held, and other objects are
   * made at that very place.
   */
  for (unsigned i = 0; i < objs; i++)
    item_set_value (f.pool, &items[i], atomic_load (&items[i].cell));
  for (unsigned i = 0; i < objs; i++)
    check_always (item_write (f.pool, &items[ITEMS - 1 - i], SIZE, i));
  for (unsigned i = 0; i < objs; i++) /* and one, of a living neighbour */
    item_set_value (f.pool, &items[objs + i],
                    atomic_load (&items[objs * 2 + i / 2].cell));
  for (unsigned i = 0; i < objs; i += 2)
    item_free (f.pool, &items[ITEMS - 1 - i]);
  for (unsigned i = 0; i < objs; i++)
    if (i % 3)
      item_free (f.pool, &items[2 * objs + i]);
  items_check (f.pool, items, ITEMS);
  compact_all (f.pool);
  migrate_all (f.pool);
  assert_true (pool_counter (f.pool, ZS_OBJECTS_MOVED) > 0);
  check_and_close (); /* looks at the values too */
}

/* ------------------------------------------------------------------------
 * A reader that stays inside.
 */

struct reader {
  struct item *item;
  atomic_bool pinned, leave;
  _Atomic uint64_t handle;
  struct unit_thread thread;
};

static void *
read_and_stay (void *arg)
{
  struct reader *r = arg;
  uint64_t handle;
  void *mem = zs_pin (f.pool, &r->item->cell, &handle);

  atomic_store (&r->handle, handle);
  atomic_store (&r->pinned, true);
  while (!atomic_load (&r->leave)) {
    check_always (bytes_are_right (mem, r->item->size, r->item->tag));
    check_always (atomic_load (&r->item->cell) == handle);
    sched_yield ();
  }
  zs_unpin (f.pool, handle);
  return NULL;
}

static void
start_reader (struct reader *r, struct item *it)
{
  *r = (struct reader){ .item = it };
  unit_start (&r->thread, read_and_stay, r);
}

static void
end_reader (struct reader *r)
{
  atomic_store (&r->leave, true);
  unit_join (&r->thread);
}

static void
wait_until_pinned (struct reader *r)
{
  while (!atomic_load (&r->pinned))
    sched_yield ();
}

/* Compaction goes on to the next zspage, and migration too; both return. */
static void
test_parked_reader (void **state)
{
  struct reader r;

  (void) state;
  open_with (0, 0);
  unsigned objs = objs_of (SIZE), kept = objs / 10;
  for (unsigned i = 0; i < 4 * objs; i++)
    check_always (item_write (f.pool, &items[i], SIZE, i));
  /* The emptiest is the one where the reader is. */
  for (unsigned z = 0; z < 4; z++)
    for (unsigned i = kept + z; i < objs; i++)
      item_free (f.pool, &items[z * objs + i]);
  uint32_t busy = span_of (&items[0]);
  start_reader (&r, &items[0]);
  wait_until_pinned (&r);

  compact_all (f.pool);
  assert_int_equal (zspages_of (SIZE), 1);
  assert_true (pool_counter (f.pool, ZS_MOVER_SKIPS) > 0);
  for (unsigned i = 0; i < 4 * objs; i++)
    assert_true (items[i].size == 0 || span_of (&items[i]) == busy);

  /* Now the highest one, over free ones: it stays where it is. */
  for (unsigned i = 0; i < 4 * objs; i++)
    check_always (item_write (f.pool, &items[i + 4 * objs], SIZE, i));
  end_reader (&r);
  start_reader (&r, &items[8 * objs - 1]);
  wait_until_pinned (&r);
  for (unsigned i = 0; i < 6 * objs; i++)
    item_free (f.pool, &items[i]);
  arena_return_hot (&f.pool->arena);
  int64_t skips = pool_counter (f.pool, ZS_MOVER_SKIPS);
  uint32_t before = top ();
  migrate_all (f.pool);
  assert_int_equal (pool_counter (f.pool, ZS_MOVER_SKIPS), skips + 1);
  assert_int_equal (span_of (&items[8 * objs - 1]),
                    zs_handle_span (atomic_load (&r.handle)));
  assert_true (top () > zs_handle_span (atomic_load (&r.handle)));
  items_check (f.pool, items, ITEMS);

  end_reader (&r);
  migrate_all (f.pool);
  assert_true (top () < before);
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
    check_always (item_write (f.pool, &items[i], SIZE, i));
  for (unsigned i = 0; i < N * objs; i++)
    if (i % objs)
      item_free (f.pool, &items[i]);
  for (unsigned i = 0; i < N; i++)
    start_reader (&r[i], &items[i * objs]);
  for (unsigned i = 0; i < N; i++)
    wait_until_pinned (&r[i]);
  compact_all (f.pool);
  migrate_all (f.pool);
  assert_int_equal (pool_counter (f.pool, ZS_OBJECTS_MOVED), 0);
  assert_int_equal (pool_counter (f.pool, ZS_ZSPAGES_MIGRATED), 0);
  assert_in_range (pool_counter (f.pool, ZS_MOVER_SKIPS), 1, 2 * N);
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
    check_always (item_write (f.pool, &items[i], SIZE, i));
  for (unsigned i = objs / 4; i < objs; i++)
    item_free (f.pool, &items[i]);
  for (unsigned i = objs; i < objs + objs / 2; i++)
    item_free (f.pool, &items[i]);
  return objs / 4;
}

/* A mover that lost its CPU while it has a zspage: readers of that sleep and
 * find the object in its new place; others are not disturbed.
 */
static void
test_preempted_mover (void **state)
{
  enum { N = 3, MS = 300, MOST_MS = 30 };
  static struct reader r[N];
  struct unit_thread mover;
  uint64_t before[N], old[N];

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
  for (unsigned i = 0; i < N; i++) {
    unit_wait_asleep (&r[i].thread);
    before[i] = unit_cpu_ns (&r[i].thread);
  }
  item_check (f.pool, &items[objs_of (SIZE) * 2 - 1]); /* another zspage */
  unit_sleep_ms (MS);
  for (unsigned i = 0; i < N; i++) {
    assert_false (atomic_load (&r[i].pinned));
    assert_in_range (unit_cpu_ns (&r[i].thread) - before[i], 0,
                     MOST_MS * 1000000);
  }

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
  for (; n < zs_class_count (f.pool) && top () < spans; n++)
    check_always (
      item_write (f.pool, &items[n], zs_geometry (f.pool, n)->size, n));
  for (; top () < spans; n++) {
    check_always (n < ITEMS);
    check_always (item_write (f.pool, &items[n], 4096, n));
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
    check_always (item_write (f.pool, &items[1000 + i], 3000, i));
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
  items_free (f.pool, items, n - 1);
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
      item_free (f.pool, &items[i]);
  assert_int_equal (zspage_group (arena_zspage (&f.pool->arena, highest)),
                    ZS_NO_GROUP);
}

static void
reuse_the_highest (void)
{
  uint32_t highest = span_of (&items[ITEMS - 1]), spans = top ();

  free_the_highest ();
  for (unsigned i = 0; i < ITEMS / 2 && top () == spans; i++)
    check_always (item_write (f.pool, &items[i], 3500, i));
  assert_int_equal (
    atomic_load (&arena_zspage (&f.pool->arena, highest)->class_id),
    class_of (3500));
}

/* The zspage got more pages than the place that was made for it. */
static void
grow_the_highest (void)
{
  for (unsigned i = 0; i < objs_of (SIZE); i++)
    check_always (item_write (f.pool, &items[i], SIZE, i));
}

static void
overwrite_the_highest (void)
{
  for (unsigned i = ITEMS * 3 / 4; i < ITEMS; i++)
    check_always (item_write (f.pool, &items[i], SIZE, i + 1));
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
  items_free (f.pool, items, n);
  fault_hold ("arena.trim.returned");
  unit_start (&mover, run_migration, NULL);
  fault_wait_held ("arena.trim.returned");
  check_always (item_write (f.pool, &items[0], 100, 1));
  fault_release ("arena.trim.returned");
  unit_join (&mover);
  assert_int_equal (top (), 301);
  fixture_audit (&f, items, ITEMS);
  migrate_all (f.pool);
  assert_int_equal (pool_counter (f.pool, ZS_ZSPAGES_MIGRATED), 1);
  assert_int_equal (top (), 1);
  check_and_close ();
}

#endif

static const struct CMUnitTest tests[] = {
  UNIT_TEST (test_compaction),
  UNIT_TEST (test_compaction_steps),
  UNIT_TEST (test_migration),
  UNIT_TEST (test_migration_of_few_pages),
  UNIT_TEST (test_migration_pays),
  UNIT_TEST (test_span_on_its_way),
  UNIT_TEST (test_in_transit),
  UNIT_TEST (test_collision),
  UNIT_TEST (test_parked_reader),
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
