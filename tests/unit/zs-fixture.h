/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the tests of zsmalloc share: a pool with its budget, and items, each
 * of which owns a cell and knows what its object must hold.
 *
 *   item:  lock | cell -> object of 'size' bytes, all of them made from 'tag'
 *
 * An item stands for a slot: its lock is held exclusively to change it, and
 * shared to read the object.  All of it may be used in threads, so it fails
 * by check_always.
 */

#ifndef ZRAM_ZS_FIXTURE_H
#define ZRAM_ZS_FIXTURE_H

#include <errno.h>

#include "unit.h"

#include "base/budget.h"
#include "base/rwword.h"
#include "mem/zs_internal.h"

#define GIB (UINT64_C (1) << 30)

struct item {
  zs_cell cell;
  struct rwword lock;
  uint32_t size; /* bytes of the object; 0: the cell holds 'value' */
  uint64_t tag;  /* what the object's bytes were made from */
  uint64_t value;
};

struct fixture {
  struct budget budget;
  struct zs_pool *pool;
};

static inline void
fixture_open (struct fixture *f, uint32_t slot_size, uint64_t limit)
{
  budget_init (&f->budget, limit);
  f->pool = zs_create (slot_size, 4 * GIB, &f->budget);
  check_always (f->pool);
}

/* Nothing of the pool may stay charged, whatever was in it. */
static inline void
fixture_close (struct fixture *f)
{
  zs_destroy (f->pool);
  f->pool = NULL;
  check_always (atomic_load (&f->budget.used) == 0);
}

/* -- what is in an object ----------------------------------------------- */

static inline void
write_bytes (void *mem, uint32_t size, uint64_t tag)
{
  uint64_t word = tag * UINT64_C (0x9e3779b97f4a7c15);
  uint32_t i;

  for (i = 0; i + 8 <= size; i += 8, word += tag | 1)
    memcpy ((char *) mem + i, &word, 8);
  memcpy ((char *) mem + i, &word, size - i);
}

static inline bool
bytes_are_right (const void *mem, uint32_t size, uint64_t tag)
{
  uint64_t word = tag * UINT64_C (0x9e3779b97f4a7c15), got;
  uint32_t i;

  for (i = 0; i + 8 <= size; i += 8, word += tag | 1) {
    memcpy (&got, (const char *) mem + i, 8);
    if (got != word)
      return false;
  }
  return memcmp ((const char *) mem + i, &word, size - i) == 0;
}

/* -- items; the caller holds the lock, if anybody else is there --------- */

/* An object in transit, filled in; 0 with errno. */
static inline uint64_t
make_object (struct zs_pool *pool, uint32_t size, uint64_t tag)
{
  void *mem;
  uint64_t handle = zs_alloc (pool, size, &mem);

  if (handle) {
    check_always (size_class_of (&pool->classes, size) ==
                  zs_handle_class (handle));
    write_bytes (mem, size, tag);
  }
  return handle;
}

/* The cell's value becomes 'value', and what it named is freed. */
static inline void
item_set_value (struct zs_pool *pool, struct item *it, uint64_t value)
{
  if (it->size)
    zs_replace (pool, &it->cell, value);
  else {
    check_always (atomic_load (&it->cell) == it->value);
    atomic_store (&it->cell, value);
  }
  it->size = 0;
  it->value = value;
}

/* As the store does it: make the new object, then swap.  False if there is
 * no memory, and then the item is as it was.
 */
static inline bool
item_write (struct zs_pool *pool, struct item *it, uint32_t size, uint64_t tag)
{
  uint64_t handle = make_object (pool, size, tag);

  if (!handle)
    return false;
  item_set_value (pool, it, handle);
  it->size = size;
  it->tag = tag;
  zs_attach (pool, handle, &it->cell);
  return true;
}

static inline void
item_free (struct zs_pool *pool, struct item *it)
{
  item_set_value (pool, it, 0);
}

/* The object must be there, whole, and where a pinned one stays. */
static inline void
item_check (struct zs_pool *pool, struct item *it)
{
  uint64_t handle;

  if (!it->size) {
    check_always (atomic_load (&it->cell) == it->value);
    return;
  }
  void *mem = zs_pin (pool, &it->cell, &handle);
  check_always (atomic_load (&it->cell) == handle);
  check_always (zs_is_attached (pool, handle, &it->cell));
  check_always (bytes_are_right (mem, it->size, it->tag));
  zs_unpin (pool, handle);
}

static inline void
items_check (struct zs_pool *pool, struct item *it, unsigned n)
{
  for (unsigned i = 0; i < n; i++)
    item_check (pool, &it[i]);
}

static inline void
items_free (struct zs_pool *pool, struct item *it, unsigned n)
{
  for (unsigned i = 0; i < n; i++)
    item_free (pool, &it[i]);
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
  const char *wrong = zs_audit (f->pool, &audit);
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

  for (unsigned c = 0; c < zs_class_count (f->pool); c++) {
    struct pool_class_stats st = zs_class_stats (f->pool, c);
    uint64_t zspages = 0;

    for (unsigned g = 0; g < ZS_GROUPS; g++)
      zspages += st.zspages[g];
    check_always (st.inuse <= st.allocated);
    check_always (st.allocated == zspages * st.objs);
    check_always (st.freeable_pages <= zspages * st.pages);
    freeable += st.freeable_pages;
  }
  check_always (zs_freeable_pages (f->pool) == freeable);
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

  while (zs_compact_step (pool, &at))
    ;
}

static inline void
migrate_all (struct zs_pool *pool)
{
  struct pool_cursor at = { 0 };

  while (zs_migrate_step (pool, &at))
    ;
}

#endif /* ZRAM_ZS_FIXTURE_H */
