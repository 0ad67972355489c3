/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Histogram of times, log-linear: four buckets to each power of two, so that
 * a percentile is off by at most an eighth or so.
 *
 *   bucket   0       1 … 3            4 … 7               8 …
 *   up to   64 ns    80, 96, 112 …    128, 160, 192, 224  256, 320 …   ~ 69 s
 *
 * Adding is one relaxed add to the CPU's own copy (counter.h), no lock.
 */

#ifndef ZRAM_HISTOGRAM_H
#define ZRAM_HISTOGRAM_H

#include "base/counter.h"

#define HISTOGRAM_FIRST_LOG2 6
#define HISTOGRAM_LAST_LOG2 36
#define HISTOGRAM_BUCKETS \
  (((HISTOGRAM_LAST_LOG2 - HISTOGRAM_FIRST_LOG2) * 4) + 1)

struct histogram {
  struct counter_set counters; /* the buckets, then the sum of all times */
};

struct histogram_snapshot {
  uint64_t count; /* of all buckets */
  uint64_t sum_ns;
  uint64_t bucket[HISTOGRAM_BUCKETS];
};

/* 0, or -1 with errno ENOMEM. */
static inline int MUST_USE
histogram_init (struct histogram *h)
{
  return counter_set_init (&h->counters, HISTOGRAM_BUCKETS + 1);
}

static inline void
histogram_destroy (struct histogram *h)
{
  counter_set_destroy (&h->counters);
}

static inline unsigned
histogram_bucket_of (uint64_t ns)
{
  unsigned log2, bucket;

  if (ns <= UINT64_C (1) << HISTOGRAM_FIRST_LOG2)
    return 0;
  /* Bounds are inclusive above: 128 belongs to the bucket that ends there. */
  ns--;
  log2 = 63 - (unsigned) __builtin_clzll (ns);
  bucket = (log2 - HISTOGRAM_FIRST_LOG2) * 4 + (ns >> (log2 - 2) & 3) + 1;
  return bucket < HISTOGRAM_BUCKETS ? bucket : HISTOGRAM_BUCKETS - 1;
}

/* The largest time that the bucket counts, in ns.  The last bucket also takes
 * all longer times.
 */
static inline uint64_t
histogram_upper_ns (unsigned bucket)
{
  unsigned log2 = HISTOGRAM_FIRST_LOG2 + (bucket + 3) / 4 - 1;

  if (bucket == 0)
    return UINT64_C (1) << HISTOGRAM_FIRST_LOG2;
  return (UINT64_C (1) << log2) +
         ((UINT64_C (1) << log2) >> 2) * ((bucket - 1) % 4 + 1);
}

static inline void
histogram_add (struct histogram *h, uint64_t ns)
{
  counter_add (&h->counters, histogram_bucket_of (ns), 1);
  counter_add (&h->counters, HISTOGRAM_BUCKETS, (int64_t) ns);
}

static inline void
histogram_read (const struct histogram *h, struct histogram_snapshot *s)
{
  s->count = 0;
  for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++) {
    s->bucket[i] = (uint64_t) counter_sum (&h->counters, i);
    s->count += s->bucket[i];
  }
  s->sum_ns = (uint64_t) counter_sum (&h->counters, HISTOGRAM_BUCKETS);
}

#endif /* ZRAM_HISTOGRAM_H */
