/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A codec: one compression library behind one operations table.
 *
 *   codec.c       registry: id -> table        codec_lz4.c      1
 *   zcomp.c       contexts, and which thread   codec_lz4hc.c    2
 *                 may use them when            codec_zstd.c     3
 *                                              codec_deflate.c  4
 *
 * To add one: write codec_NAME.c with one 'const struct codec codec_NAME',
 * and give it a line (its id for ever) in the registry of codec.c.
 *
 * Objects are bare: they have no length of the source, no codec, no settings
 * and no checksum, because the caller that stores them knows all these.
 * decompress() gets the exact lengths of both sides and fails if they do not
 * match the object.
 *
 * Nothing here locks.  A context serves one thread at a time; zcomp.h decides
 * which.  Contexts with the same settings are interchangeable: each can
 * decompress what another compressed.
 */

#ifndef ZRAM_CODEC_H
#define ZRAM_CODEC_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "base/compiler.h"
#include "base/reason.h"

struct dict;

/* Ids are the formats 0 ... 15 of slots and never change their meaning. */
#define CODEC_RAW 0  /* not compressed: no codec has this id */
#define CODEC_IDS 16 /* ids are below this */

/* The settings that a context is made for. */
struct codec_params {
  int level;         /* level_min ... level_max of the codec */
  size_t slot_size;  /* bytes, the longest source there will be */
  struct dict *dict; /* of this codec, for compressing; NULL: none */
};

/* The part of a codec for dictionaries (comp/dict.h has the rest). */
struct codec_dict {
  size_t reach;      /* it uses only the last so many bytes; 0: all */
  bool takes_tables; /* it understands the tables of zstd's dictionaries */

  /* Can these bytes be one?  The size is DICT_MIN ... DICT_MAX.  -1 with
   * ENOMEM or EINVAL, and a reason.  NULL: any bytes can.
   */
  int (*check) (const void *bytes, size_t size, struct reason *why);

  /* The digest that all threads share, at least for decompressing.  The bytes
   * do not move while the digest exists.  NULL with ENOMEM.
   */
  void *(*digest) (const void *bytes, size_t size);
  void (*digest_free) (void *digest);
  size_t (*digest_size) (const void *digest);

  /* The same for compressing at one level.  NULL: 'digest' serves all. */
  void *(*level_digest) (const void *bytes, size_t size, int level);
  void (*level_free) (void *digest);
  size_t (*level_size) (const void *digest);

  /* As codec->decompress, for objects that were compressed with this
   * dictionary.  An object of another dictionary is treated like a damaged one:
   * it may be noticed or pass.
   */
  int (*decompress) (void *dctx, const void *digest, const void *src,
                     size_t slen, void *dst, size_t dlen);
};

/* compress() may already say "does not fit" when fewer than this many bytes of
 * the room would stay free (bit writers flush whole words).
 */
#define CODEC_SLACK 16 /* bytes */

struct codec {
  const char *name; /* as in algorithm=NAME */
  int level_min, level_max, level_default;

  /* False: decompress() takes NULL, and the dctx_ members are NULL. */
  bool decompress_needs_ctx;

  const struct codec_dict *dict; /* NULL: it takes no dictionary */

  /* A context for compressing, with all the memory that it will ever need; NULL
   * with errno ENOMEM. May sleep.  It holds the references to the dictionary
   * that it needs.
   */
  void *(*cctx_create) (const struct codec_params *params);
  void (*cctx_destroy) (void *cctx); /* never NULL */

  /* Bytes that the context holds: the library's number, or else the best
   * estimate.
   */
  size_t (*cctx_size) (const void *cctx);

  /* Compress slen (1 ... slot_size) bytes, which do not change meanwhile,
   * into dst.  Never writes past dst + dcap, whatever the source holds.
   * Returns the size of the result, 1 ... dcap; 0 if it does not fit; -1
   * with errno if the library failed.  The context can be used again in all
   * cases.  The same source and settings give the same bytes, whatever the
   * context did before.
   */
  ssize_t (*compress) (void *cctx, const void *src, size_t slen, void *dst,
                       size_t dcap);

  /* A context for decompressing; as above. */
  void *(*dctx_create) (const struct codec_params *params);
  void (*dctx_destroy) (void *dctx);
  size_t (*dctx_size) (const void *dctx);

  /* Decompress exactly slen bytes to exactly dlen (at least 1). src may be
   * damaged in any way: returns -1 if it is not exactly one object of that
   * length.  Damage that still looks like an object is not noticed.  Reads only
   * src and writes only dst; the contents of dst are undefined after -1.
   */
  int (*decompress) (void *dctx, const void *src, size_t slen, void *dst,
                     size_t dlen);
};

/* The codec of that exact name, or NULL. */
const struct codec *codec_find (const char *name);

/* The codec with that id; NULL for CODEC_RAW and unused ids.  To list all
 * codecs try every id from 1 to CODEC_IDS - 1.
 */
const struct codec *codec_by_id (unsigned id);

/* The id of a codec that is in the registry. */
unsigned codec_id (const struct codec *codec);

/* codec->cctx_create and dctx_create, with the fault points "codec.cctx" and
 * "codec.dctx".  Call these instead.  A dictionary of another codec: EINVAL. A
 * decompressing context serves all dictionaries, so it is not given one.
 */
void *codec_cctx_create (const struct codec *codec,
                         const struct codec_params *params) MUST_USE;
void *codec_dctx_create (const struct codec *codec,
                         const struct codec_params *params) MUST_USE;

#ifdef ZRAM_FAULTS
/* Test builds: register the test's own codec with the id CODEC_TEST, or with
 * NULL remove it.  Call it while nothing else uses the registry.
 */
#define CODEC_TEST (CODEC_IDS - 1)
void codec_register_test (const struct codec *codec);
#endif

#endif /* ZRAM_CODEC_H */
