/* SPDX-License-Identifier: BSD-3-Clause */
/* Leaves: the pages of all slot tables of a store, taken and given back.
 * Contract: store/leaves.h.
 */

#include <config.h>

#include <errno.h>
#include <string.h>

#include "base/fault.h"
#include "base/park.h"
#include "store/leaves.h"

/* leaves_fill makes this many ready: leaves for 64 MiB of 4 KiB slots, and
 * nodes for 8 GiB.
 */
#define AHEAD_LEAVES 64
#define AHEAD_NODES 16

/* Enough for 64 TiB written in 4 KiB slots. */
#define MAX_LEAVES (UINT64_C (1) << 26)

struct node_info {
  uint32_t next;     /* if the node is free: node + 1 */
  uint16_t children; /* number of them; the node is in use */
};

int
leaves_init (struct leaves *l, uint64_t slots, struct budget *budget)
{
  uint64_t n = (slots + LEAF_SLOTS - 1) / LEAF_SLOTS, nodes;

  memset (l, 0, sizeof *l);
  l->budget = budget;
  if (n > MAX_LEAVES)
    n = MAX_LEAVES;
  if (reserve_open (&l->leaves, n * LEAF_BYTES, LEAF_BYTES) == -1)
    return -1;
  n = l->leaves.reserved / LEAF_BYTES;
  /* The worst case: every leaf has a path of its own. */
  nodes = n * NODE_LEVELS;
  if (reserve_open (&l->live, n * sizeof (uint16_t), n * sizeof (uint16_t)) ==
        -1 ||
      reserve_open (&l->links, n * sizeof (uint32_t), n * sizeof (uint32_t)) ==
        -1 ||
      reserve_open (&l->places, n * sizeof (uint64_t), n * sizeof (uint64_t)) ==
        -1 ||
      reserve_open (&l->nodes, nodes * sizeof (struct table_node),
                    sizeof (struct table_node)) == -1)
    goto fail;
  nodes = l->nodes.reserved / sizeof (struct table_node);
  if (reserve_open (&l->infos, nodes * sizeof (struct node_info),
                    nodes * sizeof (struct node_info)) == -1)
    goto fail;
  mutex_init (&l->lock, RANK_TABLE);
  return 0;

fail:
  reserve_close (&l->nodes);
  reserve_close (&l->places);
  reserve_close (&l->links);
  reserve_close (&l->live);
  reserve_close (&l->leaves);
  errno = ENOMEM;
  return -1;
}

void
leaves_destroy (struct leaves *l)
{
  if (!l->leaves.base)
    return;
  check_always (leaves_memory (l) == 0);
  mutex_destroy (&l->lock);
  reserve_close (&l->infos);
  reserve_close (&l->nodes);
  reserve_close (&l->places);
  reserve_close (&l->links);
  reserve_close (&l->live);
  reserve_close (&l->leaves);
}

/* -- leaves ------------------------------------------------------------- */

static uint32_t *
link_of (struct leaves *l, uint32_t leaf)
{
  return (uint32_t *) (void *) l->links.base + leaf;
}

uint64_t
leaves_slot_of (struct leaves *l, const _Atomic uint64_t *cell)
{
  const char *base = l->leaves.base, *at = (const char *) cell;
  size_t offset = (size_t) (at - base);

  if (at < base || offset >= l->leaves.committed ||
      offset % sizeof (struct slot))
    return UINT64_MAX;
  const struct slot *s = (const struct slot *) (const void *) at;
  uint64_t place = atomic_load_explicit (leaf_place (l, s),
                                         memory_order_relaxed);
  return place == NO_PLACE ? UINT64_MAX
                           : (place - 1) << LEAF_SHIFT |
                               offset % LEAF_BYTES / sizeof (struct slot);
}

void
leaves_count_live (struct leaves *l, const struct slot *s, int delta)
{
  uint16_t old = atomic_fetch_add_explicit (leaf_live (l, s), delta,
                                            memory_order_relaxed);

  if (old == 0)
    atomic_fetch_sub_explicit (&l->empty, 1, memory_order_relaxed);
  else if (old + delta == 0)
    atomic_fetch_add_explicit (&l->empty, 1, memory_order_relaxed);
}

/* Commit the first 'n' leaves; false if memory is out. */
static bool
commit_leaves_locked (struct leaves *l, uint64_t n) REQUIRES (l->lock)
{
  return reserve_commit (&l->leaves, n * LEAF_BYTES) == 0 &&
         reserve_commit (&l->live, n * sizeof (uint16_t)) == 0 &&
         reserve_commit (&l->links, n * sizeof (uint32_t)) == 0 &&
         reserve_commit (&l->places, n * sizeof (uint64_t)) == 0;
}

static bool
commit_nodes_locked (struct leaves *l, uint64_t n) REQUIRES (l->lock)
{
  return reserve_commit (&l->nodes, n * sizeof (struct table_node)) == 0 &&
         reserve_commit (&l->infos, n * sizeof (struct node_info)) == 0;
}

struct slot *
leaves_take_locked (struct leaves *l)
{
  uint32_t leaf;

  if (!budget_charge (l->budget, LEAF_BYTES)) {
    errno = ENOSPC;
    return NULL;
  }
  if (l->free_head) {
    leaf = l->free_head - 1;
    l->free_head = *link_of (l, leaf);
  }
  else if (commit_leaves_locked (l, l->top + UINT64_C (1)))
    leaf = l->top++;
  else {
    budget_refund (l->budget, LEAF_BYTES);
    errno = ENOMEM;
    return NULL;
  }
  l->leaf_count++;
  atomic_fetch_add_explicit (&l->empty, 1, memory_order_relaxed);
  return (struct slot *) (void *) (l->leaves.base + leaf * LEAF_BYTES);
}

void
leaves_return (struct leaves *l, struct slot *leaf)
{
  uint32_t number = leaf_number (l, leaf);

  for (unsigned i = 0; i < LEAF_SLOTS; i++)
    rank_release (RANK_SLOT); /* zeroing the page unlocks the slots */
  reserve_return (&l->leaves, number * LEAF_BYTES, LEAF_BYTES);
  park_wake (leaf);

  mutex_lock (&l->lock);
  *link_of (l, number) = l->free_head;
  l->free_head = number + 1;
  l->leaf_count--;
  atomic_fetch_sub_explicit (&l->empty, 1, memory_order_relaxed);
  mutex_unlock (&l->lock);
  budget_refund (l->budget, LEAF_BYTES);
}

/* -- nodes -------------------------------------------------------------- */

static uint32_t
node_number (const struct leaves *l, const struct table_node *node)
{
  return ((const char *) node - l->nodes.base) / sizeof *node;
}

static struct node_info *
info_of (struct leaves *l, uint32_t node)
{
  return (struct node_info *) (void *) l->infos.base + node;
}

struct table_node *
leaves_take_node_locked (struct leaves *l, unsigned level)
{
  uint32_t node;

  if (!budget_charge (l->budget, sizeof (struct table_node))) {
    errno = ENOSPC;
    return NULL;
  }
  if (l->free_nodes[level]) {
    node = l->free_nodes[level] - 1;
    l->free_nodes[level] = info_of (l, node)->next;
  }
  else if (!fault_hit ("table.node") &&
           commit_nodes_locked (l, l->node_top + UINT64_C (1)))
    node = l->node_top++;
  else {
    budget_refund (l->budget, sizeof (struct table_node));
    errno = ENOMEM;
    return NULL;
  }
  l->node_count++;
  return (struct table_node *) (void *) l->nodes.base + node;
}

void
leaves_return_node (struct leaves *l, struct table_node *node, unsigned level)
{
  uint32_t number = node_number (l, node);

  /* All children are NULL already: this only gives the memory back. */
  reserve_return (&l->nodes, number * sizeof *node, sizeof *node);
  mutex_lock (&l->lock);
  info_of (l, number)->next = l->free_nodes[level];
  l->free_nodes[level] = number + 1;
  l->node_count--;
  mutex_unlock (&l->lock);
  budget_refund (l->budget, sizeof *node);
}

void
leaves_add_children_locked (struct leaves *l, const struct table_node *node,
                            int delta)
{
  struct node_info *info = info_of (l, node_number (l, node));

  info->children = (uint16_t) (info->children + delta);
  check_debug (info->children <= NODE_CHILDREN);
}

unsigned
leaves_children_locked (struct leaves *l, const struct table_node *node)
{
  return info_of (l, node_number (l, node))->children;
}

/* -- ahead of use -------------------------------------------------------- */

static uint64_t
at_most (uint64_t n, const struct reserve *r, size_t each)
{
  return n < r->reserved / each ? n : r->reserved / each;
}

void
leaves_fill (struct leaves *l)
{
  uint64_t top, end, node_top, node_end;
  bool can;

  mutex_lock (&l->lock);
  top = l->top;
  end = at_most (top + AHEAD_LEAVES, &l->leaves, LEAF_BYTES);
  node_top = l->node_top;
  node_end = at_most (node_top + AHEAD_NODES, &l->nodes,
                      sizeof (struct table_node));
  can = commit_leaves_locked (l, end) && commit_nodes_locked (l, node_end);
  mutex_unlock (&l->lock);
  if (!can)
    return;
  reserve_populate_from (&l->leaves, top * LEAF_BYTES, end * LEAF_BYTES);
  reserve_populate_from (&l->live, top * sizeof (uint16_t),
                         end * sizeof (uint16_t));
  reserve_populate_from (&l->links, top * sizeof (uint32_t),
                         end * sizeof (uint32_t));
  reserve_populate_from (&l->places, top * sizeof (uint64_t),
                         end * sizeof (uint64_t));
  reserve_populate_from (&l->nodes, node_top * sizeof (struct table_node),
                         node_end * sizeof (struct table_node));
  reserve_populate_from (&l->infos, node_top * sizeof (struct node_info),
                         node_end * sizeof (struct node_info));
}

/* -- looking ------------------------------------------------------------ */

uint64_t
leaves_memory (struct leaves *l)
{
  mutex_lock (&l->lock);
  uint64_t bytes = l->leaf_count * LEAF_BYTES +
                   l->node_count * sizeof (struct table_node);
  mutex_unlock (&l->lock);
  return bytes;
}

const char *
leaves_audit (struct leaves *l, const struct leaves_audit *counted)
{
  const char *wrong = NULL;

  mutex_lock (&l->lock);
  if (counted->leaves != l->leaf_count)
    wrong = "leaves miscounted";
  else if (counted->nodes != l->node_count)
    wrong = "nodes miscounted";
  else if ((int64_t) counted->empty != leaves_empty (l))
    wrong = "empty leaves miscounted";
  mutex_unlock (&l->lock);
  return wrong;
}
