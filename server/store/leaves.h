/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Leaves: the pages of all slot tables of a store.
 *
 *   leaf     256 slots                     type-stable: a page that once was
 *   node     512 children, of one level    a leaf stays one, or is all zeroes
 *
 * A leaf has a *place*: 1 + the number of its first slot / 256.  Slot numbers
 * are unique in the store: every table has a range of them (slot_table.h).  So
 * the place tells to which table the leaf belongs, and the address of a cell
 * tells its slot.
 *
 * Threads look leaves up without a lock (slot_table.c).  Meanwhile another
 * thread may take the leaf, or a node on the way to it, out of the table and
 * use it elsewhere.  Then a lookup finds slots of another place, or children of
 * another node of the same level, but nothing else: a node serves one level
 * only.  The place tells: it does not change while a slot of the leaf is
 * locked.
 *
 * Invariants, with nothing running:
 *   live[leaf] = slots of the leaf that are not EMPTY
 *   place[leaf] = where a table names the leaf; NO_PLACE: it is free
 *   children[node] = number of its children that are not NULL; 0: it is free
 *   the budget's share of all tables = 4096 * (leaves + nodes in use)
 *
 * Locks: rank TABLE (mutex) protects the free lists, the counts, and every
 * change of a node.  Lookups take no lock.
 */

#ifndef ZRAM_LEAVES_H
#define ZRAM_LEAVES_H

#include "base/budget.h"
#include "base/mutex.h"
#include "base/reserve.h"
#include "store/slot.h"

#define LEAF_SHIFT 8
#define LEAF_SLOTS (UINT64_C (1) << LEAF_SHIFT)
#define LEAF_BYTES (LEAF_SLOTS * sizeof (struct slot))

#define NODE_SHIFT 9
#define NODE_CHILDREN (1u << NODE_SHIFT)
#define NODE_LEVELS 5 /* five are enough for 2^51 slots */

#define NO_PLACE UINT64_C (0) /* also of a leaf that was never used */

/* A leaf must be a page, because leaves_return zeroes it. */
_Static_assert(LEAF_BYTES == 4096, "zeroed as a whole");

/* Children are nodes, or at level 0 leaves (struct slot *). */
struct table_node {
  _Atomic (void *) child[NODE_CHILDREN];
};

_Static_assert(sizeof (struct table_node) == 4096, "budgeted as a page");

struct leaves {
  struct budget *budget; /* not owned */
  struct reserve leaves; /* struct slot[LEAF_SLOTS], a page each */
  struct reserve live;   /* _Atomic uint16_t, one a leaf */
  struct reserve links;  /* uint32_t, one a leaf: next free leaf + 1 */
  struct reserve places; /* _Atomic uint64_t, one a leaf */
  struct reserve nodes;  /* struct table_node */
  struct reserve infos;  /* struct node_info, one a node */
  _Atomic int64_t empty; /* leaves in use with live == 0 */

  struct mutex lock;
  uint32_t top GUARDED_BY (lock);       /* leaves ever used */
  uint32_t free_head GUARDED_BY (lock); /* leaf + 1 */
  uint64_t leaf_count GUARDED_BY (lock);
  uint32_t node_top GUARDED_BY (lock);                /* nodes ever used */
  uint32_t free_nodes[NODE_LEVELS] GUARDED_BY (lock); /* node + 1 */
  uint64_t node_count GUARDED_BY (lock);
};

/* Reserves addresses for 'slots' slots, or fewer if there are not enough.  The
 * budget must outlive it.  0, or -1 with errno ENOMEM.
 */
int leaves_init (struct leaves *l, uint64_t slots, struct budget *budget)
  MUST_USE;

/* All tables must have been destroyed. */
void leaves_destroy (struct leaves *l);

static inline uint32_t
leaf_number (const struct leaves *l, const struct slot *s)
{
  return ((const char *) s - l->leaves.base) / LEAF_BYTES;
}

static inline _Atomic uint64_t *
leaf_place (const struct leaves *l, const struct slot *s)
{
  return (_Atomic uint64_t *) (void *) l->places.base + leaf_number (l, s);
}

static inline _Atomic uint16_t *
leaf_live (const struct leaves *l, const struct slot *s)
{
  return (_Atomic uint16_t *) l->live.base + leaf_number (l, s);
}

/* The number of the slot to which a cell belongs, or did a moment ago, since
 * its leaf may have been given back.  UINT64_MAX if the cell belongs to no
 * slot.  Takes no lock.
 */
uint64_t leaves_slot_of (struct leaves *l, const _Atomic uint64_t *cell);

/* A locked slot changes from EMPTY to another state (1), or back (-1). */
void leaves_count_live (struct leaves *l, const struct slot *s, int delta);

/* How many leaves could be given back. */
static inline int64_t
leaves_empty (struct leaves *l)
{
  return atomic_load_explicit (&l->empty, memory_order_relaxed);
}

/* Make the memory of the next new leaves resident ahead of use, outside the
 * budget: less than 400 KiB.  One thread calls it again and again.  Waits if
 * the system has no memory, with no lock held.
 */
void leaves_fill (struct leaves *l);

/* Bytes charged for leaves and nodes.  Takes the lock. */
uint64_t leaves_memory (struct leaves *l);

/* For the auditor, with nothing running.  'counted' has the sums over all
 * tables of the store; each slot_table_audit adds its own.  Returns a static
 * message about the first fault, or NULL.
 */
struct leaves_audit {
  uint64_t leaves, nodes, empty;
};

const char *leaves_audit (struct leaves *l, const struct leaves_audit *counted);

/* -- for slot_table.c: the lock is held --------------------------------- */

/* A free node of that level, or a free leaf, charged and zero; NULL with errno
 * ENOSPC or ENOMEM.  May do system calls, one for many nodes or leaves.
 */
struct table_node *leaves_take_node_locked (struct leaves *l, unsigned level)
  REQUIRES (l->lock) MUST_USE;
struct slot *leaves_take_locked (struct leaves *l) REQUIRES (l->lock) MUST_USE;

/* Change the node's number of children by 'delta', and read it. */
void leaves_add_children_locked (struct leaves *l,
                                 const struct table_node *node, int delta)
  REQUIRES (l->lock);
unsigned leaves_children_locked (struct leaves *l,
                                 const struct table_node *node)
  REQUIRES (l->lock);

/* -- for slot_table.c: the lock is not held ----------------------------- */

/* Give a leaf or node that no table names any more back to the system; then it
 * is free.  All slots of the leaf are locked.  Zeroing its page unlocks them;
 * then the threads that sleep there are woken.
 */
void leaves_return (struct leaves *l, struct slot *leaf);
void leaves_return_node (struct leaves *l, struct table_node *node,
                         unsigned level);

#endif /* ZRAM_LEAVES_H */
