/* SPDX-License-Identifier: BSD-3-Clause */
/* The clock for deadlines.
 * Contract: base/run_clock.h.
 */

#include <config.h>

#include "base/clock.h"
#include "base/run_clock.h"

static struct run_clock the_clock;
static struct mutex the_lock = MUTEX_INIT (RANK_CLOCK);

/* The time is read under the lock, so that it never goes back between two
 * threads that advance the clock.
 */
uint64_t
run_clock_ns (void)
{
  uint64_t ran;

  mutex_lock (&the_lock);
  ran = run_clock_advance (&the_clock, clock_ns ());
  mutex_unlock (&the_lock);
  return ran;
}

bool
run_clock_wait (struct cond *cond, struct mutex *lock, uint64_t deadline_ns)
{
  uint64_t now = run_clock_ns (), left;

  if (now >= deadline_ns)
    return false;
  left = deadline_ns - now;
  cond_wait_until (cond, lock,
                   clock_ns () +
                     (left < RUN_CLOCK_STEP_NS ? left : RUN_CLOCK_STEP_NS));
  return true;
}
