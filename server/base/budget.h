/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The memory that a store may use, and uses: what mem_limit bounds and
 * mem_used_total reports.  Whoever makes memory resident charges it first.
 *
 *   used <= limit  (limit 0: none)        peak = max of used
 */

#ifndef ZRAM_BUDGET_H
#define ZRAM_BUDGET_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/compiler.h"

struct budget {
  _Atomic uint64_t used;  /* bytes */
  _Atomic uint64_t peak;  /* bytes */
  _Atomic uint64_t limit; /* bytes, 0 = none */
};

static inline void
budget_init (struct budget *b, uint64_t limit)
{
  atomic_init (&b->used, 0);
  atomic_init (&b->peak, 0);
  atomic_init (&b->limit, limit);
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
  } while (!atomic_compare_exchange_weak_explicit (&b->used, &used,
                                                   used + bytes,
                                                   memory_order_relaxed,
                                                   memory_order_relaxed));
  used += bytes;
  peak = atomic_load_explicit (&b->peak, memory_order_relaxed);
  while (peak < used && !atomic_compare_exchange_weak_explicit (
                          &b->peak, &peak, used, memory_order_relaxed,
                          memory_order_relaxed))
    ;
  return true;
}

static inline void
budget_refund (struct budget *b, uint64_t bytes)
{
  atomic_fetch_sub_explicit (&b->used, bytes, memory_order_relaxed);
}

#endif /* ZRAM_BUDGET_H */
