/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Histograms of times: every time is in the one bucket whose bounds enclose
 * it, and nothing is lost between threads.
 */

#include <config.h>

#include "unit.h"

#include "base/histogram.h"

#define LAST (HISTOGRAM_BUCKETS - 1)

static void
test_bounds (void **state)
{
  (void) state;
  assert_int_equal (histogram_bucket_of (0), 0);
  assert_int_equal (histogram_upper_ns (0), 64);
  assert_int_equal (histogram_upper_ns (LAST), UINT64_C (1)
                                                 << HISTOGRAM_LAST_LOG2);
  for (unsigned b = 0; b < LAST; b++) {
    uint64_t upper = histogram_upper_ns (b);

    assert_int_equal (histogram_bucket_of (upper), b);
    assert_int_equal (histogram_bucket_of (upper + 1), b + 1);
    assert_true (histogram_upper_ns (b + 1) > upper);
    /* A quarter of a power of two wide: an eighth off at the most. */
    assert_true ((histogram_upper_ns (b + 1) - upper) * 4 <= upper);
  }
  assert_int_equal (histogram_bucket_of (UINT64_MAX), LAST);
}

enum { THREADS = 4 };

struct adder {
  struct histogram *h;
  unsigned number, times;
  uint64_t sum; /* result */
};

static void *
add (void *arg)
{
  struct adder *a = arg;
  struct unit_rng rng = unit_rng (a->number);

  for (unsigned i = 0; i < a->times; i++) {
    uint64_t ns = unit_rand (&rng) >> (24 + unit_below (&rng, 40));

    histogram_add (a->h, ns);
    a->sum += ns;
  }
  return NULL;
}

static void
test_threads (void **state)
{
  struct histogram h;
  struct histogram_snapshot s;
  struct adder a[THREADS];
  struct unit_thread t[THREADS];
  uint64_t sum = 0, count = 0;

  (void) state;
  assert_int_equal (histogram_init (&h), 0);
  for (unsigned i = 0; i < THREADS; i++)
    a[i] = (struct adder){ &h, i, UNIT_TIMES (20000), 0 };
  unit_start_all (t, THREADS, add, a, sizeof *a);
  unit_join_all (t, THREADS);
  for (unsigned i = 0; i < THREADS; i++)
    sum += a[i].sum;
  histogram_read (&h, &s);
  for (unsigned b = 0; b < HISTOGRAM_BUCKETS; b++)
    count += s.bucket[b];
  assert_int_equal (s.count, THREADS * a[0].times);
  assert_int_equal (count, s.count);
  assert_int_equal (s.sum_ns, sum);
  histogram_destroy (&h);
}

static const struct CMUnitTest tests[] = {
  UNIT_TEST (test_bounds),
  UNIT_TEST (test_threads),
};

int
main (void)
{
  return UNIT_RUN (tests);
}
