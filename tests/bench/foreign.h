/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * How much of the CPUs others had between two moments: other programs, or the
 * hypervisor.
 *
 *   /proc/stat, busy:  | this process | foreign |
 *
 * The kernel counts in ticks of mostly 10 ms, so over less than a second this
 * is a rough figure.  No lock: one thread calls both.
 */

#ifndef ZRAM_BENCH_FOREIGN_H
#define ZRAM_BENCH_FOREIGN_H

#include <stdio.h>
#include <time.h>
#include <unistd.h>

struct foreign {
  double busy, own, wall; /* seconds so far */
};

static inline double
foreign_clock (clockid_t id)
{
  struct timespec ts;

  clock_gettime (id, &ts);
  return (double) ts.tv_sec + (double) ts.tv_nsec * 1e-9;
}

/* user, nice, system, irq, softirq and steal: not idle and iowait. */
static inline double
foreign_busy (void)
{
  unsigned long long t[8] = { 0 };
  FILE *f = fopen ("/proc/stat", "r");
  int n = !f ? 0
             : fscanf (f, "cpu %llu %llu %llu %llu %llu %llu %llu %llu", &t[0],
                       &t[1], &t[2], &t[3], &t[4], &t[5], &t[6], &t[7]);

  if (f)
    fclose (f);
  return n < 8 ? 0.
               : (double) (t[0] + t[1] + t[2] + t[5] + t[6] + t[7]) /
                   (double) sysconf (_SC_CLK_TCK);
}

static inline struct foreign
foreign_start (void)
{
  return (struct foreign){ foreign_busy (),
                           foreign_clock (CLOCK_PROCESS_CPUTIME_ID),
                           foreign_clock (CLOCK_MONOTONIC) };
}

/* The part of all CPUs, 0 to 1. */
static inline double
foreign_share (const struct foreign *since)
{
  struct foreign now = foreign_start ();
  double wall = (now.wall - since->wall) *
                (double) sysconf (_SC_NPROCESSORS_ONLN);
  double others = now.busy - since->busy - (now.own - since->own);

  return wall > 0 && others > 0 ? others / wall : 0;
}

#endif
