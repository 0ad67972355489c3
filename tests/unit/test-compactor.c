/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The compactor: when it starts by itself and when not, that there is one
 * pass at a time, that a pass ends when it shall, and what memory is left
 * after overwriting and discarding.
 */

#include <config.h>

#include "maint/compactor.h"
#include "store-fixture.h"

#define SLOT 4096u

static struct fixture f;
static struct compactor *compactor;

static void
open_device (unsigned slots, unsigned threshold, unsigned pause)
{
  fixture_open (&f, SLOT, "lz4", 2, (uint64_t) slots * SLOT);
  compactor = compactor_create (f.dev, threshold, pause);
  assert_non_null (compactor);
}

static void
close_device (void)
{
  compactor_destroy (compactor);
  fixture_close (&f);
}

/* What slot i holds; other slots have other sizes, if they may. */
static void
content (char *buf, unsigned i, bool sizes)
{
  struct unit_rng rng = unit_rng (5000 + i);

  fill_kind (buf, SLOT, sizes ? KIND_MIXED : KIND_TEXT, &rng);
}

static void
fill (unsigned from, unsigned to, bool sizes)
{
  char buf[SLOT];

  for (unsigned i = from; i < to; i++) {
    content (buf, i, sizes);
    must_write (&f, buf, SLOT, (uint64_t) i * SLOT);
  }
}

/* Is the slot one of those that thin_out leaves? */
static bool
stays (unsigned i, unsigned one_in)
{
  return unit_mix (unit_seed + i) % one_in == 0;
}

static void
thin_out (unsigned slots, unsigned one_in)
{
  for (unsigned i = 0; i < slots; i++)
    if (!stays (i, one_in))
      must_discard (&f, (uint64_t) i * SLOT, SLOT);
}

static void
check_thinned (unsigned slots, unsigned one_in, bool sizes)
{
  char buf[SLOT];

  for (unsigned i = 0; i < slots; i++) {
    content (buf, i, sizes);
    must_hold (&f, stays (i, one_in) ? buf : NULL, SLOT, (uint64_t) i * SLOT);
  }
}

static int64_t
moved (void)
{
  return counter_sum (&f.store->pool->counters, ZS_OBJECTS_MOVED);
}

static uint64_t
freeable (void)
{
  return zs_freeable_pages (f.store->pool);
}

static struct arena_stats
arena (void)
{
  return arena_stats (&f.store->pool->arena);
}

/* -- when it runs -------------------------------------------------------- */

static void
test_by_hand (void **state)
{
  (void) state;
  open_device (3000, 2, 1);
  fill (0, 3000, false);
  thin_out (3000, 4);
  uint64_t before = fixture_used (&f), pages = freeable ();
  assert_true (pages > 100);
  struct compactor_result r = compactor_run (compactor);
  assert_int_equal (r.pages_freed, pages);
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
  open_device (3000, 2, 1);
  assert_int_equal (compactor_start (compactor), 0);
  fill (0, 3000, false);
  thin_out (3000, 4);
  while (compactor_passes (compactor) == 0 || freeable () > 0)
    sched_yield ();
  assert_true (moved () > 0);
  check_thinned (3000, 4, false);
  /* Without requests it gives back too what the arena keeps. */
  while (arena ().hot_pages > 0)
    sched_yield ();
  compactor_stop (compactor);
  close_device ();
}

/* Below the threshold it looks and goes to sleep again. */
static void
test_below_threshold (void **state)
{
  (void) state;
  open_device (3000, 99, 1);
  fill (0, 3000, false);
  thin_out (3000, 2);
  /* Pages to give back, so that it shows when it has looked. */
  fill (2900, 3000, true);
  must_discard (&f, 2900 * SLOT, 100 * SLOT);
  assert_true (arena ().hot_pages > 0);
  assert_true (freeable () > 100);
  assert_int_equal (compactor_start (compactor), 0);
  while (arena ().hot_pages > 0)
    sched_yield ();
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
  open_device (30000, 0, 0);
  fill (0, 3000, false);
  thin_out (3000, 4);
  fill (20 * LEAF_SLOTS, 21 * LEAF_SLOTS, true);
  for (unsigned i = 20 * LEAF_SLOTS; i < 21 * LEAF_SLOTS; i++)
    slot_discard (f.dev, i); /* which leaves the leaf */
  assert_int_equal (slot_table_empty_leaves (&f.dev->table), 1);
  uint64_t before = freeable ();
  assert_true (before > 100);
  assert_int_equal (compactor_start (compactor), 0);
  while (compactor_passes (compactor) < 20)
    sched_yield ();
  compactor_stop (compactor);
  assert_int_equal (moved (), 0);
  assert_int_equal (freeable (), before);
  assert_int_equal (slot_table_empty_leaves (&f.dev->table), 0);
  assert_true (compactor_run (compactor).objects_moved > 0);
  close_device ();
}

static void
test_start_stop (void **state)
{
  (void) state;
  open_device (1000, 2, 1);
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

/* One at a time, by hand or by itself. */
static void
test_never_twice (void **state)
{
  struct unit_thread t[3];

  (void) state;
  open_device (3000, 1, 0);
  fill (0, 3000, false);
  thin_out (3000, 4);
  atomic_store (&passes_done, 0);
  fault_hold ("zs.compact.moved");
  unit_start (&t[0], run_a_pass, NULL);
  fault_wait_held ("zs.compact.moved");
  assert_true (compactor_is_running (compactor));
  assert_int_equal (compactor_start (compactor), 0);
  unit_start (&t[1], run_a_pass, NULL);
  unit_start (&t[2], run_a_pass, NULL);
  unit_wait_asleep (&t[1]);
  unit_wait_asleep (&t[2]);
  assert_int_equal (atomic_load (&passes_done), 0);
  assert_int_equal (compactor_passes (compactor), 0);
  /* Only the first has moved anything: one zspage's objects at the most. */
  assert_int_equal (moved (), 0); /* counted after the step */
  fault_release ("zs.compact.moved");
  unit_join_all (t, 3);
  while (compactor_passes (compactor) == 0)
    sched_yield ();
  compactor_stop (compactor);
  assert_int_equal (freeable (), 0);
  check_thinned (3000, 4, false);
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
  open_device (6000, 1, 1);
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
  assert_int_equal (before - freeable (),
                    counter_sum (&f.store->pool->counters,
                                 ZS_PAGES_COMPACTED));
  assert_true (freeable () > before - 33); /* a zspage */
  check_thinned (6000, 4, false);
  assert_true (compactor_run (compactor).objects_moved > 0);
  close_device ();
}

static struct compactor_progress progress;
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
  compactor = compactor_create (f.dev, 1, 1);
  assert_non_null (compactor);
  for (uint64_t i = 0; i < LEAVES; i++) {
    uint64_t slot = (i * 64 + 1) * LEAF_SLOTS;

    must_write (&f, "x", 1, slot * SLOT);
    slot_discard (f.dev, slot);
  }
  assert_int_equal (slot_table_empty_leaves (&f.dev->table), LEAVES);
  memset (&progress, 0, sizeof progress);
  fault_hold ("table.reclaim.found");
  unit_start (&t, run_watched, &whole);
  fault_wait_held ("table.reclaim.found");
  atomic_store (&progress.cancel, true);
  fault_release ("table.reclaim.found");
  unit_join (&t);
  assert_false (whole);
  assert_true (result.leaves_freed <= 100);
  assert_int_equal (slot_table_empty_leaves (&f.dev->table),
                    LEAVES - result.leaves_freed);

  memset (&progress, 0, sizeof progress);
  unit_start (&t, run_watched, &whole);
  unit_join (&t);
  assert_true (whole);
  assert_int_equal (slot_table_empty_leaves (&f.dev->table), 0);
  close_device ();
}

/* -- trapped while it moves objects -------------------------------------- */

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
  open_device (3000, 1, 1);
  fill (0, 1000, false);
  /* Slot 0 is alone in its zspage, the emptiest. */
  must_discard (&f, SLOT, 200 * SLOT);
  for (unsigned i = 201; i < 1000; i += 2)
    must_discard (&f, i * SLOT, SLOT);
  uint64_t cell = slot_load_cell (slot_table_peek (&f.dev->table, 0));
  fault_hold_first ("zs.pin.before_lock");
  unit_start (&reader, read_slot_0, NULL);
  fault_wait_held ("zs.pin.before_lock");
  fault_hold ("zs.compact.moved");
  unit_start (&mover, run_a_pass, NULL);
  fault_wait_held ("zs.compact.moved");
  assert_int_not_equal (slot_load_cell (slot_table_peek (&f.dev->table, 0)),
                        cell);
  uint64_t sleeps = park_sleeps ();
  fault_release ("zs.pin.before_lock");
  while (park_sleeps () == sleeps)
    sched_yield ();
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

  fill (i, i + 1, false);
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
  open_device (3000, 1, 1);
  assert_int_equal (store_set_workers (f.store, 4), 0);
  fault_hold ("zs.alloc.zspage");
  unit_start_all (t, 4, write_slot, slot, sizeof *slot);
  for (unsigned i = 0; i < 4; i++)
    unit_wait_asleep (&t[i]);
  fault_release ("zs.alloc.zspage");
  unit_join_all (t, 4);
  assert_true (arena ().used_spans <= 2); /* classes, at the most */
  thin_out (4, UINT32_MAX);
  assert_true (arena ().used_spans == 0 ||
               fixture_count (&f, DEV_SLOTS_STORED) > 0);
  close_device ();
}

#endif

/* -- memory -------------------------------------------------------------- */

#if UNIT_SCALE > 1
#define LARGE 6000u
#else
#define LARGE 24000u
#endif

static uint64_t
resident (void)
{
  struct arena *a = &f.store->pool->arena;

  return reserve_resident (&a->memory, arena ().top * a->span_size) +
         reserve_resident (&f.dev->table.leaves,
                           f.dev->table.top * UINT64_C (4096));
}

/* What is charged is in RAM, and what is in RAM is charged, within 2 %. */
static void
check_charged (void)
{
  uint64_t used =
    fixture_used (&f) - f.dev->table.node_count * UINT64_C (4096);
  uint64_t in_ram = resident ();

  if (in_ram > used || in_ram + used / 50 + 16 * MEM_PAGE < used)
    fail_msg ("charged %" PRIu64 ", resident %" PRIu64, used, in_ram);
}

static uint64_t
process_rss (void)
{
  FILE *fp = fopen ("/proc/self/statm", "r");
  unsigned long size, pages;

  assert_non_null (fp);
  assert_int_equal (fscanf (fp, "%lu %lu", &size, &pages), 2);
  fclose (fp);
  return (uint64_t) pages * (uint64_t) sysconf (_SC_PAGESIZE);
}

static void
test_discard_everything (void **state)
{
  (void) state;
  open_device (LARGE, 2, 1);
  fill (0, 100, true);
  must_discard (&f, 0, 100 * SLOT);
  uint64_t rss = process_rss ();
  for (unsigned round = 0; round < 3; round++) {
    fill (0, LARGE, true);
    check_charged ();
    if (round == 0)
      must_discard (&f, 0, (uint64_t) LARGE * SLOT);
    else
      thin_out (LARGE, UINT32_MAX);
    must_discard (&f, 0, (uint64_t) LARGE * SLOT);
    (void) compactor_run (compactor);
    arena_return_hot (&f.store->pool->arena);
    arena_trim (&f.store->pool->arena);
    fixture_check_empty (&f);
    assert_int_equal (resident (), 0);
    assert_int_equal (arena ().top, 0);
    assert_int_equal (f.dev->table.leaf_count, 0);
#if UNIT_SCALE == 1
    /* All of the process: generous, for the C library keeps some. */
    assert_true (process_rss () < rss + rss / 20 + 2 * MiB);
#endif
  }
  (void) rss;
  close_device ();
}

/* It comes to rest by itself, at what an empty device costs. */
static void
test_rests (void **state)
{
  (void) state;
  open_device (LARGE, 2, 1);
  assert_int_equal (compactor_start (compactor), 0);
  fill (0, LARGE, true);
  thin_out (LARGE, UINT32_MAX);
  must_discard (&f, 0, (uint64_t) LARGE * SLOT);
  while (fixture_used (&f) > f.dev->table.node_count * 4096)
    sched_yield ();
  compactor_stop (compactor);
  fixture_check_empty (&f);
  assert_int_equal (arena ().hot_pages, 0);
  close_device ();
}

/* Overwritten at random, then half discarded: little more memory than is
 * stored.  (Of 4 KiB slots of random sizes; the bounds are the issue's.)
 */
static void
test_little_waste (void **state)
{
  struct unit_rng rng = unit_rng (7);
  char buf[SLOT];

  (void) state;
  open_device (LARGE, 2, 1);
  fill (0, LARGE, false);
  for (unsigned i = 0; i < 2 * LARGE; i++) {
    unsigned at = unit_below (&rng, LARGE);

    fill_kind (buf, SLOT, i % 3 ? KIND_TEXT : KIND_RANDOM, &rng);
    must_write (&f, buf, SLOT, (uint64_t) at * SLOT);
  }
  (void) compactor_run (compactor);
  arena_return_hot (&f.store->pool->arena);
  uint64_t stored = (uint64_t) fixture_count (&f, DEV_COMPR_BYTES);
  assert_true (fixture_used (&f) < stored + stored / 20);
  check_charged ();
  thin_out (LARGE, 2);
  (void) compactor_run (compactor);
  arena_return_hot (&f.store->pool->arena);
  stored = (uint64_t) fixture_count (&f, DEV_COMPR_BYTES);
  assert_true (fixture_used (&f) < stored + stored / 10);
  check_charged ();
  close_device ();
}

/* A tenth is left, all over the arena: its end comes down to what is used,
 * and every slot reads as before.
 */
static void
test_migration (void **state)
{
  (void) state;
  open_device (LARGE, 2, 1);
  fill (0, LARGE, false);
  uint32_t top = arena ().top;
  assert_true (top > 64);
  thin_out (LARGE, 10);
  struct compactor_result r = compactor_run (compactor);
  assert_true (r.zspages_migrated > 0);
  assert_true (arena ().top < top / 4);
  assert_true (arena ().top <= 2 * arena ().used_spans);
  check_thinned (LARGE, 10, false);
  check_charged ();
  close_device ();
}

static void
test_leaves (void **state)
{
  enum { N = 100 };

  (void) state;
  open_device (N * LEAF_SLOTS, 2, 1);
  for (unsigned i = 0; i < N; i++)
    fill (i * LEAF_SLOTS + i, i * LEAF_SLOTS + i + 1, true);
  for (unsigned i = 0; i < N; i++)
    if (i % 4)
      slot_discard (f.dev, i * LEAF_SLOTS + i);
  assert_int_equal (slot_table_empty_leaves (&f.dev->table), N - N / 4);
  assert_int_equal (compactor_run (compactor).leaves_freed, N - N / 4);
  assert_int_equal (f.dev->table.leaf_count, N / 4);
  assert_int_equal (slot_table_memory (&f.dev->table), N / 4 * 4096);
  close_device ();
}

int
main (void)
{
  static const struct CMUnitTest tests[] = {
    UNIT_TEST (test_by_hand),
    UNIT_TEST (test_by_itself),
    UNIT_TEST (test_below_threshold),
    UNIT_TEST (test_threshold_0),
    UNIT_TEST (test_start_stop),
#ifdef ZRAM_FAULTS
    UNIT_TEST (test_never_twice),
    UNIT_TEST (test_stop_in_a_pass),
    UNIT_TEST (test_cancel),
    UNIT_TEST (test_reader_sleeps),
    UNIT_TEST (test_one_zspage),
#endif
    UNIT_TEST (test_discard_everything),
    UNIT_TEST (test_rests),
    UNIT_TEST (test_little_waste),
    UNIT_TEST (test_migration),
    UNIT_TEST (test_leaves),
  };

  return UNIT_RUN (tests);
}
