/* SPDX-License-Identifier: BSD-3-Clause */
/* Training: what comes out helps on other data like it, and what goes wrong. */

#include <config.h>

#include <errno.h>

#include <zstd.h>

#include "dict-util.h"

static size_t sizes[SAMPLES];

/* A page of pieces that many pages have, but none twice, so that only a
 * dictionary can know them, and a quarter of noise.
 */
static void
page_of_pieces (unsigned char *p, struct unit_rng *rng)
{
  enum { PIECES = 101, PIECE = 64 }; /* a prime number of them */
  uint32_t first = unit_below (rng, PIECES);
  uint32_t step = 1 + unit_below (rng, PIECES - 1);

  for (uint32_t i = 0; i < SAMPLE / PIECE; i++) {
    struct unit_rng piece = { 1000 * ((first + i * step) % PIECES) };

    for (size_t j = 0; j < PIECE; j++)
      p[i * PIECE + j] = (unsigned char) unit_rand (i % 4 ? &piece : rng);
  }
}

static unsigned char *
pages_of_pieces (unsigned n)
{
  unsigned char *p = malloc ((size_t) n * SAMPLE);
  struct unit_rng rng = unit_rng (n);

  assert_non_null (p);
  for (unsigned i = 0; i < n; i++)
    page_of_pieces (p + (size_t) i * SAMPLE, &rng);
  return p;
}

static size_t
packed_size (const struct codec *codec, struct dict *dict,
             const unsigned char *pages, unsigned n)
{
  unsigned char *out;
  size_t sum = 0;
  struct pair p;
  ssize_t r;

  open_pair_dict (&p, codec, codec->level_default, SAMPLE, dict);
  for (unsigned i = 0; i < n; i++) {
    r = compress (&p, pages + (size_t) i * SAMPLE, SAMPLE, 2 * SAMPLE, true,
                  &out);
    check_decompresses_to (&p, out, (size_t) r, pages + (size_t) i * SAMPLE,
                           SAMPLE);
    sum += (size_t) r;
  }
  close_pair (&p);
  return sum;
}

static void
gain_of_codec (const struct codec *codec)
{
  unsigned char *samples = pages_of_pieces (SAMPLES);
  unsigned char *others = pages_of_pieces (20);
  size_t with, without;
  struct dict_bytes b;
  struct dict *d;
  struct reason why = { "" };

  for (unsigned i = 0; i < SAMPLES; i++)
    sizes[i] = SAMPLE;
  assert_int_equal (
    dict_train (codec, 3, samples, sizes, SAMPLES, TRAINED_SIZE, &b, &why), 0);
  assert_in_range (b.size, DICT_MIN, TRAINED_SIZE);
  assert_int_equal (memcmp (b.bytes, "\x37\xa4\x30\xec", 4) == 0,
                    codec->dict->takes_tables);
  d = dict_new (codec, b.bytes, b.size, NULL, &why);
  assert_non_null (d);
  without = packed_size (codec, NULL, others, 20);
  with = packed_size (codec, d, others, 20);
  print_message ("    %s: %zu bytes instead of %zu\n", codec->name, with,
                 without);
  assert_true (with < without / 2);
  dict_unref (d);
  free (b.bytes);
  free (others);
  free (samples);
}

static void
test_gain (void **state)
{
  (void) state;
  for_each_dict_codec (gain_of_codec);
}

static void
fails (const struct codec *codec, const void *samples, unsigned n, size_t size,
       int error)
{
  struct dict_bytes b = { .bytes = &b, .size = 1 };
  struct reason why = { "" };

  errno = 0;
  assert_int_equal (dict_train (codec, 3, samples, sizes, n, size, &b, &why),
                    -1);
  assert_int_equal (errno, error);
  assert_string_not_equal (why.text, "");
  assert_null (b.bytes);
}

static void
errors_of_codec (const struct codec *codec)
{
  unsigned char *samples = make_samples (sizes), *zeroes;
  struct dict_bytes b;
  struct reason why = { "" };

  if (!codec->dict) {
    fails (codec, samples, SAMPLES, TRAINED_SIZE, EINVAL);
    free (samples);
    return;
  }
  fails (codec, samples, SAMPLES, DICT_TRAIN_MIN - 1, EINVAL);
  fails (codec, samples, SAMPLES, DICT_MAX + 1, EINVAL);
  fails (codec, samples, 0, TRAINED_SIZE, EINVAL);
  fails (codec, samples, 1, TRAINED_SIZE, EINVAL);
  zeroes = calloc (SAMPLES, SAMPLE);
  assert_non_null (zeroes);
  fails (codec, zeroes, 3, TRAINED_SIZE, EINVAL);
  for (size_t i = 0; i < SAMPLES; i++)
    sizes[i] = 1;
  fails (codec, samples, 5, TRAINED_SIZE, EINVAL);
  /* The library may make something of that, but then it is one. */
  if (dict_train (codec, 3, samples, sizes, SAMPLES, TRAINED_SIZE, &b, &why) ==
      0) {
    dict_unref (dict_new (codec, b.bytes, b.size, NULL, &why));
    assert_string_equal (why.text, "");
    free (b.bytes);
  }
  free (zeroes);
  free (samples);
}

static void
test_errors (void **state)
{
  (void) state;
  for_each_codec (errors_of_codec);
}

/* No larger than asked for, nor than the codec can use. */
static void
size_of_codec (const struct codec *codec)
{
  unsigned char *samples = make_samples (sizes);
  size_t reach = codec->dict->reach ? codec->dict->reach : DICT_MAX;
  struct dict_bytes b;
  struct reason why = { "" };

  for (size_t size = DICT_TRAIN_MIN; size <= 1 << 18; size *= 4) {
    if (dict_train (codec, 9, samples, sizes, SAMPLES, size, &b, &why) == -1) {
      assert_true (size < 4096); /* the tables alone may be larger */
      continue;
    }
    assert_in_range (b.size, DICT_MIN, size < reach ? size : reach);
    free (b.bytes);
  }
  free (samples);
}

static void
test_sizes (void **state)
{
  (void) state;
  for_each_dict_codec (size_of_codec);
}

#ifdef ZRAM_FAULTS
static void
faults_of_codec (const struct codec *codec)
{
  unsigned char *samples = make_samples (sizes);
  struct dict_bytes b = { .bytes = NULL };
  struct reason why = { "" };

  for (uint64_t nth = 1; !b.bytes; nth++) {
    fault_fail_nth (NULL, nth, false);
    errno = 0;
    if (dict_train (codec, 3, samples, sizes, SAMPLES, TRAINED_SIZE, &b,
                    &why) == 0) {
      assert_in_range (nth, codec->dict->takes_tables ? 4 : 3, 10);
      break;
    }
    assert_int_equal (errno, ENOMEM);
    assert_string_equal (why.text, "no memory");
    assert_null (b.bytes);
  }
  fault_clear ();
  free (b.bytes);
  free (samples);
}

static void
test_faults (void **state)
{
  (void) state;
  for_each_dict_codec (faults_of_codec);
}
#endif

int
main (void)
{
  const struct CMUnitTest tests[] = {
    UNIT_TEST (test_gain),
    UNIT_TEST (test_errors),
    UNIT_TEST (test_sizes),
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
