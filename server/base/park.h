/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Parking: where threads sleep that wait for a lock word.
 *
 * A lock word has a bit that says that a thread waits, and no room for a queue.
 * Its waiters sleep (futex) on the sequence number of a bucket; a hash of the
 * word's address chooses the bucket:
 *
 *   waiter                              waker
 *   t = park_ticket (word)              change the word: waiters bit off
 *   set the word's waiters bit,         park_wake (word): seq++, wake all
 *     by CAS from the locked value
 *   park_wait (word, t):
 *     sleep only while seq == t
 *
 * No wake-up is lost.  The ticket is taken before the bit is set, and the bit
 * is set while the word is still locked.  So the unlock that follows sees the
 * bit, and its seq++ makes the ticket stale, whether the waiter sleeps by then
 * or not.  A waiter may wake without cause (for another word of its bucket): it
 * looks at its word again.
 *
 * The bucket depends only on the *page* of the address.  So a thread that holds
 * all lock words of a page can let the system zero the page, which unlocks all
 * of them at once and loses the waiters bits, and then wakes one bucket: slots
 * and zspage descriptors are given back like this.
 *
 * Source of the idea: "parking lot", WebKit's WTF::ParkingLot.
 */

#ifndef ZRAM_PARK_H
#define ZRAM_PARK_H

#include <stdint.h>

/* Memory order: acquire; what is read after it is no older than it. */
uint32_t park_ticket (const void *word);

/* Sleeps until a park_wake after the ticket; may also wake without cause. */
void park_wait (const void *word, uint32_t ticket);

void park_wake (const void *word);

/* How often a thread went to sleep here since the process started. */
uint64_t park_sleeps (void);

#endif /* ZRAM_PARK_H */
