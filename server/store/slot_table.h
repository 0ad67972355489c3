/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Slot table: a sparse array of up to 2^51 slots.
 *
 *   root node           nodes: 512 children each       leaves: 256 slots
 *   +-------------+     +-------------+                +---------------+
 *   | 0 1 … 511   |---->| 0 1 … 511   |--------------->| slot … slot   |
 *   +-------------+     +-------------+                +---------------+
 *      as many levels as the disk's size asks for           one page
 *
 * What was never written has neither leaf nor node; a leaf whose slots are all
 * EMPTY again can be given back (slot_table_reclaim).  Nodes stay.
 *
 * Leaves lie in one reserve and are type-stable: a thread that looked a leaf
 * up and was overtaken by its reclaim still finds slots there, perhaps of
 * another place of the disk by then.  Therefore whoever has locked a slot
 * looks the leaf up again and starts over if the directory names another
 * (the same pin-and-revalidate as pool_pin).  The directory is what counts.
 *
 * Reclaim takes the write locks of all slots of the leaf (trying), checks
 * the directory and that all are EMPTY, takes the leaf out of the directory
 * and lets the system zero the page.  That unlocks every slot at a stroke and
 * loses the "queued" bits, so it then wakes the leaf's parking bucket, which
 * all its slots share (park.h).  Modelled in tests/model/leaf-reclaim.pml.
 *
 * Invariants, with nothing running:
 *   live[leaf] = slots of the leaf that are not EMPTY
 *   places[leaf] = where the directory names the leaf
 *   budget's share of the table = 4096 * (leaves + nodes but the root)
 *
 * Locks: rank TABLE (mutex) protects the free list of leaves and every
 * change of the directory; lookups take nothing.
 */

#ifndef ZRAM_SLOT_TABLE_H
#define ZRAM_SLOT_TABLE_H

#include "base/budget.h"
#include "base/mutex.h"
#include "base/reserve.h"
#include "store/slot.h"

#define LEAF_SHIFT 8
#define LEAF_SLOTS (UINT64_C (1) << LEAF_SHIFT)

struct table_node;

struct slot_table {
  uint64_t slots;
  unsigned levels;         /* of nodes, at least 1 */
  struct table_node *root; /* owned */
  struct budget *budget;   /* not owned */
  struct reserve leaves;   /* struct slot[LEAF_SLOTS], a page each */
  struct reserve live;     /* _Atomic uint16_t, one a leaf */
  struct reserve links;    /* uint32_t, one a leaf: next free leaf + 1 */
  struct reserve places;   /* _Atomic uint64_t, one a leaf: its place */
  _Atomic int64_t empty;   /* leaves in the directory with live == 0 */

  struct mutex lock;
  uint32_t top GUARDED_BY (lock);       /* leaves ever used */
  uint32_t free_head GUARDED_BY (lock); /* leaf + 1 */
  uint64_t leaf_count GUARDED_BY (lock);
  uint64_t node_count GUARDED_BY (lock);
  /* Made ahead by slot_table_fill, NULL or owned; taken and put by exchange. */
  _Atomic (struct table_node *) spare;
};

/* 0, or -1 with errno set. */
int slot_table_init (struct slot_table *t, uint64_t slots,
                     struct budget *budget) MUST_USE;
void slot_table_destroy (struct slot_table *t);

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

/* As slot_table_write_lock, but makes the leaf.  NULL with errno ENOSPC (over
 * the budget) or ENOMEM.
 */
struct slot *slot_table_write_lock_new (struct slot_table *t, uint64_t index)
  MUST_USE;

/* The slot as it is at some moment, not locked; NULL if there is no leaf.
 * The result is good for one look at its atomic fields.
 */
const struct slot *slot_table_peek (struct slot_table *t, uint64_t index);

/* The slot that a cell belongs to, or did a moment ago, for its leaf may have
 * been given back; UINT64_MAX if the cell was never a slot's.  Takes nothing.
 */
uint64_t slot_table_index_of (struct slot_table *t,
                              const _Atomic uint64_t *cell);

/* The first slot from 'index' on, below 'end', that has a leaf; else 'end'.
 * Skips what does not exist in steps as large as the gaps.
 */
uint64_t slot_table_next_present (struct slot_table *t, uint64_t index,
                                  uint64_t end);

/* A locked slot changes from EMPTY to something else, or back. */
void slot_table_count_live (struct slot_table *t, const struct slot *s,
                            int delta);

/* Make what the next new leaves will need resident ahead of use, outside the
 * budget: less than 400 KiB.  Called again and again, by one thread.  Waits
 * where the system has no memory, with no lock held.
 */
void slot_table_fill (struct slot_table *t);

/* Is the leaf of this index there, with all slots EMPTY?  A hint. */
bool slot_table_leaf_is_empty (struct slot_table *t, uint64_t index);

/* Leaves that could be given back. */
static inline int64_t
slot_table_empty_leaves (struct slot_table *t)
{
  return atomic_load_explicit (&t->empty, memory_order_relaxed);
}

/* Give the leaf back if all its slots are EMPTY and nobody has one locked.
 * Returns whether it did.  Takes slot locks (trying) and the table lock.
 */
bool slot_table_reclaim (struct slot_table *t, uint64_t index);

/* Bytes charged for leaves and nodes (not for the root).  Takes the table lock.
 */
uint64_t slot_table_memory (struct slot_table *t);

/* For the auditor, with nothing running: live counts and locks.  A message
 * (static) about what is wrong, or NULL.
 */
const char *slot_table_audit (struct slot_table *t);

#endif /* ZRAM_SLOT_TABLE_H */
