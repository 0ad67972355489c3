/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * For the tests of recompression: a codec whose data say to how many bytes
 * they compress at each level, so that every pair of size classes can be had.
 *
 *   slot     | magic | n of level 1 … 4 | seed | bytes that follow from these |
 *   object   | the same head            | level | bytes that follow |  n bytes
 *
 * Level 1 is the primary, 2 to 4 are the secondary methods of priority 1 to 3.
 * n = 0: does not fit.  All other data do not fit at any level.
 */

#ifndef ZRAM_RECOMPRESS_FIXTURE_H
#define ZRAM_RECOMPRESS_FIXTURE_H

#include "base/alloc.h"
#include "store/claim.h"
#include "store/content.h"
#include "store/query.h"
#include "store/recompress.h"
#include "store-fixture.h"

/* -- for any codec ------------------------------------------------------- */

/* No slot bears a claim. */
static inline void
check_no_claims (struct fixture *f)
{
  uint64_t n = f->disk->table.slots;

  for (uint64_t i = slot_table_next_present (&f->disk->table, 0, n); i < n;
       i = slot_table_next_present (&f->disk->table, i + 1, n))
    check_always (slot_meta_claim (fixture_meta (f, i)) == 0);
  check_always (atomic_load (&f->store->claims) == 0);
}

static inline uint32_t
lock_word (struct fixture *f, uint64_t index)
{
  const struct slot *s = slot_table_peek (&f->disk->table, index);

  check_always (s);
  return atomic_load (&s->lock.v);
}

/* Let the slot's last access be that second. */
static inline void
set_stamp (struct fixture *f, uint64_t index, uint32_t second)
  NO_THREAD_SAFETY_ANALYSIS
{
  struct slot *s = slot_table_write_lock (&f->disk->table, index);

  check_always (s);
  rwword_set_owner (&s->lock, SLOT_STAMP_MASK, second & SLOT_AGE_MASK);
  slot_write_unlock (s);
}

/* Turn some bytes of the slot's object round. */
static inline void
damage (struct fixture *f, uint64_t index, uint32_t from, uint32_t len)
  NO_THREAD_SAFETY_ANALYSIS
{
  struct slot *s = slot_table_write_lock (&f->disk->table, index);
  uint64_t handle;
  unsigned char *p;

  check_always (s && slot_meta_state (slot_load_meta (s)) == SLOT_OBJECT);
  p = (unsigned char *) pool_pin (f->store->pool, &s->cell, &handle);
  for (uint32_t i = from; i < from + len; i++)
    p[i] ^= 0xff;
  pool_unpin (f->store->pool, handle);
  slot_write_unlock (s);
}

/* One slot with a claim taken for it.  The result; errno as it was left. */
static inline enum recompress_result
recompress_one (struct fixture *f, uint64_t index,
                const struct recompress_plan *plan)
{
  unsigned claim = claim_take (f->store);
  char *buf = must_alloc (f->slot_size);
  enum recompress_result r;

  check_always (claim);
  r = slot_recompress (f->disk, index, fixture_meta (f, index), plan, claim,
                       buf);
  int err = errno;
  claim_release (f->store, claim);
  free (buf);
  errno = err;
  return r;
}

static inline unsigned
class_of (struct fixture *f, uint32_t size)
{
  return pool_room_for (f->store->pool, size);
}

/* -- the codec of four levels -------------------------------------------- */

#ifdef ZRAM_FAULTS

#define LEVELS 4u
#define LEVELS_MAGIC 0x6c766c73u
#define LEVELS_LEAST 32u /* bytes of the smallest object */

struct levels_head {
  uint32_t magic, n[LEVELS], seed;
};

struct levels_ctx {
  unsigned level;
  char slot[];
};

static atomic_uint levels_fail; /* this level fails ... */
static atomic_int levels_error; /* ... with that errno */
static _Atomic uint64_t levels_calls[LEVELS + 1];

static inline void
levels_fill (void *buf, uint32_t len, const struct levels_head *head,
             uint64_t more)
{
  struct unit_rng rng = { unit_mix (head->seed) + more };
  char *p = buf;

  for (uint32_t i = 0; i < len; i += 8) {
    uint64_t word = unit_rand (&rng);

    memcpy (p + i, &word, len - i < 8 ? len - i : 8);
  }
  memcpy (p, head, sizeof *head);
}

static inline void
levels_slot (void *buf, uint32_t slot_size, const struct levels_head *head)
{
  levels_fill (buf, slot_size, head, 0);
}

static inline void *
levels_cctx (const struct codec_params *params)
{
  struct levels_ctx *c = alloc_zeroed (8, sizeof *c + params->slot_size);

  if (c)
    c->level = (unsigned) params->level;
  return c;
}

static inline size_t
levels_ctx_size (const void *ctx)
{
  (void) ctx;
  return 8;
}

static inline ssize_t
levels_compress (void *cctx, const void *src, size_t slen, void *dst,
                 size_t dcap)
{
  struct levels_ctx *c = cctx;
  struct levels_head head;
  uint32_t n;

  atomic_fetch_add (&levels_calls[c->level], 1);
  if (atomic_load (&levels_fail) == c->level) {
    errno = atomic_load (&levels_error);
    return -1;
  }
  memcpy (&head, src, sizeof head);
  if (head.magic != LEVELS_MAGIC)
    return 0;
  levels_slot (c->slot, (uint32_t) slen, &head);
  n = head.n[c->level - 1];
  if (memcmp (c->slot, src, slen) != 0 || n == 0 || n > dcap)
    return 0;
  levels_fill (dst, n, &head, c->level);
  ((unsigned char *) dst)[sizeof head] = (unsigned char) c->level;
  return n;
}

static inline int
levels_decompress (void *dctx, const void *src, size_t slen, void *dst,
                   size_t dlen)
{
  const unsigned char *p = src;
  struct levels_head head;
  char again[MAX_SLOT];

  (void) dctx;
  memcpy (&head, src, sizeof head);
  unsigned level = p[sizeof head];
  if (head.magic != LEVELS_MAGIC || level < 1 || level > LEVELS ||
      head.n[level - 1] != slen)
    return -1;
  levels_fill (again, (uint32_t) slen, &head, level);
  again[sizeof head] = (char) level;
  if (memcmp (again, src, slen) != 0)
    return -1;
  levels_slot (dst, (uint32_t) dlen, &head);
  return 0;
}

static const struct codec levels_codec = {
  .name = "levels",
  .level_min = 1,
  .level_max = LEVELS,
  .level_default = 1,
  .cctx_create = levels_cctx,
  .cctx_destroy = free,
  .cctx_size = levels_ctx_size,
  .compress = levels_compress,
  .decompress = levels_decompress,
};

static inline void
levels_open (struct fixture *f, uint32_t slot_size, unsigned workers,
             uint64_t slots)
{
  atomic_store (&levels_fail, 0);
  codec_register_test (&levels_codec);
  fixture_open_id (f, slot_size, CODEC_TEST, workers, slots * slot_size);
}

static inline void
levels_close (struct fixture *f)
{
  check_no_claims (f);
  fixture_close (f);
  codec_register_test (NULL);
}

/* All of the first 'count' priorities, of which 'first' to 'last' are tried. */
static inline struct recompress_plan
levels_plan (unsigned count, unsigned first, unsigned last, uint32_t threshold)
{
  struct recompress_plan plan = {
    .count = count, .first = first, .last = last, .threshold = threshold
  };

  for (unsigned i = 0; i < count; i++)
    plan.methods[i] = (struct zcomp_method){ .format = CODEC_TEST,
                                             .level = (int) i + 2 };
  return plan;
}

/* Data for that slot that compress to so much at level 1 … 4. */
static inline void
levels_data (struct fixture *f, void *buf, uint64_t index, uint32_t gen,
             uint32_t n1, uint32_t n2, uint32_t n3, uint32_t n4)
{
  struct levels_head head = { .magic = LEVELS_MAGIC,
                              .n = { n1, n2, n3, n4 },
                              .seed = (uint32_t) index * 1000003u + gen };

  levels_slot (buf, f->slot_size, &head);
}

static inline void
levels_put (struct fixture *f, uint64_t index, uint32_t gen, uint32_t n1,
            uint32_t n2, uint32_t n3, uint32_t n4)
{
  char *buf = must_alloc (f->slot_size);

  levels_data (f, buf, index, gen, n1, n2, n3, n4);
  must_write (f, buf, f->slot_size, index * f->slot_size);
  free (buf);
}

static inline void
levels_hold (struct fixture *f, uint64_t index, uint32_t gen, uint32_t n1,
             uint32_t n2, uint32_t n3, uint32_t n4)
{
  char *buf = must_alloc (f->slot_size);

  levels_data (f, buf, index, gen, n1, n2, n3, n4);
  must_hold (f, buf, f->slot_size, index * f->slot_size);
  free (buf);
}

#endif /* ZRAM_FAULTS */

#endif /* ZRAM_RECOMPRESS_FIXTURE_H */
