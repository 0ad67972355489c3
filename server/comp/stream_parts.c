/* SPDX-License-Identifier: BSD-3-Clause */
/* The buffers and codec contexts of one stream.
 * Contract: comp/stream_parts.h.
 */

#include <config.h>

#include <errno.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "base/check.h"
#include "base/keep_errno.h"
#include "comp/stream_parts.h"

static void
account (struct stream_parts *p, size_t more)
{
  p->bytes += more;
  atomic_fetch_add_explicit (p->total, more, memory_order_relaxed);
}

static void
unaccount (struct stream_parts *p, size_t less)
{
  p->bytes -= less;
  atomic_fetch_sub_explicit (p->total, less, memory_order_relaxed);
}

const struct codec *
method_codec (const struct formats *formats, const struct zcomp_method *method)
{
  const struct codec *codec = format_codec (formats, method->format);

  if (codec && method->level >= codec->level_min &&
      method->level <= codec->level_max)
    return codec;
  errno = EINVAL;
  return NULL;
}

static int
make_compressor (struct stream_parts *p, struct compressor *c,
                 const struct codec *codec, const struct zcomp_method *method)
{
  const struct codec_params params = {
    .level = method->level,
    .slot_size = p->slot_size,
    .dict = format_dict (p->formats, method->format),
  };

  c->cctx = codec_cctx_create (codec, &params);
  if (!c->cctx)
    return -1;
  c->codec = codec;
  c->method = *method;
  c->bytes = codec->cctx_size (c->cctx);
  account (p, c->bytes);
  return 0;
}

static void
drop_compressor (struct stream_parts *p, struct compressor *c)
{
  KEEP_ERRNO;

  if (!c->codec)
    return;
  unaccount (p, c->bytes);
  c->codec->cctx_destroy (c->cctx);
  *c = (struct compressor){ .codec = NULL };
}

const struct compressor *
stream_parts_compressor (struct stream_parts *p,
                         const struct zcomp_method *method)
{
  const struct codec *codec = method_codec (p->formats, method);
  struct compressor *c;

  if (!codec)
    return NULL;
  for (unsigned i = 0; i < ZCOMP_MAX_METHODS; i++) {
    c = &p->compressors[i];
    if (c->codec && c->method.format == method->format &&
        c->method.level == method->level)
      return c;
  }
  c = &p->compressors[1 + p->oldest];
  drop_compressor (p, c);
  if (make_compressor (p, c, codec, method) == -1)
    return NULL;
  p->oldest = (p->oldest + 1) % (ZCOMP_MAX_METHODS - 1);
  return c;
}

void
stream_parts_forget (struct stream_parts *p, unsigned format)
{
  check_always (p->compressors[0].method.format != format);
  for (unsigned i = 1; i < ZCOMP_MAX_METHODS; i++)
    if (p->compressors[i].method.format == format)
      drop_compressor (p, &p->compressors[i]);
}

int
stream_parts_need_dctx (struct stream_parts *p, unsigned id)
{
  const struct codec *codec = codec_by_id (id);
  const struct codec_params params = {
    .level = codec->level_default,
    .slot_size = p->slot_size,
  };

  if (!codec->decompress_needs_ctx || p->dctx[id])
    return 0;
  p->dctx[id] = codec_dctx_create (codec, &params);
  if (!p->dctx[id])
    return -1;
  account (p, codec->dctx_size (p->dctx[id]));
  return 0;
}

int
stream_parts_need_all (struct stream_parts *p)
{
  for (unsigned id = CODEC_RAW + 1; id < CODEC_IDS; id++)
    if (codec_by_id (id) && stream_parts_need_dctx (p, id) == -1)
      return -1;
  return 0;
}

static int
make_parts (struct stream_parts *p, const struct zcomp_method *primary)
{
  const struct codec *codec = format_codec (p->formats, primary->format);

  p->buffer = alloc_zeroed (CACHE_LINE, p->slot_size);
  if (!p->buffer)
    return -1;
  p->scratch = alloc_zeroed (CACHE_LINE, p->slot_size);
  if (!p->scratch)
    return -1;
  account (p, sizeof *p + 2 * p->slot_size);
  if (make_compressor (p, &p->compressors[0], codec, primary) == -1)
    return -1;
  return stream_parts_need_dctx (p, codec_id (codec));
}

struct stream_parts *
stream_parts_new (const struct zcomp_method *primary,
                  const struct formats *formats, size_t slot_size,
                  atomic_size_t *total)
{
  struct stream_parts *p = alloc_zeroed (0, sizeof *p);

  if (!p)
    return NULL;
  p->slot_size = slot_size;
  p->formats = formats;
  p->total = total;
  if (make_parts (p, primary) == -1) {
    stream_parts_free (p);
    errno = ENOMEM;
    return NULL;
  }
  return p;
}

void
stream_parts_free (struct stream_parts *p)
{
  KEEP_ERRNO;

  if (!p)
    return;
  for (unsigned i = 0; i < ZCOMP_MAX_METHODS; i++)
    drop_compressor (p, &p->compressors[i]);
  for (unsigned id = 0; id < CODEC_IDS; id++)
    if (p->dctx[id])
      codec_by_id (id)->dctx_destroy (p->dctx[id]);
  unaccount (p, p->bytes);
  free (p->scratch);
  free (p->buffer);
  free (p);
}
