/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the tests of zsmalloc share: a pool with its budget, for items of
 * pool-items.h.
 */

#ifndef ZRAM_ZS_FIXTURE_H
#define ZRAM_ZS_FIXTURE_H

#include <errno.h>

#include "pool-items.h"

#include "base/budget.h"
#include "mem/zs_internal.h"

#define GIB (UINT64_C (1) << 30)

struct fixture {
  struct budget budget;
  struct zs_pool *pool;
  struct pool *any; /* the same, as the interface has it */
};

static inline void
fixture_open (struct fixture *f, uint32_t slot_size, uint64_t limit)
{
  budget_init (&f->budget, limit);
  f->any = zs_create (slot_size, 4 * GIB, &f->budget);
  check_always (f->any);
  f->pool = zs_of (f->any);
}

/* Nothing of the pool may stay charged, whatever was in it. */
static inline void
fixture_close (struct fixture *f)
{
  pool_destroy (f->any);
  f->pool = NULL;
  f->any = NULL;
  check_always (atomic_load (&f->budget.used) == 0);
}

/* -- the pool, with nothing running ------------------------------------- */

static inline uint64_t
resident_bytes (struct fixture *f)
{
  struct arena *a = &f->pool->arena;

  return reserve_resident (&a->memory, arena_stats (a).top * a->span_size);
}

/* The auditor finds nothing, as many objects as the items have, and what is
 * charged is what is resident; and no class has more freeable than it has.
 */
static inline void
fixture_audit (struct fixture *f, const struct item *it, unsigned n)
{
  struct pool_audit audit;
  const char *wrong = pool_audit (f->any, &audit);
  uint64_t objects = 0, freeable = 0;

  if (wrong)
    fprintf (stderr, "zs_audit: %s\n", wrong);
  check_always (!wrong);
  for (unsigned i = 0; i < n; i++)
    objects += it[i].size != 0;
  check_always (audit.objects == objects);
  check_always (audit.resident_pages * MEM_PAGE ==
                atomic_load (&f->budget.used));
  check_always (resident_bytes (f) == audit.resident_pages * MEM_PAGE);

  for (unsigned c = 0; c < pool_class_count (f->any); c++) {
    struct pool_class_stats st = pool_class_stats (f->any, c);
    uint64_t zspages = 0;

    for (unsigned g = 0; g < ZS_GROUPS; g++)
      zspages += st.zspages[g];
    check_always (st.inuse <= st.allocated);
    check_always (st.allocated == zspages * st.objs);
    check_always (st.freeable_pages <= zspages * st.pages);
    freeable += st.freeable_pages;
  }
  check_always (pool_freeable_pages (f->any) == freeable);
}

static inline int64_t
pool_counter (struct zs_pool *pool, enum pool_counter_id id)
{
  return counter_sum (&pool->base.counters, id);
}

static inline void
compact_all (struct zs_pool *pool)
{
  struct pool_cursor at = { 0 };

  while (zs_compact_step (&pool->base, &at))
    ;
}

static inline void
migrate_all (struct zs_pool *pool)
{
  struct pool_cursor at = { 0 };

  while (zs_migrate_step (&pool->base, &at))
    ;
}

#endif /* ZRAM_ZS_FIXTURE_H */
