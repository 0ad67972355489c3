/* SPDX-License-Identifier: BSD-3-Clause */
/* Budget: the slow paths of charging memory.
 * Contract: base/budget.h.
 */

#include <config.h>

#include "base/budget.h"

static const unsigned percents[BUDGET_LEVELS] = { 80, 90, 95 };

#define FALL 5        /* percent */
#define SPARE_MOST 16 /* a part of the limit */
#define HEADROOM 16   /* likewise */

/* The level for this use: up as soon as it is crossed, down only well below
 * it.
 */
static unsigned
level_for (uint64_t used, uint64_t limit, unsigned level)
{
  double percent = limit ? 100.0 * (double) used / (double) limit : 0;

  while (level < BUDGET_LEVELS && percent >= percents[level])
    level++;
  while (level > 0 && percent < percents[level - 1] - FALL)
    level--;
  return level;
}

static void
raise_untold (struct budget *b, unsigned level)
{
  unsigned old = atomic_load (&b->untold);

  while (old < level && !atomic_compare_exchange_weak (&b->untold, &old, level))
    ;
}

void
budget_adjust_level (struct budget *b)
{
  unsigned old = atomic_load (&b->level), new;

  do {
    new = level_for (atomic_load (&b->used), atomic_load (&b->limit), old);
    if (new == old)
      return;
  } while (!atomic_compare_exchange_weak (&b->level, &old, new));

  for (unsigned i = old; i < new; i++)
    atomic_fetch_add (&b->warnings[i], 1);
  if (new > old)
    raise_untold (b, new);
}

unsigned
budget_take_warning (struct budget *b)
{
  unsigned level;

  if (likely (atomic_load_explicit (&b->untold, memory_order_relaxed) == 0))
    return 0;
  level = atomic_exchange (&b->untold, 0);
  return level ? percents[level - 1] : 0;
}

bool
budget_has_headroom (struct budget *b, uint64_t bytes)
{
  uint64_t limit = atomic_load_explicit (&b->limit, memory_order_relaxed);
  uint64_t used = atomic_load_explicit (&b->used, memory_order_relaxed);

  return limit == 0 || used + bytes <= limit - limit / HEADROOM;
}

/* -- the spare ----------------------------------------------------------- */

/* The highest 'used' that this thread's charges may reach; 0: it has no
 * privilege.
 */
static _Thread_local uint64_t ceiling;

static uint64_t
spare_of (struct budget *b, uint64_t limit)
{
  uint64_t spare = atomic_load_explicit (&b->spare, memory_order_relaxed);

  return spare < limit / SPARE_MOST ? spare : limit / SPARE_MOST;
}

/* Was the limit lowered so far that the spare is in use, and is it still? */
static bool
is_in_debt (struct budget *b, uint64_t limit, uint64_t used)
{
  if (used > limit)
    atomic_store_explicit (&b->debt, true, memory_order_relaxed);
  else if (used <= limit - spare_of (b, limit))
    atomic_store_explicit (&b->debt, false, memory_order_relaxed);
  return atomic_load_explicit (&b->debt, memory_order_relaxed);
}

void
budget_set_limit (struct budget *b, uint64_t limit)
{
  atomic_store (&b->limit, limit);
  if (limit && atomic_load (&b->used) > limit - spare_of (b, limit))
    atomic_store (&b->debt, true);
  budget_adjust_level (b);
}

void
budget_spare_begin (struct budget *b)
{
  uint64_t limit = atomic_load_explicit (&b->limit, memory_order_relaxed);
  uint64_t used = atomic_load_explicit (&b->used, memory_order_relaxed);

  ceiling = limit;
  if (limit && is_in_debt (b, limit, used))
    ceiling = used + spare_of (b, limit);
}

void
budget_spare_end (void)
{
  ceiling = 0;
}

bool
budget_spare_allows (struct budget *b, uint64_t used)
{
  uint64_t limit = atomic_load_explicit (&b->limit, memory_order_relaxed);

  return used + spare_of (b, limit) <= limit || used <= ceiling;
}
