/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The parts of a compression stream: buffers and codec contexts. zcomp.c
 * decides which thread may use them when; here the caller is the only user.
 *
 *   buffer        slot_size bytes: results of compressing
 *   scratch       slot_size bytes: the borrower's
 *   compressors   [0] the primary method's, made with the parts, stays
 *                 [1...] other methods', made on demand; when all places are
 *                 taken a new one takes the place of the one made longest ago
 *   dctx          by codec id, not by format: one serves all dictionaries of
 *                 its codec; the primary's made with the parts, the others on
 *                 demand
 *
 * Invariant: bytes = sizeof (struct stream_parts) + 2 * slot_size
 *                    + sum of the contexts' sizes when they were made,
 * and *total has been changed by as much.
 */

#ifndef ZRAM_STREAM_PARTS_H
#define ZRAM_STREAM_PARTS_H

#include <stdatomic.h>
#include <stddef.h>

#include "base/compiler.h"
#include "comp/codec.h"
#include "comp/dict.h"
#include "comp/zcomp.h"

struct compressor {
  const struct codec *codec; /* NULL: this place is empty */
  struct zcomp_method method;
  void *cctx;
  size_t bytes;
};

struct stream_parts {
  void *buffer, *scratch;
  struct compressor compressors[ZCOMP_MAX_METHODS];
  void *dctx[CODEC_IDS];
  unsigned oldest; /* the place of [1...] to be reused next */
  size_t slot_size, bytes;
  const struct formats *formats;
  atomic_size_t *total; /* bytes of all streams' parts */
};

/* Parts with the contexts of a valid method.  NULL with ENOMEM. */
struct stream_parts *stream_parts_new (const struct zcomp_method *primary,
                                       const struct formats *formats,
                                       size_t slot_size, atomic_size_t *total)
  MUST_USE;
void stream_parts_free (struct stream_parts *p); /* NULL is allowed */

/* The compressor for that method, valid until the next call.  NULL with ENOMEM,
 * or EINVAL for an impossible method.
 */
const struct compressor *
stream_parts_compressor (struct stream_parts *p,
                         const struct zcomp_method *method) MUST_USE;

/* Free the compressors for that format, which is not the primary's. */
void stream_parts_forget (struct stream_parts *p, unsigned format);

/* Make p->dctx[id] if the codec needs one and it does not exist yet: 0, or -1
 * with ENOMEM. A codec with that id exists.
 */
int stream_parts_need_dctx (struct stream_parts *p, unsigned id) MUST_USE;

/* The same for every codec. */
int stream_parts_need_all (struct stream_parts *p) MUST_USE;

/* The codec of the method if the method is possible, else NULL with EINVAL. */
const struct codec *method_codec (const struct formats *formats,
                                  const struct zcomp_method *method) MUST_USE;

#endif /* ZRAM_STREAM_PARTS_H */
