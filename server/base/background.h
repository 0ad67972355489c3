/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A thread that works in the background: when it wakes up it does not push a
 * thread that serves a request off its CPU, which may hold what others wait
 * for.  Its share of the CPU stays the same, so whoever waits for a lock of
 * its waits no longer than otherwise (which rules a lower priority out).
 */

#ifndef ZRAM_BACKGROUND_H
#define ZRAM_BACKGROUND_H

#include <pthread.h>
#include <sched.h>

/* The calling thread; harmless where the system knows nothing like that. */
static inline void
background_thread (void)
{
#ifdef SCHED_BATCH
  const struct sched_param none = { .sched_priority = 0 };

  (void) pthread_setschedparam (pthread_self (), SCHED_BATCH, &none);
#endif
}

#endif /* ZRAM_BACKGROUND_H */
