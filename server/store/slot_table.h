/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Slot table: a sparse array of up to 2^51 slots.  It is the directory of one
 * disk over the store's leaves (leaves.h).
 *
 *   root node           nodes: 512 children each       leaves: 256 slots
 *   +-------------+     +-------------+                +---------------+
 *   | 0 1 … 511   |---->| 0 1 … 511   |--------------->| slot … slot   |
 *   +-------------+     +-------------+                +---------------+
 *      as many levels as the disk's size needs              one page
 *
 * Slots that were never written have neither leaf nor node.  A leaf whose slots
 * are all EMPTY again can be given back (slot_table_reclaim), and so can a node
 * when its last leaf is gone.  The root lives as long as the table.
 *
 * Slot numbers are unique in the store: slot 'index' of the table has the
 * number first + index.
 *
 * To look up a slot: walk down, lock it, and check that the leaf's place is the
 * right one.  If not, a reclaim of the leaf, or of a node on the way to it, has
 * overtaken the walk: start again.  The place is set after the directory names
 * the leaf, and cleared under the locks of all its slots.  So if the place is
 * right while a slot is locked, the directory names the leaf, now and until the
 * unlock.  If the directory names a leaf that has no place yet, the lookup
 * waits for the leaf's maker, which holds the table lock.
 *
 * A look at a slot without its lock (slot_table_peek) is one of two kinds:
 *
 *   answers  go to a client (extents.c, disk_slot_info) and must be true.  meta
 *            is read once, and the leaf's place after it.  If the place is
 *            wrong, the walk was overtaken, or the leaf has no place yet: the
 *            slot was EMPTY at a moment of the look, and that is the answer.
 *   hints    only decide what to try next (candidates of background work,
 *            prefetching, the mark of idle slots), and may be wrong.  Before
 *            acting on one, lock the slot and look again (claim.h).
 *
 * One case is not noticed: between the walk and the look at its place, a leaf
 * is given back, gets another place, and comes back to the first one.  The
 * answer may then describe a slot of the other place.  It is still correct.
 * All slots of the leaf were EMPTY in between, so "reads as zeroes" was true at
 * a moment of the look; and "there is data" is always allowed.  A slot that
 * holds data all the time keeps its leaf, so an answer about it never describes
 * another slot.
 *
 * A walk that finds no leaf answers EMPTY, even if it came through a node that
 * was taken out meanwhile: the node had no leaves when it was taken out, and
 * that was after the walk began.
 *
 * Reclaim takes the write locks of all slots of the leaf (trying), checks the
 * place and that all slots are EMPTY, takes the leaf out of the directory and
 * lets the system zero the page.  Zeroing unlocks all slots at once and loses
 * the "queued" bits.  So reclaim then wakes the leaf's parking bucket, which
 * all its slots share (park.h).  Modelled in tests/model/leaf-reclaim.pml and
 * directory.pml.
 *
 * Locks: the leaves' lock (rank TABLE) protects every change of the directory.
 * Lookups take no lock.
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

/* Gives all its leaves back.  All slots must be EMPTY and unlocked. */
void slot_table_destroy (struct slot_table *t);

/* -- lookups: each returns the slot locked, or NULL ------------------------
 *
 * Call slot_is_there or slot_is_there_shared next.  clang cannot see that a
 * function returns a slot that it has locked.  For its analysis the slot is
 * locked from that call on.
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
 * Returns with the slot lock held (shared).
 */
struct slot *slot_table_read_lock (struct slot_table *t, uint64_t index,
                                   uint32_t now) MUST_USE;

/* As slot_table_read_lock, but returns NULL instead of waiting, and does not
 * count as an access.
 */
struct slot *slot_table_try_read_lock (struct slot_table *t, uint64_t index)
  MUST_USE;

/* Lock the slot; NULL if its leaf does not exist.  May sleep.  Returns with the
 * slot lock held (exclusive).
 */
struct slot *slot_table_write_lock (struct slot_table *t, uint64_t index)
  MUST_USE;

/* As slot_table_write_lock, but returns NULL instead of waiting.  Then *busy is
 * true; it is false if there is no leaf.
 */
struct slot *slot_table_try_write_lock (struct slot_table *t, uint64_t index,
                                        bool *busy) MUST_USE;

/* As slot_table_write_lock, but makes the leaf.  NULL with errno ENOSPC (over
 * the budget) or ENOMEM.
 */
struct slot *slot_table_write_lock_new (struct slot_table *t, uint64_t index)
  MUST_USE;

/* -- without the slot's lock ---------------------------------------------- */

/* The slot, not locked; NULL if there is no leaf.  Its atomic fields are hints.
 * For an answer, call slot_table_is_still afterwards.
 */
const struct slot *slot_table_peek (struct slot_table *t, uint64_t index);

/* Is 's', which slot_table_peek returned, still the slot with that index?  If
 * not, the slot with that index was EMPTY at a moment since the peek.
 */
bool slot_table_is_still (struct slot_table *t, uint64_t index,
                          const struct slot *s) MUST_USE;

/* The first slot from 'index' on, below 'end', that has a leaf; else 'end'.
 * Skips each gap in one step.
 */
uint64_t slot_table_next_present (struct slot_table *t, uint64_t index,
                                  uint64_t end);

/* Does this index have a leaf, and are all its slots EMPTY?  A hint. */
bool slot_table_leaf_is_empty (struct slot_table *t, uint64_t index);

/* Give the leaf back if all its slots are EMPTY and unlocked, and the nodes
 * that then have no children.  Returns whether it did.  Takes slot locks
 * (trying) and the table lock.
 */
bool slot_table_reclaim (struct slot_table *t, uint64_t index);

/* For the auditor, with nothing running: live counts, places, locks and
 * children.  Returns a static message about the first fault, or NULL.  Adds its
 * counts to *counted.
 */
const char *slot_table_audit (struct slot_table *t,
                              struct leaves_audit *counted);

#endif /* ZRAM_SLOT_TABLE_H */
