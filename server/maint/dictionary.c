/* SPDX-License-Identifier: BSD-3-Clause */
/* Dictionaries: sampling, training, trying, installing, freeing.
 * Contract: maint/dictionary.h.
 */

#include <config.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/error_text.h"
#include "comp/train.h"
#include "maint/dictionary.h"
#include "store/slot_walk.h"
#include "store/claim.h"
#include "store/object.h"
#include "store/slot_read.h"

#define HELD_OUT 4 /* one of so many samples is held out */

/* A dictionary pays if it saves so many times its cost, and so many thousandths
 * of the memory that its slots take.  More is required for the primary method,
 * because there requests pay for it with time: lz4 takes 12 us for 4 KiB with a
 * dictionary and 8.5 without, and saves 3 to 4 %.
 */
#define PAYS_TIMES 2
#define PAYS_PERMILLE 10
#define PAYS_PERMILLE_PRIMARY 50

struct training {
  struct store *store;
  struct recompressor *r;
  const struct train_request *request;
  struct pass_progress *progress; /* or NULL */
  struct train_result *result;
  struct reason *why;
  char *train, *held; /* slots' data, one after the other */
  uint64_t wanted;
  struct zcomp_method users[1 + RECOMPRESS_METHODS]; /* [0] the primary */
  unsigned users_count;
};

static int
fail (struct training *t, const char *what, const char *reason)
{
  reason_set (t->why, "%s: %s", what, reason);
  return -1;
}

static bool
cancelled (const struct training *t)
{
  return t->progress && atomic_load (&t->progress->cancel);
}

static void
advance (struct training *t, uint64_t slots)
{
  if (t->progress)
    atomic_fetch_add (&t->progress->done, slots);
}

/* -- samples ------------------------------------------------------------ */

static uint64_t
next_random (uint64_t *state)
{
  *state ^= *state << 13;
  *state ^= *state >> 7;
  *state ^= *state << 17;
  return *state;
}

/* Choose each object with the same probability: samples still wanted / objects
 * still left.  Whether a slot is an object is a hint here: a sample is read
 * under the slot's lock.
 */
static void
collect (struct training *t)
{
  uint32_t slot_size = t->store->config.slot_size;
  uint64_t left = (uint64_t) store_sum (t->store, DISK_OBJECTS);
  uint64_t wanted = t->wanted, random = clock_ns () | 1;
  struct train_result *r = t->result;
  struct slot_walk w;

  slot_walk_all (&w, t->store);
  while (left > 0 && wanted > 0 && !cancelled (t) && slot_walk_next (&w)) {
    if (slot_meta_state (w.meta) != SLOT_OBJECT)
      continue;
    if (next_random (&random) % left-- >= wanted)
      continue;
    bool held = wanted-- % HELD_OUT == 0;
    char *to = held ? t->held + r->held_out * slot_size
                    : t->train + r->samples * slot_size;
    if (slot_read_in_memory (w.disk, w.index, to) == 0) {
      r->held_out += held;
      r->samples += !held;
    }
    advance (t, 1);
  }
  slot_walk_end (&w);
}

static int
make_room (struct training *t)
{
  uint32_t slot_size = t->store->config.slot_size;
  uint64_t objects = (uint64_t) store_sum (t->store, DISK_OBJECTS);
  uint64_t most = TRAIN_BYTES_MAX / slot_size;

  t->wanted = t->request->samples ? t->request->samples
                                  : TRAIN_BYTES / slot_size;
  if (t->wanted > most)
    t->wanted = most;
  if (t->wanted > objects)
    t->wanted = objects;
  if (t->wanted < TRAIN_SAMPLES_MIN)
    return fail (t, "train", "too few slots are stored to learn from");
  t->train = alloc_zeroed (0, t->wanted * slot_size);
  t->held = alloc_zeroed (0, (t->wanted / HELD_OUT + 1) * slot_size);
  if (!t->train || !t->held)
    return fail (t, "train", "no memory for the samples");
  if (t->progress)
    atomic_store (&t->progress->total, t->wanted);
  return 0;
}

/* -- gain --------------------------------------------------------------- */

/* The memory that the held-out slots would take; UINT64_MAX with errno. */
static uint64_t
measure (struct training *t, const struct zcomp_method *method)
{
  uint32_t slot_size = t->store->config.slot_size;
  uint64_t sum = 0;

  for (uint64_t i = 0; i < t->result->held_out && !cancelled (t); i++) {
    uint64_t bytes = object_measure (t->store, method, t->held + i * slot_size);

    if (bytes == UINT64_MAX)
      return UINT64_MAX;
    sum += bytes;
  }
  return sum;
}

static bool
is_user (const struct training *t, unsigned i, const struct codec *codec)
{
  return zcomp_format_codec (t->store->zcomp, t->users[i].format) == codec;
}

/* Measure each method of the codec with and without it; false with errno. */
static bool
compare (struct training *t, struct train_gain *gain, unsigned format)
{
  for (unsigned i = 0; i < t->users_count; i++) {
    struct zcomp_method with = { .format = format, .level = t->users[i].level };
    uint64_t before, after;

    if (!is_user (t, i, gain->codec))
      continue;
    before = measure (t, &t->users[i]);
    after = before == UINT64_MAX ? before : measure (t, &with);
    if (after == UINT64_MAX)
      return false;
    gain->methods++;
    gain->before += before;
    gain->after += after;
  }
  return true;
}

static bool
pays (struct training *t, struct train_gain *gain)
{
  uint64_t objects = (uint64_t) store_sum (t->store, DISK_OBJECTS);
  uint64_t won = gain->before > gain->after ? gain->before - gain->after : 0;
  uint64_t measured = t->result->held_out * gain->methods;
  uint64_t least = is_user (t, 0, gain->codec) ? PAYS_PERMILLE_PRIMARY
                                               : PAYS_PERMILLE;

  gain->saves = measured ? (uint64_t) ((double) won / (double) measured *
                                       (double) objects)
                         : 0;
  return won * 1000 >= gain->before * least &&
         gain->saves >= gain->costs * PAYS_TIMES;
}

/* -- installing --------------------------------------------------------- */

/* Let the methods of that codec use the format.  The caller holds 'settings'.
 */
static int
use_format (struct training *t, const struct codec *codec, unsigned format)
{
  struct store *store = t->store;
  struct zcomp_method methods[RECOMPRESS_METHODS];
  unsigned n = recompressor_methods (t->r, methods);

  for (unsigned i = 0; i < n; i++)
    if (zcomp_format_codec (store->zcomp, methods[i].format) == codec)
      methods[i].format = format;
  if (is_user (t, 0, codec)) {
    struct zcomp_method primary = { format, t->users[0].level };

    if (store_set_primary (store, &primary) == -1)
      return -1;
  }
  recompressor_set_methods (t->r, methods, n);
  claim_clear_marks (t->store);
  return 0;
}

/* Try the dictionary, and install it if it pays.  The caller holds 'settings'.
 */
static int
try_out (struct training *t, struct train_gain *gain,
         const struct dict_bytes *bytes)
{
  struct zcomp *zcomp = t->store->zcomp;
  struct zcomp_dict_info info;
  struct reason why;
  unsigned format;

  if (zcomp_dict_add (zcomp, gain->codec, bytes->bytes, bytes->size, &format,
                      &why) == -1)
    return fail (t, "train",
                 errno == ENOSPC ? "all 16 dictionaries are in use by slots"
                                 : why.text);
  bool ok = compare (t, gain, format);
  if (ok && zcomp_dict_info (zcomp, format, &info) == 0)
    gain->costs = info.memory;
  gain->size = bytes->size;
  gain->format = format;
  if (ok && !cancelled (t) && pays (t, gain))
    gain->installed = use_format (t, gain->codec, format) == 0;
  if (!gain->installed)
    check_always (zcomp_dict_remove (zcomp, format) == 0);
  return ok ? 0 : fail (t, "train", error_text (ENOMEM));
}

/* -- one codec after the other ------------------------------------------ */

/* The highest level at which it would be used: the gain is largest there. */
static int
level_for (const struct training *t, const struct codec *codec)
{
  int level = codec->level_min;

  for (unsigned i = 0; i < t->users_count; i++)
    if (is_user (t, i, codec) && t->users[i].level > level)
      level = t->users[i].level;
  return level;
}

/* Find the methods that would use a dictionary. */
static void
find_users (struct training *t)
{
  t->users[0] = zcomp_primary (t->store->zcomp);
  t->users_count = 1 + recompressor_methods (t->r, t->users + 1);
}

static int
train_codec (struct training *t, const struct codec *codec, const size_t *sizes)
{
  struct train_gain *gain = &t->result->gains[t->result->n];
  size_t size = t->request->size ? t->request->size : TRAIN_SIZE;
  struct dict_bytes bytes;
  struct reason why;
  int r;

  *gain = (struct train_gain){ .codec = codec };
  if (dict_train (codec, level_for (t, codec), t->train, sizes,
                  (unsigned) t->result->samples, size, &bytes, &why) == -1)
    return fail (t, codec->name, why.text);
  mutex_lock (&t->store->settings);
  find_users (t); /* they may have changed since the training began */
  r = try_out (t, gain, &bytes);
  mutex_unlock (&t->store->settings);
  free (bytes.bytes);
  if (r == 0)
    t->result->n++;
  return r;
}

static int
train_codecs (struct training *t)
{
  uint64_t n = t->result->samples;
  size_t *sizes = alloc_zeroed (0, (n + 1) * sizeof *sizes);
  unsigned tried = 0;
  int r = 0;

  if (!sizes)
    return fail (t, "train", error_text (ENOMEM));
  for (uint64_t i = 0; i < n; i++)
    sizes[i] = t->store->config.slot_size;
  for (unsigned id = 1; id < CODEC_IDS && r == 0 && !cancelled (t); id++) {
    const struct codec *codec = codec_by_id (id);
    bool used = false;

    for (unsigned i = 0; i < t->users_count; i++)
      used |= codec && is_user (t, i, codec);
    if (used && codec->dict && tried++ < TRAIN_CODECS)
      r = train_codec (t, codec, sizes);
  }
  free (sizes);
  return r == 0 && !tried ? fail (t, "train",
                                  "neither algorithm nor recompress is lz4 or "
                                  "zstd, which take dictionaries")
                          : r;
}

int
dictionary_train (struct store *store, struct recompressor *r,
                  const struct train_request *request,
                  struct pass_progress *progress, struct train_result *result,
                  struct reason *why)
{
  struct training t = { .store = store,
                        .r = r,
                        .request = request,
                        .progress = progress,
                        .result = result,
                        .why = why };
  int rc;

  memset (result, 0, sizeof *result);
  (void) dictionary_sweep (store, r); /* make room among the formats */
  find_users (&t);
  rc = make_room (&t);
  if (rc == 0) {
    collect (&t);
    rc = cancelled (&t) ? 0 : train_codecs (&t);
  }
  free (t.train);
  free (t.held);
  return rc;
}

/* -- freeing ------------------------------------------------------------ */

static bool
is_named (struct store *store, const struct zcomp_method *methods, unsigned n,
          unsigned format)
{
  bool named = zcomp_primary (store->zcomp).format == format;

  for (unsigned i = 0; i < n; i++)
    named |= methods[i].format == format;
  return named;
}

unsigned
dictionary_sweep (struct store *store, struct recompressor *r)
{
  struct zcomp_method methods[RECOMPRESS_METHODS];
  unsigned n, gone = 0;

  if (!mutex_trylock (&store->settings))
    return 0;
  n = recompressor_methods (r, methods);
  /* The recompressor's step may hold a copy of an object that has left its
   * slot.
   */
  recompressor_hold (r);
  for (unsigned f = 0; f < FORMATS; f++)
    if (format_is_dict (f) && zcomp_format_codec (store->zcomp, f) &&
        !is_named (store, methods, n, f) &&
        store_format_objects (store, f) == 0)
      gone += zcomp_dict_remove (store->zcomp, f) == 0;
  recompressor_unhold (r);
  mutex_unlock (&store->settings);
  return gone;
}

struct dictionary_usage
dictionary_usage (struct zcomp *zcomp)
{
  struct dictionary_usage usage = { 0 };
  struct zcomp_dict_info info;

  for (unsigned f = 0; f < FORMATS; f++)
    if (format_is_dict (f) && zcomp_dict_info (zcomp, f, &info) == 0) {
      usage.number++;
      usage.memory += info.memory;
    }
  return usage;
}
