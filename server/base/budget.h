/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Budget: the memory that a store may use, and uses. mem_limit bounds it and
 * mem_used_total reports it.  Memory is charged before it is made resident.
 *
 *   used <= limit  (limit 0: none)        peak = max of used
 *
 * Crossing 80, 90 and 95 % of the limit on the way up is counted once, and
 * again only after it has fallen 5 % below.
 *
 * The last 'spare' bytes below the limit (at most a 16th of it) are for work
 * that makes room but has to charge some memory first.  Between
 * budget_spare_begin and _end a thread may charge them too.  If the limit is
 * lowered so far that the spare is in use already, there is a 'debt' until it
 * is free again.  During a debt such a thread may exceed the amount used when
 * it began, by as much as the spare, even over the limit; otherwise work that
 * makes room could never start.
 */

#ifndef ZRAM_BUDGET_H
#define ZRAM_BUDGET_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/compiler.h"

#define BUDGET_LEVELS 3

struct budget {
  _Atomic uint64_t used;  /* bytes */
  _Atomic uint64_t peak;  /* bytes */
  _Atomic uint64_t limit; /* bytes, 0 = none */
  _Atomic uint64_t spare; /* bytes, see above */
  atomic_bool debt;       /* likewise */
  atomic_uint level;      /* warning levels that 'used' is above: 0 … 3 */
  atomic_uint untold;     /* the highest level that is not logged yet */
  _Atomic uint64_t warnings[BUDGET_LEVELS];
};

/* After a charge that crossed a level, and after a refund. */
void budget_adjust_level (struct budget *b);

/* A new limit, which may be below what is used.  0: none. */
void budget_set_limit (struct budget *b, uint64_t limit);

/* Between these two the calling thread does work that makes room. */
void budget_spare_begin (struct budget *b);
void budget_spare_end (void);

/* May the calling thread let 'used' become that, which is near the limit? */
bool budget_spare_allows (struct budget *b, uint64_t used);

/* Would so many bytes more leave the last sixteenth of the limit free?  Asked
 * for memory that is kept ready, which must not take the last sixteenth from
 * the data.  A hint.
 */
bool budget_has_headroom (struct budget *b, uint64_t bytes);

/* The percentage that was crossed and is not logged yet; 0: none.  Returned
 * once.
 */
unsigned budget_take_warning (struct budget *b);

static inline void
budget_init (struct budget *b, uint64_t limit)
{
  atomic_init (&b->used, 0);
  atomic_init (&b->peak, 0);
  atomic_init (&b->limit, limit);
  atomic_init (&b->spare, 0);
  atomic_init (&b->debt, false);
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
  uint64_t spare = atomic_load_explicit (&b->spare, memory_order_relaxed);
  uint64_t used = atomic_load_explicit (&b->used, memory_order_relaxed);
  uint64_t peak;

  do {
    if (limit && used + bytes + spare > limit &&
        !budget_spare_allows (b, used + bytes))
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
