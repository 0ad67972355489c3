/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Slot table: a sparse array of up to 2^51 slots, the directory of one disk
 * over the store's leaves (leaves.h).
 *
 *   root node           nodes: 512 children each       leaves: 256 slots
 *   +-------------+     +-------------+                +---------------+
 *   | 0 1 … 511   |---->| 0 1 … 511   |--------------->| slot … slot   |
 *   +-------------+     +-------------+                +---------------+
 *      as many levels as the disk's size asks for           one page
 *
 * What was never written has neither leaf nor node; a leaf whose slots are all
 * EMPTY again can be given back (slot_table_reclaim), and with the last leaf
 * under it a node.  The root stays for as long as the table.
 *
 * Slot numbers are the store's: slot 'index' of the table is first + index.
 *
 * To look a slot up: walk down, lock it, and see whether the leaf's place is
 * the one that was looked for.  If not, the walk was overtaken, by the reclaim
 * of the leaf or of a node that it came through: again.  The place is set after
 * the directory names the leaf, and cleared under the locks of all its slots;
 * so with a slot locked the right place says that the directory names the leaf,
 * now and until the unlock.  Who finds that it names a leaf which has no place
 * yet waits for its maker, who holds the table lock.
 *
 * Who looks at a slot without its lock (slot_table_peek) must not lie either:
 *
 *   answers  what is told to somebody (extents.c, disk_slot_info): meta is
 *            read once, and the leaf's place after it.  If that is another, the
 *            walk was overtaken, or the leaf has no place yet: the slot was
 * EMPTY at a moment of the look, and that is the answer. hints    what decides
 * what is tried next (candidates of background work, prefetching, the mark of
 * idle slots): may be anything.  Whoever acts on one locks the slot and looks
 * again (claim.h).
 *
 * A leaf that was given back and came to another place and back again between
 * the walk and the look at its place is not noticed, and an answer may then be
 * of the other place.  But all its slots were EMPTY in between, too, so that
 * they read as zeroes is true of a moment of the look, and that there is data
 * may always be said.  A slot that holds data all the time keeps its leaf, so
 * for such a slot no answer is ever of another.
 *
 * A walk that finds nothing says EMPTY, also where it came through a node that
 * was taken out meanwhile: that had no leaves at the moment it was taken out,
 * which is after the walk began.
 *
 * Reclaim takes the write locks of all slots of the leaf (trying), checks the
 * place and that all are EMPTY, takes the leaf out of the directory and lets
 * the system zero the page.  That unlocks every slot at a stroke and loses the
 * "queued" bits, so it then wakes the leaf's parking bucket, which all its
 * slots share (park.h).  Modelled in tests/model/leaf-reclaim.pml and
 * directory.pml.
 *
 * Locks: the leaves' (rank TABLE) protects every change of the directory;
 * lookups take nothing.
 */

#ifndef ZRAM_SLOT_TABLE_H
#define ZRAM_SLOT_TABLE_H

#include "store/leaves.h"

struct slot_table {
  struct leaves *leaves; /* not owned */
  uint64_t first;        /* number of slot 0: a multiple of LEAF_SLOTS */
  uint64_t slots;
  unsigned levels;         /* of nodes, at least 1 */
  struct table_node *root; /* owned */
};

/* 0, or -1 with errno set. */
int slot_table_init (struct slot_table *t, struct leaves *leaves,
                     uint64_t first, uint64_t slots) MUST_USE;

/* Gives all its leaves back.  Their slots are EMPTY, and nobody has one locked.
 */
void slot_table_destroy (struct slot_table *t);

/* -- lookups: each returns the slot locked, or NULL ------------------------
 *
 * Ask slot_is_there or slot_is_there_shared next: clang cannot see that a
 * function returns what it locked, so for its analysis the slot is locked from
 * that question on.
 *
 *   struct slot *s = slot_table_write_lock (t, index);
 *
 *   if (!slot_is_there (s))
 *     return …;
 *   …
 *   slot_write_unlock (s);
 */
static inline bool MUST_USE
slot_is_there (const struct slot *s) TRY_ACQUIRE (true, s)
{
  return s != NULL;
}

static inline bool MUST_USE
slot_is_there_shared (const struct slot *s) TRY_ACQUIRE_SHARED (true, s)
{
  return s != NULL;
}

/* Lock the slot; NULL if its leaf does not exist (it is EMPTY).  May sleep.
 * Keeps the slot lock (shared).
 */
struct slot *slot_table_read_lock (struct slot_table *t, uint64_t index,
                                   uint32_t now) MUST_USE;

/* As slot_table_read_lock, but NULL also instead of waiting, and no access is
 * noted.
 */
struct slot *slot_table_try_read_lock (struct slot_table *t, uint64_t index)
  MUST_USE;

/* Lock the slot; NULL if its leaf does not exist. May sleep.  Keeps the slot
 * lock (exclusive).
 */
struct slot *slot_table_write_lock (struct slot_table *t, uint64_t index)
  MUST_USE;

/* As slot_table_write_lock, but NULL also instead of waiting: *busy tells the
 * two apart.
 */
struct slot *slot_table_try_write_lock (struct slot_table *t, uint64_t index,
                                        bool *busy) MUST_USE;

/* As slot_table_write_lock, but makes the leaf.  NULL with errno ENOSPC (over
 * the budget) or ENOMEM.
 */
struct slot *slot_table_write_lock_new (struct slot_table *t, uint64_t index)
  MUST_USE;

/* -- without the slot's lock ---------------------------------------------- */

/* The slot, not locked; NULL if there is no leaf.  Good for a hint from its
 * atomic fields; for an answer ask slot_table_is_still afterwards.
 */
const struct slot *slot_table_peek (struct slot_table *t, uint64_t index);

/* Is this the slot with that index, which slot_table_peek gave?  If not, the
 * slot with that index was EMPTY since.
 */
bool slot_table_is_still (struct slot_table *t, uint64_t index,
                          const struct slot *s) MUST_USE;

/* The first slot from 'index' on, below 'end', that has a leaf; else 'end'.
 * Skips what does not exist in steps as large as the gaps.
 */
uint64_t slot_table_next_present (struct slot_table *t, uint64_t index,
                                  uint64_t end);

/* Is the leaf of this index there, with all slots EMPTY?  A hint. */
bool slot_table_leaf_is_empty (struct slot_table *t, uint64_t index);

/* Give the leaf back if all its slots are EMPTY and nobody has one locked, and
 * the nodes that have no children then.  Returns whether it did.  Takes slot
 * locks (trying) and the table lock.
 */
bool slot_table_reclaim (struct slot_table *t, uint64_t index);

/* For the auditor, with nothing running: live counts, places, locks and
 * children.  A message (static) about what is wrong, or NULL; adds what it
 * finds to *counted.
 */
const char *slot_table_audit (struct slot_table *t,
                              struct leaves_audit *counted);

#endif /* ZRAM_SLOT_TABLE_H */
