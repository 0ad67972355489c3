/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * z3fold behind the pool interface.
 */

#include <config.h>

#include "mem/z3_internal.h"

_Static_assert(offsetof (struct z3_pool, base) == 0, "cast below");

static inline struct z3_pool *
z3 (struct pool *p)
{
  return (struct z3_pool *) p;
}

static void
op_destroy (struct pool *p)
{
  z3_destroy (z3 (p));
}

static uint64_t
op_alloc (struct pool *p, uint32_t size, void **mem)
{
  return z3_alloc (z3 (p), size, mem);
}

static void
op_drop (struct pool *p, uint64_t handle)
{
  z3_drop (z3 (p), handle);
}

static void
op_attach (struct pool *p, uint64_t handle, pool_cell *cell)
{
  z3_attach (z3 (p), handle, cell);
}

static void
op_replace (struct pool *p, pool_cell *cell, uint64_t value)
{
  z3_replace (z3 (p), cell, value);
}

static void *
op_pin (struct pool *p, pool_cell *cell, uint64_t *handle)
{
  return z3_pin (z3 (p), cell, handle);
}

static void
op_unpin (struct pool *p, uint64_t handle)
{
  z3_unpin (z3 (p), handle);
}

static uint32_t
op_largest (struct pool *p)
{
  return (z3 (p)->chunks - 1) * Z3_CHUNK;
}

static uint32_t
op_room_for (struct pool *p, uint32_t size)
{
  (void) p;
  return z3_chunks_for (size) * Z3_CHUNK;
}

static uint32_t
op_smaller_than (struct pool *p, uint32_t size)
{
  (void) p;
  return (z3_chunks_for (size) - 1) * Z3_CHUNK;
}

/* Its chunks are its own: they change with the object only. */
static bool
op_fits (struct pool *p, uint64_t handle, uint32_t size)
{
  const struct z3page *z = z3_handle_page (z3 (p), handle);

  return size <= z->chunks[z3_handle_entry (handle)] * Z3_CHUNK;
}

static uint64_t
op_freeable_pages (struct pool *p)
{
  (void) p;
  return 0;
}

/* Pages are compacted as their objects are freed and unpinned. */
static bool
op_compact_step (struct pool *p, struct pool_cursor *at)
{
  (void) p;
  *at = (struct pool_cursor){ 0 };
  return false;
}

static bool
op_migration_pays (struct pool *p)
{
  (void) p;
  return false;
}

static bool
op_migrate_step (struct pool *p, struct pool_cursor *at)
{
  *at = (struct pool_cursor){ 0 };
  z3_give_back (z3 (p));
  return false;
}

static uint64_t
op_give_back (struct pool *p)
{
  return z3_give_back (z3 (p));
}

static void
op_keep (struct pool *p, uint64_t bytes)
{
  z3_keep (z3 (p), bytes);
}

static bool
op_fill (struct pool *p)
{
  return z3_fill (z3 (p));
}

static uint64_t
op_kept (struct pool *p)
{
  return z3_kept (z3 (p));
}

static void
op_trim (struct pool *p)
{
  z3_trim (z3 (p));
}

static struct pool_spread
op_spread (struct pool *p)
{
  return z3_spread (z3 (p));
}

static unsigned
op_class_count (struct pool *p)
{
  (void) p;
  return 2;
}

static struct pool_class_stats
op_class_stats (struct pool *p, unsigned class_id)
{
  return z3_class_stats (z3 (p), class_id);
}

static bool
op_is_attached (struct pool *p, uint64_t handle, const pool_cell *cell)
{
  return z3_is_attached (z3 (p), handle, cell);
}

static const char *
op_audit (struct pool *p, struct pool_audit *result)
{
  return z3_audit (z3 (p), result);
}

static void
op_used (struct pool *p, uint64_t handle)
{
  z3_used (z3 (p), handle);
}

static enum pool_reclaimed
op_reclaim (struct pool *p, pool_evict *evict, void *ctx)
{
  return z3_reclaim (z3 (p), evict, ctx);
}

const struct pool_ops z3_pool_ops = {
  .name = "z3fold",
  .has_lru = true,
  .destroy = op_destroy,
  .alloc = op_alloc,
  .drop = op_drop,
  .attach = op_attach,
  .replace = op_replace,
  .pin = op_pin,
  .unpin = op_unpin,
  .largest = op_largest,
  .room_for = op_room_for,
  .smaller_than = op_smaller_than,
  .fits = op_fits,
  .freeable_pages = op_freeable_pages,
  .compact_step = op_compact_step,
  .migration_pays = op_migration_pays,
  .migrate_step = op_migrate_step,
  .give_back = op_give_back,
  .keep = op_keep,
  .fill = op_fill,
  .kept = op_kept,
  .trim = op_trim,
  .spread = op_spread,
  .class_count = op_class_count,
  .class_stats = op_class_stats,
  .is_attached = op_is_attached,
  .audit = op_audit,
  .used = op_used,
  .reclaim = op_reclaim,
};
