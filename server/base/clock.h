/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The two clocks: nanoseconds for measuring, and whole seconds (coarse, a
 * few ns to read) for the age of slots.  Both are monotonic.
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

#endif /* ZRAM_CLOCK_H */
