/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * zcomp: methods, memory, errors, and a number of streams that changes under
 * their borrowers.  (Waiting for a stream: test-zcomp-wait.c.)
 */

#include <config.h>

#include <errno.h>

#include "zcomp-util.h"

static const struct zcomp_method lz4_loose = { LZ4, 100 };

/* Bytes that an arbitrary slot takes with that method. */
static ssize_t
compressed_size (struct zcomp *z, const struct zcomp_method *method)
{
  unsigned char plain[SLOT];
  struct zcomp_stream *stream = zcomp_stream_get (z);
  const void *out;
  ssize_t n;

  fill (plain, 1);
  n = zcomp_compress (stream, method, plain, SLOT, SLOT, &out);
  zcomp_stream_put (stream);
  assert_in_range (n, 1, SLOT);
  return n;
}

static void
test_arguments (void **state)
{
  static const struct zcomp_method wrong[] = {
    { CODEC_RAW, 1 }, { 9, 1 },      { CODEC_IDS, 1 },
    { LZ4, 0 },       { LZ4HC, 13 }, { DEFLATE, 0 },
  };
  struct zcomp *z;

  (void) state;
  for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
    errno = 0;
    assert_null (zcomp_new (&wrong[i], SLOT, 1));
    assert_int_equal (errno, EINVAL);
  }
  errno = 0;
  assert_null (zcomp_new (&lz4, SLOT, 0));
  assert_int_equal (errno, EINVAL);
  assert_null (zcomp_new (&lz4, SLOT, ZCOMP_MAX_STREAMS + 1));
  zcomp_free (NULL);

  z = make (&lz4, ZCOMP_MAX_STREAMS);
  errno = 0;
  assert_int_equal (zcomp_set_workers (z, 0), -1);
  assert_int_equal (errno, EINVAL);
  assert_int_equal (zcomp_set_workers (z, ZCOMP_MAX_STREAMS + 1), -1);
  assert_int_equal (zcomp_workers (z), ZCOMP_MAX_STREAMS);
  assert_int_equal (zcomp_primary (z).format, LZ4);
  assert_int_equal (zcomp_primary (z).level, 1);
  zcomp_free (z);
}

/* Every method on one stream, more of them than it keeps contexts for. */
static void
test_methods (void **state)
{
  struct zcomp *z = make (&zstd, 1);
  struct zcomp_method m = { .format = LZ4 };
  size_t memory;

  (void) state;
  for (unsigned i = 0; i < 10 * METHODS; i++)
    round_trip (z, &methods[(i * 5 + i / METHODS) % METHODS], i);
  zcomp_free (z);

  /* As many as it keeps: once all are there, nothing is made any more. */
  z = make (&zstd, 1);
  for (unsigned i = 0; i < ZCOMP_MAX_METHODS; i++)
    round_trip (z, &methods[i], i);
  memory = zcomp_memory (z);
  for (unsigned i = 0; i < 3 * ZCOMP_MAX_METHODS; i++) {
    round_trip (z, &methods[i % ZCOMP_MAX_METHODS], i);
    assert_int_equal (zcomp_memory (z), memory);
  }

  /* A method is its level, too: LZ4 at 100 finds less than at 1. */
  assert_true (compressed_size (z, &lz4) < compressed_size (z, &lz4_loose));

  /* A hundred more take the places of the others, they do not heap up. */
  for (m.level = 1; m.level <= 100; m.level++)
    round_trip (z, &m, 1);
  assert_true (zcomp_memory (z) <= memory);
  zcomp_free (z);
}

static void
test_memory (void **state)
{
  struct zcomp *z = make (&zstd, 1);
  size_t one = zcomp_memory (z), per_stream;

  (void) state;
  assert_int_equal (zcomp_set_workers (z, 2), 0);
  per_stream = zcomp_memory (z) - one;
  /* Two buffers and zstd's contexts, and not a context of megabytes. */
  assert_in_range (per_stream, 2 * SLOT + 65536, 512 * 1024);
  assert_int_equal (zcomp_set_workers (z, 10), 0);
  assert_int_equal (zcomp_memory (z), one + 9 * per_stream);
  assert_int_equal (zcomp_set_workers (z, 1), 0);
  assert_int_equal (zcomp_memory (z), one);

  /* Contexts made on demand are freed with their stream. */
  assert_int_equal (zcomp_set_workers (z, 2), 0);
  for (unsigned i = 0; i < METHODS; i++)
    round_trip (z, &methods[i], i);
  assert_true (zcomp_memory (z) > one + per_stream);
  assert_int_equal (zcomp_set_workers (z, 1), 0);
  assert_int_equal (zcomp_set_workers (z, 2), 0);
  round_trip (z, &lz4, 1);
  zcomp_free (z);
}

static void
test_errors (void **state)
{
  static const struct zcomp_method wrong = { ZSTD, 23 };
  struct zcomp *z = make (&lz4, 1);
  struct zcomp_stream *stream = zcomp_stream_get (z);
  struct zcomp_reader reader;
  unsigned char plain[SLOT], object[SLOT], back[SLOT];
  const void *out;
  ssize_t n;

  (void) state;
  fill (plain, 1);
  errno = 0;
  n = zcomp_compress (stream, &wrong, plain, SLOT, SLOT, &out);
  assert_int_equal (n, -1);
  assert_int_equal (errno, EINVAL);
  n = zcomp_compress (stream, &lz4, plain, SLOT, 100, &out);
  assert_int_equal (n, 0);
  n = zcomp_compress (stream, &zstd, plain, SLOT, SLOT, &out);
  assert_in_range (n, 1, SLOT);
  memcpy (object, out, (size_t) n);

  /* Decompressing on the borrowed stream, into its own scratch. */
  assert_int_equal (zcomp_stream_reader (stream, ZSTD, &reader), 0);
  assert_int_equal (zcomp_reader_decompress (&reader, object, (size_t) n,
                                             zcomp_stream_scratch (stream),
                                             SLOT),
                    0);
  assert_memory_equal (zcomp_stream_scratch (stream), plain, SLOT);
  zcomp_reader_put (&reader);
  errno = 0;
  assert_int_equal (zcomp_stream_reader (stream, 9, &reader), -1);
  assert_int_equal (errno, EIO);
  zcomp_stream_put (stream);

  errno = 0;
  assert_int_equal (decompress_at_once (z, CODEC_RAW, object, 10, back, SLOT),
                    -1);
  assert_int_equal (errno, EIO);
  for (unsigned id = LZ4; id <= DEFLATE; id++) {
    memset (object, 0xff, sizeof object);
    errno = 0;
    assert_int_equal (decompress_at_once (z, id, object, 100, back, SLOT), -1);
    assert_int_equal (errno, EIO);
    assert_true (zcomp_is_idle (z));
  }
  zcomp_free (z);
}

/* ------------------------------------------------------------------------
 * Many threads, while the number of streams goes up and down.
 */

static void
switch_workers (struct zcomp *z, unsigned turn)
{
  unsigned n = turn % 2 ? 1 : 8;

  assert_int_equal (zcomp_set_workers (z, n), 0);
  assert_int_equal (zcomp_workers (z), n);
  if (turn % 4 == 0)
    sched_yield ();
}

static void
test_switching (void **state)
{
  struct zcomp *z = make (&lz4, 1);

  (void) state;
  run_hammers (z, 8, hammer, switch_workers);
  assert_true (zcomp_is_idle (z));
  zcomp_free (z);

  z = make (&zstd, 8);
  run_hammers (z, 8, hammer, switch_workers);
  assert_true (zcomp_is_idle (z));
  zcomp_free (z);
}

/* ------------------------------------------------------------------------
 * Another primary method.
 */

static void
test_set_primary (void **state)
{
  static const struct zcomp_method wrong = { DEFLATE, 13 };
  struct zcomp *z = make (&lz4, 3), *as_new = make (&zstd, 3);

  (void) state;
  errno = 0;
  assert_int_equal (zcomp_set_primary (z, &wrong), -1);
  assert_int_equal (errno, EINVAL);
  assert_int_equal (zcomp_primary (z).format, LZ4);

  assert_int_equal (zcomp_set_primary (z, &zstd), 0);
  assert_int_equal (zcomp_primary (z).format, ZSTD);
  assert_int_equal (zcomp_primary (z).level, 3);
  assert_int_equal (zcomp_memory (z), zcomp_memory (as_new));
  round_trip (z, &zstd, 1);
  round_trip (z, &lz4, 2);

  /* Streams that come later are made for it, too. */
  assert_int_equal (zcomp_set_workers (z, 1), 0);
  assert_int_equal (zcomp_set_workers (z, 3), 0);
  assert_int_equal (zcomp_set_workers (as_new, 1), 0);
  assert_int_equal (zcomp_set_workers (as_new, 3), 0);
  round_trip (z, &zstd, 3);
  zcomp_free (as_new);
  zcomp_free (z);
}

/* Levels may be negative. */
static void
test_primary_level (void **state)
{
  static const struct zcomp_method fast = { ZSTD, -5 };
  struct zcomp *z = make (&fast, 1);

  (void) state;
  assert_int_equal (zcomp_primary (z).format, ZSTD);
  assert_int_equal (zcomp_primary (z).level, -5);
  round_trip (z, &fast, 1);
  zcomp_free (z);
}

/* Under borrowers, with the number of streams going up and down as well. */
static void
switch_primary (struct zcomp *z, unsigned turn)
{
  assert_int_equal (zcomp_set_primary (z, turn % 2 ? &lz4 : &zstd), 0);
  if (turn % 3 == 0)
    assert_int_equal (zcomp_set_workers (z, turn % 2 ? 1 : 8), 0);
}

static void
test_switching_primary (void **state)
{
  struct zcomp *z = make (&lz4, 1);

  (void) state;
  run_hammers (z, 8, hammer, switch_primary);
  assert_true (zcomp_is_idle (z));
  zcomp_free (z);
}

/* ------------------------------------------------------------------------
 * Failures.
 */

#ifdef ZRAM_FAULTS

/* Every request for memory of zcomp_set_workers fails once; the streams that
 * were there go on, the others are gone without a trace.
 */
static void
test_grow_fails (void **state)
{
  struct zcomp *z = make (&zstd, 2);
  size_t memory = zcomp_memory (z);
  int r = -1;

  (void) state;
  for (uint64_t nth = 1; r == -1; nth++) {
    fault_fail_nth (NULL, nth, false);
    errno = 0;
    r = zcomp_set_workers (z, 4);
    fault_clear ();
    assert_true (nth < 100);
    if (r == -1) {
      assert_int_equal (errno, ENOMEM);
      assert_int_equal (zcomp_workers (z), 2);
      assert_int_equal (zcomp_memory (z), memory);
    }
    else
      assert_true (nth > 6);
    round_trip (z, &zstd, nth);
    assert_true (zcomp_is_idle (z));
  }
  assert_int_equal (zcomp_workers (z), 4);
  zcomp_free (z);
}

/* The same for zcomp_set_primary. */
static void
test_set_primary_fails (void **state)
{
  struct zcomp *z = make (&lz4, 3);
  size_t memory = zcomp_memory (z);
  int r = -1;

  (void) state;
  for (uint64_t nth = 1; r == -1; nth++) {
    fault_fail_nth (NULL, nth, false);
    errno = 0;
    r = zcomp_set_primary (z, &zstd);
    fault_clear ();
    assert_true (nth < 100);
    if (r == -1) {
      assert_int_equal (errno, ENOMEM);
      assert_int_equal (zcomp_primary (z).format, LZ4);
      assert_int_equal (zcomp_memory (z), memory);
    }
    else
      assert_true (nth > 6);
    assert_true (zcomp_is_idle (z));
  }
  round_trip (z, &zstd, 1);
  zcomp_free (z);
}

static void
test_new_fails (void **state)
{
  struct zcomp *z = NULL;

  (void) state;
  for (uint64_t nth = 1; !z; nth++) {
    fault_fail_nth (NULL, nth, false);
    errno = 0;
    z = zcomp_new (&zstd, SLOT, 2);
    fault_clear ();
    assert_true (nth < 100);
    if (!z)
      assert_int_equal (errno, ENOMEM);
    else
      assert_true (nth > 6);
  }
  round_trip (z, &zstd, 1);
  zcomp_free (z);
}

/* No memory for a secondary codec's context is an error to its caller, this
 * once, and to no other.
 */
static void
test_secondary_fails (void **state)
{
  static const struct zcomp_method deflate = { DEFLATE, 6 };
  struct zcomp *z = make (&lz4, 1);
  struct zcomp_stream *stream = zcomp_stream_get (z);
  unsigned char plain[SLOT], object[SLOT], back[SLOT];
  const void *out;
  ssize_t n;

  (void) state;
  fill (plain, 1);
  fault_fail_nth ("codec.cctx", 1, false);
  errno = 0;
  n = zcomp_compress (stream, &deflate, plain, SLOT, SLOT, &out);
  assert_int_equal (n, -1);
  assert_int_equal (errno, ENOMEM);
  n = zcomp_compress (stream, &lz4, plain, SLOT, SLOT, &out);
  assert_in_range (n, 1, SLOT);
  n = zcomp_compress (stream, &deflate, plain, SLOT, SLOT, &out);
  assert_in_range (n, 1, SLOT);
  memcpy (object, out, (size_t) n);
  zcomp_stream_put (stream);

  fault_fail_nth ("codec.dctx", 1, false);
  errno = 0;
  assert_int_equal (
    decompress_at_once (z, DEFLATE, object, (size_t) n, back, SLOT), -1);
  assert_int_equal (errno, ENOMEM);
  assert_true (zcomp_is_idle (z));
  assert_int_equal (
    decompress_at_once (z, DEFLATE, object, (size_t) n, back, SLOT), 0);
  assert_memory_equal (plain, back, SLOT);
  fault_clear ();
  zcomp_free (z);
}

/* The number goes up and down under load, and often fails to go up. */
static void
switch_and_fail (struct zcomp *z, unsigned turn)
{
  unsigned before = zcomp_workers (z);

  fault_fail_nth ("codec.cctx", 1 + turn % 9, false);
  if (zcomp_set_workers (z, turn % 2 ? 1 : 8) == -1) {
    assert_int_equal (errno, ENOMEM);
    assert_int_equal (zcomp_workers (z), before);
  }
  fault_clear ();
}

static void *
plain_hammer (void *arg)
{
  struct hammer *h = arg;

  for (unsigned i = 0; i < ROUNDS; i++) {
    struct zcomp_method primary = zcomp_primary (h->z);

    round_trip (h->z, &primary, h->id * ROUNDS + i);
  }
  atomic_fetch_sub (h->left, 1);
  return NULL;
}

static void
test_switching_fails (void **state)
{
  struct zcomp *z = make (&zstd, 1);

  (void) state;
  run_hammers (z, 8, plain_hammer, switch_and_fail);
  zcomp_free (z);
}

#endif /* ZRAM_FAULTS */

int
main (void)
{
  const struct CMUnitTest tests[] = {
    UNIT_TEST (test_arguments),       UNIT_TEST (test_methods),
    UNIT_TEST (test_memory),          UNIT_TEST (test_errors),
    UNIT_TEST (test_switching),       UNIT_TEST (test_set_primary),
    UNIT_TEST (test_primary_level),   UNIT_TEST (test_switching_primary),
#ifdef ZRAM_FAULTS
    UNIT_TEST (test_grow_fails),      UNIT_TEST (test_set_primary_fails),
    UNIT_TEST (test_new_fails),       UNIT_TEST (test_secondary_fails),
    UNIT_TEST (test_switching_fails),
#endif
  };

  return UNIT_RUN (tests);
}
