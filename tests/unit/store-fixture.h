/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the tests of store and maint share: a store with one disk, data of
 * several kinds, and the checks that every one of them ends with.
 *
 * All of it may be used in threads, so it fails by check_always.
 */

#ifndef ZRAM_STORE_FIXTURE_H
#define ZRAM_STORE_FIXTURE_H

#include "unit.h"

#include <errno.h>
#include <inttypes.h>

#include "base/park.h"
#include "mem/z3fold.h"
#include "mem/zsmalloc.h"
#include "store/audit.h"
#include "store/extents.h"
#include "store/range.h"
#include "store/reset.h"
#include "store/slot_read.h"
#include "store/slot_write.h"

#define KiB UINT64_C (1024)
#define MiB (KiB * 1024)
#define LARGEST_DISK ((UINT64_C (1) << 63) - 1)

/* Enough for every size a slot can have. */
#define MAX_SLOT (64 * 1024)

/* -- data --------------------------------------------------------------- */

enum kind {
  KIND_ZERO,
  KIND_SAME,   /* one 64-bit word, repeated */
  KIND_SPARSE, /* compresses to little */
  KIND_TEXT,   /* compresses to about a half */
  KIND_MIXED,  /* random to a random place, never the first, then nothing */
  KIND_RANDOM, /* does not compress */
  KINDS
};

/* By words: sanitizers make bytes dear. */
static inline void
fill_kind (void *buf, size_t len, enum kind kind, struct unit_rng *rng)
{
  char *p = buf;
  uint64_t word = unit_rand (rng);
  size_t until = kind == KIND_MIXED && len > 8 ? 8 + word % (len - 7) : len;

  memset (p, 0, len);
  for (size_t i = 0; i < until && kind != KIND_ZERO; i += 8) {
    uint64_t repeated = i >> 9;

    if (kind != KIND_SAME)
      word = unit_rand (rng);
    if ((kind == KIND_TEXT && i % 16) || (kind == KIND_SPARSE && i % 512))
      memcpy (p + i, &repeated, until - i < 8 ? until - i : 8);
    else
      memcpy (p + i, &word, until - i < 8 ? until - i : 8);
  }
}

static inline void
fill_any (void *buf, size_t len, struct unit_rng *rng)
{
  fill_kind (buf, len, (enum kind) unit_below (rng, KINDS), rng);
}

static inline bool
all_zero (const void *buf, size_t len)
{
  const char *p = buf;

  return len == 0 || (p[0] == 0 && memcmp (p, p + 1, len - 1) == 0);
}

static inline void *
must_alloc (size_t len)
{
  void *p = calloc (1, len ? len : 1);

  check_always (p);
  return p;
}

/* -- a store with a disk ---------------------------------------------- */

struct fixture {
  struct store *store;
  struct disk *disk;
  uint32_t slot_size;
};

/* ZRAM_TEST_ALLOCATOR in the environment chooses what the tests run with. */
static inline const char *
fixture_allocator (void)
{
  const char *name = getenv ("ZRAM_TEST_ALLOCATOR");

  return name && *name ? name : pool_allocator (0);
}

static inline bool
fixture_is_zsmalloc (void)
{
  return strcmp (fixture_allocator (), "zsmalloc") == 0;
}

/* First thing in a test of what one allocator alone does: with the other it is
 * skipped, and this says why.
 */
static inline void
fixture_only (const char *allocator, const char *why)
{
  if (strcmp (fixture_allocator (), allocator) == 0)
    return;
  print_message ("of %s alone: %s\n", allocator, why);
  skip ();
}

/* Below the interface, for the tests of one allocator alone. */
static inline struct zs_pool *
fixture_zs (struct fixture *f)
{
  check_always (strcmp (pool_name (f->store->pool), "zsmalloc") == 0);
  return (struct zs_pool *) f->store->pool;
}

static inline struct z3_pool *
fixture_z3 (struct fixture *f)
{
  check_always (strcmp (pool_name (f->store->pool), "z3fold") == 0);
  return (struct z3_pool *) f->store->pool;
}

static inline unsigned
codec_named (const char *name)
{
  const struct codec *codec = codec_find (name);

  check_always (codec);
  return codec_id (codec);
}

static inline struct store_config
fixture_config (uint32_t slot_size, unsigned id, unsigned workers,
                uint64_t size)
{
  return (struct store_config){
    .slot_size = slot_size,
    .allocator = fixture_allocator (),
    .primary = { .format = id, .level = codec_by_id (id)->level_default },
    .workers = workers,
    .disk_bytes = size,
  };
}

static inline void
fixture_open_id (struct fixture *f, uint32_t slot_size, unsigned id,
                 unsigned workers, uint64_t size)
{
  struct store_config config = fixture_config (slot_size, id, workers, size);

  f->slot_size = slot_size;
  f->store = store_create (&config);
  check_always (f->store);
  f->store->cpus = workers; /* large requests are shared on any machine */
  f->disk = disk_create (f->store, size);
  check_always (f->disk);
  check_always (store_start (f->store) == 0);
}

static inline void
fixture_open (struct fixture *f, uint32_t slot_size, const char *codec,
              unsigned workers, uint64_t size)
{
  fixture_open_id (f, slot_size, codec_named (codec), workers, size);
}

static inline void
fixture_audit (struct fixture *f)
{
  struct reason why;

  if (store_audit (f->store, true, &why) == -1) {
    fprintf (stderr, "audit: %s\n", why.text);
    abort ();
  }
}

static inline uint64_t
fixture_used (struct fixture *f)
{
  return atomic_load (&f->store->budget.used);
}

static inline void
fixture_limit (struct fixture *f, uint64_t bytes)
{
  atomic_store (&f->store->budget.limit, bytes);
}

/* Everything is discarded; what the pool keeps for reuse is given back here. */
static inline void
fixture_check_empty (struct fixture *f)
{
  check_always (counter_sum (&f->disk->counters, DISK_SLOTS_STORED) == 0);
  check_always (leaves_memory (&f->store->leaves) == 0);
  check_always (pool_spread (f->store->pool).used == 0);
  pool_give_back (f->store->pool);
  check_always (fixture_used (f) == 0);
}

/* Audits, and then sees that nothing is left behind. */
static inline void
fixture_close (struct fixture *f)
{
  fixture_audit (f);
  disk_destroy (f->disk);
  pool_give_back (f->store->pool);
  (void) buffer_trim (&f->store->buffer);
  check_always (pool_spread (f->store->pool).used == 0);
  check_always (fixture_used (f) == 0);
  store_destroy (f->store);
  memset (f, 0, sizeof *f);
}

static inline int64_t
fixture_count (struct fixture *f, enum disk_counter id)
{
  return counter_sum (&f->disk->counters, id);
}

/* The slot's meta; 0 (EMPTY) if it has no leaf. */
static inline uint32_t
fixture_meta (struct fixture *f, uint64_t index)
{
  const struct slot *s = slot_table_peek (&f->disk->table, index);

  return s ? slot_load_meta (s) : 0;
}

static inline enum slot_state
fixture_state (struct fixture *f, uint64_t index)
{
  return slot_meta_state (fixture_meta (f, index));
}

/* -- requests that must succeed ----------------------------------------- */

static inline void
must_write (struct fixture *f, const void *buf, uint32_t len, uint64_t offset)
{
  check_always (disk_write (f->disk, buf, len, offset) == 0);
}

static inline void
must_read (struct fixture *f, void *buf, uint32_t len, uint64_t offset)
{
  check_always (disk_read (f->disk, buf, len, offset) == 0);
}

static inline void
must_discard (struct fixture *f, uint64_t offset, uint64_t len)
{
  check_always (disk_discard (f->disk, offset, len) == 0);
}

/* The disk reads [offset, offset + len) as 'want'; NULL: as zeroes. */
static inline void
must_hold (struct fixture *f, const void *want, uint32_t len, uint64_t offset)
{
  char *got = must_alloc (len);

  memset (got, 0x5a, len);
  must_read (f, got, len, offset);
  check_always (want ? memcmp (got, want, len) == 0 : all_zero (got, len));
  free (got);
}

#endif /* ZRAM_STORE_FIXTURE_H */
