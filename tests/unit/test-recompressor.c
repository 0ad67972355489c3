/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Passes of the recompressor: what they take, in which order, where they end,
 * and everything else that may happen meanwhile.
 */

#include <config.h>

#include "maint/compactor.h"
#include "maint/recompressor.h"
#include "recompress-fixture.h"
#include "unbounded.h"

#ifdef ZRAM_FAULTS

#define SLOT 4096u

static struct fixture f;
static struct recompressor *r;

static void
open_disk (unsigned workers, unsigned slots, unsigned methods)
{
  struct recompress_plan plan = levels_plan (methods, 1, methods, 0);

  levels_open (&f, SLOT, workers, slots);
  r = recompressor_create (f.store, plan.methods, methods);
  check_always (r);
}

static void
close_device (void)
{
  recompressor_destroy (r);
  levels_close (&f);
}

static int
pass (const struct recompress_request *request,
      struct recompress_totals *totals)
{
  struct pass_progress progress = { 0 };
  struct pace pace;

  pace_init (&pace, f.store, NULL, 100, 100);
  return recompressor_run (r, request, &pace, &progress, totals);
}

static struct recompress_totals
must_pass (const struct recompress_request *request)
{
  struct recompress_totals totals;

  check_always (pass (request, &totals) == 0);
  check_always (!recompressor_is_running (r));
  check_no_claims (&f);
  return totals;
}

static unsigned
by (uint64_t i)
{
  return slot_meta_by (fixture_meta (&f, i));
}

/* -- order --------------------------------------------------------------- */

static void
test_order (void **state)
{
  static const uint32_t sizes[] = { 3500, 2500, 1500, 500 };
  const struct recompress_request one = { .max_slots = 1 };
  unsigned want[9], n = 0;

  (void) state;
  open_disk (1, 1024, 1);
  /* In the table the best come last: the smallest and not idle at first. */
  for (unsigned k = 0; k < 8; k++)
    levels_put (&f, k * 100, 1, sizes[3 - k % 4], 100, 0, 0);
  levels_put (&f, 900, 1, 0, 100, 0, 0); /* raw, not idle */
  for (unsigned k = 0; k < 4; k++) {
    uint64_t i = (k + 4) * 100;

    assert_int_equal (disk_mark_idle (f.disk, i, i + 1, 0, clock_coarse_s ()),
                      1);
  }
  for (unsigned k = 8; k-- > 4;)
    want[n++] = k * 100;
  want[n++] = 300; /* as large as the raw one, and before it */
  want[n++] = 900;
  for (unsigned k = 3; k-- > 0;)
    want[n++] = k * 100;
  for (unsigned k = 0; k < n; k++) {
    struct recompress_totals t = must_pass (&one);

    assert_int_equal (t.recompressed, 1);
    for (unsigned j = 0; j < n; j++)
      if (by (want[j]) != (j <= k))
        fail_msg ("after pass %u: slot %u, by %u", k, want[j], by (want[j]));
  }
  assert_int_equal (must_pass (&one).recompressed, 0);
  close_device ();
}

/* -- what is taken ------------------------------------------------------- */

static void
fill_all (unsigned slots, uint32_t n1, uint32_t n2)
{
  for (unsigned i = 0; i < slots; i++)
    levels_put (&f, i, 1, n1, n2, 0, 0);
}

static void
hold_all (unsigned slots, uint32_t n1, uint32_t n2)
{
  for (unsigned i = 0; i < slots; i++)
    levels_hold (&f, i, 1, n1, n2, 0, 0);
}

static void
test_number_and_range (void **state)
{
  struct recompress_request q = { .max_slots = 7 };
  struct recompress_totals t;

  (void) state;
  open_disk (1, 600, 1);
  fill_all (600, 2000, 1000);
  t = must_pass (&q);
  assert_int_equal (t.recompressed, 7);
  assert_int_equal (t.bytes_won, 7000);
  assert_int_equal (t.vain + t.lost + t.failed, 0);
  assert_int_equal (t.error, 0);
  assert_int_equal (fixture_count (&f, DISK_RECOMPRESSED), 7);
  for (unsigned i = 0; i < 10; i++)
    assert_int_equal (by (i), i < 7);

  q = (struct recompress_request){ .disk = f.disk, .first = 100, .end = 110 };
  assert_int_equal (must_pass (&q).recompressed, 10);
  assert_int_equal (by (99), 0);
  assert_int_equal (by (100), 1);
  assert_int_equal (by (109), 1);
  assert_int_equal (by (110), 0);
  q = (struct recompress_request){ .disk = f.disk, .first = 110, .end = 111 };
  assert_int_equal (must_pass (&q).recompressed, 1);
  q = (struct recompress_request){ .disk = f.disk,
                                   .first = 599,
                                   .end = UINT64_MAX };
  assert_int_equal (must_pass (&q).recompressed, 1);
  q = (struct recompress_request){ .disk = f.disk, .first = 600 };
  assert_int_equal (must_pass (&q).recompressed, 0);
  q = (struct recompress_request){ .disk = f.disk, .first = UINT64_MAX };
  assert_int_equal (must_pass (&q).recompressed, 0);
  q = (struct recompress_request){ .disk = f.disk, .first = 50, .end = 20 };
  assert_int_equal (must_pass (&q).recompressed, 0);
  q = (struct recompress_request){ 0 };
  t = must_pass (&q);
  assert_int_equal (t.recompressed, 600 - 7 - 10 - 1 - 1);
  hold_all (600, 2000, 1000);
  close_device ();
}

static void
test_types (void **state)
{
  struct recompress_request q = { .huge = true };

  (void) state;
  open_disk (1, 600, 2);
  levels_put (&f, 0, 1, 0, 2000, 900, 0);
  levels_put (&f, 1, 1, 3000, 2000, 900, 0);
  levels_put (&f, 2, 1, 0, 2000, 900, 0);
  levels_put (&f, 3, 1, 1000, 300, 40, 0);
  levels_put (&f, 4, 1, 1000, 300, 40, 0);
  (void) disk_mark_idle (f.disk, 2, 4, 0, clock_coarse_s ());
  q = (struct recompress_request){ .huge = true, .idle = true };
  assert_int_equal (must_pass (&q).recompressed, 1);
  assert_int_equal (by (2), 1);
  q = (struct recompress_request){ .huge = true };
  assert_int_equal (must_pass (&q).recompressed, 1);
  assert_int_equal (by (0), 1);
  q = (struct recompress_request){ .idle = true, .threshold = 1500 };
  assert_int_equal (must_pass (&q).recompressed, 1); /* by the second */
  assert_int_equal (by (2), 2);
  q = (struct recompress_request){ .idle = true };
  assert_true (must_pass (&q).recompressed >= 1);
  assert_int_not_equal (by (3), 0);
  assert_int_equal (by (4), 0);
  q = (struct recompress_request){ .priority = 2 };
  (void) must_pass (&q);
  for (unsigned i = 0; i < 5; i++)
    assert_int_equal (by (i), 2);
  levels_hold (&f, 0, 1, 0, 2000, 900, 0);
  levels_hold (&f, 4, 1, 1000, 300, 40, 0);

  struct recompress_totals t;
  q = (struct recompress_request){ .priority = 3 };
  assert_int_equal (pass (&q, &t), -1);
  assert_int_equal (errno, EINVAL);
  recompressor_set_methods (r, NULL, 0);
  q = (struct recompress_request){ 0 };
  assert_int_equal (pass (&q, &t), -1);
  assert_int_equal (errno, EINVAL);
  close_device ();
}

static void
test_ages (void **state)
{
  struct recompress_request q = { .min_age = 100 };
  uint32_t now = clock_coarse_s ();

  (void) state;
  open_disk (1, 600, 1);
  fill_all (6, 2000, 1000);
  set_stamp (&f, 0, now - 99 + 5); /* not in the next seconds */
  set_stamp (&f, 1, now - 100);
  set_stamp (&f, 2, now + 60); /* accessed after the walk began */
  set_stamp (&f, 3, now - SLOT_OLD);
  set_stamp (&f, 4, now);
  assert_int_equal (disk_mark_idle (f.disk, 5, 6, 0, now + 60), 1);
  uint32_t before = lock_word (&f, 1);
  assert_int_equal (must_pass (&q).recompressed, 3);
  assert_int_equal (by (0), 0);
  assert_int_equal (by (1), 1);
  assert_int_equal (by (2), 0);
  assert_int_equal (by (3), 1);
  assert_int_equal (by (4), 0);
  assert_int_equal (by (5), 1);
  /* The pass itself was no access. */
  assert_int_equal (lock_word (&f, 1), before);
  assert_true (lock_word (&f, 5) & SLOT_IDLE);
  close_device ();
}

/* -- ends ---------------------------------------------------------------- */

static struct pass_progress watched;

static void *
run_watched (void *arg)
{
  const struct recompress_request q = { 0 };
  struct pace pace;

  pace_init (&pace, f.store, NULL, 100, 100);
  check_always (recompressor_run (r, &q, &pace, &watched, arg) == 0);
  return NULL;
}

static void
test_cancel_and_busy (void **state)
{
  const struct recompress_request q = { 0 };
  struct recompress_totals t, second;
  struct unit_thread thread;

  (void) state;
  open_disk (1, 100, 1);
  fill_all (100, 2000, 1000);
  memset (&watched, 0, sizeof watched);
  assert_false (recompressor_is_running (r));
  fault_hold ("recompress.packed");
  unit_start (&thread, run_watched, &t);
  fault_wait_held ("recompress.packed");
  assert_true (recompressor_is_running (r));
  assert_int_equal (atomic_load (&watched.total), 100);
  assert_int_equal (pass (&q, &second), -1);
  assert_int_equal (errno, EBUSY);
  atomic_store (&watched.cancel, true);
  fault_release ("recompress.packed");
  unit_join (&thread);
  assert_int_equal (t.recompressed, 1);
  assert_int_equal (atomic_load (&watched.done), 1);
  assert_false (recompressor_is_running (r));
  check_no_claims (&f);

  /* And again, all of it. */
  assert_int_equal (must_pass (&q).recompressed, 99);
  assert_int_equal (must_pass (&q).recompressed, 0);
  hold_all (100, 2000, 1000);
  close_device ();
}

static void *
run_busy_is_fine (void *arg)
{
  const struct recompress_request q = { 0 };
  struct recompress_totals t;

  if (pass (&q, &t) == 0)
    atomic_fetch_add ((_Atomic uint64_t *) arg, t.recompressed);
  else
    check_always (errno == EBUSY);
  return NULL;
}

static void
test_no_two (void **state)
{
  struct unit_thread t[4];
  _Atomic uint64_t done = 0;

  (void) state;
  open_disk (2, 300, 1);
  fill_all (300, 2000, 1000);
  for (unsigned round = 0; round < 5; round++) {
    unit_start_all (t, 4, run_busy_is_fine, &done, 0);
    unit_join_all (t, 4);
  }
  assert_int_equal (atomic_load (&done), 300);
  close_device ();
}

/* No claim is left: no pass, and it can be tried again. */
static void
test_no_claim_left (void **state)
{
  const struct recompress_request q = { 0 };
  struct recompress_totals t;

  (void) state;
  open_disk (1, 100, 1);
  fill_all (100, 2000, 1000);
  for (unsigned i = 1; i < SLOT_CLAIMS; i++)
    check_always (claim_take (f.store));
  assert_int_equal (pass (&q, &t), -1);
  assert_int_equal (errno, EBUSY);
  assert_false (recompressor_is_running (r));
  claim_release (f.store, 7);
  assert_int_equal (pass (&q, &t), 0);
  assert_int_equal (t.recompressed, 100);
  for (unsigned i = 1; i < SLOT_CLAIMS; i++)
    if (i != 7)
      claim_release (f.store, i);
  close_device ();
}

static void
test_no_memory (void **state)
{
  const struct recompress_request q = { 0 };
  struct recompress_totals t;

  (void) state;
  open_disk (1, 100, 1);
  fill_all (100, 2000, 1000);
  fault_fail_nth ("alloc", 1, true);
  assert_int_equal (pass (&q, &t), -1);
  assert_int_equal (errno, ENOMEM);
  fault_clear ();
  check_no_claims (&f);

  /* Slot after slot: it gives up, and says why. */
  atomic_store (&levels_error, ENOMEM);
  atomic_store (&levels_fail, 2);
  t = must_pass (&q);
  assert_in_range (t.failed, 1, 99);
  assert_int_equal (t.error, ENOMEM);
  atomic_store (&levels_fail, 0);
  t = must_pass (&q);
  assert_int_equal (t.recompressed, 100);
  assert_int_equal (t.error, 0);
  close_device ();
}

/* Damaged slots, however many, keep none behind them from its turn. */
static void
test_damaged (void **state)
{
  const struct recompress_request q = { 0 };
  struct recompress_totals t;

  (void) state;
  open_disk (1, 100, 1);
  fill_all (100, 2000, 1000);
  for (unsigned i = 0; i < 70; i++)
    damage (&f, i, 500, 1);
  for (unsigned round = 0; round < 2; round++) {
    t = must_pass (&q);
    assert_int_equal (t.failed, 70);
    assert_int_equal (t.recompressed, round == 0 ? 30 : 0);
    assert_int_equal (t.error, 0);
  }
  for (unsigned i = 0; i < 70; i++)
    damage (&f, i, 500, 1);
  hold_all (100, 2000, 1000);
  close_device ();
}

/* The methods become fewer while a pass for one that is gone runs; it sleeps
 * between its steps, so that a change of them gets in.
 */
static void *
run_priority_3 (void *arg)
{
  const struct recompress_request q = { .priority = 3 };
  struct pass_progress progress = { 0 };
  struct pace pace;

  pace_init (&pace, f.store, NULL, 1, 1);
  check_always (recompressor_run (r, &q, &pace, &progress, arg) == 0);
  return NULL;
}

static void *
take_methods_away (void *arg)
{
  struct recompress_plan plan = levels_plan (1, 1, 1, 0);

  recompressor_set_methods (r, plan.methods, *(unsigned *) arg);
  return NULL;
}

static void
test_methods_go (void **state)
{
  struct recompress_totals t;
  struct unit_thread thread, setter;

  (void) state;
  for (unsigned left = 0; left < 2; left++) {
    open_disk (1, 20, 3);
    for (unsigned i = 0; i < 20; i++)
      levels_put (&f, i, 1, 3000, 2000, 1500, 1000);
    fault_hold ("recompress.packed");
    unit_start (&thread, run_priority_3, &t);
    fault_wait_held ("recompress.packed");
    unit_start (&setter, take_methods_away, &left);
    unit_wait_asleep (&setter); /* until the step is over */
    fault_release ("recompress.packed");
    unit_join (&setter);
    uint64_t calls = atomic_load (&levels_calls[4]);
    unit_join (&thread);
    assert_int_equal (atomic_load (&levels_calls[4]), calls);
    assert_true (t.recompressed < 20);
    assert_int_equal (t.failed, 0);
    struct recompress_totals again;
    const struct recompress_request q = { .priority = 3 };
    assert_int_equal (pass (&q, &again), -1);
    assert_int_equal (errno, EINVAL);
    close_device ();
  }
}

/* The same, with the number of methods gone for sure before the next step. */
static void
test_methods_gone (void **state)
{
  struct recompress_plan plan;
  unsigned claim;
  char buf[SLOT];

  (void) state;
  open_disk (1, 100, 3);
  levels_put (&f, 1, 1, 3000, 2000, 1500, 1000);
  claim = claim_take (f.store);
  plan = levels_plan (1, 1, 0, 0);
  assert_false (recompress_wants (&plan, fixture_meta (&f, 1)));
  assert_int_equal (
    slot_recompress (f.disk, 1, fixture_meta (&f, 1), &plan, claim, buf),
    RECOMPRESS_SKIPPED);
  claim_release (f.store, claim);
  close_device ();
}

/* -- raced --------------------------------------------------------------- */

#define RACED 200u
#define SPARE 400u

static atomic_bool stop;
static atomic_uint passes;

static void *
pass_after_pass (void *arg)
{
  struct unit_rng rng = unit_rng (70);

  (void) arg;
  while (!atomic_load (&stop)) {
    struct recompress_request q = { .priority = unit_below (&rng, 3),
                                    .huge = unit_below (&rng, 8) == 0,
                                    .max_slots = unit_below (&rng, 2) * 50 };
    struct recompress_totals t;

    if (pass (&q, &t) == -1)
      check_always (errno == EINVAL);
    else {
      check_always (t.failed == 0 && t.error == 0);
      atomic_fetch_add (&passes, 1);
    }
  }
  return NULL;
}

static void *
set_methods_often (void *arg)
{
  struct recompress_plan plan = levels_plan (3, 1, 3, 0);
  struct zcomp_method primary = { CODEC_TEST, 1 };
  unsigned lz4 = codec_named ("lz4");

  (void) arg;
  for (unsigned i = 0; !atomic_load (&stop); i++) {
    struct zcomp_method back[RECOMPRESS_METHODS];

    recompressor_set_methods (r, plan.methods, i % 4);
    check_always (recompressor_methods (r, back) == i % 4);
    if (i % 3 == 0)
      claim_clear_marks (f.store);
    mutex_lock (&f.store->settings);
    check_always (store_set_workers (f.store, i % 2 ? 8 : 1) == 0);
    primary.format = i / 2 % 2 ? lz4 : CODEC_TEST;
    check_always (store_set_primary (f.store, &primary) == 0);
    mutex_unlock (&f.store->settings);
    unit_sleep_ms (2);
  }
  return NULL;
}

static void *
discard_all_often (void *arg)
{
  (void) arg;
  for (unsigned i = 0; !atomic_load (&stop); i++) {
    if (i % 2)
      must_discard (&f, (uint64_t) RACED * SLOT, SPARE * SLOT);
    else
      for (unsigned k = RACED; k < RACED + SPARE && !atomic_load (&stop); k++)
        levels_put (&f, k, i, 2000, 1000, 500, 100);
    if (i % 8 == 7)
      disk_reset (f.disk);
  }
  return NULL;
}

static void *
compact_often (void *arg)
{
  while (!atomic_load (&stop))
    (void) compactor_run (arg);
  return NULL;
}

/* A slot of RACED belongs to one thread; except after resets it has what that
 * wrote.
 */
static void *
race_writer (void *arg)
{
  unsigned id = *(unsigned *) arg;
  struct unit_rng rng = unit_rng (90 + id);

  /* Until there was a pass, however slow the machine is. */
  for (uint32_t gen = 1; gen < UNIT_TIMES (12000) || atomic_load (&passes) == 0;
       gen++) {
    uint64_t i = unit_below (&rng, RACED / 4) * 4 + id;
    char buf[SLOT], got[SLOT];

    levels_data (&f, buf, i, gen, gen % 5 ? 3000 : 0, 2000, 1000, 500);
    must_write (&f, buf, SLOT, i * SLOT);
    if (gen % 3 == 0) {
      must_read (&f, got, SLOT, i * SLOT);
      check_always (memcmp (buf, got, SLOT) == 0 || all_zero (got, SLOT));
    }
  }
  return NULL;
}

static void
test_race (void **state)
{
  struct unit_thread writers[4], others[4];
  unsigned id[4] = { 0, 1, 2, 3 };
  struct compactor *c;

  (void) state;
  open_disk (2, RACED + SPARE, 3);
  c = compactor_create (f.store, 0, 1);
  atomic_store (&stop, false);
  atomic_store (&passes, 0);
  unit_start (&others[0], pass_after_pass, NULL);
  unit_start (&others[1], set_methods_often, NULL);
  unit_start (&others[2], discard_all_often, NULL);
  unit_start (&others[3], compact_often, c);
  unit_start_all (writers, 4, race_writer, id, sizeof *id);
  unit_join_all (writers, 4);
  atomic_store (&stop, true);
  unit_join_all (others, 4);
  assert_true (atomic_load (&passes) > 0);
  compactor_destroy (c);
  check_no_claims (&f);
  fixture_audit (&f);
  must_discard (&f, 0, (uint64_t) (RACED + SPARE) * SLOT);
  fixture_check_empty (&f);
  close_device ();
}

int
main (void)
{
  static const struct CMUnitTest tests[] = {
    UNIT_TEST (test_order),           UNIT_TEST (test_number_and_range),
    UNIT_TEST (test_types),           UNIT_TEST (test_ages),
    UNIT_TEST (test_cancel_and_busy), UNIT_TEST (test_no_two),
    UNIT_TEST (test_no_claim_left),   UNIT_TEST (test_no_memory),
    UNIT_TEST (test_damaged),         UNIT_TEST (test_methods_go),
    UNIT_TEST (test_methods_gone),    UNIT_TEST (test_race),
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
