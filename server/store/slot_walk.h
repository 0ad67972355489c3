/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A walk over the slots that hold something, of one disk or of all.
 *
 *   struct slot_walk w;
 *
 *   slot_walk_all (&w, store);                 or slot_walk_disk,
 * slot_walk_from while (slot_walk_next (&w))
 *     ... w.disk, w.index, w.slot, w.meta ...
 *   slot_walk_end (&w);
 *
 * Slots are looked at without their locks: what a walk finds is a hint
 * (slot_table.h).  It holds no lock between two steps, and a reference to the
 * disk that it is in, which keeps that from being freed but not from being
 * emptied.  Disks that are made meanwhile may be left out.
 */

#ifndef ZRAM_SLOT_WALK_H
#define ZRAM_SLOT_WALK_H

#include "store/disk.h"

struct slot_walk {
  struct store *store;
  struct disk *disk; /* referenced; NULL: none left */
  uint64_t index;    /* of the slot in its disk */
  uint64_t end;      /* in its disk */
  bool one;          /* it ends with this disk */
  bool begun;        /* index was given out */
  const struct slot *slot;
  uint32_t meta; /* as it was when it was found */
};

/* All disks, in the order of their numbers. */
void slot_walk_all (struct slot_walk *w, struct store *store);

/* The same from this slot on (its number in the store). */
void slot_walk_from (struct slot_walk *w, struct store *store, uint64_t slot);

/* Slots [first, end) of a disk, cut to its size. */
void slot_walk_disk (struct slot_walk *w, struct disk *disk, uint64_t first,
                     uint64_t end);

/* All disks, or the one that is not NULL. */
static inline void
slot_walk_of (struct slot_walk *w, struct store *store, struct disk *disk)
{
  if (disk)
    slot_walk_disk (w, disk, 0, UINT64_MAX);
  else
    slot_walk_all (w, store);
}

/* The next slot that holds something; false, and nothing referenced any more,
 * at the end.  Takes the lock of the list of disks for a moment.
 */
bool slot_walk_next (struct slot_walk *w) MUST_USE;

/* The next slot of which there is a leaf, whatever it holds. */
bool slot_walk_next_present (struct slot_walk *w) MUST_USE;

/* Go on behind the leaf of the slot that was found. */
void slot_walk_skip_leaf (struct slot_walk *w);

/* The number in the store of the next slot that it would look at. */
uint64_t slot_walk_position (const struct slot_walk *w);

/* Before its end: drop the reference.  May be called twice. */
void slot_walk_end (struct slot_walk *w);

#endif /* ZRAM_SLOT_WALK_H */
