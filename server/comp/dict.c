/* SPDX-License-Identifier: BSD-3-Clause */
/* Dictionaries, and the table of formats.
 * Contract: comp/dict.h.
 */

#include <config.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/check.h"
#include "base/fault.h"
#include "base/keep_errno.h"
#include "comp/dict.h"
#include "comp/zcomp.h"

static void
account (struct dict *d, size_t more)
{
  atomic_fetch_add_explicit (&d->memory, more, memory_order_relaxed);
  if (d->total)
    atomic_fetch_add_explicit (d->total, more, memory_order_relaxed);
}

static void
unaccount (struct dict *d, size_t less)
{
  atomic_fetch_sub_explicit (&d->memory, less, memory_order_relaxed);
  if (d->total)
    atomic_fetch_sub_explicit (d->total, less, memory_order_relaxed);
}

/* Tells dictionaries apart that were not made to collide. */
static uint64_t
fnv1a (const unsigned char *p, size_t size)
{
  uint64_t h = UINT64_C (0xcbf29ce484222325);

  for (size_t i = 0; i < size; i++)
    h = (h ^ p[i]) * UINT64_C (0x100000001b3);
  return h;
}

static int
check_bytes (const struct codec *codec, const void *bytes, size_t size,
             struct reason *why)
{
  const char *wrong = !codec->dict      ? "this algorithm takes no dictionary"
                      : size < DICT_MIN ? "a dictionary of fewer than 8 bytes"
                      : size > DICT_MAX ? "a dictionary of more than 1 MiB"
                                        : NULL;

  if (wrong) {
    reason_set (why, "%s", wrong);
    errno = EINVAL;
    return -1;
  }
  return codec->dict->check ? codec->dict->check (bytes, size, why) : 0;
}

/* Frees the parts that exist, while the dictionary is made or destroyed. */
static void
destroy (struct dict *d)
{
  KEEP_ERRNO;

  check_debug (!d->levels);
  if (d->digest) {
    unaccount (d, d->codec->dict->digest_size (d->digest));
    d->codec->dict->digest_free (d->digest);
  }
  free (d->bytes);
  unaccount (d, sizeof *d + d->held);
  check_debug (atomic_load (&d->memory) == 0);
  mutex_destroy (&d->lock);
  free (d);
}

static int
digest_bytes (struct dict *d, const char *bytes)
{
  const struct codec_dict *ops = d->codec->dict;

  d->bytes = alloc_zeroed (CACHE_LINE, d->held);
  if (!d->bytes)
    return -1;
  memcpy (d->bytes, bytes + d->size - d->held, d->held);
  if (fault_hit ("dict.digest")) {
    errno = ENOMEM;
    return -1;
  }
  d->digest = ops->digest (d->bytes, d->held);
  if (!d->digest)
    return -1;
  account (d, ops->digest_size (d->digest));
  return 0;
}

struct dict *
dict_new (const struct codec *codec, const void *bytes, size_t size,
          atomic_size_t *total, struct reason *why)
{
  struct dict *d;

  rank_may_sleep ("dict_new");
  if (check_bytes (codec, bytes, size, why) == -1)
    return NULL;
  d = alloc_zeroed (CACHE_LINE, sizeof *d);
  if (!d) {
    reason_set (why, "no memory");
    return NULL;
  }
  d->codec = codec;
  d->id = fnv1a (bytes, size);
  d->size = d->held = size;
  if (codec->dict->reach && codec->dict->reach < size)
    d->held = codec->dict->reach;
  d->total = total;
  atomic_init (&d->refs, 1);
  mutex_init (&d->lock, RANK_DICT);
  account (d, sizeof *d + d->held);
  if (digest_bytes (d, bytes) == -1) {
    destroy (d);
    reason_set (why, "no memory");
    errno = ENOMEM;
    return NULL;
  }
  return d;
}

void
dict_ref (struct dict *d)
{
  atomic_fetch_add_explicit (&d->refs, 1, memory_order_relaxed);
}

void
dict_unref (struct dict *d)
{
  if (d && atomic_fetch_sub_explicit (&d->refs, 1, memory_order_acq_rel) == 1)
    destroy (d);
}

int
dict_decompress (const struct dict *d, void *dctx, const void *src, size_t slen,
                 void *dst, size_t dlen)
{
  return d->codec->dict->decompress (dctx, d->digest, src, slen, dst, dlen);
}

/* ------------------------------------------------------------------------
 * Levels.
 */

static struct dict_level *
find_level_locked (struct dict *d, int level) REQUIRES (d->lock)
{
  struct dict_level *l = d->levels;

  while (l && l->level != level)
    l = l->next;
  return l;
}

static struct dict_level *
make_level_locked (struct dict *d, int level) REQUIRES (d->lock)
{
  const struct codec_dict *ops = d->codec->dict;
  struct dict_level *l = alloc_zeroed (0, sizeof *l);

  if (!l)
    return NULL;
  l->level = level;
  if (!fault_hit ("dict.level"))
    l->digest = ops->level_digest (d->bytes, d->held, level);
  if (!l->digest) {
    free (l);
    errno = ENOMEM;
    return NULL;
  }
  l->size = ops->level_size (l->digest);
  account (d, sizeof *l + l->size);
  l->next = d->levels;
  d->levels = l;
  return l;
}

const struct dict_level *
dict_level_get (struct dict *d, int level)
{
  struct dict_level *l;

  mutex_lock (&d->lock);
  l = find_level_locked (d, level);
  if (!l)
    l = make_level_locked (d, level);
  if (l) {
    l->users++;
    dict_ref (d);
  }
  mutex_unlock (&d->lock);
  return l;
}

void
dict_level_put (struct dict *d, const struct dict_level *level)
{
  KEEP_ERRNO;
  struct dict_level **at, *l = NULL;

  mutex_lock (&d->lock);
  for (at = &d->levels; *at != level; at = &(*at)->next)
    ;
  if (--(*at)->users == 0) {
    l = *at;
    *at = l->next;
  }
  mutex_unlock (&d->lock);
  if (l) {
    unaccount (d, sizeof *l + l->size);
    d->codec->dict->level_free (l->digest);
    free (l);
  }
  dict_unref (d);
}

/* ------------------------------------------------------------------------
 * Formats.
 */

/* A codec is never seen without its dictionary: the dictionary is set first and
 * removed last.
 */
void
formats_set (struct formats *f, unsigned format, struct dict *dict)
{
  struct format_dict *d = &f->dicts[format - FORMAT_DICT];

  mutex_lock (&f->lock);
  if (dict)
    atomic_store_explicit (&d->dict, dict, memory_order_release);
  atomic_store_explicit (&d->codec, dict ? dict->codec : NULL,
                         memory_order_release);
  if (!dict)
    atomic_store_explicit (&d->dict, NULL, memory_order_release);
  mutex_unlock (&f->lock);
}

int
formats_info (struct formats *f, unsigned format, struct zcomp_dict_info *info)
{
  struct dict *d;

  mutex_lock (&f->lock);
  d = format_dict (f, format);
  if (d)
    *info = (struct zcomp_dict_info){
      .codec = d->codec,
      .size = d->size,
      .memory = atomic_load_explicit (&d->memory, memory_order_relaxed),
      .id = d->id,
    };
  mutex_unlock (&f->lock);
  if (d)
    return 0;
  errno = EINVAL;
  return -1;
}
