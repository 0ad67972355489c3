/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Patience: a wait that ends at a time, or when somebody cancels it.
 *
 * For one who asks for something and would rather be told that it cannot be had
 * than wait for a store that hangs.  It waits by looking again each
 * millisecond: such waits are few, and nobody has to know whom to wake.
 *
 * Whoever takes a lock again and again, for a step at a time, would hardly ever
 * be seen without it.  So who wants such a lock says so ('wished'), and who
 * takes steps leaves it alone for a moment between two of them (step_aside).
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

/* A millisecond later; false, and at once, if it is at its end. */
static inline bool MUST_USE
patience_nap (const struct patience *p)
{
  const struct timespec ms = { .tv_nsec = 1000000 };

  if (patience_is_over (p))
    return false;
  nanosleep (&ms, NULL);
  return true;
}

/* False if it could not be had in time.  'wished': see above; or NULL. */
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

/* Between two steps, without the lock: two milliseconds if anybody wishes for
 * it, which is time for one more look.
 */
static inline void
step_aside (const atomic_uint *wished)
{
  const struct timespec ms = { .tv_nsec = 2000000 };

  if (unlikely (atomic_load_explicit (wished, memory_order_relaxed) > 0))
    nanosleep (&ms, NULL);
}

#endif /* ZRAM_PATIENCE_H */
