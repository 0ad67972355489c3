/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * For fuzz-engine: a small disk with all that works on it, and beside it an
 * array that says what it must hold.
 *
 *   input --> choices --> disk ... and the same to the model
 *                           |                |
 *                           +---- equal? ----+
 *
 * A request may fail only for a reason that the input has made: a limit, or
 * trouble (a fault point, a store that fails) armed for this one operation.
 * Then each slot holds all of what it held or all of what it should, and the
 * model takes over what it finds.
 *
 * What is known of a slot besides its bytes is whether it is EMPTY, for
 * extents; after a failure that is taken over too.
 */

#ifndef ZRAM_FUZZ_DISK_H
#define ZRAM_FUZZ_DISK_H

#include "fuzz-input.h"
#include "held-backing.h"
#include "unbounded.h"

#include "maint/compactor.h"
#include "maint/dictionary.h"
#include "maint/evictor.h"
#include "maint/recompressor.h"
#include "maint/writeback.h"
#include "store/query.h"

#define DISK_MOST (4u << 20)
#define SLOTS_MOST 256u

struct fuzzed {
  struct fixture f;
  struct held *held;       /* NULL: no backing store */
  struct evictor *evictor; /* NULL: nor this */
  struct writeback writeback;
  struct recompressor *recompressor;
  struct compactor *compactor;
  uint32_t size, slots; /* bytes, slots */
  bool limited;         /* there is or was a mem_limit */
  bool trouble;         /* the present operation may fail for any reason */
  bool stored[SLOTS_MOST];
  char *model; /* size bytes */
  char *data;  /* as many, what is about to be written */
  char *is;    /* as many, what was read */
};

static void
calm (struct fuzzed *d)
{
  fault_clear ();
  if (d->held) {
    held_fail (d->held, 0, 0, 0);
    held_fail_reads (d->held, 0, 0);
  }
}

/* Fails unless there is a reason for this errno. */
static inline void
excuse (struct fuzzed *d, const char *what)
{
  if (d->trouble || (errno == ENOSPC && d->limited))
    return;
  fprintf (stderr, "%s: %s, for no reason\n", what, strerror (errno));
  abort ();
}

static inline void
audit (struct fuzzed *d)
{
  calm (d); /* an audit needs memory too, and reads what is in the store */
  if (d->evictor)
    evictor_hold (d->evictor);
  fixture_audit (&d->f);
  if (d->evictor)
    evictor_unhold (d->evictor);
}

static inline void
compare (struct fuzzed *d, uint32_t at, uint32_t len)
{
  memset (d->is, 0x5a, len);
  if (disk_read (d->f.disk, d->is, len, at) == -1) {
    excuse (d, "read");
    calm (d);
    check_always (disk_read (d->f.disk, d->is, len, at) == 0);
  }
  check_always (memcmp (d->is, d->model + at, len) == 0);
}

/* -- slots that a range touches ------------------------------------------ */

static inline uint32_t
slot_start (const struct fuzzed *d, uint32_t slot)
{
  return slot * d->f.slot_size;
}

static inline uint32_t
slot_end (const struct fuzzed *d, uint32_t slot)
{
  uint32_t end = (slot + 1) * d->f.slot_size;

  return end < d->size ? end : d->size;
}

/* A trim that reaches the disk's end covers the last slot even if that goes
 * on behind it.
 */
static inline bool
covers (const struct fuzzed *d, uint32_t at, uint32_t len, uint32_t slot)
{
  return at <= slot_start (d, slot) && at + len >= slot_end (d, slot);
}

/* -- after success, after failure ---------------------------------------- */

static inline bool
holds_data (const struct fuzzed *d, uint32_t slot)
{
  uint32_t start = slot_start (d, slot);

  return !all_zero (d->model + start, slot_end (d, slot) - start);
}

static inline bool
is_stored (const struct fuzzed *d, uint32_t slot)
{
  struct slot_info info;

  return disk_slot_info (d->f.disk, slot, 0, &info);
}

/* Bytes [at, at + len) are 'data' now, or zeroes (NULL).  Zeroes that are
 * written where nothing is stored may store nothing: so the disk is asked.
 */
static inline void
model_set (struct fuzzed *d, uint32_t at, uint32_t len, const char *data)
{
  if (data)
    memcpy (d->model + at, data, len);
  else
    memset (d->model + at, 0, len);
  for (uint32_t s = at / d->f.slot_size; s <= (at + len - 1) / d->f.slot_size;
       s++)
    if (data)
      d->stored[s] = holds_data (d, s) || is_stored (d, s);
    else if (covers (d, at, len, s))
      d->stored[s] = false;
}

/* One slot of a request that failed: old or new, nothing else. */
static inline void
settle_slot (struct fuzzed *d, uint32_t slot, uint32_t at, uint32_t len,
             const char *data)
{
  uint32_t start = slot_start (d, slot), end = slot_end (d, slot);
  uint32_t from = at > start ? at : start;
  uint32_t to = at + len < end ? at + len : end;
  char *is = d->is + start;

  check_always (disk_read (d->f.disk, is, end - start, start) == 0);
  if (memcmp (is, d->model + start, end - start) != 0) {
    if (data)
      memcpy (d->model + from, data + (from - at), to - from);
    else
      memset (d->model + from, 0, to - from);
    check_always (memcmp (is, d->model + start, end - start) == 0);
  }
  d->stored[slot] = is_stored (d, slot);
  /* Only what is trimmed in part can fail to be. */
  check_always (data || !covers (d, at, len, slot) || !d->stored[slot]);
}

static inline void
settle (struct fuzzed *d, uint32_t at, uint32_t len, const char *data)
{
  calm (d);
  for (uint32_t s = at / d->f.slot_size; s <= (at + len - 1) / d->f.slot_size;
       s++)
    settle_slot (d, s, at, len, data);
}

/* -- extents ------------------------------------------------------------- */

struct extents_walk {
  const struct fuzzed *d;
  uint64_t at;
  unsigned count;
  enum extent_type last;
};

static inline enum extent_type
model_type (const struct fuzzed *d, uint32_t slot)
{
  if (!d->stored[slot])
    return EXTENT_HOLE;
  return holds_data (d, slot) ? EXTENT_DATA : EXTENT_ZERO;
}

static inline int
walk_extent (void *ctx, uint64_t offset, uint64_t length, enum extent_type type)
{
  struct extents_walk *w = ctx;
  uint32_t slot_size = w->d->f.slot_size;

  check_always (offset == w->at && length > 0);
  check_always (w->count == 0 || type != w->last);
  for (uint64_t s = offset / slot_size; s <= (offset + length - 1) / slot_size;
       s++)
    check_always (model_type (w->d, (uint32_t) s) == type);
  w->at += length;
  w->last = type;
  w->count++;
  return 0;
}

static inline void
check_extents (struct fuzzed *d, uint32_t at, uint32_t len, bool one)
{
  struct extents_walk w = { .d = d, .at = at };

  check_always (disk_extents (d->f.disk, at, len, one, walk_extent, &w) == 0);
  check_always (one ? w.count == 1 : w.at == (uint64_t) at + len);
}

/* What is told about each slot, and summed up.  Not while an evictor works. */
static inline void
check_statistics (struct fuzzed *d)
{
  struct map_cell map[3], all = { 0 };
  struct slot_info info;
  uint64_t stored = 0;

  for (uint32_t s = 0; s < d->slots; s++) {
    bool is = disk_slot_info (d->f.disk, s, 0, &info);

    check_always (is == d->stored[s]);
    check_always (!is || info.size <= d->f.slot_size);
    stored += is;
  }
  disk_map (d->f.disk, 3, map);
  for (unsigned i = 0; i < 3; i++) {
    all.stored += map[i].stored;
    all.same += map[i].same;
    all.backed += map[i].backed;
    all.compr += map[i].compr;
  }
  check_always (disk_sum (d->f.disk, DISK_SLOTS_STORED) == stored &&
                all.stored == stored);
  check_always (disk_sum (d->f.disk, DISK_SLOTS_SAME) == all.same &&
                disk_sum (d->f.disk, DISK_SLOTS_BACKED) == all.backed);
  check_always (disk_compr_bytes (d->f.disk) == all.compr);
}

#endif /* ZRAM_FUZZ_DISK_H */
