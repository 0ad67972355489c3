/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Two monotonic clocks.  One has nanoseconds, for measuring.  The coarse one
 * takes a few ns to read: in whole seconds for the age of slots, in
 * milliseconds for the age of buffered data.
 */

#ifndef ZRAM_CLOCK_H
#define ZRAM_CLOCK_H

#include <stdint.h>
#include <time.h>

static inline uint64_t
clock_ns (void)
{
  struct timespec ts;

  clock_gettime (CLOCK_MONOTONIC, &ts);
  return (uint64_t) ts.tv_sec * 1000000000u + (uint64_t) ts.tv_nsec;
}

static inline uint32_t
clock_coarse_s (void)
{
  struct timespec ts;

  clock_gettime (CLOCK_MONOTONIC_COARSE, &ts);
  return (uint32_t) ts.tv_sec;
}

/* Milliseconds of the coarse clock, modulo 2^32 (49 days): for differences. */
static inline uint32_t
clock_coarse_ms (void)
{
  struct timespec ts;

  clock_gettime (CLOCK_MONOTONIC_COARSE, &ts);
  return (uint32_t) ts.tv_sec * 1000u + (uint32_t) (ts.tv_nsec / 1000000);
}

#endif /* ZRAM_CLOCK_H */
