/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The share of a CPU that background work gets: what it owes it sleeps, more
 * while clients ask for something, and never for long.
 */

#include <config.h>

#include "maint/pace.h"
#include "store-fixture.h"

#define MS UINT64_C (1000000)

static struct fixture f;
static struct pace pace;

/* Nanoseconds slept for a step of that length. */
static uint64_t
step (uint64_t spent)
{
  uint64_t start = clock_ns ();

  pace_step (&pace, spent);
  return clock_ns () - start;
}

static void
open_pace (unsigned idle, unsigned busy)
{
  pace_init (&pace, f.store, NULL, idle, busy);
}

static void
test_shares (void **state)
{
  (void) state;
  fixture_open (&f, 4096, "lz4", 1, MiB);
  open_pace (100, 100);
  (void) step (500 * MS);
  assert_int_equal (pace.owed_ns, 0);

  open_pace (50, 1);
  assert_true (step (5 * MS) >= 5 * MS);
  assert_int_equal (pace.owed_ns, 0);
  open_pace (25, 1);
  assert_true (step (5 * MS) >= 15 * MS);
  open_pace (10, 1);
  assert_true (step (2 * MS) >= 18 * MS);
  fixture_close (&f);
}

/* Short steps add up before anything is slept. */
static void
test_pieces (void **state)
{
  (void) state;
  fixture_open (&f, 4096, "lz4", 1, MiB);
  open_pace (50, 50);
  for (unsigned i = 1; i < 10; i++) {
    pace_step (&pace, MS / 10);
    assert_int_equal (pace.owed_ns, i * MS / 10);
  }
  assert_true (step (MS / 10) >= MS);
  assert_int_equal (pace.owed_ns, 0);
  fixture_close (&f);
}

/* At most a tenth of a second, whatever is owed: a stopped clock, a sleeping
 * codec.  Measured by what is due, not by what the machine makes of it.
 */
static void
test_bounded (void **state)
{
  (void) state;
  fixture_open (&f, 4096, "lz4", 1, MiB);
  open_pace (1, 1);
  uint64_t slept = step (UINT64_C (3600) * 1000 * MS);
  assert_true (slept >= 100 * MS);
  assert_true (slept < 30000 * MS);
  assert_int_equal (pace.owed_ns, 0);
  fixture_close (&f);
}

static void
test_busy (void **state)
{
  char buf[4096];

  (void) state;
  fixture_open (&f, 4096, "lz4", 1, MiB);
  open_pace (100, 10);
  pace_step (&pace, MS / 100);
  assert_int_equal (pace.owed_ns, 0);

  /* A request since the last look; it counts for a while after. */
  must_read (&f, buf, 4096, 0);
  pace_step (&pace, MS / 100);
  assert_int_equal (pace.owed_ns, 9 * MS / 100);
  pace_step (&pace, MS / 100);
  assert_int_equal (pace.owed_ns, 18 * MS / 100);
  pace.busy_until = clock_ns (); /* the while is over */
  pace_step (&pace, MS / 100);
  assert_int_equal (pace.owed_ns, 18 * MS / 100);

  /* One that is being served, however long. */
  check_always (store_request_begin (f.store) == 0);
  pace_step (&pace, MS / 100);
  pace.busy_until = clock_ns ();
  pace_step (&pace, MS / 100);
  assert_int_equal (pace.owed_ns, 36 * MS / 100);
  store_request_end (f.store);
  pace.busy_until = clock_ns ();
  pace_step (&pace, MS / 100); /* it has ended since */
  assert_int_equal (pace.owed_ns, 45 * MS / 100);
  pace.busy_until = clock_ns ();
  pace_step (&pace, MS / 100);
  assert_int_equal (pace.owed_ns, 45 * MS / 100);
  fixture_close (&f);
}

static struct ticker ticker;

static void *
steps (void *arg)
{
  while (!ticker_stopping (&ticker)) {
    pace_step (&pace, UINT64_C (3600) * 1000 * MS);
    atomic_fetch_add ((atomic_uint *) arg, 1);
  }
  return NULL;
}

/* A wait for the thread's end does not wait for the time that it owes. */
static void
test_ends (void **state)
{
  atomic_uint done = 0;

  (void) state;
  fixture_open (&f, 4096, "lz4", 1, MiB);
  ticker_init (&ticker);
  pace_init (&pace, f.store, &ticker, 1, 1);
  for (unsigned i = 0; i < 10; i++) {
    atomic_store (&done, 0);
    assert_int_equal (ticker_start (&ticker, steps, &done), 0);
    if (i % 2)
      unit_sleep_ms (2);
    ticker_stop (&ticker);
    assert_true (atomic_load (&done) <= 100);
  }
  ticker_destroy (&ticker);
  fixture_close (&f);
}

int
main (void)
{
  static const struct CMUnitTest tests[] = {
    UNIT_TEST (test_shares), UNIT_TEST (test_pieces), UNIT_TEST (test_bounded),
    UNIT_TEST (test_busy),   UNIT_TEST (test_ends),
  };

  return UNIT_RUN (tests);
}
