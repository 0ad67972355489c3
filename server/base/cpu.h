/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The CPU that runs the caller: a hint to choose the nearest of several equal
 * things (streams, counter shards).  It may be stale by the time it is used.
 */

#ifndef ZRAM_CPU_H
#define ZRAM_CPU_H

#include <sched.h>
#include <unistd.h>

static inline unsigned
cpu_current (void)
{
  int cpu = sched_getcpu ();

  return cpu < 0 ? 0 : (unsigned) cpu;
}

/* CPUs this process may run on, at least 1. */
static inline unsigned
cpu_count (void)
{
  cpu_set_t set;
  int n = sched_getaffinity (0, sizeof set, &set) == 0
            ? CPU_COUNT (&set)
            : (int) sysconf (_SC_NPROCESSORS_ONLN);

  return n < 1 ? 1 : (unsigned) n;
}

static inline void
cpu_relax (void)
{
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause ();
#elif defined(__aarch64__)
  __asm__ __volatile__("isb" ::: "memory");
#endif
}

#endif /* ZRAM_CPU_H */
