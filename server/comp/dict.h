/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A dictionary: bytes that a codec may refer to as if they stood before every
 * source.  And the table of formats: for every format number in a slot it names
 * the codec and dictionary that decompress the slot's object.
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
 * A dictionary never changes.  It is digested once: all threads share the
 * codec's digest.  The digest of a level is made when the first context asks
 * for it.
 *
 * References: its maker has one (zcomp, for those in the table), and so has
 * each level in use.  A context holds its own references and does not rely on
 * the table's, for two reasons: a context of a stream that was exchanged dies
 * when its last borrower is done, and a dictionary can be tried out, on
 * separate contexts, before it is in any table.  Decompressing takes no
 * reference: an object of a format keeps that format in the table (zcomp.h).
 *
 * Invariants:
 *   memory = sizeof (struct dict) + held + size of digest
 *            + sum over levels of (sizeof (struct dict_level) + their size),
 *   and *total has been changed by as much
 *   held <= size; bytes are the last 'held' ones of the 'size' ones given
 *   each level in the list has users > 0
 *
 * Locks: dict->lock (rank: dictionary) protects the list of levels and their
 * counts.  A codec digests with it held, so that a thread that wants the same
 * digest waits instead of making a second one. formats->lock (same rank; no
 * thread holds both) protects which formats are taken, for zcomp_dict_info.
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

/* zstd's own advice is about 100 KiB; train.h says how much a larger one gains.
 * Every read of an object may touch any byte of it.  So a dictionary that does
 * not fit in the processor's cache makes reads slow.  It is also resident
 * several times: once, and in each digest.
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

/* A dictionary with a copy of these bytes, checked and digested.  Its memory is
 * added to *total (unless NULL), which must live as long.  The caller has the
 * first reference.  May sleep.  Errors: NULL with ENOMEM, or with EINVAL if the
 * codec takes no dictionary, or not this one; and a reason.
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
 * A thread that looks a format up has its number from a slot (under that slot's
 * lock) or from a method.  Both got the number after zcomp_dict_add had
 * returned, through a lock or an atomic variable that was stored with release.
 * That alone orders the dictionary's bytes before the lookup.  The release and
 * acquire here make it hold for any other way that a number can take, and cost
 * nothing on the common processors.  At the other end the caller promises to
 * call zcomp_dict_remove only for formats that are not in use any more.
 *
 * The codec of a format is stored beside its dictionary.  So a lookup of a name
 * touches no dictionary, and is allowed at any time.
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

/* Set the dictionary of that format, or (NULL) remove it; one call at a time.
 * The caller keeps the references.
 */
void formats_set (struct formats *f, unsigned format, struct dict *dict);

/* As zcomp_dict_info. */
int formats_info (struct formats *f, unsigned format,
                  struct zcomp_dict_info *info) MUST_USE;

#endif /* ZRAM_DICT_H */
