/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The clock for deadlines: nanoseconds in which this process ran.
 *
 * A process may stand still for longer than any deadline (SIGSTOP, a cgroup
 * that is frozen, a virtual machine that is suspended).  By the clock on the
 * wall everything is late when it goes on, though nobody was there to look at
 * what came meanwhile.  So a deadline is set and judged by this clock, which
 * goes on by what passed since it was last read, but never by more than
 * RUN_CLOCK_GAP_NS at once:
 *
 *   read        read        read                               read
 *     |-- 50 ms --|-- 50 ms --|--------- frozen, 40 s -----------|
 *     |   + 50 ms |   + 50 ms |                         + 200 ms |
 *
 * Hence two rules for whoever waits for a deadline:
 *   1. Look at the clock every RUN_CLOCK_STEP_NS (run_clock_wait does).  While
 *      nobody looks it hardly goes on, which is right: nobody waits.
 *   2. Take what has arrived first, and only then call the rest late.
 *
 * Every such wait has an end: each look takes the clock further, by what
 * passed or by a whole gap.  Where threads get no CPU for longer than a gap
 * the waits become longer, as they should.
 */

#ifndef ZRAM_RUN_CLOCK_H
#define ZRAM_RUN_CLOCK_H

#include <stdbool.h>
#include <stdint.h>

#include "base/compiler.h"
#include "base/mutex.h"

#define RUN_CLOCK_STEP_MS 50
#define RUN_CLOCK_STEP_NS (UINT64_C (1000000) * RUN_CLOCK_STEP_MS)
#define RUN_CLOCK_GAP_NS (UINT64_C (1000000) * 200)

struct run_clock {
  uint64_t read_at_ns; /* clock_ns, 0 before the first time */
  uint64_t ran_ns;
};

/* What the clock shows at 'now_ns' (clock_ns, never before the last). */
static inline uint64_t
run_clock_advance (struct run_clock *c, uint64_t now_ns)
{
  uint64_t gap = now_ns - c->read_at_ns;

  c->read_at_ns = now_ns;
  c->ran_ns += gap < RUN_CLOCK_GAP_NS ? gap : RUN_CLOCK_GAP_NS;
  return c->ran_ns;
}

/* The one of this process; never 0.  Any thread; takes a leaf lock for a few
 * instructions.
 */
uint64_t run_clock_ns (void);

/* Sleep until 'cond' is signalled, for a step at the most, with 'lock' held,
 * which 'cond' goes with.  False when the deadline has
 * passed.  The caller looks at what it waits for after it, whatever it says.
 */
bool run_clock_wait (struct cond *cond, struct mutex *lock,
                     uint64_t deadline_ns) REQUIRES (lock) MUST_USE;

#endif /* ZRAM_RUN_CLOCK_H */
