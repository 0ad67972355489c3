/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Parking: where threads sleep that wait for a lock word.
 *
 * A lock word has a bit "somebody waits", and no room for a queue.  Its
 * waiters sleep (futex) on the sequence number of a bucket that the word's
 * address is hashed to:
 *
 *   waiter                              waker
 *   t = park_ticket (word)              change the word: waiters bit off
 *   set the word's waiters bit,         park_wake (word): seq++, wake all
 *     by CAS from the locked value
 *   park_wait (word, t):
 *     sleep only while seq == t
 *
 * No wake-up is lost: the ticket is taken before the bit is set, and the
 * bit was set while the word was still locked, so the unlock that follows
 * sees the bit, and its seq++ makes the ticket stale, whether the waiter
 * sleeps by then or not.  A waiter may wake for nothing (another word of
 * its bucket): it looks at its word again.
 *
 * The bucket depends on the address's *page* alone.  So a page full of lock
 * words can be zeroed by the system (all of them unlocked at a stroke, the
 * waiters bits lost) by whoever holds them all, who then wakes one bucket:
 * see slot_table.h and zspage.h, which give such pages back.
 *
 * Source of the idea: "parking lot", WebKit's WTF::ParkingLot.
 */

#ifndef ZRAM_PARK_H
#define ZRAM_PARK_H

#include <stdint.h>

/* Memory order: acquire; what is read after it is no older than it. */
uint32_t park_ticket (const void *word);

/* Sleeps until a park_wake after the ticket, or for no reason at all. */
void park_wait (const void *word, uint32_t ticket);

void park_wake (const void *word);

/* Times a thread went to sleep here since the process started. */
uint64_t park_sleeps (void);

#endif /* ZRAM_PARK_H */
