/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * pthread mutex with a rank and clang's annotations.  Adaptive: it spins for
 * a moment before it sleeps, because our critical sections are short.
 */

#ifndef ZRAM_MUTEX_H
#define ZRAM_MUTEX_H

#include <pthread.h>
#include <stdbool.h>

#include "base/check.h"
#include "base/compiler.h"
#include "base/keep_errno.h"
#include "base/rank.h"

struct CAPABILITY ("mutex") mutex {
  pthread_mutex_t m;
  enum lock_rank rank;
};

static inline void
mutex_init (struct mutex *mutex, enum lock_rank rank)
{
  pthread_mutexattr_t attr;

  pthread_mutexattr_init (&attr);
#ifdef __USE_GNU
  pthread_mutexattr_settype (&attr, PTHREAD_MUTEX_ADAPTIVE_NP);
#endif
  check_always (pthread_mutex_init (&mutex->m, &attr) == 0);
  pthread_mutexattr_destroy (&attr);
  mutex->rank = rank;
}

static inline void
mutex_destroy (struct mutex *mutex)
{
  KEEP_ERRNO;

  check_always (pthread_mutex_destroy (&mutex->m) == 0);
}

static inline void
mutex_lock (struct mutex *mutex) ACQUIRE (mutex) NO_THREAD_SAFETY_ANALYSIS
{
  rank_acquire (mutex->rank);
  pthread_mutex_lock (&mutex->m);
}

static inline bool MUST_USE
mutex_trylock (struct mutex *mutex) TRY_ACQUIRE (true, mutex)
  NO_THREAD_SAFETY_ANALYSIS
{
  if (pthread_mutex_trylock (&mutex->m) != 0)
    return false;
  rank_acquire_try (mutex->rank);
  return true;
}

static inline void
mutex_unlock (struct mutex *mutex) RELEASE (mutex) NO_THREAD_SAFETY_ANALYSIS
{
  rank_release (mutex->rank);
  pthread_mutex_unlock (&mutex->m);
}

#endif /* ZRAM_MUTEX_H */
