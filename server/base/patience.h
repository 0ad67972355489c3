/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Patience: a wait that ends at a given time, or when it is cancelled.
 *
 * For a caller that would rather fail than wait for a backing store that hangs.
 * It polls each millisecond: such waits are rare, and no other thread has to
 * know whom to wake.
 *
 * Some threads take a lock again and again, for a step at a time.  A poll would
 * hardly ever find such a lock free.  So a thread that wants it counts itself
 * in 'wished', and the thread that takes steps leaves the lock free for a
 * moment between two of them (step_aside).
 */

#ifndef ZRAM_PATIENCE_H
#define ZRAM_PATIENCE_H

#include <errno.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#include "base/clock.h"
#include "base/mutex.h"

struct patience {
  uint64_t due_ns;           /* clock_ns */
  const atomic_bool *cancel; /* or NULL; not owned */
};

/* From now on. */
static inline struct patience
patience_ms (unsigned ms, const atomic_bool *cancel)
{
  return (struct patience){ .due_ns = clock_ns () + ms * UINT64_C (1000000),
                            .cancel = cancel };
}

static inline bool
patience_cancelled (const struct patience *p)
{
  return p->cancel && atomic_load (p->cancel);
}

static inline bool
patience_is_over (const struct patience *p)
{
  return patience_cancelled (p) || clock_ns () >= p->due_ns;
}

/* Why it is over. */
static inline int
patience_errno (const struct patience *p)
{
  return patience_cancelled (p) ? ECANCELED : ETIMEDOUT;
}

/* Sleeps a millisecond.  False, without sleeping, if the patience is over. */
static inline bool MUST_USE
patience_nap (const struct patience *p)
{
  const struct timespec ms = { .tv_nsec = 1000000 };

  if (patience_is_over (p))
    return false;
  nanosleep (&ms, NULL);
  return true;
}

/* False if the lock was not free in time. 'wished': see above; or NULL. */
static inline bool MUST_USE
mutex_lock_patiently (struct mutex *mutex, atomic_uint *wished,
                      const struct patience *p) TRY_ACQUIRE (true, mutex)
{
  bool locked = mutex_trylock (mutex);

  if (locked)
    return true;
  if (wished)
    atomic_fetch_add (wished, 1);
  while (!locked && patience_nap (p))
    locked = mutex_trylock (mutex);
  if (wished)
    atomic_fetch_sub (wished, 1);
  return locked;
}

/* Call it between two steps, without the lock.  If a thread wishes for the lock
 * it sleeps two milliseconds, which is time for one more poll.
 */
static inline void
step_aside (const atomic_uint *wished)
{
  const struct timespec ms = { .tv_nsec = 2000000 };

  if (unlikely (atomic_load_explicit (wished, memory_order_relaxed) > 0))
    nanosleep (&ms, NULL);
}

#endif /* ZRAM_PATIENCE_H */
