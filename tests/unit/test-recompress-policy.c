/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Recompression by itself: of what is old and of nothing else, until it is
 * told to stop.
 */

#include <config.h>

#include "maint/recompress_policy.h"
#include "recompress-fixture.h"

#ifdef ZRAM_FAULTS

#define SLOT 4096u
#define SLOTS 100u
#define AGE 1000u

static struct fixture f;
static struct recompressor *r;
static struct recompress_policy policy;

/* The first 'old' slots are old enough. */
static void
open_disk (unsigned old, unsigned age, unsigned share)
{
  struct recompress_plan plan = levels_plan (1, 1, 1, 0);
  uint32_t now = clock_coarse_s ();

  levels_open (&f, SLOT, 1, SLOTS);
  r = recompressor_create (f.store, plan.methods, 1);
  check_always (r);
  for (unsigned i = 0; i < SLOTS; i++) {
    levels_put (&f, i, 1, 2000, 1000, 0, 0);
    set_stamp (&f, i, i < old ? now - AGE : now);
  }
  recompress_policy_init (&policy, f.store, r, age, share);
  assert_int_equal (recompress_policy_start (&policy), 0);
}

static void
close_device (void)
{
  recompress_policy_destroy (&policy);
  for (unsigned i = 0; i < SLOTS; i++)
    levels_hold (&f, i, 1, 2000, 1000, 0, 0);
  recompressor_destroy (r);
  levels_close (&f);
}

static unsigned
recompressed (void)
{
  unsigned n = 0;

  for (unsigned i = 0; i < SLOTS; i++)
    n += slot_meta_by (fixture_meta (&f, i)) != 0;
  return n;
}

static void
wait_for (unsigned n)
{
  while (recompressed () < n)
    unit_sleep_ms (1);
}

/* An age that is set counts at once; 0 stops it. */
static void
test_by_age (void **state)
{
  (void) state;
  open_disk (60, 0, 100);
  recompress_policy_set_age (&policy, AGE / 2);
  wait_for (60);
  recompress_policy_set_age (&policy, 0);
  recompress_policy_stop (&policy);
  assert_int_equal (recompressed (), 60);
  for (unsigned i = 0; i < SLOTS; i++)
    assert_int_equal (slot_meta_by (fixture_meta (&f, i)), i < 60);
  assert_int_equal (fixture_count (&f, DISK_RECOMPRESSED), 60);

  /* It can start again, and what has grown old is taken then. */
  set_stamp (&f, 99, clock_coarse_s () - AGE);
  assert_int_equal (recompress_policy_start (&policy), 0);
  recompress_policy_set_age (&policy, AGE / 2);
  wait_for (61);
  assert_int_equal (slot_meta_by (fixture_meta (&f, 99)), 1);
  close_device ();
}

/* Idle by mark is old, whatever its age. */
static void
test_by_mark (void **state)
{
  (void) state;
  open_disk (0, 0, 100);
  assert_int_equal (disk_mark_idle (f.disk, 10, 20, 0, clock_coarse_s () + 10),
                    10);
  recompress_policy_set_age (&policy, AGE / 2);
  wait_for (10);
  recompress_policy_stop (&policy);
  for (unsigned i = 0; i < SLOTS; i++)
    assert_int_equal (slot_meta_by (fixture_meta (&f, i)), i >= 10 && i < 20);
  close_device ();
}

/* The end of a pass: after the slot at hand, and without what it owes. */
static void
test_stop_in_pass (void **state)
{
  (void) state;
  open_disk (SLOTS, 0, 1);
  fault_hold_first ("recompress.packed");
  recompress_policy_set_age (&policy, AGE / 2);
  fault_wait_held ("recompress.packed");
  assert_true (recompressor_is_running (r));
  struct recompress_totals t;
  const struct recompress_request q = { 0 };
  struct pass_progress progress = { 0 };
  struct pace pace;
  pace_init (&pace, f.store, NULL, 100, 100);
  assert_int_equal (recompressor_run (r, &q, &pace, &progress, &t), -1);
  assert_int_equal (errno, EBUSY);
  atomic_store (&policy.progress.cancel, true);
  fault_release ("recompress.packed");
  recompress_policy_stop (&policy);
  assert_false (recompressor_is_running (r));
  assert_true (recompressed () >= 1 && recompressed () < SLOTS);
  check_no_claims (&f);

  /* The pass by hand goes on where that ended. */
  assert_int_equal (recompressor_run (r, &q, &pace, &progress, &t), 0);
  assert_int_equal (recompressed (), SLOTS);
  close_device ();
}

static void
test_start_stop (void **state)
{
  (void) state;
  open_disk (SLOTS, 0, 1);
  for (unsigned i = 0; i < 40; i++) {
    if (i % 2)
      recompress_policy_set_age (&policy, AGE / 2);
    if (i % 4 == 3)
      unit_sleep_ms (2);
    recompress_policy_stop (&policy);
    assert_false (recompressor_is_running (r));
    check_no_claims (&f);
    assert_int_equal (recompress_policy_start (&policy), 0);
  }
  wait_for (1);
  close_device ();
}

/* While it is paused it begins no pass, and ends the one that runs. */
static void
test_pause (void **state)
{
  (void) state;
  open_disk (SLOTS, 0, 100);
  recompress_policy_pause (&policy);
  recompress_policy_pause (&policy);
  for (unsigned i = 0; i < 20; i++) {
    recompress_policy_set_age (&policy, AGE / 2);
    unit_sleep_ms (1);
  }
  recompress_policy_resume (&policy);
  recompress_policy_set_age (&policy, AGE / 2);
  unit_sleep_ms (5);
  assert_int_equal (recompressed (), 0);
  recompress_policy_resume (&policy);
  recompress_policy_set_age (&policy, AGE / 2);
  wait_for (SLOTS);
  close_device ();
}

/* No methods: nothing is done, and nothing is wrong. */
static void
test_no_methods (void **state)
{
  (void) state;
  open_disk (SLOTS, 0, 100);
  struct recompress_plan plan = levels_plan (1, 1, 1, 0);
  recompressor_set_methods (r, NULL, 0);
  recompress_policy_set_age (&policy, AGE / 2);
  unit_sleep_ms (5);
  assert_int_equal (recompressed (), 0);
  recompressor_set_methods (r, plan.methods, 1);
  recompress_policy_set_age (&policy, AGE / 2);
  wait_for (SLOTS);
  close_device ();
}

int
main (void)
{
  static const struct CMUnitTest tests[] = {
    UNIT_TEST (test_by_age),       UNIT_TEST (test_by_mark),
    UNIT_TEST (test_stop_in_pass), UNIT_TEST (test_start_stop),
    UNIT_TEST (test_pause),        UNIT_TEST (test_no_methods),
  };

  return UNIT_RUN (tests);
}

#else

int
main (void)
{
  printf ("skipped: no fault points in this build\n");
  return 77;
}

#endif
