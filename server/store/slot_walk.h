/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A walk over the slots that are not EMPTY, of one disk or of all.
 *
 *   struct slot_walk w;
 *
 *   slot_walk_all (&w, store);      or slot_walk_disk, slot_walk_from
 *   while (slot_walk_next (&w))
 *     ... w.disk, w.index, w.slot, w.meta ...
 *   slot_walk_end (&w);
 *
 * A walk looks at slots without their locks: its results are hints
 * (slot_table.h).  Between two steps it holds no lock, only a reference to the
 * current disk.  So that disk is not freed meanwhile, but it may be emptied.
 * The walk may miss disks that are made meanwhile.
 */

#ifndef ZRAM_SLOT_WALK_H
#define ZRAM_SLOT_WALK_H

#include "store/disk.h"

struct slot_walk {
  struct store *store;
  struct disk *disk; /* referenced; NULL: none left */
  uint64_t index;    /* of the slot in its disk */
  uint64_t end;      /* in its disk */
  bool one;          /* the walk ends with this disk */
  bool begun;        /* 'index' was returned already */
  const struct slot *slot;
  uint32_t meta; /* as it was when it was found */
};

/* All disks, in the order of their numbers. */
void slot_walk_all (struct slot_walk *w, struct store *store);

/* The same, but begins at this slot (its number in the store). */
void slot_walk_from (struct slot_walk *w, struct store *store, uint64_t slot);

/* Slots [first, end) of a disk, cut to its size. */
void slot_walk_disk (struct slot_walk *w, struct disk *disk, uint64_t first,
                     uint64_t end);

/* This disk; all disks if it is NULL. */
static inline void
slot_walk_of (struct slot_walk *w, struct store *store, struct disk *disk)
{
  if (disk)
    slot_walk_disk (w, disk, 0, UINT64_MAX);
  else
    slot_walk_all (w, store);
}

/* Go to the next slot that is not EMPTY.  At the end: false, and the reference
 * is dropped.  Takes the lock of the list of disks for a moment.
 */
bool slot_walk_next (struct slot_walk *w) MUST_USE;

/* Go to the next slot that has a leaf, whatever its state. */
bool slot_walk_next_present (struct slot_walk *w) MUST_USE;

/* Skip the rest of the leaf of the current slot. */
void slot_walk_skip_leaf (struct slot_walk *w);

/* The next slot that it will look at: its number in the store. */
uint64_t slot_walk_position (const struct slot_walk *w);

/* Stop a walk before its end: drop the reference.  May be called twice. */
void slot_walk_end (struct slot_walk *w);

#endif /* ZRAM_SLOT_WALK_H */
