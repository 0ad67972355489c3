/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The clock for deadlines: nanoseconds in which this process ran.
 *
 * A process may stand still for longer than any deadline (SIGSTOP, a frozen
 * cgroup, a suspended virtual machine).  By the wall clock everything is late
 * when it goes on, although the process could not look at answers that arrived
 * meanwhile.  So a deadline is set and judged by this clock.  Each read
 * advances it by the time since the last read, but never by more than
 * RUN_CLOCK_GAP_NS:
 *
 *   read        read        read                               read
 *     |-- 50 ms --|-- 50 ms --|--------- frozen, 40 s -----------|
 *     |   + 50 ms |   + 50 ms |                         + 200 ms |
 *
 * Hence two rules for every wait for a deadline:
 *   1.  Read the clock every RUN_CLOCK_STEP_NS (run_clock_wait does).  While no
 *      thread reads the clock it hardly advances, which is right: no thread
 *      waits.
 *   2. Take what has arrived first, and only then call the rest late.
 *
 * Every such wait has an end, because each read advances the clock, by the time
 * that passed or by a whole gap.  If threads get no CPU for longer than a gap,
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

/* The clock of this process; never 0.  Any thread; takes a leaf lock for a few
 * instructions.
 */
uint64_t run_clock_ns (void);

/* Sleep until 'cond' is signalled, for at most a step.  The caller holds
 * 'lock', the lock of 'cond'.  False when the deadline has passed.  Whatever it
 * returns, the caller must check its condition afterwards.
 */
bool run_clock_wait (struct cond *cond, struct mutex *lock,
                     uint64_t deadline_ns) REQUIRES (lock) MUST_USE;

#endif /* ZRAM_RUN_CLOCK_H */
