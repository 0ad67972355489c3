/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The batch writer over a store whose writes are held, reordered and failed:
 * what it swaps is what it wrote, what changed meanwhile stays, and after an
 * error everything is as it was.
 */

#include <config.h>

#include "held-backing.h"

#include "store/recompress.h"

#define SLOT 4096u
#define DISK (16 * MiB)

static struct fixture f;
static struct held *store;
static struct batch_writer *w;

static void
setup (uint64_t blocks)
{
  fixture_open (&f, SLOT, "lz4", 2, DISK);
  store = held_attach (&f, blocks);
  w = batch_writer_create (f.store);
  check_always (w);
}

static void
finish (void)
{
  batch_writer_destroy (w);
  assert_int_equal (atomic_load (&f.store->claims), 0);
  fixture_close (&f);
}

static void
limit (bool on, uint64_t units)
{
  writeback_limit_set (&f.store->writeback_limit, on, units);
}

static uint64_t
limit_left (void)
{
  return atomic_load (&f.store->writeback_limit.left);
}

/* -- what goes right ---------------------------------------------------- */

#define MANY 700u

static void
test_round_trip (void **state)
{
  struct batch_totals t;

  (void) state;
  setup (4096);
  for (unsigned i = 0; i < MANY; i++)
    held_write (&f, i, 1);
  held_hold (store, true, false, false);
  for (unsigned i = 0; i < MANY; i++)
    assert_int_equal (held_put (&f, w, i), PUT_DONE);
  batch_writer_flush (w);
  /* Nothing of it is swapped before it is written. */
  assert_int_equal (fixture_count (&f, DISK_SLOTS_BACKED), 0);
  assert_int_equal (fixture_count (&f, DISK_OBJECTS), MANY);
  held_release (store);
  batch_writer_drain (w);
  t = batch_writer_totals (w);
  assert_int_equal (t.slots, MANY);
  assert_int_equal (t.lost + t.failed, 0);
  assert_int_equal (t.bytes, fixture_count (&f, DISK_BACKED_BYTES));
  assert_int_equal (held_blocks (&f).live_bytes,
                    t.bytes + MANY * RECORD_HEADER);
  /* Close to what they take: only the last block of a batch is padded. */
  assert_true (t.backing_bytes <=
               (t.bytes + MANY * RECORD_HEADER) * 105 / 100 + BLOCK_SIZE);
  assert_int_equal (fixture_count (&f, DISK_OBJECTS), 0);
  assert_int_equal (fixture_count (&f, DISK_BD_WRITES), MANY);
  fixture_audit (&f);
  for (unsigned i = 0; i < MANY; i++)
    held_expect (&f, i, 1);
  assert_int_equal (fixture_count (&f, DISK_BD_READ_ERRORS), 0);
  must_discard (&f, 0, DISK);
  assert_int_equal (held_blocks (&f).used, 0);
  finish ();
}

/* As many as the header says. */
static void
test_in_flight (void **state)
{
  (void) state;
  setup (4096);
  held_hold (store, true, false, false);
  for (unsigned i = 0; i < BATCHES; i++) {
    held_write (&f, i, 1);
    assert_int_equal (held_put (&f, w, i), PUT_DONE);
    batch_writer_flush (w);
  }
  assert_int_equal (held_count (store), BATCHES);
  held_release (store);
  batch_writer_drain (w);
  assert_int_equal (fixture_count (&f, DISK_SLOTS_BACKED), BATCHES);
  finish ();
}

/* Two writers and all claims: a writer with batches in flight waits for them
 * instead of giving up.
 */
static void *
complete_later (void *arg)
{
  struct unit_thread *waiter = arg;

  unit_wait_asleep (waiter);
  held_complete (store, held_count (store) - 1, -1);
  return NULL;
}

static void *
put_one_more (void *arg)
{
  *(enum put_result *) arg = held_put (&f, w, 100);
  return NULL;
}

static void
test_claims_run_out (void **state)
{
  struct unit_thread putter, completer;
  enum put_result result = PUT_FAILED;
  unsigned taken[SLOT_CLAIMS], n = 0;

  (void) state;
  setup (4096);
  held_hold (store, true, false, false);
  held_write (&f, 0, 1);
  held_write (&f, 100, 1);
  assert_int_equal (held_put (&f, w, 0), PUT_DONE);
  batch_writer_flush (w);
  while ((taken[n] = claim_take (f.store)) != 0)
    n++;
  assert_int_equal (n, SLOT_CLAIMS - 2);
  unit_start (&putter, put_one_more, &result);
  unit_start (&completer, complete_later, &putter);
  unit_join (&completer);
  unit_join (&putter);
  assert_int_equal (result, PUT_DONE);
  /* None of our threads can make one free. */
  batch_writer_flush (w);
  held_release (store);
  batch_writer_drain (w);
  taken[n++] = claim_take (f.store);
  assert_int_equal (claim_take (f.store), 0);
  held_write (&f, 1, 1);
  assert_int_equal (held_put (&f, w, 1), PUT_FAILED);
  while (n)
    claim_release (f.store, taken[--n]);
  assert_int_equal (held_put (&f, w, 1), PUT_DONE);
  finish ();
}

/* -- every write fails once --------------------------------------------- */

#define FEW 300u
#define BUDGET 1000u

static bool
fail_nth (unsigned nth, unsigned count, int error)
{
  struct batch_totals t;
  bool failed;

  setup (4096);
  limit (true, BUDGET);
  for (unsigned i = 0; i < FEW; i++)
    held_write (&f, i, nth);
  held_fail (store, nth, count, error);
  for (unsigned i = 0; i < FEW; i++) {
    assert_int_equal (held_put (&f, w, i), PUT_DONE);
    if (i % 50 == 49)
      batch_writer_flush (w);
  }
  batch_writer_drain (w);
  t = batch_writer_totals (w);
  failed = t.failed > 0;
  assert_int_equal (t.slots + t.failed, FEW);
  assert_int_equal (t.error, failed ? error : 0);
  assert_int_equal (fixture_count (&f, DISK_BD_WRITE_ERRORS), t.failed);
  assert_int_equal (fixture_count (&f, DISK_SLOTS_BACKED), t.slots);
  assert_int_equal (fixture_count (&f, DISK_OBJECTS), t.failed);
  assert_int_equal (limit_left (), BUDGET - t.slots);
  fixture_audit (&f);
  for (unsigned i = 0; i < FEW; i++)
    held_expect (&f, i, nth);
  /* The store works again: the same slots go. */
  held_fail (store, 0, 0, 0);
  for (unsigned i = 0; i < FEW; i++)
    if (fixture_state (&f, i) == SLOT_OBJECT)
      assert_int_equal (held_put (&f, w, i), PUT_DONE);
  batch_writer_drain (w);
  assert_int_equal (fixture_count (&f, DISK_SLOTS_BACKED), FEW);
  assert_int_equal (limit_left (), BUDGET - FEW);
  for (unsigned i = 0; i < FEW; i++)
    held_expect (&f, i, nth);
  finish ();
  return failed;
}

static void
test_every_write_fails (void **state)
{
  static const int errors[] = { EIO, ENOSPC, ETIMEDOUT };

  (void) state;
  for (unsigned e = 0; e < 3; e++) {
    unsigned nth = 1;

    while (fail_nth (nth, 1, errors[e]))
      nth++;
    assert_true (nth > FEW / 50);
  }
  assert_true (fail_nth (1, UINT32_MAX / 2, EIO));
}

/* An error of a slot that was rewritten meanwhile: the budget comes back all
 * the same, and the new data stay.
 */
static void
test_failed_and_changed (void **state)
{
  (void) state;
  setup (256);
  limit (true, 10);
  held_hold (store, true, false, false);
  for (unsigned i = 0; i < 4; i++) {
    held_write (&f, i, 1);
    assert_int_equal (held_put (&f, w, i), PUT_DONE);
  }
  assert_int_equal (limit_left (), 6);
  batch_writer_flush (w);
  held_write (&f, 0, 2);
  must_discard (&f, SLOT, SLOT);
  held_complete (store, 0, EIO);
  batch_writer_drain (w);
  assert_int_equal (limit_left (), 10);
  assert_int_equal (held_blocks (&f).used, 0);
  held_expect (&f, 0, 2);
  must_hold (&f, NULL, SLOT, SLOT);
  held_expect (&f, 2, 1);
  held_hold (store, false, false, false);
  finish ();
}

/* The blocks of a write that may land once more are not used, however often
 * others are reused, and the auditor knows them.
 */
static void
test_resent (void **state)
{
  (void) state;
  setup (64);
  store->resent = true;
  held_write (&f, 0, 1);
  held_write (&f, 1, 1);
  held_write_back (&f, 0, 2);
  uint64_t at = held_cell (&f, 0) / BLOCK_SIZE;
  held_write (&f, 0, 2);
  must_discard (&f, SLOT, SLOT);
  fixture_audit (&f);
  store->resent = false;
  for (unsigned i = 0; i < 200; i++) {
    held_write (&f, 2, i);
    held_write_back (&f, 2, 3);
    assert_true (held_cell (&f, 2) / BLOCK_SIZE != at);
    held_write (&f, 0, i);
    held_expect (&f, 2, i);
  }
  assert_true (held_blocks (&f).used > 0);
  finish ();
}

/* -- the budget, and the store's end ------------------------------------ */

static void
test_budget (void **state)
{
  (void) state;
  setup (256);
  for (unsigned i = 0; i < 8; i++)
    held_write (&f, i, 1);
  limit (true, 0);
  assert_int_equal (held_put (&f, w, 0), PUT_LIMIT);
  assert_int_equal (held_blocks (&f).used, 0);
  limit (true, 1);
  assert_int_equal (held_put (&f, w, 0), PUT_DONE);
  assert_int_equal (held_put (&f, w, 1), PUT_LIMIT);
  assert_int_equal (limit_left (), 0);
  /* A slot that cannot go costs nothing. */
  limit (true, 5);
  assert_int_equal (
    batch_writer_put (w, f.disk, 2, fixture_meta (&f, 2) ^ 1 << 16),
    PUT_SKIPPED);
  assert_int_equal (limit_left (), 5);
  limit (false, 0);
  for (unsigned i = 1; i < 8; i++)
    assert_int_equal (held_put (&f, w, i), PUT_DONE);
  batch_writer_drain (w);
  assert_int_equal (limit_left (), 0);
  assert_int_equal (fixture_count (&f, DISK_SLOTS_BACKED), 8);
  finish ();
}

/* A slot of 64 KiB is 16 units; 15 are not enough for one. */
static void
test_budget_partial (void **state)
{
  (void) state;
  fixture_open (&f, 64 * KiB, "lz4", 2, DISK);
  store = held_attach (&f, 256);
  w = batch_writer_create (f.store);
  held_write (&f, 0, 1);
  held_write (&f, 1, 1);
  limit (true, 15);
  assert_int_equal (held_put (&f, w, 0), PUT_LIMIT);
  limit (true, 31);
  assert_int_equal (held_put (&f, w, 0), PUT_DONE);
  assert_int_equal (held_put (&f, w, 1), PUT_LIMIT);
  assert_int_equal (limit_left (), 15);
  held_fail (store, 1, 1, EIO);
  batch_writer_drain (w);
  assert_int_equal (limit_left (), 31);
  held_expect (&f, 0, 1);
  finish ();
}

/* What is taken while there is no limit does not come back as budget. */
static void
test_budget_set_meanwhile (void **state)
{
  (void) state;
  setup (256);
  held_hold (store, true, false, false);
  held_write (&f, 0, 1);
  assert_int_equal (held_put (&f, w, 0), PUT_DONE);
  batch_writer_flush (w);
  limit (true, 3);
  held_complete (store, 0, EIO);
  batch_writer_drain (w);
  assert_int_equal (limit_left (), 3);
  held_hold (store, false, false, false);
  finish ();
}

static void
test_store_full (void **state)
{
  unsigned in = 0, n = 0;
  enum put_result r;

  (void) state;
  setup (300);
  for (unsigned i = 0; i < 900; i++)
    held_write (&f, i, 1);
  while ((r = held_put (&f, w, in)) == PUT_DONE || r == PUT_SKIPPED)
    in++;
  assert_int_equal (r, PUT_FULL);
  batch_writer_drain (w);
  assert_true (held_blocks (&f).used >= 299);
  fixture_audit (&f);
  /* Discards make room again, as often as one likes. */
  for (unsigned round = 0; round < 20; round++) {
    n = 0;
    must_discard (&f, 0, (uint64_t) in * SLOT);
    assert_int_equal (held_blocks (&f).used, 0);
    for (unsigned i = 0; i < in; i++)
      held_write (&f, i, round);
    for (unsigned i = 0; i < in; i++)
      n += held_put (&f, w, i) == PUT_DONE;
    batch_writer_drain (w);
    assert_true (n >= in * 9 / 10);
    for (unsigned i = 0; i < in; i++)
      held_expect (&f, i, round);
  }
  finish ();
}

/* -- completions in every order ----------------------------------------- */

enum {
  REWRITE,
  REWRITE_SAME_SIZE,
  PART,
  DISCARD,
  PART_ZERO,
  RESET,
  AGAIN,
  RECOMPRESS,
  READ,
  ACTIONS
};

#define TARGET 5u /* the slot that things are done to */

/* TARGET's present generation, or part of it. */
static char expected[SLOT];
static bool again_sent;

static void
recompress_target (void)
{
  char buf[SLOT];
  struct recompress_plan plan = { .methods = { { codec_named ("zstd"), 3 } },
                                  .count = 1,
                                  .first = 1,
                                  .last = 1 };
  unsigned claim = claim_take (f.store);

  /* What the writer has claimed is not for another. */
  assert_true (claim);
  assert_int_equal (slot_recompress (f.disk, TARGET, fixture_meta (&f, TARGET),
                                     &plan, claim, buf),
                    RECOMPRESS_SKIPPED);
  claim_release (f.store, claim);
}

static void
act (unsigned action)
{
  switch (action) {
  case REWRITE:
    held_data (expected, SLOT, TARGET, 77);
    must_write (&f, expected, SLOT, TARGET * SLOT);
    break;
  case REWRITE_SAME_SIZE:
    /* The very same meta, and then other bytes. */
    held_data (expected, SLOT, 4, 1);
    must_write (&f, expected, SLOT, TARGET * SLOT);
    break;
  case PART:
    memset (expected + 100, 0x77, 200);
    must_write (&f, expected + 100, 200, TARGET * SLOT + 100);
    break;
  case DISCARD:
    memset (expected, 0, SLOT);
    must_discard (&f, TARGET * SLOT, SLOT);
    break;
  case PART_ZERO:
    memset (expected + 1000, 0, 500);
    must_discard (&f, TARGET * SLOT + 1000, 500);
    break;
  case RESET:
    memset (expected, 0, SLOT);
    disk_discard_all (f.disk);
    break;
  case AGAIN:
    /* Rewritten, and on its way to the store once more. */
    held_data (expected, SLOT, TARGET, 78);
    must_write (&f, expected, SLOT, TARGET * SLOT);
    assert_int_equal (held_put (&f, w, TARGET), PUT_DONE);
    batch_writer_flush (w);
    again_sent = true;
    break;
  case RECOMPRESS:
    recompress_target ();
    break;
  default:
    break;
  }
  must_hold (&f, expected, SLOT, TARGET * SLOT);
}

/* 'when': the action comes before so many completions of the three. */
static void
one_order (const unsigned *order, unsigned action, unsigned when, bool fails)
{
  setup (256);
  held_hold (store, true, false, false);
  again_sent = false;
  for (unsigned i = 0; i < 9; i++) {
    held_write (&f, i, 1);
    assert_int_equal (held_put (&f, w, i), PUT_DONE);
    if (i % 3 == 2)
      batch_writer_flush (w);
  }
  held_data (expected, SLOT, TARGET, 1);
  for (unsigned i = 0; i <= 3; i++) {
    if (i == when)
      act (action);
    must_hold (&f, expected, SLOT, TARGET * SLOT);
    if (i == 3)
      break;
    held_complete (store, order[i], fails && order[i] == 1 ? EIO : -1);
    (void) batch_writer_reap (w, false);
    must_hold (&f, expected, SLOT, TARGET * SLOT);
  }
  held_release (store);
  batch_writer_drain (w);
  must_hold (&f, expected, SLOT, TARGET * SLOT);
  for (unsigned i = 0; i < 9 && action != RESET; i++)
    if (i != TARGET)
      held_expect (&f, i, 1);
  if (again_sent)
    assert_int_equal (fixture_state (&f, TARGET), SLOT_BACKED);
  finish ();
}

static void
test_orders (void **state)
{
  /* Of what is left in the queue, the how manyth comes next. */
  static const unsigned orders[6][3] = {
    { 0, 0, 0 }, { 0, 1, 0 }, { 1, 0, 0 }, { 1, 1, 0 }, { 2, 0, 0 }, { 2, 1, 0 }
  };

  (void) state;
  for (unsigned o = 0; o < 6; o++)
    for (unsigned action = 0; action < ACTIONS; action++)
      for (unsigned when = 0; when <= 3; when++) {
        /* A completed slot is the store's: another test's matter. */
        if ((action == AGAIN || action == RECOMPRESS) && when)
          continue;
        one_order (orders[o], action, when, false);
        one_order (orders[o], action, when, true);
      }
}

/* A claim's number is used again while slots that once bore it are about. */
static void
test_claim_comes_round (void **state)
{
  (void) state;
  setup (256);
  held_hold (store, true, false, false);
  for (unsigned i = 0; i < 4 * SLOT_CLAIMS; i++) {
    held_write (&f, 0, i);
    assert_int_equal (held_put (&f, w, 0), PUT_DONE);
    batch_writer_flush (w);
    held_write (&f, 0, i + 1000);
    held_write (&f, 1, i);
    assert_int_equal (held_put (&f, w, 1), PUT_DONE);
    batch_writer_flush (w);
    held_complete (store, i % 2, -1);
    (void) batch_writer_reap (w, true);
    held_expect (&f, 0, i + 1000);
    held_expect (&f, 1, i);
    held_complete (store, 0, -1);
    batch_writer_drain (w);
    held_expect (&f, 0, i + 1000);
    held_expect (&f, 1, i);
    assert_int_equal (fixture_state (&f, 0), SLOT_OBJECT);
    assert_int_equal (fixture_state (&f, 1), SLOT_BACKED);
  }
  held_hold (store, false, false, false);
  finish ();
}

/* -- locks -------------------------------------------------------------- */

static void *
read_target (void *arg)
{
  held_expect (&f, TARGET, *(unsigned *) arg);
  return NULL;
}

static void *
drain (void *arg)
{
  (void) arg;
  batch_writer_drain (w);
  return NULL;
}

/* A reader sleeps in the store with the slot's lock; a batch which that slot
 * was once in completes on the very thread that would wake the reader.  That
 * must not wait; the writer's own thread may.
 */
static void
test_reader_in_the_store (void **state)
{
  struct unit_thread reader, drainer;
  unsigned generation = 2;

  (void) state;
  setup (256);
  held_hold (store, true, false, false);
  held_write (&f, TARGET, 1);
  assert_int_equal (held_put (&f, w, TARGET), PUT_DONE);
  batch_writer_flush (w);
  held_write (&f, TARGET, generation);
  assert_int_equal (held_put (&f, w, TARGET), PUT_DONE);
  batch_writer_flush (w);
  held_complete (store, 1, -1);
  (void) batch_writer_reap (w, true);
  assert_int_equal (fixture_state (&f, TARGET), SLOT_BACKED);

  held_hold (store, true, false, true);
  unit_start (&reader, read_target, &generation);
  held_wait_readers (store, 1);
  held_complete (store, 0, -1); /* comes back */
  unit_start (&drainer, drain, NULL);
  unit_wait_asleep (&drainer);
  held_hold (store, false, false, false);
  unit_join (&reader);
  unit_join (&drainer);
  assert_int_equal (fixture_state (&f, TARGET), SLOT_BACKED);
  finish ();
}

static void *
rewrite_target (void *arg)
{
  held_write (&f, TARGET, *(unsigned *) arg);
  return NULL;
}

/* The block of a record that is being read is not reused. */
static void
test_block_is_pinned (void **state)
{
  struct unit_thread reader, rewriter;
  unsigned old = 1, new = 2;

  (void) state;
  setup (8);
  held_write (&f, TARGET, old);
  held_write_back (&f, TARGET, TARGET + 1);
  uint64_t at = held_cell (&f, TARGET) / BLOCK_SIZE;
  held_hold (store, false, false, true);
  unit_start (&reader, read_target, &old);
  held_wait_readers (store, 1);
  unit_start (&rewriter, rewrite_target, &new);
  unit_wait_asleep (&rewriter);
  /* As fast as the others can be reused. */
  for (unsigned i = 0; i < 50; i++) {
    held_write (&f, 100, i);
    held_write_back (&f, 100, 101);
    assert_true (held_cell (&f, 100) / BLOCK_SIZE != at);
  }
  held_hold (store, false, false, false);
  unit_join (&reader);
  unit_join (&rewriter);
  held_expect (&f, TARGET, new);
  finish ();
}

int
main (void)
{
  static const struct CMUnitTest tests[] = {
    UNIT_TEST (test_round_trip),
    UNIT_TEST (test_in_flight),
    UNIT_TEST (test_claims_run_out),
    UNIT_TEST (test_every_write_fails),
    UNIT_TEST (test_failed_and_changed),
    UNIT_TEST (test_resent),
    UNIT_TEST (test_budget),
    UNIT_TEST (test_budget_partial),
    UNIT_TEST (test_budget_set_meanwhile),
    UNIT_TEST (test_store_full),
    UNIT_TEST (test_orders),
    UNIT_TEST (test_claim_comes_round),
    UNIT_TEST (test_reader_in_the_store),
    UNIT_TEST (test_block_is_pinned),
  };

  return UNIT_RUN (tests);
}
