/* SPDX-License-Identifier: BSD-3-Clause */
/* Counters with one copy a CPU.
 * Contract: base/counter.h.
 */

#include <config.h>

#include <stdlib.h>

#include "base/alloc.h"
#include "base/counter.h"

#define MAX_SHARDS 64
#define PER_LINE (CACHE_LINE / sizeof (int64_t))

int
counter_set_init (struct counter_set *set, unsigned n)
{
  unsigned shards = 1;

  while (shards < cpu_count () && shards < MAX_SHARDS)
    shards *= 2;
  set->n = n;
  set->stride = (n + PER_LINE - 1) / PER_LINE * PER_LINE;
  set->shard_mask = shards - 1;
  set->v = alloc_zeroed (CACHE_LINE,
                         (size_t) shards * set->stride * sizeof *set->v);
  return set->v ? 0 : -1;
}

void
counter_set_destroy (struct counter_set *set)
{
  free (set->v);
  set->v = NULL;
}

int64_t
counter_sum (const struct counter_set *set, unsigned id)
{
  int64_t sum = 0;

  for (unsigned s = 0; s <= set->shard_mask; s++)
    sum += atomic_load (&set->v[s * set->stride + id]);
  return sum;
}

void
counter_reset (struct counter_set *set, unsigned id)
{
  for (unsigned s = 0; s <= set->shard_mask; s++)
    atomic_store_explicit (&set->v[s * set->stride + id], 0,
                           memory_order_relaxed);
}
