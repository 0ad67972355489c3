/* SPDX-License-Identifier: BSD-3-Clause */

#include <config.h>

#include "base/budget.h"

const unsigned budget_percent[BUDGET_LEVELS] = { 80, 90, 95 };

#define FALL 5 /* percent */

/* The level for this use: up as soon as it is crossed, down only well below
 * it.
 */
static unsigned
level_for (uint64_t used, uint64_t limit, unsigned level)
{
  double percent = limit ? 100.0 * (double) used / (double) limit : 0;

  while (level < BUDGET_LEVELS && percent >= budget_percent[level])
    level++;
  while (level > 0 && percent < budget_percent[level - 1] - FALL)
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
  return level ? budget_percent[level - 1] : 0;
}
