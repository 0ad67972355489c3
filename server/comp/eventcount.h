/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Eventcount: sleep until a condition that others make true without a lock,
 * one sleeper woken for each event.
 *
 *   waiter                              waker
 *   t = eventcount_prepare (e)          make the condition true
 *   condition true?                     eventcount_signal (e)
 *     yes: eventcount_cancel (e)
 *     no:  eventcount_wait (e, t), again from the top
 *
 * No wake-up is lost.  Both sides write, then (full fence) read: the waiter
 * writes "waiters" and reads the condition, the waker writes the condition
 * and reads "waiters"; one of them must see what the other wrote.  If it is
 * the waiter, it does not sleep; if it is the waker, it moves seq on, and
 * the ticket, taken before the condition was read, no longer lets anybody
 * sleep.
 *
 * While nobody waits a signal is a fence and a load of a line that nobody
 * writes.  (base/park.h wakes all its waiters, which is right for a lock
 * word; here an event lets one of them in.)
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

/* Sleeps until an event after the ticket, or for no reason at all. */
void eventcount_wait (struct eventcount *e, uint32_t ticket);

/* Something that one waiter can use, or (all) that every waiter can. */
void eventcount_signal (struct eventcount *e);
void eventcount_signal_all (struct eventcount *e);

#endif /* ZRAM_EVENTCOUNT_H */
