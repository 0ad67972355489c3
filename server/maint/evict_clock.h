/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Clock: finds old slots.  A hand goes round over the slots of all disks and
 * stops at each slot that is at least as old as this revolution requires.
 *
 *   ages, counted before a turn          the hand, in steps of 256 slots
 *
 *   bytes |#                             slot 0 ......... end
 *         |# #         # # |                     ^
 *         |# # #   #   # # | need                hand --> the old slots
 *         +-----------------               and from 0 on to where it began
 *    age   0 1 3 7 … seconds
 *
 * The age is chosen so that the older slots make up the bytes needed.  Slots
 * that do not compress, and slots marked idle, count as four times as old.
 * After a sequential flood all ages are equal, so slots go in the order of the
 * hand.
 *
 * It looks at slots without their locks: its results are hints.
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
  uint64_t start;      /* where the hand began this revolution */
  bool around;         /* the hand has passed the end since */
  unsigned age;        /* slots of this age or older go; a power of two */

  struct slot_walk walk; /* of one step */
  uint32_t now;          /* of one step */
  unsigned looks;        /* of one step */
};

void evict_clock_init (struct evict_clock *c, struct store *store);

/* Count the ages of all slots (of a sample of them if there are many: some 30
 * ms of work), and begin a revolution that finds 'need' bytes, or all if there
 * are fewer.  False if there are none.  The count ends early if 't' is told to
 * stop.
 */
bool evict_clock_begin (struct evict_clock *c, uint64_t need, struct ticker *t)
  MUST_USE;

/* Call evict_clock_next only between these two.  The first takes a reference to
 * a disk, and the second drops it.  The second is false if the revolution is
 * over.
 */
void evict_clock_step_begin (struct evict_clock *c);
bool evict_clock_step_end (struct evict_clock *c) MUST_USE;

/* Puts the next slot that is old enough into c->walk; false at the end of a
 * step.
 */
bool evict_clock_next (struct evict_clock *c) MUST_USE;

/* Can a slot with this meta be evicted?  A hint, like the age: batch_writer_put
 * locks the slot and takes it only if it still has exactly this meta.
 */
static inline bool
evict_can_go (uint32_t meta)
{
  return slot_meta_state (meta) == SLOT_OBJECT && slot_meta_claim (meta) == 0;
}

#endif /* ZRAM_EVICT_CLOCK_H */
