/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Counters in shards: nothing is lost between threads, and neighbours do not
 * run into each other.
 */

#include <config.h>

#include <errno.h>

#include "unit.h"

#include "base/counter.h"

static void
test_one_thread (void **state)
{
  static const unsigned sizes[] = { 1, 7, 8, 9, 30 };

  (void) state;
  for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
    struct counter_set set;
    unsigned n = sizes[s];

    assert_int_equal (counter_set_init (&set, n), 0);
    /* Whole cache lines, and a shard for every CPU up to 64. */
    assert_int_equal ((uintptr_t) set.v % CACHE_LINE, 0);
    assert_int_equal (set.stride % (CACHE_LINE / sizeof *set.v), 0);
    assert_in_range (set.stride, n, n + CACHE_LINE / sizeof *set.v - 1);
    assert_int_equal (set.shard_mask & (set.shard_mask + 1), 0);
    for (unsigned i = 0; i < n; i++) {
      assert_int_equal (counter_sum (&set, i), 0);
      counter_add (&set, i, (int64_t) (i + 1) << 33);
      counter_add_ordered (&set, i, -1);
    }
    for (unsigned i = 0; i < n; i++)
      assert_int_equal (counter_sum (&set, i), ((int64_t) (i + 1) << 33) - 1);
    counter_set_destroy (&set);
    assert_null (set.v);
  }
}

enum { COUNTERS = 3, THREADS = 4 };

struct adder {
  struct counter_set *set;
  unsigned times;
};

/* Up and down in turn, so that a shard may well be negative. */
static void *
add (void *arg)
{
  struct adder *a = arg;

  for (unsigned i = 0; i < a->times; i++) {
    counter_add (a->set, 0, 1);
    counter_add_ordered (a->set, 1, i % 2 ? 3 : -5);
    counter_add (a->set, 2, -1);
    if (i % 1024 == 0)
      sched_yield (); /* to another CPU, perhaps */
  }
  return NULL;
}

static void
test_threads (void **state)
{
  struct counter_set set;
  struct adder a = { &set, UNIT_TIMES (100000) / 2 * 2 };
  struct unit_thread t[THREADS];

  (void) state;
  assert_int_equal (counter_set_init (&set, COUNTERS), 0);
  for (unsigned i = 0; i < THREADS; i++)
    unit_start (&t[i], add, &a);
  for (unsigned i = 0; i < 100; i++) /* while they run: some value between */
    assert_in_range (counter_sum (&set, 0), 0, THREADS * a.times);
  unit_join_all (t, THREADS);
  assert_int_equal (counter_sum (&set, 0), THREADS * a.times);
  assert_int_equal (counter_sum (&set, 1), -(int64_t) (THREADS * a.times));
  assert_int_equal (counter_sum (&set, 2), -(int64_t) (THREADS * a.times));
  counter_set_destroy (&set);
}

static void
test_reset (void **state)
{
  struct counter_set set;

  (void) state;
  assert_int_equal (counter_set_init (&set, 2), 0);
  /* In every shard, wherever this thread happened to run. */
  for (unsigned s = 0; s <= set.shard_mask; s++) {
    atomic_store (&set.v[s * set.stride], 5);
    atomic_store (&set.v[s * set.stride + 1], 7);
  }
  counter_reset (&set, 0);
  assert_int_equal (counter_sum (&set, 0), 0);
  assert_int_equal (counter_sum (&set, 1), 7 * (set.shard_mask + 1));
  counter_set_destroy (&set);
}

#ifdef ZRAM_FAULTS
static void
test_no_memory (void **state)
{
  struct counter_set set;

  (void) state;
  fault_fail_nth ("alloc", 1, false);
  errno = 0;
  assert_int_equal (counter_set_init (&set, 1), -1);
  assert_int_equal (errno, ENOMEM);
}
#endif

static const struct CMUnitTest tests[] = {
  UNIT_TEST (test_one_thread),
  UNIT_TEST (test_threads),
  UNIT_TEST (test_reset),
#ifdef ZRAM_FAULTS
  UNIT_TEST (test_no_memory),
#endif
};

int
main (void)
{
  return UNIT_RUN (tests);
}
