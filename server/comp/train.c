/* SPDX-License-Identifier: BSD-3-Clause */
/* Trains a dictionary on samples.
 * Contract: comp/train.h.
 */

#include <config.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <zdict.h>
#include <zstd.h>
#include <zstd_errors.h>

#include "base/alloc.h"
#include "base/fault.h"
#include "comp/dict.h"
#include "comp/train.h"

struct samples {
  const void *bytes;
  const size_t *sizes;
  unsigned n;
};

static const char nothing_found[] =
  "too few samples, or nothing in them that recurs";

static int
failed (struct reason *why, int error, const char *text)
{
  reason_set (why, "%s", text);
  errno = error;
  return -1;
}

static int
library_failed (struct reason *why, size_t code)
{
  return ZSTD_getErrorCode (code) == ZSTD_error_memory_allocation
           ? failed (why, ENOMEM, "no memory")
           : failed (why, EINVAL, nothing_found);
}

/* The library's choice: content with tables for its default level. */
static int
choose (const struct samples *s, size_t size, struct dict_bytes *out,
        struct reason *why)
{
  size_t r;

  out->bytes = alloc_zeroed (0, size);
  if (!out->bytes || fault_hit ("dict.train"))
    return failed (why, ENOMEM, "no memory");
  r = ZDICT_trainFromBuffer (out->bytes, size, s->bytes, s->sizes, s->n);
  if (ZDICT_isError (r))
    return library_failed (why, r);
  out->size = r;
  return 0;
}

/* Only the content is left. */
static int
strip_tables (struct dict_bytes *d, struct reason *why)
{
  size_t r = ZDICT_getDictHeaderSize (d->bytes, d->size);

  if (ZDICT_isError (r))
    return library_failed (why, r);
  d->size -= r;
  memmove (d->bytes, (char *) d->bytes + r, d->size);
  return 0;
}

/* Put tables for that level before the content, size bytes in all. */
static int
add_tables (const struct samples *s, int level, size_t size,
            struct dict_bytes *d, struct reason *why)
{
  const ZDICT_params_t params = { .compressionLevel = level };
  void *whole = alloc_zeroed (0, size);
  size_t r;

  if (!whole)
    return failed (why, ENOMEM, "no memory");
  r = ZDICT_finalizeDictionary (whole, size, d->bytes, d->size, s->bytes,
                                s->sizes, s->n, params);
  if (ZDICT_isError (r)) {
    free (whole);
    return library_failed (why, r);
  }
  free (d->bytes);
  *d = (struct dict_bytes){ .bytes = whole, .size = r };
  return 0;
}

static int
train (const struct codec_dict *ops, int level, const struct samples *s,
       size_t size, struct dict_bytes *out, struct reason *why)
{
  if (choose (s, size, out, why) == -1 || strip_tables (out, why) == -1)
    return -1;
  if (ops->takes_tables && add_tables (s, level, size, out, why) == -1)
    return -1;
  return out->size < DICT_MIN ? failed (why, EINVAL, nothing_found) : 0;
}

int
dict_train (const struct codec *codec, int level, const void *samples,
            const size_t *sizes, unsigned n, size_t dict_size,
            struct dict_bytes *out, struct reason *why)
{
  const struct samples s = { .bytes = samples, .sizes = sizes, .n = n };
  const struct codec_dict *ops = codec->dict;

  rank_may_sleep ("dict_train");
  *out = (struct dict_bytes){ .bytes = NULL };
  if (!ops)
    return failed (why, EINVAL, "this algorithm takes no dictionary");
  if (dict_size < DICT_TRAIN_MIN || dict_size > DICT_MAX)
    return failed (why, EINVAL,
                   "a dictionary of less than 256 B or over 1 MiB");
  if (ops->reach && dict_size > ops->reach)
    dict_size = ops->reach;
  if (train (ops, level, &s, dict_size, out, why) == 0)
    return 0;
  free (out->bytes);
  *out = (struct dict_bytes){ .bytes = NULL };
  return -1;
}
