/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The fault points themselves: everything else that is tested with them
 * rests on these few promises.
 */

#include <config.h>

#include "unit.h"

#ifdef ZRAM_FAULTS

static unsigned
failures (const char *name, unsigned calls)
{
  unsigned n = 0;

  for (unsigned i = 0; i < calls; i++)
    n += fault_hit (name);
  return n;
}

static void
test_unarmed (void **state)
{
  (void) state;
  assert_int_equal (failures ("a", 10), 0);
  assert_int_equal (fault_reached ("a"), 0);
  fault_pause ("a");
}

static void
test_nth (void **state)
{
  (void) state;
  fault_fail_nth ("a", 3, false);
  assert_false (fault_hit ("a"));
  assert_false (fault_hit ("b"));
  assert_false (fault_hit ("a"));
  assert_true (fault_hit ("a"));
  assert_false (fault_hit ("a"));
  assert_int_equal (fault_reached ("a"), 4);
  assert_int_equal (fault_reached ("b"), 0);

  fault_fail_nth ("a", 2, true); /* counts anew */
  assert_int_equal (fault_reached ("a"), 0);
  assert_false (fault_hit ("a"));
  assert_int_equal (failures ("a", 10), 10);
  fault_clear ();
  assert_int_equal (failures ("a", 10), 0);
}

/* NULL is every point but those that are armed by name. */
static void
test_any (void **state)
{
  char a[] = "a"; /* found by its text, not by its address */

  (void) state;
  fault_fail_nth (NULL, 2, false);
  fault_fail_nth ("a", 1, false);
  assert_false (fault_hit ("b"));
  assert_true (fault_hit (a));
  assert_true (fault_hit ("c"));
  assert_int_equal (fault_reached (NULL), 2);
  assert_int_equal (fault_reached (a), 1);
}

struct visitor {
  atomic_bool passed;
  struct unit_thread thread;
};

static void *
visit (void *arg)
{
  struct visitor *v = arg;

  fault_pause ("gate");
  atomic_store (&v->passed, true);
  return NULL;
}

static void
start_visitor (struct visitor *v)
{
  atomic_init (&v->passed, false);
  unit_start (&v->thread, visit, v);
}

static void
test_hold (void **state)
{
  struct visitor a, b, c;

  (void) state;
  fault_hold ("gate");
  fault_pause ("other");             /* is not held */
  assert_false (fault_hit ("gate")); /* nor made to fail */
  start_visitor (&a);
  start_visitor (&b);
  fault_wait_held ("gate");
  unit_wait_asleep (&a.thread);
  unit_wait_asleep (&b.thread);
  assert_false (atomic_load (&a.passed) || atomic_load (&b.passed));
  fault_release ("gate");
  unit_join (&a.thread);
  unit_join (&b.thread);
  start_visitor (&c);
  unit_join (&c.thread);
}

/* Only one is held; later threads pass. */
static void
test_hold_first (void **state)
{
  struct visitor first, second;

  (void) state;
  fault_hold_first ("gate");
  start_visitor (&first);
  fault_wait_held ("gate");
  start_visitor (&second);
  unit_join (&second.thread);
  assert_false (atomic_load (&first.passed));
  fault_release ("gate");
  unit_join (&first.thread);
}

static void
test_clear_lets_go (void **state)
{
  struct visitor v;

  (void) state;
  fault_hold ("gate");
  start_visitor (&v);
  fault_wait_held ("gate");
  fault_clear ();
  unit_join (&v.thread);
  assert_true (atomic_load (&v.passed));
  fault_pause ("gate");
}

static void *
count_failures (void *arg)
{
  atomic_uint *n = arg;

  atomic_fetch_add (n, failures ("shared", 1000));
  return NULL;
}

/* The nth call of all threads together fails, and it alone. */
static void
test_threads (void **state)
{
  enum { N = 4 };
  struct unit_thread t[N];
  atomic_uint n = 0;

  (void) state;
  fault_fail_nth ("shared", 2500, false);
  for (unsigned i = 0; i < N; i++)
    unit_start (&t[i], count_failures, &n);
  unit_join_all (t, N);
  assert_int_equal (n, 1);
  assert_int_equal (fault_reached ("shared"), N * 1000);
}

static const struct CMUnitTest tests[] = {
  UNIT_TEST (test_unarmed),    UNIT_TEST (test_nth),
  UNIT_TEST (test_any),        UNIT_TEST (test_hold),
  UNIT_TEST (test_hold_first), UNIT_TEST (test_clear_lets_go),
  UNIT_TEST (test_threads),
};

#else

/* In builds without fault points the code is the same as if none stood
 * there.
 */
static void
test_nothing (void **state)
{
  (void) state;
  assert_false (fault_hit ("a"));
  fault_pause ("a");
}

static const struct CMUnitTest tests[] = { UNIT_TEST (test_nothing) };

#endif

int
main (void)
{
  return UNIT_RUN (tests);
}
