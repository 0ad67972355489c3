/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A dictionary: bytes that a codec may refer to as if they stood before
 * every source.  And the table of formats, which says for every number that
 * a slot can hold what its object is decompressed with.
 *
 *   struct formats                      struct dict
 *   format 0       raw                 +---------------------------+
 *          1..15   codec of that id    | codec, id, bytes          |
 *          16 -----------------------> | digest      by the codec, |
 *          17      NULL: free          |             for all uses  |
 *          ...                         | levels ---+               |
 *          31                          +-----------|---------------+
 *                                                  v
 *                            struct dict_level   level 3 -> level 9
 *                            digest for compressing at one level, shared by
 *                            the contexts of all streams, gone with the last
 *
 * A dictionary never changes.  It is digested once: what the codec makes of
 * it is shared by all threads, and the levels' digests are made when the
 * first context asks for one.
 *
 * References: one is its maker's (zcomp, for those in the table), and one is
 * each level's that is in use.  A context holds references rather than rely
 * on the table's: a context of a stream that was exchanged dies when its last
 * borrower is gone, and a dictionary can be tried out, on contexts of one's
 * own, before there is any table that it is in.  Decompressing takes none:
 * whoever has an object of a format keeps that format in the table (zcomp.h).
 *
 * Invariants:
 *   memory = sizeof (struct dict) + held + size of digest
 *            + sum over levels of (sizeof (struct dict_level) + their size),
 *   and *total has been changed by as much
 *   held <= size; bytes are the last 'held' ones of the 'size' ones given
 *   each level in the list has users > 0
 *
 * Locks: dict->lock (rank: dictionary) protects the list of levels and their
 * counts; a codec digests with it held, so that who wants the same waits for
 * it instead of making a second.  formats->lock (same rank; one never holds
 * both) protects which formats are taken, for zcomp_dict_info.
 */

#ifndef ZRAM_DICT_H
#define ZRAM_DICT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/compiler.h"
#include "base/mutex.h"
#include "comp/codec.h"

/* zstd's own advice is about 100 KiB; train.h says what more would win.
 * Every object read may touch any byte of it, so what does not stay in the
 * processor's cache makes reads slow; and it is resident several times, once
 * and in each digest.
 */
#define DICT_MIN 8         /* bytes: both libraries ignore less */
#define DICT_MAX (1 << 20) /* bytes */

struct zcomp_dict_info;

struct dict_level {
  struct dict_level *next;
  int level;
  unsigned users; /* contexts */
  size_t size;
  void *digest;
};

struct dict {
  const struct codec *codec;
  uint64_t id;       /* FNV-1a of all bytes given */
  size_t size, held; /* bytes given, and kept */
  void *bytes, *digest;
  atomic_uint refs;
  atomic_size_t memory;
  atomic_size_t *total; /* or NULL */
  struct mutex lock;
  struct dict_level *levels GUARDED_BY (lock);
};

/* A copy of those bytes, checked and digested.  The memory it takes is added
 * to *total (unless NULL), which must live as long.  The caller has the first
 * reference.  May sleep.  Errors: NULL with ENOMEM, or EINVAL (the codec
 * takes none, or not this one), and a reason.
 */
struct dict *dict_new (const struct codec *codec, const void *bytes,
                       size_t size, atomic_size_t *total, struct reason *why)
  MUST_USE;

void dict_ref (struct dict *dict);
void dict_unref (struct dict *dict); /* NULL is allowed */

/* Exactly slen bytes to exactly dlen; as the codec's decompress. */
int dict_decompress (const struct dict *dict, void *dctx, const void *src,
                     size_t slen, void *dst, size_t dlen) MUST_USE;

/* For codecs.
 *
 * The digest for compressing at that level, with a reference to it and to
 * the dictionary; NULL with ENOMEM.  May sleep.
 */
const struct dict_level *dict_level_get (struct dict *dict, int level) MUST_USE;
void dict_level_put (struct dict *dict, const struct dict_level *level);

/* ------------------------------------------------------------------------
 * Formats.
 *
 * A thread that looks a format up has it from a slot (under that slot's lock)
 * or from a method; both were given the number after zcomp_dict_add had
 * returned, through a lock or an atomic variable that was stored with
 * release.  That alone orders the dictionary's bytes before the lookup; the
 * release and acquire here make it hold for any other way a number can take,
 * and cost nothing on the common processors.  The other end is the caller's
 * promise: zcomp_dict_remove is for formats that nobody has any more.
 *
 * The codec of a format stands beside its dictionary, so that whoever asks
 * for a name touches no dictionary, and may ask at any time.
 */

#define FORMAT_DICT CODEC_IDS /* formats from here on have a dictionary */
#define FORMAT_DICTS 16
#define FORMATS (FORMAT_DICT + FORMAT_DICTS) /* fits 5 bits of a slot */

struct format_dict {
  _Atomic (const struct codec *) codec;
  _Atomic (struct dict *) dict;
};

struct formats {
  struct mutex lock;
  struct format_dict dicts[FORMAT_DICTS];
};

static inline bool
format_is_dict (unsigned format)
{
  return format >= FORMAT_DICT && format < FORMATS;
}

/* The dictionary of a format; NULL for one without. */
static inline struct dict *
format_dict (const struct formats *f, unsigned format)
{
  return format_is_dict (format)
           ? atomic_load_explicit (&f->dicts[format - FORMAT_DICT].dict,
                                   memory_order_acquire)
           : NULL;
}

/* The codec of a format; NULL for CODEC_RAW and formats that are free. */
static inline const struct codec *
format_codec (const struct formats *f, unsigned format)
{
  return format_is_dict (format)
           ? atomic_load_explicit (&f->dicts[format - FORMAT_DICT].codec,
                                   memory_order_acquire)
           : codec_by_id (format);
}

/* Give a dictionary that format, or (NULL) take the one it has away from it;
 * one call at a time.  The references are the caller's.
 */
void formats_set (struct formats *f, unsigned format, struct dict *dict);

/* As zcomp_dict_info. */
int formats_info (struct formats *f, unsigned format,
                  struct zcomp_dict_info *info) MUST_USE;

#endif /* ZRAM_DICT_H */
