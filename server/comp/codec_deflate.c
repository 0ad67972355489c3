/* SPDX-License-Identifier: BSD-3-Clause */
/* Codec: raw DEFLATE, by libdeflate.
 * Contract: comp/codec.h.
 */

/*
 * The library does not say how large its contexts are, and its window is
 * always 32 KiB. The sizes below were measured with 1.14 (its allocator hook),
 * and test-codec.c compares them with the library that it runs with.
 */

#include <config.h>

#include <errno.h>
#include <stdlib.h>
#include <libdeflate.h>

#include "base/alloc.h"
#include "comp/codec.h"

struct deflate_cctx {
  struct libdeflate_compressor *c;
  int level;
};

#define SIZE_HASH_TABLE 203000    /* level 1: one hash table */
#define SIZE_HASH_CHAINS 669000   /* levels 2 to 9: hash chains */
#define SIZE_BINARY_TREES 9010000 /* levels 10 to 12: trees, all matches */
#define SIZE_DECOMPRESSOR 11600

static void *
deflate_cctx_create (const struct codec_params *params)
{
  struct deflate_cctx *c = alloc_zeroed (0, sizeof *c);

  if (!c)
    return NULL;
  c->level = params->level;
  c->c = libdeflate_alloc_compressor (params->level);
  if (!c->c) {
    free (c);
    errno = ENOMEM;
    return NULL;
  }
  return c;
}

static void
deflate_cctx_destroy (void *cctx)
{
  struct deflate_cctx *c = cctx;

  libdeflate_free_compressor (c->c);
  free (c);
}

static size_t
deflate_cctx_size (const void *cctx)
{
  const struct deflate_cctx *c = cctx;

  return sizeof *c + (c->level < 2    ? SIZE_HASH_TABLE
                      : c->level < 10 ? SIZE_HASH_CHAINS
                                      : SIZE_BINARY_TREES);
}

static ssize_t
deflate_compress (void *cctx, const void *src, size_t slen, void *dst,
                  size_t dcap)
{
  struct deflate_cctx *c = cctx;

  /* It fails only if the result does not fit: 0. */
  return (ssize_t) libdeflate_deflate_compress (c->c, src, slen, dst, dcap);
}

static void *
deflate_dctx_create (const struct codec_params *params)
{
  struct libdeflate_decompressor *d = libdeflate_alloc_decompressor ();

  (void) params;
  if (!d)
    errno = ENOMEM;
  return d;
}

static void
deflate_dctx_destroy (void *dctx)
{
  libdeflate_free_decompressor (dctx);
}

static size_t
deflate_dctx_size (const void *dctx)
{
  (void) dctx;
  return SIZE_DECOMPRESSOR;
}

static int
deflate_decompress (void *dctx, const void *src, size_t slen, void *dst,
                    size_t dlen)
{
  size_t used;

  /* No pointer for the size of the output: exactly dlen bytes or an error.  The
   * library would ignore bytes after the end of the stream.
   */
  if (libdeflate_deflate_decompress_ex (dctx, src, slen, dst, dlen, &used,
                                        NULL) != LIBDEFLATE_SUCCESS ||
      used != slen)
    return -1;
  return 0;
}

const struct codec codec_deflate = {
  .name = "deflate",
  .level_min = 1,
  .level_max = 12,
  .level_default = 6,
  .decompress_needs_ctx = true,
  .cctx_create = deflate_cctx_create,
  .cctx_destroy = deflate_cctx_destroy,
  .cctx_size = deflate_cctx_size,
  .compress = deflate_compress,
  .dctx_create = deflate_dctx_create,
  .dctx_destroy = deflate_dctx_destroy,
  .dctx_size = deflate_dctx_size,
  .decompress = deflate_decompress,
};
