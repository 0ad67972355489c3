/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The memory that a store may use, and uses: what mem_limit bounds and
 * mem_used_total reports.  Whoever makes memory resident charges it first.
 *
 *   used <= limit  (limit 0: none)        peak = max of used
 *
 * Crossing 80, 90 and 95 % of the limit on the way up is counted once, and
 * again only after it has fallen 5 % below.
 */

#ifndef ZRAM_BUDGET_H
#define ZRAM_BUDGET_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/compiler.h"

#define BUDGET_LEVELS 3
extern const unsigned budget_percent[BUDGET_LEVELS];

struct budget {
  _Atomic uint64_t used;  /* bytes */
  _Atomic uint64_t peak;  /* bytes */
  _Atomic uint64_t limit; /* bytes, 0 = none */
  atomic_uint level;      /* warnings crossed and not fallen below: 0 … 3 */
  atomic_uint untold;     /* the highest level that nobody has logged yet */
  _Atomic uint64_t warnings[BUDGET_LEVELS];
};

/* After a charge that crossed a level, and after a refund. */
void budget_adjust_level (struct budget *b);

/* The percentage that was crossed and is to be logged, once; 0: none. */
unsigned budget_take_warning (struct budget *b);

static inline void
budget_init (struct budget *b, uint64_t limit)
{
  atomic_init (&b->used, 0);
  atomic_init (&b->peak, 0);
  atomic_init (&b->limit, limit);
  atomic_init (&b->level, 0);
  atomic_init (&b->untold, 0);
  for (unsigned i = 0; i < BUDGET_LEVELS; i++)
    atomic_init (&b->warnings[i], 0);
}

/* Charge 'bytes'; false, and nothing charged, if that goes over the limit. */
static inline bool MUST_USE
budget_charge (struct budget *b, uint64_t bytes)
{
  uint64_t limit = atomic_load_explicit (&b->limit, memory_order_relaxed);
  uint64_t used = atomic_load_explicit (&b->used, memory_order_relaxed);
  uint64_t peak;

  do {
    if (limit && used + bytes > limit)
      return false;
  } while (!atomic_compare_exchange_weak_explicit (
    &b->used, &used, used + bytes, memory_order_relaxed, memory_order_relaxed));
  used += bytes;
  peak = atomic_load_explicit (&b->peak, memory_order_relaxed);
  while (peak < used &&
         !atomic_compare_exchange_weak_explicit (
           &b->peak, &peak, used, memory_order_relaxed, memory_order_relaxed))
    ;
  if (limit && used / 4 >= limit / 5) /* 80 %, without overflow */
    budget_adjust_level (b);
  return true;
}

static inline void
budget_refund (struct budget *b, uint64_t bytes)
{
  atomic_fetch_sub_explicit (&b->used, bytes, memory_order_relaxed);
  if (unlikely (atomic_load_explicit (&b->level, memory_order_relaxed) > 0))
    budget_adjust_level (b);
}

#endif /* ZRAM_BUDGET_H */
