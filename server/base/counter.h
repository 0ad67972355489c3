/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A set of counters that many threads bump: one copy (shard) per CPU, each
 * in cache lines of its own.  A reader sums them.  A sum is exact when nothing
 * runs; otherwise it mixes values from before and after.
 */

#ifndef ZRAM_COUNTER_H
#define ZRAM_COUNTER_H

#include <stdatomic.h>
#include <stdint.h>

#include "base/compiler.h"
#include "base/cpu.h"

struct counter_set {
  unsigned n;          /* counters */
  unsigned stride;     /* from shard to shard, in counters */
  unsigned shard_mask; /* shards - 1, a power of two less one */
  _Atomic int64_t *v;  /* owned */
};

/* 0, or -1 with errno ENOMEM. */
int counter_set_init (struct counter_set *set, unsigned n) MUST_USE;
void counter_set_destroy (struct counter_set *set);

int64_t counter_sum (const struct counter_set *set, unsigned id);

/* Set a counter that only grows back to 0; adds that run meanwhile may be
 * lost or counted.
 */
void counter_reset (struct counter_set *set, unsigned id);

static inline void
counter_add (struct counter_set *set, unsigned id, int64_t delta)
{
  unsigned shard = cpu_current () & set->shard_mask;

  atomic_fetch_add_explicit (&set->v[shard * set->stride + id], delta,
                             memory_order_relaxed);
}

/* As counter_add, and ordered (seq_cst) before the thread's next accesses: for
 * counts of threads inside, where another thread waits until they fall to 0.
 */
static inline void
counter_add_ordered (struct counter_set *set, unsigned id, int64_t delta)
{
  unsigned shard = cpu_current () & set->shard_mask;

  atomic_fetch_add (&set->v[shard * set->stride + id], delta);
}

#endif /* ZRAM_COUNTER_H */
