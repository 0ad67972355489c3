/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A codec for tests of the store: the data tell it to how many bytes they
 * compress, and some data make the codec fail or stand still.
 *
 *   slot     | magic | n | seed | bytes that follow from n and seed |
 *   object   n bytes that follow from n and seed; the first is the seed
 *
 * So the object carries next to nothing, and the codec sees at once whether
 * a byte of it is not what it was.  All other data "does not fit".
 *
 * A seed set in sized_fail or sized_stand makes the codec fail with EIO, or
 * stand at the fault point "test.compress" or "test.decompress" if a test
 * holds that.
 */

#ifndef ZRAM_SIZED_CODEC_H
#define ZRAM_SIZED_CODEC_H

#include "base/alloc.h"
#include "store-fixture.h"

#ifdef ZRAM_FAULTS

#define SIZED_MAGIC 0x73697a65u
#define SIZED_NONE (-1)

static atomic_int sized_fail_compress = SIZED_NONE;
static atomic_int sized_fail_decompress = SIZED_NONE;
static atomic_int sized_stand = SIZED_NONE;
static atomic_uint sized_inside; /* threads in the codec now */

struct sized_head {
  uint32_t magic, n;
  uint8_t seed;
};

/* The slot that compresses to n bytes. */
static inline void
sized_slot (void *buf, uint32_t slot_size, uint32_t n, uint8_t seed)
{
  struct sized_head head = { .magic = SIZED_MAGIC, .n = n, .seed = seed };
  struct unit_rng rng = { .s = (uint64_t) n << 8 | seed };
  unsigned char *p = buf;

  memset (p, 0, 16);
  for (uint32_t i = 16; i < slot_size; i += 8) {
    uint64_t word = unit_rand (&rng);
    memcpy (p + i, &word, 8);
  }
  memcpy (p, &head.magic, 4);
  memcpy (p + 4, &head.n, 4);
  p[8] = seed;
}

static inline void
sized_object (unsigned char *p, uint32_t n, uint8_t seed)
{
  for (uint32_t i = 0; i < n; i++)
    p[i] = (unsigned char) (i == 0 ? seed : seed + i * 7 + n);
}

static inline void *
sized_ctx (const struct codec_params *params)
{
  return alloc_zeroed (8, params->slot_size);
}

static inline size_t
sized_ctx_size (const void *ctx)
{
  (void) ctx;
  return 8;
}

static inline ssize_t
sized_compress (void *cctx, const void *src, size_t slen, void *dst,
                size_t dcap)
{
  struct sized_head head;

  memcpy (&head.magic, src, 4);
  memcpy (&head.n, (const char *) src + 4, 4);
  head.seed = ((const uint8_t *) src)[8];
  sized_slot (cctx, (uint32_t) slen, head.n, head.seed);
  if (head.magic != SIZED_MAGIC || memcmp (cctx, src, slen) != 0)
    return 0;

  atomic_fetch_add (&sized_inside, 1);
  if (atomic_load (&sized_stand) == head.seed)
    fault_pause ("test.compress");
  atomic_fetch_sub (&sized_inside, 1);
  if (atomic_load (&sized_fail_compress) == head.seed) {
    errno = EIO;
    return -1;
  }
  if (head.n > dcap)
    return 0;
  sized_object (dst, head.n, head.seed);
  return head.n;
}

static inline int
sized_decompress (void *dctx, const void *src, size_t slen, void *dst,
                  size_t dlen)
{
  unsigned char *p = dctx;
  uint8_t seed = *(const uint8_t *) src;

  atomic_fetch_add (&sized_inside, 1);
  if (atomic_load (&sized_stand) == seed)
    fault_pause ("test.decompress");
  atomic_fetch_sub (&sized_inside, 1);
  sized_object (p, (uint32_t) slen, seed);
  if (atomic_load (&sized_fail_decompress) == seed ||
      memcmp (p, src, slen) != 0)
    return -1;
  sized_slot (dst, (uint32_t) dlen, (uint32_t) slen, seed);
  return 0;
}

static const struct codec sized_codec = {
  .name = "sized",
  .level_min = 1,
  .level_max = 1,
  .level_default = 1,
  .decompress_needs_ctx = true,
  .cctx_create = sized_ctx,
  .cctx_destroy = free,
  .cctx_size = sized_ctx_size,
  .compress = sized_compress,
  .dctx_create = sized_ctx,
  .dctx_destroy = free,
  .dctx_size = sized_ctx_size,
  .decompress = sized_decompress,
};

static inline void
sized_open (struct fixture *f, uint32_t slot_size, unsigned workers,
            uint64_t size)
{
  codec_register_test (&sized_codec);
  fixture_open_id (f, slot_size, CODEC_TEST, workers, size);
}

static inline void
sized_close (struct fixture *f)
{
  fixture_close (f);
  codec_register_test (NULL);
}

#endif /* ZRAM_FAULTS */

#endif /* ZRAM_SIZED_CODEC_H */
