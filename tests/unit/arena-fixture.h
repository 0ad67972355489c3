/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the tests of spans share: one arena with its budget, and spans that
 * are charged and touched as a zspage's would be.
 */

#ifndef ZRAM_ARENA_FIXTURE_H
#define ZRAM_ARENA_FIXTURE_H

#include <errno.h>

#include "unit.h"

#include "mem/arena.h"

#define PAGES 16u /* a span's */
#define SPAN ((size_t) PAGES * MEM_PAGE)

static struct budget budget;
static struct arena arena;

static inline uint64_t
charged (void)
{
  return atomic_load (&budget.used) / MEM_PAGE;
}

static inline uint64_t
resident (void)
{
  return reserve_resident (&arena.memory,
                           (size_t) arena_stats (&arena).top * SPAN) /
         MEM_PAGE;
}

static inline uint32_t
top (void)
{
  return arena_stats (&arena).top;
}

static inline void
open_arena (uint64_t max_bytes, uint64_t limit)
{
  budget_init (&budget, limit);
  assert_int_equal (arena_init (&arena, PAGES, max_bytes, &budget), 0);
}

static inline void
close_arena (void)
{
  assert_null (arena_audit (&arena));
  arena_destroy (&arena);
  assert_int_equal (charged (), 0); /* whatever was in use */
}

/* A span of which 'pages' pages are charged and touched. */
static inline uint32_t
use (uint32_t pages)
{
  uint32_t span = arena_alloc (&arena, pages);

  check_always (span != ARENA_NO_SPAN);
  struct zspage *z = arena_zspage (&arena, span);
  uint32_t had = z->resident;
  check_always (had <= pages);
  if (had < pages) {
    check_always (arena_charge (&arena, z, pages));
    arena_populate (&arena, span, had, pages);
  }
  return span;
}

static inline void
use_many (uint32_t *spans, unsigned n, uint32_t pages)
{
  for (unsigned i = 0; i < n; i++)
    spans[i] = use (pages);
}

static inline void
free_many (const uint32_t *spans, unsigned n)
{
  for (unsigned i = 0; i < n; i++)
    arena_free (&arena, spans[i]);
}

#endif /* ZRAM_ARENA_FIXTURE_H */
