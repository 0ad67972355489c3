/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Clock: which slots are old.  A hand goes round over the slots of all disks
 * and stops at what is at least as old as the revolution asks for.
 *
 *   ages, counted before a turn          the hand, in steps of 256 slots
 *
 *   bytes |#                             slot 0 ......... end
 *         |# #         # # |                     ^
 *         |# # #   #   # # | need                hand --> what is old enough
 *         +-----------------               and on from 0 to where it began
 *    age   0 1 3 7 … seconds
 *
 * The age is chosen so that what is older makes up what is needed.  What does
 * not compress, and what is marked idle, counts as four times as old.  A
 * sequential flood with all ages equal thus goes in the order of the hand.
 *
 * Slots are looked at without their locks: what it finds is a hint.
 *
 * Locks: none.  One thread uses a clock.
 */

#ifndef ZRAM_EVICT_CLOCK_H
#define ZRAM_EVICT_CLOCK_H

#include "maint/ticker.h"
#include "store/slot_walk.h"

struct evict_clock {
  struct store *store; /* not owned */
  uint64_t hand;       /* number of the next slot */
  uint64_t start;      /* of the hand, in this revolution */
  bool around;         /* the hand has passed the end since */
  unsigned age;        /* what is at least as old goes; a power of two */

  struct slot_walk walk; /* of one step */
  uint32_t now;          /* likewise */
  unsigned looks;        /* likewise */
};

void evict_clock_init (struct evict_clock *c, struct store *store);

/* Count the ages of all slots (of much data, of a part of them: some 30 ms of
 * work) and begin a revolution that finds 'need' bytes if there are as many.
 * False if there are none.  The count is cut short when 't' is told to stop.
 */
bool evict_clock_begin (struct evict_clock *c, uint64_t need, struct ticker *t)
  MUST_USE;

/* Between these two evict_clock_next may be called.  The first takes, and the
 * second drops, a reference to a disk.  The second is false if the revolution
 * is over.
 */
void evict_clock_step_begin (struct evict_clock *c);
bool evict_clock_step_end (struct evict_clock *c) MUST_USE;

/* The next slot that is old enough is in c->walk; false at the end of a step.
 */
bool evict_clock_next (struct evict_clock *c) MUST_USE;

/* Can a slot with this meta go?  A hint, as is the age: batch_writer_put locks
 * the slot and takes it only with this very meta.
 */
static inline bool
evict_can_go (uint32_t meta)
{
  return slot_meta_state (meta) == SLOT_OBJECT && slot_meta_claim (meta) == 0;
}

#endif /* ZRAM_EVICT_CLOCK_H */
