/* SPDX-License-Identifier: BSD-3-Clause */
/* Codec: LZ4, fast.
 * Contract: comp/codec.h.
 */

/*
 * LZ4, fast.  The level is its acceleration: higher is faster and larger.
 *
 * The table (16 KiB) is cleared before each slot, which is the fastest way.
 * The library's own fast reset (LZ4_compress_fast_extState_ fastReset, static
 * library only) also clears it for sources of 4 KiB and more, so it gains
 * nothing at any slot size.  Two ways really keep the table: compress 4095
 * bytes and store the last one beside them, or use the streaming interface.
 * Measured per 4 KiB of system files, lz4 1.9.4, Xeon 2.5 GHz: cleared (either
 * call) 6.9 us, 0.11 of it for the clearing; kept, the two ways, 8.7 and 10.0
 * us, because every stale entry costs a compare and a mispredicted branch.
 */

#include <config.h>

#include <errno.h>
#include <stdlib.h>
#include <lz4.h>

#include "base/alloc.h"
#include "comp/codec.h"
#include "comp/dict.h"

/* The format's offsets have 16 bits. */
#define REACH 65536

/* A dictionary: the table after the bytes have gone through it.  A context
 * copies it for each slot, which costs as much as clearing it.  To refer to it
 * instead (LZ4_attach_dictionary) needs the static library.
 */
struct lz4_digest {
  const char *bytes;
  int size;
  LZ4_stream_t loaded; /* points into the bytes */
};

struct lz4_cctx {
  int acceleration;
  struct dict *dict;  /* or NULL; a reference */
  LZ4_stream_t state; /* filled by each call, so it needs no preparation */
};

static void *
lz4_cctx_create (const struct codec_params *params)
{
  struct lz4_cctx *c = alloc_zeroed (CACHE_LINE, sizeof *c);

  if (!c)
    return NULL;
  c->acceleration = params->level;
  c->dict = params->dict;
  if (c->dict)
    dict_ref (c->dict);
  return c;
}

static void
lz4_cctx_destroy (void *cctx)
{
  struct lz4_cctx *c = cctx;

  dict_unref (c->dict);
  free (c);
}

static size_t
lz4_cctx_size (const void *cctx)
{
  (void) cctx;
  return sizeof (struct lz4_cctx);
}

static ssize_t
lz4_compress (void *cctx, const void *src, size_t slen, void *dst, size_t dcap)
{
  struct lz4_cctx *c = cctx;

  /* Either fails only if the result does not fit: 0. */
  if (c->dict) {
    const struct lz4_digest *d = c->dict->digest;

    c->state = d->loaded;
    return LZ4_compress_fast_continue (&c->state, src, dst, (int) slen,
                                       (int) dcap, c->acceleration);
  }
  return LZ4_compress_fast_extState (&c->state, src, dst, (int) slen,
                                     (int) dcap, c->acceleration);
}

static int
lz4_decompress (void *dctx, const void *src, size_t slen, void *dst,
                size_t dlen)
{
  (void) dctx;
  if (LZ4_decompress_safe (src, dst, (int) slen, (int) dlen) != (int) dlen)
    return -1;
  return 0;
}

static void *
lz4_digest (const void *bytes, size_t size)
{
  struct lz4_digest *d = alloc_zeroed (CACHE_LINE, sizeof *d);

  if (!d)
    return NULL;
  d->bytes = bytes;
  d->size = (int) size;
  LZ4_resetStream (&d->loaded);
  LZ4_loadDict (&d->loaded, bytes, (int) size);
  return d;
}

static size_t
lz4_digest_size (const void *digest)
{
  (void) digest;
  return sizeof (struct lz4_digest);
}

static int
lz4_dict_decompress (void *dctx, const void *digest, const void *src,
                     size_t slen, void *dst, size_t dlen)
{
  const struct lz4_digest *d = digest;

  (void) dctx;
  if (LZ4_decompress_safe_usingDict (src, dst, (int) slen, (int) dlen, d->bytes,
                                     d->size) != (int) dlen)
    return -1;
  return 0;
}

/* One digest for all levels: the table does not depend on the acceleration. */
static const struct codec_dict lz4_dict = {
  .reach = REACH,
  .digest = lz4_digest,
  .digest_free = free,
  .digest_size = lz4_digest_size,
  .decompress = lz4_dict_decompress,
};

const struct codec codec_lz4 = {
  .name = "lz4",
  .level_min = 1,
  .level_max = 65537, /* the library takes more for this */
  .level_default = 1,
  .dict = &lz4_dict,
  .cctx_create = lz4_cctx_create,
  .cctx_destroy = lz4_cctx_destroy,
  .cctx_size = lz4_cctx_size,
  .compress = lz4_compress,
  .decompress = lz4_decompress,
};
