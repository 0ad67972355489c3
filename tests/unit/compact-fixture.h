/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * For the tests of the compactor: a disk, filled and thinned out, whose
 * slots know what they hold.
 */

#ifndef ZRAM_COMPACT_FIXTURE_H
#define ZRAM_COMPACT_FIXTURE_H

#include "maint/compactor.h"
#include "store-fixture.h"

#define SLOT 4096u

static struct fixture f;
static struct compactor *compactor;

static inline void
open_disk (unsigned slots, unsigned threshold, unsigned pause)
{
  fixture_open (&f, SLOT, "lz4", 2, (uint64_t) slots * SLOT);
  compactor = compactor_create (f.store, threshold, pause);
  assert_non_null (compactor);
}

static inline void
close_device (void)
{
  compactor_destroy (compactor);
  fixture_close (&f);
}

/* What slot i holds; other slots have other sizes, if they may. */
static inline void
content (char *buf, unsigned i, bool sizes)
{
  struct unit_rng rng = unit_rng (5000 + i);

  fill_kind (buf, SLOT, sizes ? KIND_MIXED : KIND_TEXT, &rng);
}

static inline void
fill (unsigned from, unsigned to, bool sizes)
{
  char buf[SLOT];

  for (unsigned i = from; i < to; i++) {
    content (buf, i, sizes);
    must_write (&f, buf, SLOT, (uint64_t) i * SLOT);
  }
}

/* Is the slot one of those that thin_out leaves? */
static inline bool
stays (unsigned i, unsigned one_in)
{
  return unit_mix (unit_seed + i) % one_in == 0;
}

static inline void
thin_out (unsigned slots, unsigned one_in)
{
  for (unsigned i = 0; i < slots; i++)
    if (!stays (i, one_in))
      must_discard (&f, (uint64_t) i * SLOT, SLOT);
}

static inline void
check_thinned (unsigned slots, unsigned one_in, bool sizes)
{
  char buf[SLOT];

  for (unsigned i = 0; i < slots; i++) {
    content (buf, i, sizes);
    must_hold (&f, stays (i, one_in) ? buf : NULL, SLOT, (uint64_t) i * SLOT);
  }
}

static inline int64_t
moved (void)
{
  return counter_sum (&f.store->pool->counters, POOL_OBJECTS_MOVED);
}

static inline uint64_t
freeable (void)
{
  return pool_freeable_pages (f.store->pool);
}

static inline struct arena_stats
arena (void)
{
  return arena_stats (&fixture_zs (&f)->arena);
}

/* Free pages whose memory the pool keeps for reuse. */
static inline uint64_t
kept (void)
{
  uint64_t pages;

  if (fixture_is_zsmalloc ())
    return arena ().hot_pages;
  mutex_lock (&fixture_z3 (&f)->lock);
  pages = fixture_z3 (&f)->hot_pages;
  mutex_unlock (&fixture_z3 (&f)->lock);
  return pages;
}

#endif /* ZRAM_COMPACT_FIXTURE_H */
