/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Dictionaries and the codecs that take them, against comp/dict.h and
 * comp/codec.h.  (Their numbers, and streams: test-dict-zcomp.c.)
 */

#include <config.h>

#include <errno.h>

#include <zstd.h>

#include "dict-util.h"

static const size_t slot_sizes[] = { 4096, 8192, 16384, 32768, 65536 };

/* ------------------------------------------------------------------------
 * There and back.
 */

static void
round_trip (struct pair *p)
{
  const size_t len = p->params.slot_size;
  struct unit_rng rng = unit_rng (len);
  unsigned char *plain, *packed;
  ssize_t n, m;

  for (int kind = 0; kind < KINDS; kind++) {
    bool at_end = unit_rand (&rng) % 2;

    plain = place (in_room, len, at_end);
    fill (plain, len, kind, &rng);
    n = compress (p, plain, len, len + 1024, at_end, &packed);
    assert_in_range (n, 1, len + 1024);
    check_decompresses_to (p, packed, (size_t) n, plain, len);

    m = compress (p, plain, len, len - 1, !at_end, &packed);
    if (m > 0)
      check_decompresses_to (p, packed, (size_t) m, plain, len);
    else
      assert_true (n + CODEC_SLACK > (ssize_t) len - 1);
    for (size_t cap = 1; cap < (size_t) n / 2; cap += cap / 2 + 1)
      assert_int_equal (compress (p, plain, len, cap, cap % 2, &packed), 0);
  }
}

/* The highest level is slow: with one kind for each size, and not at all where
 * everything is ten times as slow, for threads, of which there are none here.
 */
static void
for_each_dict_pair (const struct codec *codec, size_t slot_size,
                    void (*f) (struct pair *p))
{
  const int levels[] = { codec->level_min, codec->level_default, 9,
                         codec->level_max };
  struct dict *d;
  struct pair p;

  for (int kind = 0; kind < DICT_KINDS; kind++) {
    d = make_dict (codec, kind, kind, NULL);
    for (size_t i = 0; i < 4; i++) {
      if (i == 3 && (UNIT_SCALE >= 8 || slot_size >> 12 != 1u << kind))
        continue;
      open_pair_dict (&p, codec, levels[i], slot_size, d);
      f (&p);
      close_pair (&p);
    }
    dict_unref (d);
  }
}

static void
round_trips_of_codec (const struct codec *codec)
{
  for (size_t i = 0; i < sizeof slot_sizes / sizeof *slot_sizes; i++)
    for_each_dict_pair (codec, slot_sizes[i], round_trip);
}

static void
test_round_trip (void **state)
{
  (void) state;
  for_each_dict_codec (round_trips_of_codec);
}

/* The codec does refer to the bytes: text takes less room with text before
 * it, and the dictionary's own bytes next to none.
 */
static void
pays (const struct codec *codec)
{
  struct dict_bytes noise = dict_bytes_of (codec, LARGE, 1);
  struct dict *d[2] = { make_dict (codec, PLAIN, 1, NULL),
                        make_dict (codec, LARGE, 1, NULL) };
  struct unit_rng rng = unit_rng (2);
  unsigned char *plain = place (in_room, 4096, true), *out;
  struct pair p[2], without;

  open_pair (&without, codec, codec->level_default, 4096);
  for (int i = 0; i < 2; i++)
    open_pair_dict (&p[i], codec, codec->level_default, 4096, d[i]);
  fill (plain, 4096, TEXT, &rng);
  assert_true (compress (&p[0], plain, 4096, 8192, true, &out) <
               compress (&without, plain, 4096, 8192, true, &out));
  memcpy (plain, (char *) noise.bytes + noise.size - 30000, 4096);
  assert_in_range (compress (&p[1], plain, 4096, 8192, true, &out), 1, 64);
  close_pair (&without);
  for (int i = 0; i < 2; i++) {
    close_pair (&p[i]);
    dict_unref (d[i]);
  }
  free (noise.bytes);
}

static void
test_pays (void **state)
{
  (void) state;
  for_each_dict_codec (pays);
}

/* What a context did before does not show in what it does next, its memory
 * was all there from the start, and zstd's frame is that of no dictionary.
 */
static void
reuse (struct pair *used)
{
  const size_t len = used->params.slot_size;
  struct unit_rng rng = unit_rng (len);
  unsigned char *plain = malloc (len), *first = malloc (2 * len), *packed;
  size_t held = used->codec->cctx_size (used->cctx);
  struct pair fresh;
  ssize_t n, m;

  assert_non_null (plain);
  assert_non_null (first);
  for (int i = 0; i < 2 * KINDS; i++) {
    fill (plain, len, RANDOM, &rng);
    compress (used, plain, len, len - 1, true, &packed);
    fill (plain, len, i % KINDS, &rng);
    n = compress (used, plain, len, 2 * len, true, &packed);
    memcpy (first, packed, (size_t) n);
    open_pair_dict (&fresh, used->codec, used->params.level, len,
                    used->params.dict);
    m = compress (&fresh, plain, len, 2 * len, true, &packed);
    assert_int_equal (n, m);
    assert_memory_equal (first, packed, (size_t) n);
    check_decompresses_to (&fresh, first, (size_t) n, plain, len);
    close_pair (&fresh);
    if (used->codec == codec_find ("zstd"))
      assert_int_equal (first[0], 0);
  }
  assert_true (used->codec->cctx_size (used->cctx) <= held);
  free (first);
  free (plain);
}

static void
reuse_of_codec (const struct codec *codec)
{
  for_each_dict_pair (codec, 4096, reuse);
  for_each_dict_pair (codec, 65536, reuse);
}

static void
test_reuse (void **state)
{
  (void) state;
  for_each_dict_codec (reuse_of_codec);
}

/* ------------------------------------------------------------------------
 * What is no dictionary.
 */

static void
refused (const struct codec *codec, const void *bytes, size_t size)
{
  atomic_size_t total = 0;
  struct reason why = { "" };

  errno = 0;
  assert_null (dict_new (codec, bytes, size, &total, &why));
  assert_int_equal (errno, EINVAL);
  assert_string_not_equal (why.text, "");
  assert_int_equal (atomic_load (&total), 0);
}

static void
refuse_sizes (const struct codec *codec)
{
  char *bytes = calloc (1, DICT_MAX + 1);
  struct dict *d;
  struct reason why = { "" };

  assert_non_null (bytes);
  if (!codec->dict) {
    refused (codec, bytes, 1000);
    free (bytes);
    return;
  }
  refused (codec, bytes, 0);
  refused (codec, bytes, DICT_MIN - 1);
  refused (codec, bytes, DICT_MAX + 1);
  d = dict_new (codec, bytes, DICT_MAX, NULL, &why);
  assert_non_null (d);
  assert_int_equal (d->size, DICT_MAX);
  dict_unref (d);
  free (bytes);
}

/* A dictionary serves its own codec. */
static void
refuse_foreign (const struct codec *codec)
{
  const char *mine = strcmp (codec->name, "zstd") == 0 ? "lz4" : "zstd";
  struct dict *d = make_dict (codec_find (mine), TINY, 1, NULL);
  const struct codec_params params = { .level = codec->level_default,
                                       .slot_size = 4096,
                                       .dict = d };

  errno = 0;
  assert_null (codec_cctx_create (codec, &params));
  assert_int_equal (errno, EINVAL);
  dict_unref (d);
}

static void
test_refused (void **state)
{
  (void) state;
  assert_null (codec_find ("deflate")->dict);
  assert_null (codec_find ("lz4hc")->dict);
  for_each_codec (refuse_sizes);
  for_each_codec (refuse_foreign);
  dict_unref (NULL);
}

/* Compress and decompress with it, at some levels. */
static void
use (struct dict *d, struct unit_rng *rng)
{
  const int levels[] = { -5, 1, 3, 9, 19 };
  unsigned char *plain = place (in_room, 4096, true), *packed;
  struct pair p;
  ssize_t n;

  open_pair_dict (&p, d->codec, levels[unit_below (rng, 5)], 4096, d);
  fill (plain, 4096, TEXT, rng);
  n = compress (&p, plain, 4096, 8192, true, &packed);
  assert_in_range (n, 1, 8192);
  check_decompresses_to (&p, packed, (size_t) n, plain, 4096);
  close_pair (&p);
}

/* Every bit of the tables' beginning, and random damage: either it is said
 * to be damaged or it is a dictionary like any other.
 */
static void
test_damaged_tables (void **state)
{
  const struct codec *codec = codec_find ("zstd");
  struct dict_bytes b = dict_bytes_of (codec, TRAINED, 0);
  unsigned char *copy = malloc (b.size);
  unsigned refusals = 0, taken = 0;
  struct unit_rng rng = unit_rng (1);
  const unsigned rounds = UNIT_TIMES (3000);

  (void) state;
  assert_non_null (copy);
  for (unsigned i = 0; i < 1200 + rounds; i++) {
    size_t size = b.size;
    struct reason why = { "" };
    struct dict *d;

    memcpy (copy, b.bytes, size);
    if (i < 1200)
      copy[i / 8] ^= (unsigned char) (1 << i % 8);
    else
      size = damage (copy, size, &rng);
    errno = 0;
    d = dict_new (codec, copy, size, NULL, &why);
    if (d) {
      if (taken++ % 8 == 0 || i < 64)
        use (d, &rng);
      dict_unref (d);
    }
    else {
      refusals++;
      assert_int_equal (errno, EINVAL);
      assert_string_not_equal (why.text, "");
    }
  }
  print_message ("    %u refused, %u taken\n", refusals, taken);
  assert_true (refusals > 100 && taken > 100);

  /* Cut off in its tables. */
  refused (codec, b.bytes, 20);
  free (copy);
  free (b.bytes);
}

/* ------------------------------------------------------------------------
 * Objects that are not what they should be.
 */

static void
damage_codec (const struct codec *codec)
{
  struct pair p;
  struct dict *d;

  for (int kind = PLAIN; kind < LARGE; kind++) {
    d = make_dict (codec, kind, kind, NULL);
    open_pair_dict (&p, codec, codec->level_default, 4096, d);
    damage_pair (&p);
    close_pair (&p);
    open_pair_dict (&p, codec, codec->level_default, MAX_LEN, d);
    damage_pair (&p);
    close_pair (&p);
    dict_unref (d);
  }
}

static void
test_damage (void **state)
{
  (void) state;
  for_each_dict_codec (damage_codec);
}

/* An object and a dictionary that do not belong together, none included, and
 * objects of another length.
 */
static void
mixed_up (const struct codec *codec)
{
  enum { MANY = 2 * DICT_KINDS + 1 };
  struct dict *d[MANY] = { NULL }; /* the last is none */
  unsigned char *plain = malloc (4096), *object = malloc (8193), *out;
  struct unit_rng rng = unit_rng (3);
  struct pair p[MANY];
  size_t n;

  assert_non_null (plain);
  assert_non_null (object);
  for (int i = 0; i < MANY; i++) {
    if (i < MANY - 1)
      d[i] = make_dict (codec, i % DICT_KINDS, 10 + i, NULL);
    open_pair_dict (&p[i], codec, codec->level_default, 4096, d[i]);
  }
  for (int i = 0; i < MANY; i++)
    for (int kind = 0; kind < KINDS; kind++) {
      fill (plain, 4096, kind, &rng);
      n = (size_t) compress (&p[i], plain, 4096, 8192, true, &out);
      memcpy (object, out, n);
      object[n] = 0;
      for (int j = 0; j < MANY; j++) {
        unsigned char *src = place (in_room, n, kind % 2);

        memcpy (src, object, n);
        (void) decompress (&p[j], src, n, 4096, kind % 2, &out);
      }
      assert_int_equal (decompress (&p[i], object, n, 4095, true, &out), -1);
      assert_int_equal (decompress (&p[i], object, n, 4097, true, &out), -1);
      assert_int_equal (decompress (&p[i], object, n - 1, 4096, true, &out),
                        -1);
      assert_int_equal (decompress (&p[i], object, n + 1, 4096, true, &out),
                        -1);
      assert_int_equal (decompress (&p[i], object, 0, 4096, true, &out), -1);
      check_decompresses_to (&p[i], object, n, plain, 4096);
    }
  for (int i = 0; i < MANY; i++) {
    close_pair (&p[i]);
    dict_unref (d[i]);
  }
  free (object);
  free (plain);
}

static void
test_mixed_up (void **state)
{
  (void) state;
  for_each_dict_codec (mixed_up);
}

/* ------------------------------------------------------------------------
 * Memory.
 */

static void
memory_of_codec (const struct codec *codec)
{
  atomic_size_t total = 5;
  size_t alone, one;
  struct dict *d = make_dict (codec, LARGE, 1, &total);
  struct pair p[3];

  alone = atomic_load (&d->memory);
  assert_int_equal (atomic_load (&total), 5 + alone);
  assert_int_equal (d->size, 200000);
  assert_true (alone > d->held);

  /* Two contexts of a level share its digest; the last takes it along. */
  open_pair_dict (&p[0], codec, codec->level_default, 4096, d);
  one = atomic_load (&d->memory);
  open_pair_dict (&p[1], codec, codec->level_default, 4096, d);
  assert_int_equal (atomic_load (&d->memory), one);
  open_pair_dict (&p[2], codec, 9, 4096, d);
  if (codec->dict->level_digest) {
    assert_true (one > alone + d->size);
    assert_true (atomic_load (&d->memory) > one + d->size);
  }
  else
    assert_int_equal (atomic_load (&d->memory), alone);
  close_pair (&p[2]);
  close_pair (&p[0]);
  assert_int_equal (atomic_load (&d->memory), one);
  close_pair (&p[1]);
  assert_int_equal (atomic_load (&d->memory), alone);

  /* A context keeps the dictionary after its maker has dropped it. */
  open_pair_dict (&p[0], codec, codec->level_default, 4096, d);
  dict_unref (d);
  assert_int_equal (atomic_load (&total), 5 + one);
  round_trip (&p[0]);
  close_pair (&p[0]);
  assert_int_equal (atomic_load (&total), 5);
}

static void
test_memory (void **state)
{
  struct dict *d = make_dict (codec_find ("lz4"), LARGE, 1, NULL);

  (void) state;
  for_each_dict_codec (memory_of_codec);
  assert_int_equal (d->held, 65536);
  dict_unref (d);
}

/* Decompressing makes nothing: the context is as large after a thousand
 * objects of two dictionaries as it was after one.
 */
static void
test_no_digest_per_read (void **state)
{
  const struct codec *codec = codec_find ("zstd");
  struct dict *d[2] = { make_dict (codec, PLAIN, 1, NULL),
                        make_dict (codec, TRAINED, 1, NULL) };
  unsigned char *plain = place (in_room, 4096, true), *out, *object;
  struct unit_rng rng = unit_rng (1);
  struct pair p[2];
  size_t size, memory[2];
  ssize_t n;

  (void) state;
  object = malloc (8192);
  assert_non_null (object);
  for (int i = 0; i < 2; i++)
    open_pair_dict (&p[i], codec, 3, 4096, d[i]);
  for (int i = 0; i < 2; i++)
    memory[i] = atomic_load (&d[i]->memory);
  size = codec->dctx_size (p[0].dctx);
  for (int i = 0; i < 1000; i++) {
    fill (plain, 4096, TEXT, &rng);
    n = compress (&p[i % 2], plain, 4096, 8192, true, &out);
    memcpy (object, out, (size_t) n);
    assert_int_equal (
      dict_decompress (d[i % 2], p[0].dctx, object, (size_t) n, out, 4096), 0);
    assert_memory_equal (out, plain, 4096);
    assert_int_equal (codec->dctx_size (p[0].dctx), size);
    assert_int_equal (ZSTD_sizeof_DCtx (p[0].dctx), size);
  }
  for (int i = 0; i < 2; i++) {
    assert_int_equal (atomic_load (&d[i]->memory), memory[i]);
    close_pair (&p[i]);
    dict_unref (d[i]);
  }
  free (object);
}

/* ------------------------------------------------------------------------
 * Threads: one dictionary, contexts of several levels that come and go.
 */

struct sharer {
  struct dict *dict;
  unsigned id;
};

static void *
share (void *arg)
{
  struct sharer *s = arg;
  const struct codec *codec = s->dict->codec;
  struct codec_params params = { .slot_size = 4096, .dict = s->dict };
  struct unit_rng rng = unit_rng (100 + s->id);
  unsigned char plain[4096], object[8192], back[4096];
  void *cctx, *dctx = NULL;
  ssize_t n;

  if (codec->decompress_needs_ctx)
    check_always ((dctx = codec_dctx_create (codec, &params)) != NULL);
  for (unsigned i = 0; i < UNIT_TIMES (400); i++) {
    params.level = 1 + (int) unit_below (&rng, 4);
    cctx = codec_cctx_create (codec, &params);
    check_always (cctx);
    for (int j = 0; j < 4; j++) {
      fill (plain, sizeof plain, TEXT, &rng);
      n = codec->compress (cctx, plain, sizeof plain, object, sizeof object);
      check_always (n > 0);
      check_always (dict_decompress (s->dict, dctx, object, (size_t) n, back,
                                     sizeof back) == 0);
      check_always (memcmp (plain, back, sizeof plain) == 0);
    }
    codec->cctx_destroy (cctx);
  }
  if (dctx)
    codec->dctx_destroy (dctx);
  return NULL;
}

static void
share_codec (const struct codec *codec)
{
  atomic_size_t total = 0;
  struct dict *d = make_dict (codec, TRAINED, 1, &total);
  size_t alone = atomic_load (&total);
  struct unit_thread t[4];
  struct sharer s[4];

  for (unsigned i = 0; i < 4; i++) {
    s[i] = (struct sharer){ d, i };
    unit_start (&t[i], share, &s[i]);
  }
  unit_join_all (t, 4);
  assert_int_equal (atomic_load (&total), alone);
  dict_unref (d);
  assert_int_equal (atomic_load (&total), 0);
}

static void
test_shared (void **state)
{
  (void) state;
  for_each_dict_codec (share_codec);
}

/* ------------------------------------------------------------------------
 * Failures.
 */

#ifdef ZRAM_FAULTS

/* Each request for memory fails once, of the dictionary, then of a context. */
static void
faults_of_codec (const struct codec *codec)
{
  struct codec_params params = { .level = codec->level_default,
                                 .slot_size = 4096 };
  struct dict_bytes b = dict_bytes_of (codec, PLAIN, 1);
  atomic_size_t total = 0;
  struct dict *d = NULL;
  void *ctx = NULL;
  struct reason why = { "" };
  size_t alone;

  for (uint64_t nth = 1; !d; nth++) {
    fault_fail_nth (NULL, nth, false);
    errno = 0;
    d = dict_new (codec, b.bytes, b.size, &total, &why);
    assert_true (nth < 100);
    if (d) {
      assert_true (nth > 3);
      break;
    }
    assert_int_equal (errno, ENOMEM);
    assert_string_equal (why.text, "no memory");
    assert_int_equal (atomic_load (&total), 0);
  }
  alone = atomic_load (&total);
  params.dict = d;
  for (uint64_t nth = 1; !ctx; nth++) {
    fault_fail_nth (NULL, nth, false);
    errno = 0;
    ctx = codec_cctx_create (codec, &params);
    assert_true (nth < 100);
    if (ctx) {
      assert_true (nth > (codec->dict->level_digest ? 4 : 2));
      break;
    }
    assert_int_equal (errno, ENOMEM);
    assert_int_equal (atomic_load (&total), alone);
    assert_int_equal (atomic_load (&d->refs), 1);
  }
  fault_clear ();
  codec->cctx_destroy (ctx);
  dict_unref (d);
  assert_int_equal (atomic_load (&total), 0);
  free (b.bytes);
}

static void
test_faults (void **state)
{
  (void) state;
  for_each_dict_codec (faults_of_codec);
}

#endif /* ZRAM_FAULTS */

int
main (void)
{
  const struct CMUnitTest tests[] = {
    UNIT_TEST (test_round_trip),
    UNIT_TEST (test_pays),
    UNIT_TEST (test_reuse),
    UNIT_TEST (test_refused),
    UNIT_TEST (test_damaged_tables),
    UNIT_TEST (test_damage),
    UNIT_TEST (test_mixed_up),
    UNIT_TEST (test_memory),
    UNIT_TEST (test_no_digest_per_read),
    UNIT_TEST (test_shared),
#ifdef ZRAM_FAULTS
    UNIT_TEST (test_faults),
#endif
  };
  int r;

  make_rooms ();
  r = UNIT_RUN (tests);
  free_rooms ();
  return r;
}
