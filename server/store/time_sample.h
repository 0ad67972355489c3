/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Timing one call of a codec in TIME_SAMPLE: reading the clock twice costs as
 * much as the locks of a read.
 */

#ifndef ZRAM_TIME_SAMPLE_H
#define ZRAM_TIME_SAMPLE_H

#include "base/clock.h"
#include "base/histogram.h"

/* Of this many calls of a codec in a thread, one is timed: reading the clock
 * twice costs some 40 ns, decompressing 2 to 3 µs.
 */
#define TIME_SAMPLE 16

/* The time if this call is one of the timed ones, else 0. */
static inline uint64_t
time_sample_start (void)
{
  static _Thread_local unsigned calls;

  return calls++ % TIME_SAMPLE ? 0 : clock_ns ();
}

static inline void
time_sample_end (struct histogram *h, uint64_t start)
{
  if (start)
    histogram_add (h, clock_ns () - start);
}

#endif /* ZRAM_TIME_SAMPLE_H */
