/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Objects that move: what compaction and migration win, and what they must
 * not touch.
 */

#include <config.h>

#include "zs-move-fixture.h"

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
    check_always (item_write (f.any, &items[i], size, i));
  for (unsigned i = 0; i < n; i++)
    if (unit_below (&rng, 3)) {
      item_free (f.any, &items[i]);
      live--;
    }
  arena_return_hot (&f.pool->arena);
  uint64_t before = atomic_load (&f.budget.used);
  uint64_t freeable = pool_freeable_pages (f.any);
  fixture_audit (&f, items, ITEMS);
  assert_true (freeable > 0);

  compact_all (f.pool);
  assert_int_equal (zspages_of (size),
                    (live + objs_of (size) - 1) / objs_of (size));
  assert_int_equal (pool_freeable_pages (f.any), 0);
  uint64_t freed = pool_counter (f.pool, POOL_PAGES_COMPACTED);
  assert_int_equal (freed, freeable);
  /* Some twice: out of one zspage, then to the front of the next. */
  assert_in_range (pool_counter (f.pool, POOL_OBJECTS_MOVED), 1, 2 * live);
  items_check (f.any, items, ITEMS);
  fixture_audit (&f, items, ITEMS);
  arena_return_hot (&f.pool->arena);
  assert_int_equal (before - atomic_load (&f.budget.used), freed * MEM_PAGE);
  assert_int_equal (resident_bytes (&f), atomic_load (&f.budget.used));
  compact_all (f.pool); /* nothing more to win */
  assert_int_equal (pool_counter (f.pool, POOL_PAGES_COMPACTED), freed);
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
  struct pool_cursor at = { 0 };
  uint64_t steps = 0, freed = 0;

  (void) state;
  open_with (0, 0);
  for (unsigned i = 0; i < ITEMS; i++)
    check_always (item_write (f.any, &items[i], 200 + i % 7 * 500, i));
  for (unsigned i = 0; i < ITEMS; i++)
    if (unit_below (&rng, 2))
      item_free (f.any, &items[i]);
  for (bool more = true; more; steps++) {
    uint32_t before = arena_stats (&f.pool->arena).used_spans;
    more = pool_compact_step (f.any, &at);
    uint32_t now = arena_stats (&f.pool->arena).used_spans;
    assert_in_range (before - now, 0, 1);
    freed += before - now;
  }
  assert_true (freed > 7);
  assert_in_range (steps, freed + 1, freed + 1 + pool_class_count (f.any));
  assert_int_equal (at.class_id, 0);
  assert_int_equal (pool_freeable_pages (f.any), 0);
  check_and_close ();
}

/* Holes in the only zspage of a class: nothing can move out, so what is left
 * is packed and the tail goes back.
 */
static void
test_packing (void **state)
{
  (void) state;
  open_with (0, 0);
  unsigned objs = objs_of (SIZE);
  for (unsigned i = 0; i < objs; i++)
    check_always (item_write (f.any, &items[i], SIZE, i));
  for (unsigned i = 0; i < objs; i++)
    if (i % 4)
      item_free (f.any, &items[i]);
  compact_all (f.pool);
  assert_int_equal (zspages_of (SIZE), 1);
  assert_int_equal (pool_freeable_pages (f.any), 0);
  assert_true (pool_counter (f.pool, POOL_OBJECTS_MOVED) > 0);
  items_check (f.any, items, ITEMS);
  fixture_audit (&f, items, ITEMS);
  arena_return_hot (&f.pool->arena);
  assert_int_equal (resident_bytes (&f), atomic_load (&f.budget.used));

  /* And memory that was given back can be had again. */
  for (unsigned i = 0; i < objs; i++)
    check_always (item_write (f.any, &items[i], SIZE, i + 1000));
  assert_int_equal (zspages_of (SIZE), 2); /* old and new, for a moment */
  compact_all (f.pool);
  assert_int_equal (zspages_of (SIZE), 1);
  check_and_close ();
}

/* What is in transit stays where its maker writes; what lies before it is
 * packed, and its pages stay.
 */
static void
test_packing_in_transit (void **state)
{
  (void) state;
  open_with (0, 0);
  unsigned n = objs_of (SIZE) / 2;
  for (unsigned i = 0; i < n; i++)
    check_always (item_write (f.any, &items[i], SIZE, i));
  uint64_t handle = make_object (f.any, SIZE, 77);
  for (unsigned i = 0; i < n; i += 2)
    item_free (f.any, &items[i]);
  compact_all (f.pool);
  items_check (f.any, items, ITEMS);
  atomic_store (&items[0].cell, handle);
  items[0].size = SIZE;
  items[0].tag = 77;
  pool_attach (f.any, handle, &items[0].cell);
  items_check (f.any, items, ITEMS);
  compact_all (f.pool);
  assert_int_equal (pool_freeable_pages (f.any), 0);
  check_and_close ();
}

#ifdef ZRAM_FAULTS
static void *
write_first_item (void *arg)
{
  (void) arg;
  check_always (item_write (f.any, &items[0], SIZE, 0));
  return NULL;
}

/* Pages that an allocation has charged and is about to make resident are not
 * taken away under it.
 */
static void
test_growth_against_compaction (void **state)
{
  struct unit_thread thread;

  (void) state;
  open_with (0, 0);
  fault_hold ("zs.alloc.populate");
  unit_start (&thread, write_first_item, NULL);
  fault_wait_held ("zs.alloc.populate");
  compact_all (f.pool);
  assert_int_equal (pool_counter (f.pool, POOL_PAGES_COMPACTED), 0);
  fault_clear ();
  unit_join (&thread);
  assert_int_equal (resident_bytes (&f), atomic_load (&f.budget.used));
  compact_all (f.pool);
  assert_int_equal (resident_bytes (&f), atomic_load (&f.budget.used));
  check_and_close ();
}

static void *
compact_in_thread (void *arg)
{
  (void) arg;
  compact_all (f.pool);
  return NULL;
}

/* Two zspages without holes that fit in one, if the fuller gets more pages; the
 * compactor stands where it makes those resident.  Items [0, *fuller) are in
 * the fuller one, those behind in the other.
 */
static void
open_and_extend (struct unit_thread *compactor, unsigned *fuller)
{
  unsigned objs;

  open_with (0, 0);
  objs = objs_of (SIZE);
  check_and_close ();
  open_with (2 * objs, SIZE);
  for (unsigned i = *fuller = objs * 4 / 10; i < objs; i++)
    item_free (f.any, &items[i]);
  compact_all (f.pool); /* packed, its tail freed */
  for (unsigned i = objs + objs * 3 / 10; i < 2 * objs; i++)
    item_free (f.any, &items[i]);
  fault_hold ("zs.compact.populate");
  unit_start (compactor, compact_in_thread, NULL);
  fault_wait_held ("zs.compact.populate");
}

static void
end_extension (struct unit_thread *compactor)
{
  fault_clear ();
  unit_join (compactor);
  assert_int_equal (resident_bytes (&f), atomic_load (&f.budget.used));
  compact_all (f.pool);
  assert_int_equal (pool_freeable_pages (f.any), 0);
  assert_int_equal (resident_bytes (&f), atomic_load (&f.budget.used));
  check_and_close ();
}

/* The class is not locked while the system is asked for memory. */
static void
test_extension_against_requests (void **state)
{
  struct unit_thread compactor;
  unsigned fuller;

  (void) state;
  open_and_extend (&compactor, &fuller);
  check_always (item_write (f.any, &items[ITEMS - 1], SIZE, 1));
  item_free (f.any, &items[0]);
  items_check (f.any, items, ITEMS);
  end_extension (&compactor);
}

/* Nor is the zspage given back, though its last object is freed meanwhile. */
static void
test_extension_of_what_is_freed (void **state)
{
  struct unit_thread compactor;
  unsigned fuller;

  (void) state;
  open_and_extend (&compactor, &fuller);
  for (unsigned i = 0; i < fuller; i++)
    item_free (f.any, &items[i]);
  assert_int_equal (zspages_of (SIZE), 2);
  end_extension (&compactor);
}
#endif

/* ------------------------------------------------------------------------
 * Migration.
 */

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
  assert_in_range (pool_counter (f.pool, POOL_ZSPAGES_MIGRATED), used - 1,
                   zspages);
  assert_int_equal (pool_counter (f.pool, POOL_MOVER_SKIPS), 0);
  assert_int_equal (atomic_load (&f.budget.used), charged);
  for (unsigned i = n * 3 / 4; i < n; i++)
    assert_in_range (span_of (&items[i]), 0, used - 1);
  items_check (f.any, items, ITEMS);
  fixture_audit (&f, items, ITEMS);
  migrate_all (f.pool); /* nothing more to win */
  assert_int_equal (top (), used);
  assert_true (item_write (f.any, &items[0], SIZE, 7));
  check_and_close ();
}

/* A zspage that has few of its pages has no more after it moved. */
static void
test_migration_of_few_pages (void **state)
{
  (void) state;
  open_with (0, 0);
  for (unsigned i = 0; i < 20; i++) /* one zspage each, of a page or two */
    check_always (item_write (f.any, &items[i], 100 * (i + 1), i));
  for (unsigned i = 0; i < 10; i++)
    item_free (f.any, &items[i]);
  arena_return_hot (&f.pool->arena);
  uint64_t charged = atomic_load (&f.budget.used);
  migrate_all (f.pool);
  assert_int_equal (pool_counter (f.pool, POOL_ZSPAGES_MIGRATED), 10);
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
  assert_false (pool_migration_pays (f.any));
  for (unsigned i = 0; i < ITEMS * 4 / 10; i++)
    item_free (f.any, &items[i]);
  arena_return_hot (&f.pool->arena);
  assert_false (pool_migration_pays (f.any));
  for (unsigned i = ITEMS * 4 / 10; i < ITEMS * 6 / 10; i++)
    item_free (f.any, &items[i]);
  arena_return_hot (&f.pool->arena);
  assert_true (pool_migration_pays (f.any));
  migrate_all (f.pool);
  assert_false (pool_migration_pays (f.any));
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
  assert_int_equal (pool_counter (f.pool, POOL_ZSPAGES_MIGRATED), 0);
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
    check_always (item_write (f.any, &items[i], SIZE, i));
  /* The last zspage: one object in transit and one attached. */
  uint64_t handle = pool_alloc (f.any, SIZE, &mem);
  assert_true (item_write (f.any, &items[4 * objs], SIZE, 99));
  assert_int_equal (span_of (&items[4 * objs]), zs_handle_span (handle));
  /* One goes at once; two together have more than one's free objects. */
  for (unsigned i = 0; i < 3 * objs; i++)
    if (i < objs || i % 3)
      item_free (f.any, &items[i]);

  compact_all (f.pool);
  assert_int_not_equal (span_of (&items[4 * objs]), zs_handle_span (handle));
  items_check (f.any, items, ITEMS);
  /* Its zspage stays, also for migration, with a lower span free. */
  arena_return_hot (&f.pool->arena);
  assert_true (!lower_is_free || arena_stats (&f.pool->arena).cold_spans > 0);
  migrate_all (f.pool);
  assert_int_equal (
    zspage_group (arena_zspage (&f.pool->arena, zs_handle_span (handle))),
    ZS_INUSE_RATIO_10);

  write_bytes (mem, SIZE, 1234);
  item_set_value (f.any, &items[0], handle);
  items[0].size = SIZE;
  items[0].tag = 1234;
  pool_attach (f.any, handle, &items[0].cell);
  items_check (f.any, items, ITEMS);
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
    check_always (item_write (f.any, &items[i], 4096, i));
    uint64_t handle, *mem = pool_pin (f.any, &items[i].cell, &handle);
    for (unsigned k = 0; k < 4096 / 8; k++)
      mem[k] = (uintptr_t) &items[k];
    pool_unpin (f.any, handle);
  }
  /* All of it is kept for reuse, for there seems to be so much more. */
  assert_true (budget_charge (&f.budget, GIB));
  items_free (f.any, items, ITEMS);
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
    check_always (item_write (f.any, &items[i], SIZE, i));

  /* Each cell's value is the handle that it just held, and other objects are
   * made at that very place.
   */
  for (unsigned i = 0; i < objs; i++)
    item_set_value (f.any, &items[i], atomic_load (&items[i].cell));
  for (unsigned i = 0; i < objs; i++)
    check_always (item_write (f.any, &items[ITEMS - 1 - i], SIZE, i));
  for (unsigned i = 0; i < objs; i++) /* and one, of a living neighbour */
    item_set_value (f.any, &items[objs + i],
                    atomic_load (&items[objs * 2 + i / 2].cell));
  for (unsigned i = 0; i < objs; i += 2)
    item_free (f.any, &items[ITEMS - 1 - i]);
  for (unsigned i = 0; i < objs; i++)
    if (i % 3)
      item_free (f.any, &items[2 * objs + i]);
  items_check (f.any, items, ITEMS);
  compact_all (f.pool);
  migrate_all (f.pool);
  assert_true (pool_counter (f.pool, POOL_OBJECTS_MOVED) > 0);
  check_and_close (); /* looks at the values too */
}

static const struct CMUnitTest tests[] = {
  UNIT_TEST (test_compaction),
  UNIT_TEST (test_compaction_steps),
  UNIT_TEST (test_packing),
  UNIT_TEST (test_packing_in_transit),
#ifdef ZRAM_FAULTS
  UNIT_TEST (test_growth_against_compaction),
  UNIT_TEST (test_extension_against_requests),
  UNIT_TEST (test_extension_of_what_is_freed),
#endif
  UNIT_TEST (test_migration),
  UNIT_TEST (test_migration_of_few_pages),
  UNIT_TEST (test_migration_pays),
  UNIT_TEST (test_span_on_its_way),
  UNIT_TEST (test_in_transit),
  UNIT_TEST (test_collision),
};

int
main (void)
{
  return UNIT_RUN (tests);
}
