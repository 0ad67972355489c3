/* SPDX-License-Identifier: BSD-3-Clause */
/* A histogram of latencies in nanoseconds: 32 steps in each power of two, so
 * a percentile is right to about 2 %.
 *
 *   bucket   0 .. 31 | 32 .. 63 | 64 .. 95 | ...
 *   step     1         1          2          4, 8, ...
 */
#ifndef NBDLOAD_LATENCY_H
#define NBDLOAD_LATENCY_H

#include <stdint.h>

#define BUCKETS (64 * 32)

static inline unsigned
bucket_of (uint64_t ns)
{
  unsigned shift;

  if (ns < 32)
    return ns;
  shift = 63 - __builtin_clzll (ns) - 5;
  return (shift + 1) * 32 + ((ns >> shift) & 31);
}

/* The middle of a bucket, in nanoseconds. */
static inline double
bucket_value (unsigned b)
{
  unsigned shift;

  if (b < 32)
    return b;
  shift = b / 32 - 1;
  return ((uint64_t) (32 + b % 32) << shift) + (1ull << shift) / 2.0;
}

static inline double
percentile_us (const uint64_t *latency, uint64_t total, double fraction)
{
  uint64_t seen = 0;

  for (unsigned b = 0; b < BUCKETS; ++b) {
    seen += latency[b];
    if (seen > 0 && seen >= fraction * total)
      return bucket_value (b) / 1000;
  }
  return 0;
}

#endif /* NBDLOAD_LATENCY_H */
