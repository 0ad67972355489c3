/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The compactor: when it starts by itself and when not, that only one pass runs
 * at a time, and that a pass ends when it should. test-compact-memory.c checks
 * the memory that is left after it.
 */

#include <config.h>

#include "compact-fixture.h"

#define PACKED_AT_ONCE \
  "z3fold's pages are compacted as objects are freed, and none is freeable"

/* -- when it runs -------------------------------------------------------- */

static void
test_by_hand (void **state)
{
  (void) state;
  fixture_only ("zsmalloc", PACKED_AT_ONCE);
  open_disk (3000, 2, 1);
  fill (0, 3000, false);
  thin_out (3000, 4);
  uint64_t before = fixture_used (&f), pages = freeable ();
  assert_true (pages > 100);
  struct compactor_result r = compactor_run (compactor);
  /* It was an estimate: the last zspage of a class is not fully grown. */
  assert_true (r.pages_freed > pages - pages / 8 &&
               r.pages_freed < pages + pages / 8);
  assert_true (r.objects_moved > 0);
  assert_int_equal (r.objects_moved, moved ());
  assert_int_equal (freeable (), 0);
  assert_true (fixture_used (&f) < before);
  check_thinned (3000, 4, false);

  r = compactor_run (compactor); /* nothing is left to do */
  assert_int_equal (r.pages_freed, 0);
  assert_int_equal (r.objects_moved, 0);
  assert_int_equal (r.leaves_freed, 0);
  assert_int_equal (compactor_passes (compactor), 0);
  close_device ();
}

static void
test_by_itself (void **state)
{
  (void) state;
  fixture_only ("zsmalloc", PACKED_AT_ONCE);
  open_disk (3000, 2, 1);
  assert_int_equal (compactor_start (compactor), 0);
  fill (0, 3000, false);
  thin_out (3000, 4);
  while (compactor_passes (compactor) == 0 || freeable () > 0)
    unit_sleep_ms (1);
  assert_true (moved () > 0);
  check_thinned (3000, 4, false);
  /* Without requests it gives back too what the arena keeps. */
  while (arena ().hot_pages > 0)
    unit_sleep_ms (1);
  compactor_stop (compactor);
  close_device ();
}

/* Below the threshold it looks and goes to sleep again. */
static void
test_below_threshold (void **state)
{
  (void) state;
  fixture_only ("zsmalloc", PACKED_AT_ONCE);
  open_disk (3000, 99, 1);
  fill (0, 3000, false);
  thin_out (3000, 2);
  /* Pages to give back, so that it shows when it has looked. */
  fill (2900, 3000, true);
  must_discard (&f, 2900 * SLOT, 100 * SLOT);
  assert_true (arena ().hot_pages > 0);
  assert_true (freeable () > 100);
  assert_int_equal (compactor_start (compactor), 0);
  while (arena ().hot_pages > 0)
    unit_sleep_ms (1);
  compactor_stop (compactor);
  assert_int_equal (compactor_passes (compactor), 0);
  assert_int_equal (moved (), 0);
  close_device ();
}

/* 0: it never compacts by itself, but does the rest. */
static void
test_threshold_0 (void **state)
{
  (void) state;
  fixture_only ("zsmalloc", PACKED_AT_ONCE);
  open_disk (30000, 0, 0);
  fill (0, 3000, false);
  thin_out (3000, 4);
  fill (20 * LEAF_SLOTS, 21 * LEAF_SLOTS, true);
  for (unsigned i = 20 * LEAF_SLOTS; i < 21 * LEAF_SLOTS; i++)
    slot_discard (f.disk, i); /* which leaves the leaf */
  assert_int_equal (leaves_empty (&f.store->leaves), 1);
  uint64_t before = freeable ();
  assert_true (before > 100);
  assert_int_equal (compactor_start (compactor), 0);
  while (compactor_passes (compactor) < 20)
    unit_sleep_ms (1);
  compactor_stop (compactor);
  assert_int_equal (moved (), 0);
  assert_int_equal (freeable (), before);
  assert_int_equal (leaves_empty (&f.store->leaves), 0);
  assert_true (compactor_run (compactor).objects_moved > 0);
  close_device ();
}

/* With nothing to compact, what is kept for reuse goes back all the same. */
static void
test_gives_back (void **state)
{
  (void) state;
  open_disk (3000, 99, 1);
  fill (0, 3000, true);
  thin_out (3000, 4);
  assert_true (kept () > 0);
  assert_int_equal (compactor_start (compactor), 0);
  while (kept () > 0)
    unit_sleep_ms (1);
  compactor_stop (compactor);
  check_thinned (3000, 4, true);
  must_discard (&f, 0, 3000 * SLOT);
  close_device ();
}

static void
test_start_stop (void **state)
{
  (void) state;
  open_disk (1000, 2, 1);
  compactor_stop (compactor); /* never started */
  for (unsigned i = 0; i < 20; i++) {
    assert_int_equal (compactor_start (compactor), 0);
    if (i % 3)
      fill (0, 50, true);
    compactor_stop (compactor);
    compactor_stop (compactor);
  }
  assert_int_equal (compactor_start (compactor), 0);
  close_device (); /* which stops it */
}

static void
test_leaves (void **state)
{
  enum { N = 100 };

  (void) state;
  open_disk (N * LEAF_SLOTS, 2, 1);
  for (unsigned i = 0; i < N; i++)
    fill (i * LEAF_SLOTS + i, i * LEAF_SLOTS + i + 1, true);
  for (unsigned i = 0; i < N; i++)
    if (i % 4)
      slot_discard (f.disk, i * LEAF_SLOTS + i);
  assert_int_equal (leaves_empty (&f.store->leaves), N - N / 4);
  assert_int_equal (compactor_run (compactor).leaves_freed, N - N / 4);
  assert_int_equal (f.store->leaves.leaf_count, N / 4);
  assert_int_equal (leaves_memory (&f.store->leaves), N / 4 * 4096);
  close_device ();
}

/* -- trapped in a pass --------------------------------------------------- */

#ifdef ZRAM_FAULTS

static atomic_uint passes_done;

static void *
run_a_pass (void *arg)
{
  (void) arg;
  (void) compactor_run (compactor);
  atomic_fetch_add (&passes_done, 1);
  return NULL;
}

/* One at a time, by hand or by itself.  The first one stands where it holds
 * nothing but what keeps the others out.
 */
static void
test_never_twice (void **state)
{
  struct unit_thread t[3];

  (void) state;
  open_disk (3000, 1, 0);
  fill (0, 3000, false);
  thin_out (3000, 4);
  for (unsigned i = 0; i < LEAF_SLOTS; i++)
    slot_discard (f.disk, i); /* which leaves the leaf */
  atomic_store (&passes_done, 0);
  fault_hold_first ("table.reclaim.found");
  unit_start (&t[0], run_a_pass, NULL);
  fault_wait_held ("table.reclaim.found");
  assert_true (compactor_is_running (compactor));
  assert_int_equal (compactor_start (compactor), 0);
  unit_start (&t[1], run_a_pass, NULL);
  unit_start (&t[2], run_a_pass, NULL);
  unit_wait_asleep (&t[1]);
  unit_wait_asleep (&t[2]);
  unit_sleep_ms (100); /* nothing may happen */
  assert_int_equal (atomic_load (&passes_done), 0);
  assert_int_equal (compactor_passes (compactor), 0);
  fault_release ("table.reclaim.found");
  unit_join_all (t, 3);
  while (compactor_passes (compactor) == 0)
    unit_sleep_ms (1);
  compactor_stop (compactor);
  assert_int_equal (freeable (), 0);
  assert_int_equal (leaves_empty (&f.store->leaves), 0);
  close_device ();
}

static atomic_bool stopped;

static void *
stop_it (void *arg)
{
  (void) arg;
  compactor_stop (compactor);
  atomic_store (&stopped, true);
  return NULL;
}

/* Stopped in its first step, it does no second one. */
static void
test_stop_in_a_pass (void **state)
{
  struct unit_thread t;

  (void) state;
  fixture_only ("zsmalloc", PACKED_AT_ONCE);
  open_disk (6000, 1, 1);
  fill (0, 6000, false);
  thin_out (6000, 4);
  uint64_t before = freeable ();
  fault_hold ("zs.compact.moved");
  assert_int_equal (compactor_start (compactor), 0);
  fault_wait_held ("zs.compact.moved");
  atomic_store (&stopped, false);
  unit_start (&t, stop_it, NULL);
  unit_wait_asleep (&t);
  assert_false (atomic_load (&stopped));
  fault_release ("zs.compact.moved");
  unit_join (&t);
  assert_in_range (freeable (), before - 32, before - 1); /* a zspage's pages */
  check_thinned (6000, 4, false);
  assert_true (compactor_run (compactor).objects_moved > 0);
  close_device ();
}

static struct pass_progress progress;
static struct compactor_result result;

static void *
run_watched (void *arg)
{
  *(bool *) arg = compactor_run_watched (compactor, &progress, &result);
  return NULL;
}

/* Cancelled among leaves that lie far apart. */
static void
test_cancel (void **state)
{
  enum { LEAVES = 1000 };
  struct unit_thread t;
  bool whole = true;

  (void) state;
  fixture_open (&f, SLOT, "lz4", 2, UINT64_C (1) << 50);
  compactor = compactor_create (f.store, 1, 1);
  assert_non_null (compactor);
  for (uint64_t i = 0; i < LEAVES; i++) {
    uint64_t slot = (i * 64 + 1) * LEAF_SLOTS;

    must_write (&f, "x", 1, slot * SLOT);
    slot_discard (f.disk, slot);
  }
  assert_int_equal (leaves_empty (&f.store->leaves), LEAVES);
  memset (&progress, 0, sizeof progress);
  fault_hold ("table.reclaim.found");
  unit_start (&t, run_watched, &whole);
  fault_wait_held ("table.reclaim.found");
  atomic_store (&progress.cancel, true);
  fault_release ("table.reclaim.found");
  unit_join (&t);
  assert_false (whole);
  assert_true (result.leaves_freed <= 100);
  assert_int_equal (leaves_empty (&f.store->leaves),
                    LEAVES - result.leaves_freed);

  memset (&progress, 0, sizeof progress);
  unit_start (&t, run_watched, &whole);
  unit_join (&t);
  assert_true (whole);
  assert_int_equal (leaves_empty (&f.store->leaves), 0);
  close_device ();
}

/* -- trapped while it moves objects -------------------------------------- */

/* The same in every slot, so that all objects are of one class. */
static void
fill_alike (unsigned from, unsigned to)
{
  char buf[SLOT];

  content (buf, 0, false);
  for (unsigned i = from; i < to; i++)
    must_write (&f, buf, SLOT, (uint64_t) i * SLOT);
}

static void *
read_slot_0 (void *arg)
{
  char buf[SLOT];

  (void) arg;
  content (buf, 0, false);
  must_hold (&f, buf, SLOT, 0);
  return NULL;
}

/* The mover has lost its CPU, so to speak, while it holds the zspage that a
 * reader wants: the reader sleeps, and then finds the object elsewhere.
 */
static void
test_reader_sleeps (void **state)
{
  struct unit_thread reader, mover;

  (void) state;
  fixture_only ("zsmalloc", "a mover of z3fold's objects holds their page");
  open_disk (3000, 1, 1);
  /* Ten full zspages; in the first slot 0 stays alone, so that it is the
   * emptiest.
   */
  fill_alike (0, 1);
  uint64_t cell = slot_load_cell (slot_table_peek (&f.disk->table, 0));
  unsigned objs = fixture_zs (&f)->classes.g[zs_handle_class (cell)].objs;
  assert_true (objs > 10 && 10 * objs <= 3000);
  fill_alike (1, 10 * objs);
  must_discard (&f, SLOT, (objs - 1) * SLOT);
  for (unsigned i = objs; i < 10 * objs; i += 2)
    must_discard (&f, i * SLOT, SLOT);
  fault_hold_first ("zs.pin.before_lock");
  unit_start (&reader, read_slot_0, NULL);
  fault_wait_held ("zs.pin.before_lock");
  fault_hold ("zs.compact.moved");
  unit_start (&mover, run_a_pass, NULL);
  fault_wait_held ("zs.compact.moved");
  assert_int_not_equal (slot_load_cell (slot_table_peek (&f.disk->table, 0)),
                        cell);
  uint64_t sleeps = park_sleeps ();
  fault_release ("zs.pin.before_lock");
  while (park_sleeps () == sleeps)
    unit_sleep_ms (1);
  unit_wait_asleep (&reader);
  fault_release ("zs.compact.moved");
  unit_join (&reader);
  unit_join (&mover);
  close_device ();
}

static void *
write_slot (void *arg)
{
  unsigned i = *(unsigned *) arg;

  fill_alike (i, i + 1);
  return NULL;
}

/* Threads that find no zspage with room each make one; one of these is
 * enough, and no memory lies idle.
 */
static void
test_one_zspage (void **state)
{
  unsigned slot[4] = { 0, 1, 2, 3 };
  struct unit_thread t[4];

  (void) state;
  fixture_only ("zsmalloc", "a page of z3fold is made for an object");
  open_disk (3000, 1, 1);
  assert_int_equal (store_set_workers (f.store, 4), 0);
  fault_hold ("zs.alloc.zspage");
  unit_start_all (t, 4, write_slot, slot, sizeof *slot);
  for (unsigned i = 0; i < 4; i++)
    unit_wait_asleep (&t[i]);
  fault_release ("zs.alloc.zspage");
  unit_join_all (t, 4);
  assert_int_equal (arena ().used_spans, 1);
  must_discard (&f, 0, 4 * SLOT);
  assert_int_equal (arena ().used_spans, 0);
  close_device ();
}

#endif

int
main (void)
{
  static const struct CMUnitTest tests[] = {
    UNIT_TEST (test_by_hand),         UNIT_TEST (test_by_itself),
    UNIT_TEST (test_below_threshold), UNIT_TEST (test_threshold_0),
    UNIT_TEST (test_gives_back),      UNIT_TEST (test_start_stop),
#ifdef ZRAM_FAULTS
    UNIT_TEST (test_never_twice),     UNIT_TEST (test_stop_in_a_pass),
    UNIT_TEST (test_cancel),          UNIT_TEST (test_reader_sleeps),
    UNIT_TEST (test_one_zspage),
#endif
    UNIT_TEST (test_leaves),
  };

  return UNIT_RUN (tests);
}
