/* SPDX-License-Identifier: BSD-3-Clause */
/* Codec: Zstandard.
 * Contract: comp/codec.h.
 */

/*
 * A frame has no magic number, content size, checksum and dictionary id: two
 * bytes of frame header and three of block header are left.  "Without magic" is
 * an experimental setting that a library may not have, and both sides must
 * agree: see has_magicless.
 *
 * ZSTD_compress2 knows the length of the source, so window and tables fit a
 * slot: 90016 bytes for 4 KiB at level 3, not 1.3 MB.  The deprecated
 * ways (ZSTD_compress_advanced, ZSTD_compressBlock) are no faster: 28 to 30
 * us per 4 KiB each, zstd 1.5.4.
 */

#include <config.h>

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

#define ZSTD_STATIC_LINKING_ONLY /* names of the experimental settings */
#include <zdict.h>
#include <zstd.h>
#include <zstd_errors.h>

#include "base/alloc.h"
#include "comp/codec.h"
#include "comp/dict.h"

/* Does the library read and write frames without magic number?  This depends
 * only on the library, so it is the same for every context of the process.
 */
static bool
has_magicless (void)
{
  const ZSTD_bounds c = ZSTD_cParam_getBounds (ZSTD_c_format);
  const ZSTD_bounds d = ZSTD_dParam_getBounds (ZSTD_d_format);

  return !ZSTD_isError (c.error) && !ZSTD_isError (d.error) &&
         c.upperBound >= ZSTD_f_zstd1_magicless &&
         d.upperBound >= ZSTD_f_zstd1_magicless;
}

static bool
set (ZSTD_CCtx *c, ZSTD_cParameter param, int value)
{
  return !ZSTD_isError (ZSTD_CCtx_setParameter (c, param, value));
}

static bool
configure (ZSTD_CCtx *c, int level)
{
  return set (c, ZSTD_c_compressionLevel, level) &&
         set (c, ZSTD_c_contentSizeFlag, 0) &&
         set (c, ZSTD_c_checksumFlag, 0) && set (c, ZSTD_c_dictIDFlag, 0) &&
         (!has_magicless () || set (c, ZSTD_c_format, ZSTD_f_zstd1_magicless));
}

/* The library allocates its tables in the first call, so make that call now:
 * later ones find them large enough.  It does not matter whether the result
 * fits.
 */
static bool
warm_up (ZSTD_CCtx *c, size_t slot_size)
{
  char out[64];
  void *zeroes = alloc_zeroed (0, slot_size);
  size_t n;

  if (!zeroes)
    return false;
  n = ZSTD_compress2 (c, out, sizeof out, zeroes, slot_size);
  free (zeroes);
  return !ZSTD_isError (n) ||
         ZSTD_getErrorCode (n) == ZSTD_error_dstSize_tooSmall;
}

struct zstd_cctx {
  ZSTD_CCtx *c;
  struct dict *dict; /* NULL: none, and no level */
  const struct dict_level *level;
};

static bool
refer (struct zstd_cctx *c, const struct codec_params *params)
{
  if (!params->dict)
    return true;
  c->level = dict_level_get (params->dict, params->level);
  if (!c->level)
    return false;
  c->dict = params->dict;
  return !ZSTD_isError (ZSTD_CCtx_refCDict (c->c, c->level->digest));
}

static void
zstd_cctx_destroy (void *cctx)
{
  struct zstd_cctx *c = cctx;

  ZSTD_freeCCtx (c->c);
  if (c->level)
    dict_level_put (c->dict, c->level);
  free (c);
}

static void *
zstd_cctx_create (const struct codec_params *params)
{
  struct zstd_cctx *c = alloc_zeroed (0, sizeof *c);

  if (!c)
    return NULL;
  c->c = ZSTD_createCCtx ();
  if (!c->c || !configure (c->c, params->level) || !refer (c, params) ||
      !warm_up (c->c, params->slot_size)) {
    zstd_cctx_destroy (c);
    errno = ENOMEM;
    return NULL;
  }
  return c;
}

static size_t
zstd_cctx_size (const void *cctx)
{
  const struct zstd_cctx *c = cctx;

  return sizeof *c + ZSTD_sizeof_CCtx (c->c);
}

static ssize_t
zstd_compress (void *cctx, const void *src, size_t slen, void *dst, size_t dcap)
{
  struct zstd_cctx *c = cctx;
  size_t n = ZSTD_compress2 (c->c, dst, dcap, src, slen);

  if (!ZSTD_isError (n))
    return (ssize_t) n;
  switch (ZSTD_getErrorCode (n)) {
  case ZSTD_error_dstSize_tooSmall:
    return 0;
  case ZSTD_error_memory_allocation:
    errno = ENOMEM;
    return -1;
  default:
    errno = EIO;
    return -1;
  }
}

static void *
zstd_dctx_create (const struct codec_params *params)
{
  ZSTD_DCtx *d = ZSTD_createDCtx ();

  (void) params;
  if (!d ||
      (has_magicless () && ZSTD_isError (ZSTD_DCtx_setParameter (
                             d, ZSTD_d_format, ZSTD_f_zstd1_magicless)))) {
    ZSTD_freeDCtx (d);
    errno = ENOMEM;
    return NULL;
  }
  return d;
}

static void
zstd_dctx_destroy (void *dctx)
{
  ZSTD_freeDCtx (dctx);
}

static size_t
zstd_dctx_size (const void *dctx)
{
  return ZSTD_sizeof_DCtx (dctx);
}

/* Are these slen bytes one frame of the kind that zstd_compress makes?
 *
 *   [magic 4] | 0 | window | block header 3 | ... | block header 3 | ...
 *
 * The zero says: no content size, checksum or dictionary id.  In a block
 * header bit 0 marks the last block, bits 1 and 2 are its type, the others
 * its size.
 *
 * The library accepts more (a row of frames, skippable frames, frames of old
 * versions), and looks for these in a magicless source as well, where it reads
 * 4 bytes even if only 1 is left (1.5.4).  With a source that passes here that
 * cannot happen.
 */
static bool
is_one_frame (const unsigned char *src, size_t slen)
{
  size_t at = has_magicless () ? 0 : 4;
  uint32_t head;

  if (slen < at + 2 || src[at] != 0)
    return false;
  at += 2;
  do {
    if (slen - at < 3)
      return false;
    head = src[at] | (uint32_t) src[at + 1] << 8 | (uint32_t) src[at + 2] << 16;
    at += 3;
    switch (head >> 1 & 3) {
    case 0: /* raw */
    case 2: /* compressed */
      if (slen - at < head >> 3)
        return false;
      at += head >> 3;
      break;
    case 1: /* one byte, repeated */
      if (slen - at < 1)
        return false;
      at++;
      break;
    default:
      return false;
    }
  } while (!(head & 1));
  return at == slen;
}

static int
zstd_decompress (void *dctx, const void *src, size_t slen, void *dst,
                 size_t dlen)
{
  if (!is_one_frame (src, slen))
    return -1;
  /* An error code is larger than any length. */
  return ZSTD_decompressDCtx (dctx, dst, dlen, src, slen) == dlen ? 0 : -1;
}

/* ------------------------------------------------------------------------
 * Dictionaries: the library's own (with a magic number and tables), and any
 * other bytes, to which a frame just refers.  The library keeps copies: its
 * calls that take bytes by reference are not stable yet.
 *
 * A slot's frame has the same form with a dictionary; it does not contain the
 * dictionary's id.
 */

static bool
has_tables (const unsigned char *bytes)
{
  return (bytes[0] | (uint32_t) bytes[1] << 8 | (uint32_t) bytes[2] << 16 |
          (uint32_t) bytes[3] << 24) == ZSTD_MAGIC_DICTIONARY;
}

/* Inconsistent tables would make every digest fail, in a way that looks the
 * same as a lack of memory.
 */
static int
zstd_dict_check (const void *bytes, size_t size, struct reason *why)
{
  size_t r = has_tables (bytes) ? ZDICT_getDictHeaderSize (bytes, size) : 0;

  if (!ZDICT_isError (r))
    return 0;
  if (ZSTD_getErrorCode (r) == ZSTD_error_memory_allocation) {
    reason_set (why, "no memory");
    errno = ENOMEM;
    return -1;
  }
  reason_set (why, "a zstd dictionary with damaged tables");
  errno = EINVAL;
  return -1;
}

static void *
zstd_digest (const void *bytes, size_t size)
{
  ZSTD_DDict *d = ZSTD_createDDict (bytes, size);

  if (!d)
    errno = ENOMEM;
  return d;
}

static void
zstd_digest_free (void *digest)
{
  ZSTD_freeDDict (digest);
}

static size_t
zstd_digest_size (const void *digest)
{
  return ZSTD_sizeof_DDict (digest);
}

static void *
zstd_level_digest (const void *bytes, size_t size, int level)
{
  ZSTD_CDict *d = ZSTD_createCDict (bytes, size, level);

  if (!d)
    errno = ENOMEM;
  return d;
}

static void
zstd_level_free (void *digest)
{
  ZSTD_freeCDict (digest);
}

static size_t
zstd_level_size (const void *digest)
{
  return ZSTD_sizeof_CDict (digest);
}

static int
zstd_dict_decompress (void *dctx, const void *digest, const void *src,
                      size_t slen, void *dst, size_t dlen)
{
  if (!is_one_frame (src, slen))
    return -1;
  return ZSTD_decompress_usingDDict (dctx, dst, dlen, src, slen, digest) == dlen
           ? 0
           : -1;
}

static const struct codec_dict zstd_dict = {
  .takes_tables = true,
  .check = zstd_dict_check,
  .digest = zstd_digest,
  .digest_free = zstd_digest_free,
  .digest_size = zstd_digest_size,
  .level_digest = zstd_level_digest,
  .level_free = zstd_level_free,
  .level_size = zstd_level_size,
  .decompress = zstd_dict_decompress,
};

const struct codec codec_zstd = {
  .name = "zstd",
  .level_min = -ZSTD_TARGETLENGTH_MAX, /* ZSTD_minCLevel () */
  .level_max = 22,                     /* ZSTD_maxCLevel () */
  .level_default = ZSTD_CLEVEL_DEFAULT,
  .decompress_needs_ctx = true,
  .dict = &zstd_dict,
  .cctx_create = zstd_cctx_create,
  .cctx_destroy = zstd_cctx_destroy,
  .cctx_size = zstd_cctx_size,
  .compress = zstd_compress,
  .dctx_create = zstd_dctx_create,
  .dctx_destroy = zstd_dctx_destroy,
  .dctx_size = zstd_dctx_size,
  .decompress = zstd_decompress,
};
