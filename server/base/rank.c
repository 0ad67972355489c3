/* SPDX-License-Identifier: BSD-3-Clause */
/* The checker of lock ranks.
 * Contract: base/rank.h.
 */

#include <config.h>

#include <stdio.h>
#include <stdlib.h>

#include "base/rank.h"

static const char *const names[RANK_COUNT] = {
  [RANK_SETTINGS] = "settings",
  [RANK_CONTROL] = "device control",
  [RANK_RECOMPRESS] = "recompression",
  [RANK_WRITEBACK] = "writeback",
  [RANK_EVICT] = "eviction",
  [RANK_DRAIN] = "draining",
  [RANK_REFILL] = "refill",
  [RANK_SLOT] = "slot",
  [RANK_STREAM] = "stream",
  [RANK_DICT] = "dictionary",
  [RANK_WORKPOOL] = "work pool",
  [RANK_CLASS] = "size class",
  [RANK_ZSPAGE] = "zspage",
  [RANK_Z3_PAGE] = "z3fold page",
  [RANK_Z3_LISTS] = "z3fold lists",
  [RANK_WATCHED] = "watched store",
  [RANK_LATE] = "late blocks",
  [RANK_BACKING] = "backing bitmap",
  [RANK_ARENA] = "arena",
  [RANK_TABLE] = "slot table",
  [RANK_BUFFER] = "write buffer",
  [RANK_DISKS] = "list of disks",
  [RANK_LEAF] = "leaf",
  [RANK_CLOCK] = "run clock",
};

const char *
rank_name (enum lock_rank rank)
{
  return rank > 0 && rank < RANK_COUNT ? names[rank] : "unknown";
}

#ifdef ZRAM_DEBUG

static _Thread_local unsigned held[RANK_COUNT];
static _Thread_local unsigned atomic_depth;

static void
breach (const char *doing, const char *what, const char *holding)
{
  fprintf (stderr, "zram: lock rank: %s \"%s\" while holding \"%s\"\n", doing,
           what, holding);
  abort ();
}

static void
check_held (enum lock_rank rank, enum lock_rank lowest_allowed)
{
  for (unsigned r = lowest_allowed; r < RANK_COUNT; r++)
    if (held[r])
      breach ("taking", names[rank], names[r]);
}

void
rank_acquire (enum lock_rank rank)
{
  check_held (rank, rank);
  if (atomic_depth)
    breach ("waiting for", names[rank], "zspage (as its writer)");
  held[rank]++;
}

void
rank_acquire_try (enum lock_rank rank)
{
  check_held (rank, rank + 1);
  held[rank]++;
}

void
rank_release (enum lock_rank rank)
{
  if (!held[rank])
    breach ("releasing", names[rank], "nothing of that rank");
  held[rank]--;
}

void
rank_may_sleep (const char *what)
{
  if (atomic_depth)
    breach ("sleeping in", what, "zspage (as its writer)");
  for (unsigned r = RANK_CLASS; r < RANK_COUNT; r++)
    if (held[r] && r != RANK_ZSPAGE)
      breach ("sleeping in", what, names[r]);
}

void
rank_atomic_begin (void)
{
  atomic_depth++;
}

void
rank_atomic_end (void)
{
  atomic_depth--;
}

unsigned
rank_held (enum lock_rank rank)
{
  return held[rank];
}

#endif /* ZRAM_DEBUG */
