/* SPDX-License-Identifier: BSD-3-Clause */
/* Codec: LZ4 with the slow, thorough search ("high compression").
 * Contract: comp/codec.h.
 */

/*
 * LZ4 with the slow, thorough search ("high compression").  Objects are
 * ordinary LZ4 and decompress as fast, or faster.
 *
 * The tables are 256 KiB, so clearing them for each slot would cost time:
 * LZ4_resetStreamHC_fast keeps them (it clears by itself after a failure).
 */

#include <config.h>

#include <errno.h>
#include <stdlib.h>
#include <lz4.h>
#include <lz4hc.h>

#include "base/alloc.h"
#include "comp/codec.h"

struct lz4hc_cctx {
  int level;
  LZ4_streamHC_t *stream;
};

static void *
lz4hc_cctx_create (const struct codec_params *params)
{
  struct lz4hc_cctx *c = alloc_zeroed (0, sizeof *c);

  if (!c)
    return NULL;
  c->level = params->level;
  c->stream = LZ4_createStreamHC ();
  if (!c->stream) {
    free (c);
    errno = ENOMEM;
    return NULL;
  }
  return c;
}

static void
lz4hc_cctx_destroy (void *cctx)
{
  struct lz4hc_cctx *c = cctx;

  LZ4_freeStreamHC (c->stream);
  free (c);
}

static size_t
lz4hc_cctx_size (const void *cctx)
{
  (void) cctx;
  return sizeof (struct lz4hc_cctx) + sizeof (LZ4_streamHC_t);
}

static ssize_t
lz4hc_compress (void *cctx, const void *src, size_t slen, void *dst,
                size_t dcap)
{
  struct lz4hc_cctx *c = cctx;

  LZ4_resetStreamHC_fast (c->stream, c->level);
  /* It fails only if the result does not fit: 0. */
  return LZ4_compress_HC_continue (c->stream, src, dst, (int) slen, (int) dcap);
}

static int
lz4hc_decompress (void *dctx, const void *src, size_t slen, void *dst,
                  size_t dlen)
{
  (void) dctx;
  if (LZ4_decompress_safe (src, dst, (int) slen, (int) dlen) != (int) dlen)
    return -1;
  return 0;
}

const struct codec codec_lz4hc = {
  .name = "lz4hc",
  .level_min = LZ4HC_CLEVEL_MIN,
  .level_max = LZ4HC_CLEVEL_MAX,
  .level_default = LZ4HC_CLEVEL_DEFAULT,
  .cctx_create = lz4hc_cctx_create,
  .cctx_destroy = lz4hc_cctx_destroy,
  .cctx_size = lz4hc_cctx_size,
  .compress = lz4hc_compress,
  .decompress = lz4hc_decompress,
};
