/* SPDX-License-Identifier: BSD-3-Clause */

#include <config.h>

#include "base/clock.h"
#include "base/run_clock.h"

static struct run_clock the_clock;
static pthread_mutex_t the_lock = PTHREAD_MUTEX_INITIALIZER; /* a leaf */

/* The time is read under the lock, so that it never goes back between two who
 * advance the clock.
 */
uint64_t
run_clock_ns (void)
{
  uint64_t ran;

  pthread_mutex_lock (&the_lock);
  ran = run_clock_advance (&the_clock, clock_ns ());
  pthread_mutex_unlock (&the_lock);
  return ran;
}

bool
run_clock_wait (pthread_cond_t *cond, pthread_mutex_t *lock,
                uint64_t deadline_ns)
{
  uint64_t now = run_clock_ns (), until;
  struct timespec due;

  if (now >= deadline_ns)
    return false;
  until = deadline_ns - now < RUN_CLOCK_STEP_NS ? deadline_ns - now
                                                : RUN_CLOCK_STEP_NS;
  until += clock_ns ();
  due = (struct timespec){ .tv_sec = (time_t) (until / 1000000000),
                           .tv_nsec = (long) (until % 1000000000) };
  pthread_cond_timedwait (cond, lock, &due);
  return true;
}
