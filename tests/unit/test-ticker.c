/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The thread that does something from time to time: it sleeps as long as it is
 * told, no wake-up is lost, and it ends at once.
 */

#include <config.h>

#include "maint/ticker.h"
#include "unit.h"

#define HOUR 3600u

static struct ticker ticker;
static atomic_uint rounds;
static atomic_bool ended;

static void *
sleep_hours (void *arg)
{
  (void) arg;
  while (ticker_sleep (&ticker, HOUR))
    atomic_fetch_add (&rounds, 1);
  atomic_store (&ended, true);
  return NULL;
}

static void
begin (void)
{
  atomic_store (&rounds, 0);
  atomic_store (&ended, false);
}

static void
wait_for_rounds (unsigned n)
{
  while (atomic_load (&rounds) < n)
    sched_yield ();
}

static void
test_stop (void **state)
{
  (void) state;
  ticker_init (&ticker);
  ticker_stop (&ticker); /* it never started */
  for (unsigned i = 0; i < UNIT_TIMES (400); i++) {
    begin ();
    assert_int_equal (ticker_start (&ticker, sleep_hours, NULL), 0);
    if (i % 3 == 0)
      sched_yield ();
    else if (i % 40 == 1)
      unit_sleep_ms (1);
    ticker_stop (&ticker);
    assert_true (atomic_load (&ended));
    assert_int_equal (atomic_load (&rounds), 0);
    assert_false (ticker_stopping (&ticker));
  }
  ticker_stop (&ticker);
  begin ();
  assert_int_equal (ticker_start (&ticker, sleep_hours, NULL), 0);
  ticker_destroy (&ticker); /* stops it */
  assert_true (atomic_load (&ended));
}

/* Whenever it comes, a wake-up ends one sleep: this one or the next. */
static void
test_wake (void **state)
{
  (void) state;
  ticker_init (&ticker);
  begin ();
  ticker_wake (&ticker); /* before there is a thread */
  assert_int_equal (ticker_start (&ticker, sleep_hours, NULL), 0);
  wait_for_rounds (1);
  for (unsigned i = 2; i < UNIT_TIMES (4000); i++) {
    ticker_wake (&ticker);
    wait_for_rounds (i);
  }
  ticker_stop (&ticker);
  assert_true (atomic_load (&ended));
  ticker_destroy (&ticker);
}

static void *
wake_often (void *arg)
{
  for (unsigned i = 0; i < UNIT_TIMES (8000); i++)
    ticker_wake (arg);
  return NULL;
}

static void
test_wake_and_stop (void **state)
{
  struct unit_thread t[2];

  (void) state;
  ticker_init (&ticker);
  for (unsigned round = 0; round < 10; round++) {
    begin ();
    assert_int_equal (ticker_start (&ticker, sleep_hours, NULL), 0);
    unit_start_all (t, 2, wake_often, &ticker, 0);
    wait_for_rounds (1);
    ticker_stop (&ticker);
    assert_true (atomic_load (&ended));
    unit_join_all (t, 2);
  }
  ticker_destroy (&ticker);
}

/* A sleep is never shorter than asked, unless it is woken. */
static void
test_sleep (void **state)
{
  static const uint64_t ns[] = { 0, 1, 999999, 1000000, 20000000 };

  (void) state;
  ticker_init (&ticker);
  for (unsigned i = 0; i < sizeof ns / sizeof *ns; i++)
    for (unsigned k = 0; k < 5; k++) {
      uint64_t start = clock_ns ();

      assert_true (ticker_sleep_ns (&ticker, ns[i]));
      assert_true (clock_ns () - start >= ns[i]);
    }
  ticker_wake (&ticker);
  uint64_t start = clock_ns ();
  assert_true (ticker_sleep (&ticker, HOUR));
  assert_true (clock_ns () - start < UINT64_C (60) * 1000000000);
  start = clock_ns ();
  assert_true (ticker_sleep_ns (&ticker, 2000000)); /* one wake, one sleep */
  assert_true (clock_ns () - start >= 2000000);
  ticker_destroy (&ticker);
}

int
main (void)
{
  static const struct CMUnitTest tests[] = {
    UNIT_TEST (test_stop),
    UNIT_TEST (test_wake),
    UNIT_TEST (test_wake_and_stop),
    UNIT_TEST (test_sleep),
  };

  return UNIT_RUN (tests);
}
