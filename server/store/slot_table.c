/* SPDX-License-Identifier: BSD-3-Clause */

#include <config.h>

#include <errno.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "base/park.h"
#include "store/slot_table.h"

#define LEAF_BYTES (LEAF_SLOTS * sizeof (struct slot))
#define NODE_SHIFT 9
#define NODE_CHILDREN (1u << NODE_SHIFT)

/* What slot_table_fill makes ready: for 64 MiB of 4 KiB slots. */
#define AHEAD_LEAVES 64

/* Enough for 64 TiB written in 4 KiB slots. */
#define MAX_LEAVES (UINT64_C (1) << 26)

_Static_assert(LEAF_BYTES == 4096, "a leaf is a page: see slot_table_reclaim");

/* Children: nodes, or in the lowest level leaves (struct slot *). */
struct table_node {
  _Atomic (void *) child[NODE_CHILDREN];
};

_Static_assert(sizeof (struct table_node) == 4096, "budgeted as a page");

int
slot_table_init (struct slot_table *t, uint64_t slots, struct budget *budget)
{
  uint64_t leaves = (slots + LEAF_SLOTS - 1) / LEAF_SLOTS;

  memset (t, 0, sizeof *t);
  t->slots = slots;
  t->budget = budget;
  t->levels = 1;
  while (t->levels * NODE_SHIFT < 64 && leaves > UINT64_C (1)
                                                   << t->levels * NODE_SHIFT)
    t->levels++;
  if (leaves > MAX_LEAVES)
    leaves = MAX_LEAVES;
  if (reserve_open (&t->leaves, leaves * LEAF_BYTES, LEAF_BYTES) == -1)
    return -1;
  leaves = t->leaves.reserved / LEAF_BYTES;
  if (reserve_open (&t->live, leaves * sizeof (uint16_t),
                    leaves * sizeof (uint16_t)) == -1)
    goto fail_live;
  if (reserve_open (&t->links, leaves * sizeof (uint32_t),
                    leaves * sizeof (uint32_t)) == -1)
    goto fail_links;
  if (reserve_open (&t->places, leaves * sizeof (uint64_t),
                    leaves * sizeof (uint64_t)) == -1)
    goto fail_places;
  t->root = alloc_zeroed (sizeof *t->root, sizeof *t->root);
  if (!t->root)
    goto fail_root;
  mutex_init (&t->lock, RANK_TABLE);
  return 0;

fail_root:
  reserve_close (&t->places);
fail_places:
  reserve_close (&t->links);
fail_links:
  reserve_close (&t->live);
fail_live:
  reserve_close (&t->leaves);
  return -1;
}

static void
free_nodes (struct table_node *node, unsigned level)
{
  if (!node)
    return;
  for (unsigned i = 0; level > 0 && i < NODE_CHILDREN; i++)
    free_nodes (atomic_load (&node->child[i]), level - 1);
  free (node);
}

void
slot_table_destroy (struct slot_table *t)
{
  if (!t->root)
    return;
  budget_refund (t->budget, slot_table_memory (t));
  free (atomic_load (&t->spare));
  free_nodes (t->root, t->levels - 1);
  t->root = NULL;
  mutex_destroy (&t->lock);
  reserve_close (&t->places);
  reserve_close (&t->links);
  reserve_close (&t->live);
  reserve_close (&t->leaves);
}

/* -- the directory ------------------------------------------------------ */

static inline _Atomic (void *) *
child_of (struct table_node *node, unsigned level, uint64_t leaf_index)
{
  return &node->child[leaf_index >> level * NODE_SHIFT & (NODE_CHILDREN - 1)];
}

/* The leaf that the directory names now.  Acquire: what its maker, or the
 * reclaim before, wrote is seen.
 */
static inline struct slot *
find_leaf (struct slot_table *t, uint64_t leaf_index)
{
  struct table_node *node = t->root;

  for (unsigned level = t->levels - 1; level > 0; level--) {
    node = atomic_load_explicit (child_of (node, level, leaf_index),
                                 memory_order_acquire);
    if (!node)
      return NULL;
  }
  return atomic_load_explicit (child_of (node, 0, leaf_index),
                               memory_order_acquire);
}

static inline uint32_t
leaf_number (const struct slot_table *t, const struct slot *s)
{
  return ((const char *) s - t->leaves.base) / LEAF_BYTES;
}

static inline _Atomic uint16_t *
live_count (struct slot_table *t, const struct slot *s)
{
  return (_Atomic uint16_t *) t->live.base + leaf_number (t, s);
}

static uint32_t *
link_of (struct slot_table *t, uint32_t leaf)
{
  return (uint32_t *) t->links.base + leaf;
}

static _Atomic uint64_t *
place_of (const struct slot_table *t, uint32_t leaf)
{
  return (_Atomic uint64_t *) (void *) t->places.base + leaf;
}

static struct table_node *
new_node (struct slot_table *t)
{
  struct table_node *spare = NULL;

  if (atomic_load_explicit (&t->spare, memory_order_relaxed))
    spare = atomic_exchange (&t->spare, NULL);
  return spare ? spare : alloc_zeroed (sizeof *spare, sizeof *spare);
}

/* The lowest-level node for this leaf, made if need be. */
static struct table_node *
make_path (struct slot_table *t, uint64_t leaf_index)
{
  struct table_node *node = t->root;

  for (unsigned level = t->levels - 1; level > 0; level--) {
    _Atomic (void *) *child = child_of (node, level, leaf_index);
    void *next = atomic_load_explicit (child, memory_order_acquire);

    if (!next) {
      if (!budget_charge (t->budget, sizeof *node)) {
        errno = ENOSPC;
        return NULL;
      }
      struct table_node *made = new_node (t);
      if (made && atomic_compare_exchange_strong (child, &next, made)) {
        next = made;
        mutex_lock (&t->lock);
        t->node_count++;
        mutex_unlock (&t->lock);
      }
      else { /* no memory, or somebody else was faster */
        budget_refund (t->budget, sizeof *node);
        free (made);
        if (!next)
          return NULL;
      }
    }
    node = next;
  }
  return node;
}

/* Can the first 'n' leaves be used? */
static bool
commit_leaves_locked (struct slot_table *t, uint64_t n) REQUIRES (t->lock)
{
  return reserve_commit (&t->leaves, n * LEAF_BYTES) == 0 &&
         reserve_commit (&t->live, n * sizeof (uint16_t)) == 0 &&
         reserve_commit (&t->links, n * sizeof (uint32_t)) == 0 &&
         reserve_commit (&t->places, n * sizeof (uint64_t)) == 0;
}

void
slot_table_fill (struct slot_table *t)
{
  uint64_t top, end;
  bool can;

  mutex_lock (&t->lock);
  top = t->top;
  end = top + AHEAD_LEAVES;
  if (end > t->leaves.reserved / LEAF_BYTES)
    end = t->leaves.reserved / LEAF_BYTES;
  can = commit_leaves_locked (t, end);
  mutex_unlock (&t->lock);
  if (can) {
    reserve_populate_from (&t->leaves, top * LEAF_BYTES, end * LEAF_BYTES);
    reserve_populate_from (&t->live, top * sizeof (uint16_t),
                           end * sizeof (uint16_t));
    reserve_populate_from (&t->links, top * sizeof (uint32_t),
                           end * sizeof (uint32_t));
    reserve_populate_from (&t->places, top * sizeof (uint64_t),
                           end * sizeof (uint64_t));
  }
  if (!atomic_load_explicit (&t->spare, memory_order_relaxed))
    atomic_store (&t->spare, alloc_zeroed (sizeof *t->root, sizeof *t->root));
}

static struct slot *
take_free_leaf_locked (struct slot_table *t) REQUIRES (t->lock)
{
  uint32_t leaf;

  if (t->free_head) {
    leaf = t->free_head - 1;
    t->free_head = *link_of (t, leaf);
  }
  else {
    leaf = t->top;
    if (!commit_leaves_locked (t, leaf + UINT64_C (1)))
      return NULL;
    t->top++;
  }
  t->leaf_count++;
  return (struct slot *) (t->leaves.base + leaf * LEAF_BYTES);
}

/* Make the leaf unless somebody else has.  0, or -1 with errno set. */
static int
make_leaf (struct slot_table *t, uint64_t leaf_index)
{
  struct table_node *node = make_path (t, leaf_index);
  struct slot *leaf = NULL;

  if (!node)
    return -1;
  if (!budget_charge (t->budget, LEAF_BYTES)) {
    errno = ENOSPC;
    return -1;
  }
  _Atomic (void *) *child = child_of (node, 0, leaf_index);
  mutex_lock (&t->lock);
  bool there = atomic_load_explicit (child, memory_order_relaxed) != NULL;
  if (!there) {
    leaf = take_free_leaf_locked (t);
    if (leaf) {
      atomic_store_explicit (place_of (t, leaf_number (t, leaf)), leaf_index,
                             memory_order_relaxed);
      atomic_fetch_add_explicit (&t->empty, 1, memory_order_relaxed);
      atomic_store_explicit (child, leaf, memory_order_release);
    }
  }
  mutex_unlock (&t->lock);
  if (leaf)
    return 0;
  budget_refund (t->budget, LEAF_BYTES);
  return there ? 0 : -1;
}

/* -- lookups ------------------------------------------------------------ */

struct slot *
slot_table_read_lock (struct slot_table *t, uint64_t index, uint32_t now)
  NO_THREAD_SAFETY_ANALYSIS
{
  uint64_t leaf_index = index >> LEAF_SHIFT;
  struct slot *leaf = find_leaf (t, leaf_index);

  while (leaf) {
    struct slot *s = leaf + (index & (LEAF_SLOTS - 1));

    slot_read_lock (s, now);
    struct slot *again = find_leaf (t, leaf_index);
    if (likely (again == leaf))
      return s;
    slot_read_unlock (s);
    leaf = again;
  }
  return NULL;
}

struct slot *
slot_table_try_read_lock (struct slot_table *t, uint64_t index)
  NO_THREAD_SAFETY_ANALYSIS
{
  struct slot *leaf = find_leaf (t, index >> LEAF_SHIFT);
  struct slot *s = leaf ? leaf + (index & (LEAF_SLOTS - 1)) : NULL;

  if (!s || !slot_try_read_lock (s))
    return NULL;
  if (likely (find_leaf (t, index >> LEAF_SHIFT) == leaf))
    return s;
  slot_read_unlock (s);
  return NULL;
}

struct slot *
slot_table_write_lock (struct slot_table *t, uint64_t index)
  NO_THREAD_SAFETY_ANALYSIS
{
  uint64_t leaf_index = index >> LEAF_SHIFT;
  struct slot *leaf = find_leaf (t, leaf_index);

  while (leaf) {
    struct slot *s = leaf + (index & (LEAF_SLOTS - 1));

    slot_write_lock (s);
    struct slot *again = find_leaf (t, leaf_index);
    if (likely (again == leaf))
      return s;
    slot_write_unlock (s);
    leaf = again;
  }
  return NULL;
}

struct slot *
slot_table_write_lock_new (struct slot_table *t, uint64_t index)
{
  for (;;) {
    struct slot *s = slot_table_write_lock (t, index);

    if (s)
      return s;
    fault_pause ("table.leaf.missing");
    if (make_leaf (t, index >> LEAF_SHIFT) == -1)
      return NULL;
  }
}

const struct slot *
slot_table_peek (struct slot_table *t, uint64_t index)
{
  struct slot *leaf = find_leaf (t, index >> LEAF_SHIFT);

  return leaf ? leaf + (index & (LEAF_SLOTS - 1)) : NULL;
}

uint64_t
slot_table_index_of (struct slot_table *t, const _Atomic uint64_t *cell)
{
  const char *base = t->leaves.base, *at = (const char *) cell;
  size_t offset = (size_t) (at - base);

  if (at < base || offset >= t->leaves.committed ||
      offset % sizeof (struct slot))
    return UINT64_MAX;
  uint64_t place = atomic_load_explicit (
    place_of (t, (uint32_t) (offset / LEAF_BYTES)), memory_order_relaxed);
  return place << LEAF_SHIFT | offset % LEAF_BYTES / sizeof (struct slot);
}

/* The first leaf index from 'from' on, below 'end', under this node. */
static uint64_t
next_leaf (struct table_node *node, unsigned level, uint64_t from, uint64_t end)
{
  uint64_t span = UINT64_C (1) << level * NODE_SHIFT; /* leaves a child */

  while (from < end) {
    void *child = atomic_load_explicit (child_of (node, level, from),
                                        memory_order_acquire);
    uint64_t child_end = (from / span + 1) * span;

    if (child && level == 0)
      return from;
    if (child) {
      uint64_t stop = child_end < end ? child_end : end;
      uint64_t found = next_leaf (child, level - 1, from, stop);

      if (found < stop)
        return found;
    }
    from = child_end;
  }
  return end;
}

uint64_t
slot_table_next_present (struct slot_table *t, uint64_t index, uint64_t end)
{
  uint64_t leaf_end = (end + LEAF_SLOTS - 1) >> LEAF_SHIFT;
  uint64_t leaf = next_leaf (t->root, t->levels - 1, index >> LEAF_SHIFT,
                             leaf_end);

  if (leaf == index >> LEAF_SHIFT)
    return index;
  return leaf >= leaf_end || leaf << LEAF_SHIFT > end ? end
                                                      : leaf << LEAF_SHIFT;
}

/* -- giving leaves back ------------------------------------------------- */

void
slot_table_count_live (struct slot_table *t, const struct slot *s, int delta)
{
  uint16_t old = atomic_fetch_add_explicit (live_count (t, s), delta,
                                            memory_order_relaxed);

  if (old == 0)
    atomic_fetch_sub_explicit (&t->empty, 1, memory_order_relaxed);
  else if (old + delta == 0)
    atomic_fetch_add_explicit (&t->empty, 1, memory_order_relaxed);
}

bool
slot_table_leaf_is_empty (struct slot_table *t, uint64_t index)
{
  struct slot *leaf = find_leaf (t, index >> LEAF_SHIFT);

  return leaf &&
         atomic_load_explicit (live_count (t, leaf), memory_order_relaxed) == 0;
}

static unsigned
try_lock_all (struct slot *leaf) NO_THREAD_SAFETY_ANALYSIS
{
  unsigned got = 0;

  while (got < LEAF_SLOTS && slot_try_write_lock (&leaf[got]))
    got++;
  return got;
}

static void
unlock_all (struct slot *leaf, unsigned got) NO_THREAD_SAFETY_ANALYSIS
{
  while (got--)
    slot_write_unlock (&leaf[got]);
}

/* Out of the directory, if that still names it and all is EMPTY. */
static bool
unlink_leaf (struct slot_table *t, uint64_t leaf_index, struct slot *leaf)
{
  bool done = false;

  mutex_lock (&t->lock);
  if (find_leaf (t, leaf_index) == leaf &&
      atomic_load_explicit (live_count (t, leaf), memory_order_relaxed) == 0) {
    struct table_node *node = t->root;

    for (unsigned level = t->levels - 1; level > 0; level--)
      node = atomic_load_explicit (child_of (node, level, leaf_index),
                                   memory_order_relaxed);
    atomic_store_explicit (child_of (node, 0, leaf_index), NULL,
                           memory_order_release);
    atomic_fetch_sub_explicit (&t->empty, 1, memory_order_relaxed);
    done = true;
  }
  mutex_unlock (&t->lock);
  return done;
}

bool
slot_table_reclaim (struct slot_table *t, uint64_t index)
{
  uint64_t leaf_index = index >> LEAF_SHIFT;
  struct slot *leaf = find_leaf (t, leaf_index);
  unsigned got;

  if (!leaf)
    return false;
  fault_pause ("table.reclaim.found");
  got = try_lock_all (leaf);
  if (got < LEAF_SLOTS || !unlink_leaf (t, leaf_index, leaf)) {
    unlock_all (leaf, got);
    return false;
  }

  fault_pause ("table.reclaim.unlinked");
  for (unsigned i = 0; i < LEAF_SLOTS; i++)
    rank_release (RANK_SLOT); /* what zeroing does to the locks */
  reserve_return (&t->leaves, (char *) leaf - t->leaves.base, LEAF_BYTES);
  park_wake (leaf);

  uint32_t number = leaf_number (t, leaf);
  mutex_lock (&t->lock);
  *link_of (t, number) = t->free_head;
  t->free_head = number + 1;
  t->leaf_count--;
  mutex_unlock (&t->lock);
  budget_refund (t->budget, LEAF_BYTES);
  return true;
}

/* -- looking ------------------------------------------------------------ */

uint64_t
slot_table_memory (struct slot_table *t)
{
  mutex_lock (&t->lock);
  uint64_t bytes = t->leaf_count * LEAF_BYTES +
                   t->node_count * sizeof (struct table_node);
  mutex_unlock (&t->lock);
  return bytes;
}

static const char *
audit_leaf (struct slot_table *t, struct slot *leaf)
{
  unsigned live = 0;

  for (unsigned i = 0; i < LEAF_SLOTS; i++) {
    if (!rwword_is_free (&leaf[i].lock))
      return "a slot is locked";
    live += slot_meta_state (slot_load_meta (&leaf[i])) != SLOT_EMPTY;
  }
  return live == atomic_load (live_count (t, leaf))
           ? NULL
           : "live slots of a leaf miscounted";
}

const char *
slot_table_audit (struct slot_table *t)
{
  const char *wrong = NULL;
  uint64_t leaves = 0, empty = 0;

  for (uint64_t i = slot_table_next_present (t, 0, t->slots);
       i < t->slots && !wrong;
       i = slot_table_next_present (t, (i | (LEAF_SLOTS - 1)) + 1, t->slots)) {
    leaves++;
    if (slot_table_index_of (t, &slot_table_peek (t, i)->cell) != i)
      wrong = "a leaf's place is another";
    empty += slot_table_leaf_is_empty (t, i);
    if (!wrong)
      wrong = audit_leaf (t, find_leaf (t, i >> LEAF_SHIFT));
  }
  mutex_lock (&t->lock);
  if (!wrong && leaves != t->leaf_count)
    wrong = "leaves miscounted";
  if (!wrong && (int64_t) empty != slot_table_empty_leaves (t))
    wrong = "empty leaves miscounted";
  mutex_unlock (&t->lock);
  return wrong;
}
