/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Dictionaries: trained on the stored data, installed if that pays, and freed
 * when nothing needs them any more.
 *
 *   live slots --sample--> 3/4 train --> dictionary
 *                          1/4 held out: packed without it and with it
 *                                         |
 *              gain over all slots > twice the cost, and worth the time
 *              that it takes?  install:
 *              the primary and the secondary methods of its codec use it
 *              from now on
 *
 * Old dictionaries stay for the objects in their format, which the store
 * counts.  They are freed when the last of these is gone.
 *
 * Locks: store->settings while formats or methods change; the recompressor's
 * 'control' while a dictionary is freed, because the recompressor's work holds
 * copies of objects.
 */

#ifndef ZRAM_DICTIONARY_H
#define ZRAM_DICTIONARY_H

#include "base/reason.h"
#include "maint/recompressor.h"

#define TRAIN_SIZE (64u << 10)  /* bytes of a dictionary, the default */
#define TRAIN_BYTES (32u << 20) /* of samples, the default */
#define TRAIN_BYTES_MAX (256u << 20)
#define TRAIN_SAMPLES_MIN 64

struct train_request {
  uint64_t samples; /* slots; 0: as many as TRAIN_BYTES hold */
  size_t size;      /* bytes, DICT_TRAIN_MIN … DICT_MAX; 0: TRAIN_SIZE */
};

/* The result for one codec. */
struct train_gain {
  const struct codec *codec;
  unsigned methods;       /* that would use the dictionary */
  uint64_t before, after; /* bytes of memory that the held-out slots take */
  uint64_t saves;         /* bytes, estimated for all stored data */
  uint64_t costs;         /* bytes, the dictionary and its digests */
  size_t size;            /* bytes */
  bool installed;
  unsigned format; /* if it was */
};

#define TRAIN_CODECS 2

struct train_result {
  uint64_t samples, held_out; /* slots */
  unsigned n;
  struct train_gain gains[TRAIN_CODECS];
};

/* Train in the calling thread; takes seconds, and keeps the samples in memory
 * meanwhile.  -1 with a reason if training is not possible or memory is out;
 * else 0, also if it was cancelled or did not pay.  'progress' counts slots; it
 * may be NULL.
 */
int dictionary_train (struct store *store, struct recompressor *r,
                      const struct train_request *request,
                      struct pass_progress *progress,
                      struct train_result *result, struct reason *why) MUST_USE;

/* Free the dictionaries that no method names and no object needs.  Does nothing
 * if the settings are being changed.  Returns how many were freed.
 */
unsigned dictionary_sweep (struct store *store, struct recompressor *r);

struct dictionary_usage {
  unsigned number;
  uint64_t memory; /* bytes, digests included */
};

/* The loaded dictionaries.  Takes a lock of rank dictionary. */
struct dictionary_usage dictionary_usage (struct zcomp *zcomp);

#endif /* ZRAM_DICTIONARY_H */
