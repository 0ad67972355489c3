/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * pthread mutex with a rank and clang's annotations.  Adaptive: it spins for
 * a moment before it sleeps, because our critical sections are short.
 *
 * And the condition that goes with one.  A wait drops the mutex and takes it
 * again, so it is checked as both; and it sleeps, so the caller holds no other
 * lock inside which nobody may (base/rank.h).
 */

#ifndef ZRAM_MUTEX_H
#define ZRAM_MUTEX_H

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#include "base/check.h"
#include "base/compiler.h"
#include "base/keep_errno.h"
#include "base/rank.h"

struct CAPABILITY ("mutex") mutex {
  pthread_mutex_t m;
  enum lock_rank rank;
};

/* For one that is static. */
#ifdef PTHREAD_ADAPTIVE_MUTEX_INITIALIZER_NP
#define MUTEX_INIT(rank)                          \
  {                                               \
    PTHREAD_ADAPTIVE_MUTEX_INITIALIZER_NP, (rank) \
  }
#else
#define MUTEX_INIT(rank)              \
  {                                   \
    PTHREAD_MUTEX_INITIALIZER, (rank) \
  }
#endif

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

/* -- conditions --------------------------------------------------------- */

struct cond {
  pthread_cond_t c; /* of CLOCK_MONOTONIC */
};

static inline void
cond_init (struct cond *cond)
{
  pthread_condattr_t attr;

  pthread_condattr_init (&attr);
  pthread_condattr_setclock (&attr, CLOCK_MONOTONIC);
  check_always (pthread_cond_init (&cond->c, &attr) == 0);
  pthread_condattr_destroy (&attr);
}

static inline void
cond_destroy (struct cond *cond)
{
  KEEP_ERRNO;

  check_always (pthread_cond_destroy (&cond->c) == 0);
}

static inline void
cond_check_wait (const struct mutex *mutex)
{
  rank_release (mutex->rank);
  rank_may_sleep ("wait for a condition");
  rank_acquire (mutex->rank);
}

/* The caller looks at what it waits for again after either of these two: a
 * wait may end for nothing.
 */
static inline void
cond_wait (struct cond *cond, struct mutex *mutex) REQUIRES (mutex)
{
  cond_check_wait (mutex);
  pthread_cond_wait (&cond->c, &mutex->m);
}

/* False at that time of clock_ns. */
static inline bool
cond_wait_until (struct cond *cond, struct mutex *mutex, uint64_t due_ns)
  REQUIRES (mutex)
{
  const struct timespec due = { (time_t) (due_ns / 1000000000),
                                (long) (due_ns % 1000000000) };

  cond_check_wait (mutex);
  return pthread_cond_timedwait (&cond->c, &mutex->m, &due) != ETIMEDOUT;
}

static inline void
cond_signal (struct cond *cond)
{
  pthread_cond_signal (&cond->c);
}

static inline void
cond_broadcast (struct cond *cond)
{
  pthread_cond_broadcast (&cond->c);
}

#endif /* ZRAM_MUTEX_H */
