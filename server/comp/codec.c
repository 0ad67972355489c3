/* SPDX-License-Identifier: BSD-3-Clause */
/* The registry of codecs.
 * Contract: comp/codec.h.
 */

#include <config.h>

#include <errno.h>
#include <string.h>

#include "base/check.h"
#include "base/fault.h"
#include "base/rank.h"
#include "comp/codec.h"
#include "comp/dict.h"

/* The registry: id and name of each codec.  Ids are in stored slots, so an
 * id is never given to another codec.
 */
#define CODECS(X) \
  X (1, lz4)      \
  X (2, lz4hc)    \
  X (3, zstd)     \
  X (4, deflate)

#define DECLARE(id, name) extern const struct codec codec_##name;
CODECS (DECLARE)

#define ENTRY(id, name) [id] = &codec_##name,
static const struct codec *registry[CODEC_IDS] = { CODECS (ENTRY) };

const struct codec *
codec_find (const char *name)
{
  for (unsigned id = CODEC_RAW + 1; id < CODEC_IDS; id++)
    if (registry[id] && strcmp (registry[id]->name, name) == 0)
      return registry[id];
  return NULL;
}

const struct codec *
codec_by_id (unsigned id)
{
  return id < CODEC_IDS ? registry[id] : NULL;
}

unsigned
codec_id (const struct codec *codec)
{
  for (unsigned id = CODEC_RAW + 1; id < CODEC_IDS; id++)
    if (registry[id] == codec)
      return id;
  check_always (!"codec is in the registry");
  return CODEC_RAW;
}

void *
codec_cctx_create (const struct codec *codec, const struct codec_params *params)
{
  rank_may_sleep ("codec_cctx_create");
  if (params->dict && params->dict->codec != codec) {
    errno = EINVAL;
    return NULL;
  }
  if (fault_hit ("codec.cctx")) {
    errno = ENOMEM;
    return NULL;
  }
  return codec->cctx_create (params);
}

void *
codec_dctx_create (const struct codec *codec, const struct codec_params *params)
{
  rank_may_sleep ("codec_dctx_create");
  if (fault_hit ("codec.dctx")) {
    errno = ENOMEM;
    return NULL;
  }
  return codec->dctx_create (params);
}

#ifdef ZRAM_FAULTS
void
codec_register_test (const struct codec *codec)
{
  registry[CODEC_TEST] = codec;
}
#endif
