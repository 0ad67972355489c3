/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * For the tests of dictionaries: bytes for them, of each kind that there is.
 *
 *   TINY      as few as there may be
 *   PLAIN     text, without tables: as good as a dictionary can be for TEXT
 *   TRAINED   by dict_train: for zstd with tables
 *   LARGE     noise, more than lz4 can reach
 */

#ifndef TEST_DICT_UTIL_H
#define TEST_DICT_UTIL_H

#include "codec-util.h"

#include "comp/train.h"

enum dict_kind { TINY, PLAIN, TRAINED, LARGE, DICT_KINDS };

#define SAMPLES 300
#define SAMPLE 4096
#define TRAINED_SIZE 8192

/* Pages of TEXT, POINTERS and MIXED by turns. */
static inline unsigned char *
make_samples (size_t *sizes)
{
  unsigned char *p = malloc (SAMPLES * SAMPLE);
  struct unit_rng rng = { 1 }; /* always the same: who reads them is tested */

  check_always (p);
  for (size_t i = 0; i < SAMPLES; i++) {
    fill (p + i * SAMPLE, SAMPLE,
          i % 3 == 0   ? TEXT
          : i % 3 == 1 ? POINTERS
                       : MIXED,
          &rng);
    sizes[i] = SAMPLE;
  }
  return p;
}

static inline struct dict_bytes
train_bytes (const struct codec *codec)
{
  static size_t sizes[SAMPLES];
  unsigned char *samples = make_samples (sizes);
  struct dict_bytes out;
  struct reason why = { "" };

  if (dict_train (codec, codec->level_default, samples, sizes, SAMPLES,
                  TRAINED_SIZE, &out, &why) == -1)
    fail_msg ("%s", why.text);
  assert_string_equal (why.text, "");
  free (samples);
  return out;
}

static inline struct dict_bytes
dict_bytes_of (const struct codec *codec, enum dict_kind kind, uint64_t seed)
{
  static const size_t sizes[DICT_KINDS] = {
    [TINY] = DICT_MIN, [PLAIN] = 20000, [LARGE] = 200000
  };
  struct unit_rng rng = unit_rng (seed);
  struct dict_bytes b;

  if (kind == TRAINED)
    return train_bytes (codec);
  b.size = sizes[kind];
  b.bytes = malloc (b.size);
  check_always (b.bytes);
  fill (b.bytes, b.size, kind == LARGE ? RANDOM : TEXT, &rng);
  return b;
}

static inline struct dict *
make_dict (const struct codec *codec, enum dict_kind kind, uint64_t seed,
           atomic_size_t *total)
{
  struct dict_bytes b = dict_bytes_of (codec, kind, seed);
  struct reason why = { "" };
  struct dict *d = dict_new (codec, b.bytes, b.size, total, &why);

  if (!d)
    fail_msg ("%s", why.text);
  assert_string_equal (why.text, "");
  free (b.bytes);
  return d;
}

static inline void
for_each_dict_codec (void (*f) (const struct codec *codec))
{
  const struct codec *codec;

  for (unsigned id = CODEC_RAW + 1; id < CODEC_IDS; id++)
    if ((codec = codec_by_id (id)) != NULL && codec->dict)
      f (codec);
}

#endif /* TEST_DICT_UTIL_H */
