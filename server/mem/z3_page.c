/* SPDX-License-Identifier: BSD-3-Clause */
/* z3fold: where objects lie in one page, and pushing them together.
 * Contract: mem/z3_internal.h.
 */

#include <config.h>

#include <string.h>

#include "base/check.h"
#include "mem/z3_internal.h"

/* The entries in use, ordered by place; returns how many. */
static unsigned
in_order (const struct z3page *z, unsigned *order)
{
  unsigned n = 0;

  for (unsigned e = 0; e < Z3_BUDDIES; e++) {
    unsigned at = n;

    if (!z->chunks[e])
      continue;
    for (; at > 0 && z->start[order[at - 1]] > z->start[e]; at--)
      order[at] = order[at - 1];
    order[at] = e;
    n++;
  }
  return n;
}

struct z3_gap
z3_largest_gap_locked (const struct z3_pool *pool, const struct z3page *z)
{
  unsigned order[Z3_BUDDIES], n = in_order (z, order);
  struct z3_gap best = { 0, 0 };
  uint32_t end = 0;

  if (n == Z3_BUDDIES)
    return best;
  for (unsigned i = 0; i <= n; i++) {
    uint32_t next = i < n ? z->start[order[i]] : pool->chunks;

    if (next - end > best.chunks)
      best = (struct z3_gap){ end, next - end };
    if (i < n)
      end = next + z->chunks[order[i]];
  }
  return best;
}

uint32_t
z3_place_in (const struct z3_pool *pool, struct z3_gap gap, uint32_t chunks)
{
  bool last = gap.start > 0 && gap.start + gap.chunks == pool->chunks;

  return last ? pool->chunks - chunks : gap.start;
}

/* Move the object to that chunk unless it is pinned. */
static void
push_locked (struct z3_pool *pool, struct z3page *z, unsigned e, uint32_t to)
  REQUIRES (z->lock)
{
  if (z->start[e] == to)
    return;
  if (z->pins[e]) {
    z->untidy = 1;
    counter_add (&pool->base.counters, POOL_MOVER_SKIPS, 1);
    return;
  }
  memmove (z3_bytes (pool, z, to), z3_bytes (pool, z, z->start[e]),
           (size_t) z->chunks[e] * Z3_CHUNK);
  z->start[e] = (uint16_t) to;
  counter_add (&pool->base.counters, POOL_OBJECTS_MOVED, 1);
}

/* The first goes to the front; a second that is not at the back moves next to
 * it.
 */
void
z3_compact_locked (struct z3_pool *pool, struct z3page *z)
{
  unsigned order[Z3_BUDDIES], n = in_order (z, order);

  z->untidy = 0;
  if (n == Z3_BUDDIES)
    return;
  push_locked (pool, z, order[0], 0);
  if (n == 2) {
    uint32_t front = z->start[order[0]] + z->chunks[order[0]];

    if (z->start[order[1]] + z->chunks[order[1]] < pool->chunks)
      push_locked (pool, z, order[1], front);
  }
}
