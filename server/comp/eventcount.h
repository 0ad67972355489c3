/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Eventcount: sleep until a condition is true that others make true without a
 * lock.  Each event wakes one sleeper.
 *
 *   waiter                              waker
 *   t = eventcount_prepare (e)          make the condition true
 *   condition true?                     eventcount_signal (e)
 *     yes: eventcount_cancel (e)
 *     no:  eventcount_wait (e, t), again from the top
 *
 * No wake-up is lost.  Both sides write, then (full fence) read: the waiter
 * writes "waiters" and reads the condition; the waker writes the condition and
 * reads "waiters".  One of them must see the other's write.  If the waiter
 * does, it does not sleep.  If the waker does, it advances seq, and the waiter,
 * whose ticket was taken before it read the condition, cannot sleep.
 *
 * While no thread waits, a signal is a fence and a load of a line that is not
 * written. (base/park.h wakes all its waiters, which is right for a lock word;
 * here an event lets only one of them in.)
 */

#ifndef ZRAM_EVENTCOUNT_H
#define ZRAM_EVENTCOUNT_H

#include <stdatomic.h>
#include <stdint.h>

#include "base/compiler.h"

struct eventcount {
  _Alignas(CACHE_LINE) _Atomic uint32_t waiters;
  _Atomic uint32_t seq; /* the futex word: number of events, wraps */
};

/* The caller now counts as a waiter, until eventcount_wait or _cancel. */
uint32_t eventcount_prepare (struct eventcount *e) MUST_USE;
void eventcount_cancel (struct eventcount *e);

/* Sleeps until an event after the ticket; may also wake without cause. */
void eventcount_wait (struct eventcount *e, uint32_t ticket);

/* An event: the condition is true for one waiter, or (all) for every waiter. */
void eventcount_signal (struct eventcount *e);
void eventcount_signal_all (struct eventcount *e);

#endif /* ZRAM_EVENTCOUNT_H */
