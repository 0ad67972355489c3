/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Writeback by hand: what is asked for goes to the store, nothing else does,
 * and whatever ends the pass early leaves all data where they can be read.
 */

#include <config.h>

#include "held-backing.h"
#include "unbounded.h"

#include "maint/writeback.h"

#define SLOT 4096u
#define DISK (16 * MiB)
#define SLOTS 600u

static struct fixture f;
static struct held *store;
static struct writeback wb;
static struct pass_progress progress;
static struct writeback_totals totals;

static void
setup (uint64_t blocks)
{
  fixture_open (&f, SLOT, "lz4", 2, DISK);
  store = held_attach (&f, blocks);
  writeback_init (&wb, f.store);
  for (unsigned i = 0; i < SLOTS; i++)
    held_write (&f, i, 1);
}

static void
finish (void)
{
  for (unsigned i = 0; i < SLOTS; i++)
    held_expect (&f, i, 1);
  assert_int_equal (atomic_load (&f.store->claims), 0);
  writeback_destroy (&wb);
  fixture_close (&f);
}

static int
run (const struct writeback_request *request)
{
  struct pace pace;

  memset (&progress, 0, sizeof progress);
  pace_init (&pace, f.store, NULL, 100, 100);
  return writeback_run (&wb, request, &pace, &progress, &totals);
}

static unsigned
backed_in (unsigned first, unsigned end)
{
  unsigned n = 0;

  for (unsigned i = first; i < end; i++)
    n += fixture_state (&f, i) == SLOT_BACKED;
  return n;
}

/* -- what is asked for -------------------------------------------------- */

static void
test_all (void **state)
{
  const struct writeback_request all = { 0 };

  (void) state;
  setup (4096);
  assert_int_equal (run (&all), 0);
  assert_int_equal (totals.written.slots, SLOTS);
  assert_int_equal (totals.error, 0);
  assert_int_equal (atomic_load (&progress.total), SLOTS);
  assert_int_equal (atomic_load (&progress.done), SLOTS);
  assert_int_equal (backed_in (0, SLOTS), SLOTS);
  /* Nothing is left, and a same-filled slot never was. */
  must_write (&f, "................", 16, DISK - 16);
  must_discard (&f, DISK - SLOT, SLOT);
  assert_int_equal (run (&all), 0);
  assert_int_equal (totals.written.slots, 0);
  finish ();
}

static void
test_kinds (void **state)
{
  const struct writeback_request idle = { .idle = true };
  const struct writeback_request huge = { .huge = true };
  const struct writeback_request both = { .idle = true, .huge = true };
  const struct writeback_request hard = { .incompressible = true };
  unsigned raw = 0;

  (void) state;
  setup (4096);
  for (unsigned i = 0; i < SLOTS; i++) {
    struct slot *s = (struct slot *) slot_table_peek (&f.disk->table, i);

    if (i % 3 == 0)
      assert_true (slot_mark_idle (s));
    if (i % 7 == 0)
      atomic_fetch_or (&s->meta, SLOT_INCOMPRESSIBLE);
    raw += slot_meta_format (slot_load_meta (s)) == CODEC_RAW;
  }
  assert_int_equal (run (&both), 0);
  for (unsigned i = 0; i < SLOTS; i++)
    assert_int_equal (fixture_state (&f, i) == SLOT_BACKED,
                      i % 3 == 0 &&
                        slot_meta_format (fixture_meta (&f, i)) == CODEC_RAW);
  assert_int_equal (run (&huge), 0);
  assert_int_equal (backed_in (0, SLOTS), raw);
  assert_int_equal (run (&idle), 0);
  for (unsigned i = 0; i < SLOTS; i += 3)
    assert_int_equal (fixture_state (&f, i), SLOT_BACKED);
  assert_int_equal (run (&hard), 0);
  for (unsigned i = 0; i < SLOTS; i++) {
    bool gone = i % 3 == 0 || i % 7 == 0 ||
                slot_meta_format (fixture_meta (&f, i)) == CODEC_RAW;

    assert_int_equal (fixture_state (&f, i) == SLOT_BACKED, gone);
    /* The mark goes with it. */
    assert_int_equal (slot_meta_incompressible (fixture_meta (&f, i)),
                      i % 7 == 0);
  }
  finish ();
}

static void
test_ranges (void **state)
{
  /* In any order, overlapping, empty, and beyond the disk. */
  static const struct slot_range ranges[] = {
    { 100, 200 },
    { 50, 110 },
    { 150, 160 },
    { 7, 7 },
    { 9, 3 },
    { 590, UINT64_MAX },
    { UINT64_MAX, UINT64_MAX },
    { 0, 1 },
  };
  struct writeback_request some = { .ranges = ranges, .ranges_count = 8 };

  (void) state;
  setup (4096);
  some.disk = f.disk;
  assert_int_equal (run (&some), 0);
  assert_int_equal (totals.written.slots, 1 + 150 + 10);
  assert_int_equal (backed_in (50, 200), 150);
  assert_int_equal (backed_in (590, 600), 10);
  assert_int_equal (backed_in (0, 600), 161);
  finish ();
}

/* -- what ends it ------------------------------------------------------- */

static void
test_no_store (void **state)
{
  const struct writeback_request all = { 0 };

  (void) state;
  fixture_open (&f, SLOT, "lz4", 2, DISK);
  writeback_init (&wb, f.store);
  assert_int_equal (run (&all), -1);
  assert_int_equal (errno, ENODEV);
  writeback_destroy (&wb);
  fixture_close (&f);
}

static void
test_limit (void **state)
{
  const struct writeback_request all = { 0 };
  static const uint64_t limits[] = { 0, 1, 17, SLOTS - 20, SLOTS };
  uint64_t before = 0;

  (void) state;
  setup (4096);
  for (unsigned i = 0; i < 5; i++) {
    uint64_t take = limits[i] - before;

    writeback_limit_set (&f.store->writeback_limit, true, take);
    assert_int_equal (run (&all), 0);
    assert_int_equal (totals.written.slots, take);
    assert_int_equal (totals.limit_reached, limits[i] < SLOTS);
    assert_int_equal (atomic_load (&f.store->writeback_limit.left), 0);
    assert_int_equal (backed_in (0, SLOTS), limits[i]);
    before = limits[i];
  }
  finish ();
}

static void
test_store_full (void **state)
{
  const struct writeback_request all = { 0 };

  (void) state;
  setup (60);
  assert_int_equal (run (&all), 0);
  assert_true (totals.backing_full);
  assert_int_equal (totals.error, 0);
  assert_true (totals.written.slots > 50);
  assert_int_equal (backed_in (0, SLOTS), totals.written.slots);
  fixture_audit (&f);
  finish ();
}

/* Every write once; the pass ends with the error, and the next one goes. */
static void
test_errors (void **state)
{
  const struct writeback_request all = { 0 };
  unsigned nth = 1;

  (void) state;
  do {
    setup (4096);
    writeback_limit_set (&f.store->writeback_limit, true, 10000);
    held_fail (store, nth, 1, nth % 2 ? EIO : ENOSPC);
    assert_int_equal (run (&all), 0);
    if (totals.written.failed) {
      assert_int_equal (totals.error, nth % 2 ? EIO : ENOSPC);
      assert_int_equal (fixture_count (&f, DISK_BD_WRITE_ERRORS),
                        totals.written.failed);
    }
    assert_int_equal (atomic_load (&f.store->writeback_limit.left),
                      10000 - totals.written.slots);
    assert_int_equal (backed_in (0, SLOTS), totals.written.slots);
    fixture_audit (&f);
    held_fail (store, 0, 0, 0);
    bool failed = totals.written.failed > 0;
    assert_int_equal (run (&all), 0);
    assert_int_equal (totals.error, 0);
    assert_int_equal (backed_in (0, SLOTS), SLOTS);
    nth = failed ? nth + 1 : 0;
    finish ();
  } while (nth);
}

/* -- while it runs ------------------------------------------------------ */

static struct unit_thread passer;

static void *
pass (void *arg)
{
  (void) arg;
  check_always (run (&(struct writeback_request){ 0 }) == 0);
  return NULL;
}

static void *
complete_until_stopped (void *arg)
{
  while (!atomic_load ((atomic_bool *) arg))
    if (held_count (store))
      held_complete (store, held_count (store) - 1, -1);
    else
      sched_yield ();
  return NULL;
}

static void
test_one_at_a_time (void **state)
{
  struct pace pace;
  struct pass_progress other = { 0 };
  struct writeback_totals t;
  const struct writeback_request all = { 0 };

  (void) state;
  setup (4096);
  held_hold (store, true, false, false);
  unit_start (&passer, pass, NULL);
  held_wait_queued (store, 1);
  pace_init (&pace, f.store, NULL, 100, 100);
  assert_int_equal (writeback_run (&wb, &all, &pace, &other, &t), -1);
  assert_int_equal (errno, EBUSY);
  held_release (store);
  unit_join (&passer);
  assert_int_equal (totals.written.slots, SLOTS);
  finish ();
}

static void
test_cancel (void **state)
{
  (void) state;
  setup (4096);
  held_hold (store, true, false, false);
  unit_start (&passer, pass, NULL);
  held_wait_queued (store, 1);
  atomic_store (&progress.cancel, true);
  held_release (store);
  unit_join (&passer);
  assert_int_equal (backed_in (0, SLOTS), totals.written.slots);
  finish ();
}

/* While it is held nothing is in flight and an audit finds all in order. */
static void
test_hold (void **state)
{
  struct unit_thread completer;
  atomic_bool stop = false;
  struct reason why;

  (void) state;
  setup (4096);
  held_hold (store, true, false, false);
  unit_start (&passer, pass, NULL);
  held_wait_queued (store, 1);
  unit_start (&completer, complete_until_stopped, &stop);
  for (unsigned i = 0; i < 20; i++) {
    writeback_hold (&wb);
    assert_int_equal (held_count (store), 0);
    if (store_audit (f.store, false, &why) == -1)
      fail_msg ("%s", why.text);
    writeback_unhold (&wb);
  }
  unit_join (&passer);
  atomic_store (&stop, true);
  unit_join (&completer);
  held_release (store);
  assert_int_equal (totals.written.slots, SLOTS);
  finish ();
}

/* All is rewritten, discarded and rewritten while the pass has it in flight:
 * it comes to nothing, and no block is lost.
 */
static void
test_all_lost (void **state)
{
  (void) state;
  setup (4096);
  held_hold (store, true, false, false);
  unit_start (&passer, pass, NULL);
  unit_wait_asleep (&passer); /* all of it is in flight */
  must_discard (&f, 0, DISK);
  for (unsigned i = 0; i < SLOTS; i++)
    held_write (&f, i, 1);
  held_release (store);
  unit_join (&passer);
  assert_int_equal (totals.written.slots, 0);
  assert_int_equal (totals.written.lost, SLOTS);
  assert_int_equal (held_blocks (&f).used, 0);
  finish ();
}

int
main (void)
{
  static const struct CMUnitTest tests[] = {
    UNIT_TEST (test_all),      UNIT_TEST (test_kinds),
    UNIT_TEST (test_ranges),   UNIT_TEST (test_no_store),
    UNIT_TEST (test_limit),    UNIT_TEST (test_store_full),
    UNIT_TEST (test_errors),   UNIT_TEST (test_one_at_a_time),
    UNIT_TEST (test_cancel),   UNIT_TEST (test_hold),
    UNIT_TEST (test_all_lost),
  };

  return UNIT_RUN (tests);
}
