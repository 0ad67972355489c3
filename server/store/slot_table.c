/* SPDX-License-Identifier: BSD-3-Clause */
/* Slot table: the directory of a disk, and lookups in it.
 * Contract: store/slot_table.h.
 */

#include <config.h>

#include <errno.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "base/fault.h"
#include "store/slot_table.h"

int
slot_table_init (struct slot_table *t, struct leaves *leaves, uint64_t first,
                 uint64_t slots)
{
  uint64_t n = (slots + LEAF_SLOTS - 1) / LEAF_SLOTS;

  check_always (first % LEAF_SLOTS == 0);
  *t = (struct slot_table){
    .leaves = leaves, .first = first, .slots = slots, .levels = 1
  };
  while (n > UINT64_C (1) << t->levels * NODE_SHIFT)
    t->levels++;
  check_always (t->levels <= NODE_LEVELS);
  t->root = alloc_zeroed (sizeof *t->root, sizeof *t->root);
  return t->root ? 0 : -1;
}

void
slot_table_destroy (struct slot_table *t)
{
  if (!t->root)
    return;
  for (uint64_t i = slot_table_next_present (t, 0, t->slots); i < t->slots;
       i = slot_table_next_present (t, i + 1, t->slots))
    check_always (slot_table_reclaim (t, i));
  free (t->root);
  t->root = NULL;
}

/* -- the directory ------------------------------------------------------ */

static inline _Atomic (void *) *
child_of (struct table_node *node, unsigned level, uint64_t leaf_index)
{
  return &node->child[leaf_index >> level * NODE_SHIFT & (NODE_CHILDREN - 1)];
}

/* The leaf that the directory names now, or one that a recycled node names.
 * Acquire: the caller sees all that the leaf's maker, or the reclaim before,
 * wrote.
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

static inline uint64_t
place_for (const struct slot_table *t, uint64_t leaf_index)
{
  return 1 + (t->first >> LEAF_SHIFT) + leaf_index;
}

/* Called with a slot of the leaf locked: is this the right leaf?  The place was
 * stored before the lock could be taken: by the leaf's maker, whose store is
 * visible through mutual exclusion by the lock, or by a reclaim, which stored
 * it before the system zeroed the page.
 */
static inline bool
is_leaf_of (const struct slot_table *t, const struct slot *leaf,
            uint64_t leaf_index)
{
  return likely (
    atomic_load_explicit (leaf_place (t->leaves, leaf), memory_order_relaxed) ==
    place_for (t, leaf_index));
}

/* It was not the right leaf.  If the directory names it nevertheless, its maker
 * is about to set its place.
 */
static struct slot *
find_again (struct slot_table *t, uint64_t leaf_index, struct slot *leaf)
{
  struct slot *again = find_leaf (t, leaf_index);

  if (again == leaf) {
    mutex_lock (&t->leaves->lock); /* held for a few stores only */
    mutex_unlock (&t->leaves->lock);
  }
  return again;
}

/* -- changing it; the table lock is held --------------------------------- */

/* The nodes on the way to a leaf, by level; the root is the last. */
struct path {
  struct table_node *node[NODE_LEVELS];
};

static void
set_child_locked (struct slot_table *t, uint64_t leaf_index,
                  const struct path *path, unsigned level, void *child)
  REQUIRES (t->leaves->lock)
{
  struct table_node *node = path->node[level];

  atomic_store_explicit (child_of (node, level, leaf_index), child,
                         memory_order_release);
  if (node != t->root)
    leaves_add_children_locked (t->leaves, node, child ? 1 : -1);
}

/* Fill in the path and make the nodes that are missing.  Returns its lowest
 * level: 0, or the level where memory was used up (errno).
 */
static unsigned
make_path_locked (struct slot_table *t, uint64_t leaf_index, struct path *path)
  REQUIRES (t->leaves->lock)
{
  unsigned level = t->levels - 1;

  path->node[level] = t->root;
  for (; level > 0; level--) {
    struct table_node *next = atomic_load_explicit (
      child_of (path->node[level], level, leaf_index), memory_order_relaxed);

    if (!next) {
      next = leaves_take_node_locked (t->leaves, level - 1);
      if (!next)
        break;
      set_child_locked (t, leaf_index, path, level, next);
    }
    path->node[level - 1] = next;
  }
  return level;
}

/* Take the nodes of the path that have no children out of the directory, from
 * this level up; returns the first level that stays.
 */
static unsigned
prune_locked (struct slot_table *t, uint64_t leaf_index,
              const struct path *path, unsigned level)
  REQUIRES (t->leaves->lock)
{
  while (path->node[level] != t->root &&
         leaves_children_locked (t->leaves, path->node[level]) == 0)
    set_child_locked (t, leaf_index, path, ++level, NULL);
  return level;
}

/* Give the pruned nodes back, without the lock. */
static void
return_nodes (struct slot_table *t, const struct path *path, unsigned from,
              unsigned to)
{
  for (; from < to; from++)
    leaves_return_node (t->leaves, path->node[from], from);
}

/* Make the leaf unless another thread has made it.  0, or -1 with errno set. */
static int
make_leaf (struct slot_table *t, uint64_t leaf_index)
{
  struct path path;
  struct slot *leaf = NULL;
  bool there = false;
  unsigned from, to;

  mutex_lock (&t->leaves->lock);
  from = to = make_path_locked (t, leaf_index, &path);
  if (from == 0) {
    there = atomic_load_explicit (child_of (path.node[0], 0, leaf_index),
                                  memory_order_relaxed) != NULL;
    leaf = there ? NULL : leaves_take_locked (t->leaves);
  }
  if (leaf) {
    set_child_locked (t, leaf_index, &path, 0, leaf);
    fault_pause ("table.leaf.made");
    atomic_store_explicit (leaf_place (t->leaves, leaf),
                           place_for (t, leaf_index), memory_order_release);
  }
  else if (!there)
    to = prune_locked (t, leaf_index, &path, from);
  mutex_unlock (&t->leaves->lock);
  return_nodes (t, &path, from, to);
  return leaf || there ? 0 : -1;
}

/* -- lookups ------------------------------------------------------------ */

struct slot *
slot_table_read_lock (struct slot_table *t, uint64_t index, uint32_t now)
  NO_THREAD_SAFETY_ANALYSIS

{
  uint64_t leaf_index = index >> LEAF_SHIFT;
  struct slot *leaf = find_leaf (t, leaf_index);

  for (; leaf; leaf = find_again (t, leaf_index, leaf)) {
    struct slot *s = leaf + (index & (LEAF_SLOTS - 1));

    slot_read_lock (s, now);
    if (is_leaf_of (t, leaf, leaf_index))
      return s;
    slot_read_unlock (s);
  }
  return NULL;
}

struct slot *
slot_table_try_read_lock (struct slot_table *t, uint64_t index)
  NO_THREAD_SAFETY_ANALYSIS

{
  uint64_t leaf_index = index >> LEAF_SHIFT;
  struct slot *leaf = find_leaf (t, leaf_index);
  struct slot *s = leaf ? leaf + (index & (LEAF_SLOTS - 1)) : NULL;

  if (!s || !slot_try_read_lock (s))
    return NULL;
  if (is_leaf_of (t, leaf, leaf_index))
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

  for (; leaf; leaf = find_again (t, leaf_index, leaf)) {
    struct slot *s = leaf + (index & (LEAF_SLOTS - 1));

    slot_write_lock (s);
    if (is_leaf_of (t, leaf, leaf_index))
      return s;
    slot_write_unlock (s);
  }
  return NULL;
}

struct slot *
slot_table_try_write_lock (struct slot_table *t, uint64_t index, bool *busy)
  NO_THREAD_SAFETY_ANALYSIS

{
  struct slot *leaf = find_leaf (t, index >> LEAF_SHIFT);
  struct slot *s = leaf ? leaf + (index & (LEAF_SLOTS - 1)) : NULL;

  *busy = s && !slot_try_write_lock (s);
  if (!s || *busy)
    return NULL;
  if (likely (find_leaf (t, index >> LEAF_SHIFT) == leaf))
    return s;
  slot_write_unlock (s);
  *busy = true; /* the leaf is changing: try again */
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

bool
slot_table_is_still (struct slot_table *t, uint64_t index, const struct slot *s)
{
  /* The slot was read before this (slot_look_meta).  If that read saw a slot of
   * another place, this one sees that place.
   */
  atomic_thread_fence (memory_order_acquire);
  return is_leaf_of (t, s, index >> LEAF_SHIFT);
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

bool
slot_table_leaf_is_empty (struct slot_table *t, uint64_t index)
{
  struct slot *leaf = find_leaf (t, index >> LEAF_SHIFT);

  return leaf && atomic_load_explicit (leaf_live (t->leaves, leaf),
                                       memory_order_relaxed) == 0;
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

/* Take the leaf out of the directory if that still names it and all slots are
 * EMPTY.  All slots are locked.
 */
static bool
unlink_leaf (struct slot_table *t, uint64_t leaf_index, struct slot *leaf)

{
  struct path path;
  unsigned to = 0;

  mutex_lock (&t->leaves->lock);
  bool can = is_leaf_of (t, leaf, leaf_index) &&
             atomic_load_explicit (leaf_live (t->leaves, leaf),
                                   memory_order_relaxed) == 0;
  if (can) { /* and its path exists */
    check_always (make_path_locked (t, leaf_index, &path) == 0);
    set_child_locked (t, leaf_index, &path, 0, NULL);
    atomic_store_explicit (leaf_place (t->leaves, leaf), NO_PLACE,
                           memory_order_relaxed);
    to = prune_locked (t, leaf_index, &path, 0);
  }
  mutex_unlock (&t->leaves->lock);
  if (can)
    return_nodes (t, &path, 0, to);
  return can;
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
  leaves_return (t->leaves, leaf);
  return true;
}

/* -- looking ------------------------------------------------------------ */

static const char *
audit_leaf (struct slot_table *t, struct slot *leaf, uint64_t leaf_index)
{
  unsigned live = 0;

  if (leaves_slot_of (t->leaves, &leaf->cell) !=
      t->first + (leaf_index << LEAF_SHIFT))
    return "a leaf's place is another";
  for (unsigned i = 0; i < LEAF_SLOTS; i++) {
    uint32_t meta = slot_load_meta (&leaf[i]);

    if (!rwword_is_free (&leaf[i].lock))
      return "a slot is locked";
    if (!slot_meta_is_valid (meta))
      return "a slot is in no state";
    if (slot_meta_state (meta) == SLOT_SAME &&
        slot_meta_is_zero (meta) != (slot_load_cell (&leaf[i]) == 0))
      return "a same-filled slot says another word";
    live += slot_meta_state (meta) != SLOT_EMPTY;
  }
  return live == atomic_load (leaf_live (t->leaves, leaf))
           ? NULL
           : "live slots of a leaf miscounted";
}

/* Audit the nodes under this one, which covers the leaves from 'first' on. */
static const char *
audit_nodes (struct slot_table *t, struct table_node *node, unsigned level,
             uint64_t first, struct leaves_audit *counted)

{
  const char *wrong = NULL;
  unsigned children = 0;

  for (uint64_t i = 0; i < NODE_CHILDREN && !wrong; i++) {
    void *child = atomic_load (&node->child[i]);
    uint64_t leaf_index = first + (i << level * NODE_SHIFT);

    if (!child)
      continue;
    children++;
    if (level > 0) {
      counted->nodes++;
      wrong = audit_nodes (t, child, level - 1, leaf_index, counted);
      continue;
    }
    counted->leaves++;
    counted->empty += atomic_load (leaf_live (t->leaves, child)) == 0;
    wrong = audit_leaf (t, child, leaf_index);
  }
  if (wrong || node == t->root)
    return wrong;
  mutex_lock (&t->leaves->lock);
  if (children == 0 || children != leaves_children_locked (t->leaves, node))
    wrong = "children of a node miscounted";
  mutex_unlock (&t->leaves->lock);
  return wrong;
}

const char *
slot_table_audit (struct slot_table *t, struct leaves_audit *counted)
{
  return audit_nodes (t, t->root, t->levels - 1, 0, counted);
}
