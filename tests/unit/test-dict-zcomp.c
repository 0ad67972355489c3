/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Formats with a dictionary, and the streams that use them: numbers, memory,
 * errors, and dictionaries that come and go while others compress.
 */

#include <config.h>

#include <errno.h>

#include "zcomp-util.h"

#include "comp/dict.h"

#define BYTES 20000

/* Slots of zcomp-util.h, so that it pays. */
static void
dict_bytes (unsigned char *p, uint64_t seed)
{
  unsigned char slot[SLOT];

  for (size_t at = 0; at < BYTES; at += SLOT) {
    fill (slot, seed + at / SLOT);
    memcpy (p + at, slot, at + SLOT <= BYTES ? SLOT : BYTES - at);
  }
}

/* Threads use this, too. */
static unsigned
add (struct zcomp *z, unsigned codec, uint64_t seed)
{
  unsigned char bytes[BYTES];
  unsigned format = 0;
  struct reason why = { "" };

  dict_bytes (bytes, seed);
  check_always (
    zcomp_dict_add (z, codec_by_id (codec), bytes, BYTES, &format, &why) == 0);
  check_always (format_is_dict (format));
  return format;
}

static void
test_formats (void **state)
{
  struct zcomp *z = make (&lz4, 2);
  unsigned formats[FORMAT_DICTS], again;
  struct zcomp_dict_info info, other;
  unsigned char bytes[BYTES];
  size_t memory = zcomp_memory (z), full;
  struct reason why = { "" };

  (void) state;
  assert_false (format_is_dict (CODEC_IDS - 1));
  assert_false (format_is_dict (32));
  assert_ptr_equal (zcomp_format_codec (z, ZSTD), codec_by_id (ZSTD));
  assert_null (zcomp_format_codec (z, CODEC_RAW));
  assert_null (zcomp_format_codec (z, 16));
  assert_null (zcomp_format_codec (z, 32));
  assert_string_equal (zcomp_format_name (z, CODEC_RAW), "raw");

  for (unsigned i = 0; i < FORMAT_DICTS; i++) {
    unsigned codec = i % 2 ? ZSTD : LZ4;
    struct zcomp_method m = { add (z, codec, i), 3 };

    formats[i] = m.format;
    assert_in_range (m.format, 16, 31);
    for (unsigned j = 0; j < i; j++)
      assert_int_not_equal (formats[j], m.format);
    assert_ptr_equal (zcomp_format_codec (z, m.format), codec_by_id (codec));
    assert_string_equal (zcomp_format_name (z, m.format),
                         i % 2 ? "zstd" : "lz4");
    assert_int_equal (zcomp_dict_info (z, m.format, &info), 0);
    assert_ptr_equal (info.codec, codec_by_id (codec));
    assert_int_equal (info.size, BYTES);
    assert_true (info.memory >= BYTES);
    assert_int_equal (zcomp_dict_info (z, formats[0], &other), 0);
    assert_int_equal (info.id == other.id, i == 0);
    round_trip (z, &m, i);
  }

  /* There are no more, until one goes. */
  full = zcomp_memory (z);
  dict_bytes (bytes, 1);
  errno = 0;
  assert_int_equal (
    zcomp_dict_add (z, codec_by_id (ZSTD), bytes, BYTES, &again, &why), -1);
  assert_int_equal (errno, ENOSPC);
  assert_string_not_equal (why.text, "");
  assert_int_equal (zcomp_memory (z), full);
  assert_int_equal (zcomp_dict_remove (z, formats[5]), 0);
  assert_null (zcomp_format_codec (z, formats[5]));
  assert_int_equal (add (z, LZ4, 50), formats[5]);
  assert_int_equal (zcomp_dict_info (z, formats[5], &info), 0);
  assert_ptr_equal (info.codec, codec_by_id (LZ4));

  for (unsigned i = 0; i < FORMAT_DICTS; i++)
    assert_int_equal (zcomp_dict_remove (z, formats[i]), 0);
  assert_int_equal (zcomp_set_workers (z, 1), 0);
  assert_int_equal (zcomp_set_workers (z, 2), 0);
  assert_in_range (zcomp_memory (z), memory, memory + 256 * 1024);

  /* What is still there goes with the rest. */
  round_trip (z, &(struct zcomp_method){ add (z, ZSTD, 1), 1 }, 1);
  zcomp_free (z);
}

/* Each stream makes its contexts, and a removal takes them from all. */

#define BORROWERS 8

struct borrower {
  struct zcomp *z;
  unsigned format;
  pthread_barrier_t *all_have_one;
};

static void *
compress_twice (void *arg)
{
  struct borrower *b = arg;
  struct zcomp_stream *s = zcomp_stream_get (b->z);
  unsigned char plain[SLOT];
  const void *out;

  pthread_barrier_wait (b->all_have_one);
  fill (plain, 1);
  for (int level = 1; level <= 2; level++) {
    struct zcomp_method m = { b->format, level };
    ssize_t n = zcomp_compress (s, &m, plain, SLOT, SLOT, &out);

    check_always (n > 0 && n < 100);
  }
  zcomp_stream_put (s);
  return NULL;
}

static void
test_memory (void **state)
{
  struct zcomp *z = make (&zstd, BORROWERS);
  size_t before = zcomp_memory (z), with;
  struct unit_thread t[BORROWERS];
  struct zcomp_dict_info info;
  pthread_barrier_t barrier;
  struct borrower b = { z, 0, &barrier };

  (void) state;
  pthread_barrier_init (&barrier, NULL, BORROWERS);
  for (unsigned codec = LZ4; codec <= ZSTD; codec += ZSTD - LZ4) {
    b.format = add (z, codec, 1);
    with = zcomp_memory (z);
    assert_int_equal (zcomp_dict_info (z, b.format, &info), 0);
    assert_int_equal (with, before + info.memory);
    unit_start_all (t, BORROWERS, compress_twice, &b, 0);
    unit_join_all (t, BORROWERS);
    assert_true (zcomp_memory (z) >= with + 2u * BORROWERS * 4096);
    assert_int_equal (zcomp_dict_remove (z, b.format), 0);
    assert_int_equal (zcomp_memory (z), before);
  }
  pthread_barrier_destroy (&barrier);
  zcomp_free (z);
}

/* All dictionaries of a codec are read with one context. */
static void
test_one_context (void **state)
{
  struct zcomp *z = make (&zstd, 1);
  unsigned char plain[SLOT], object[FORMAT_DICTS][SLOT], back[SLOT];
  struct zcomp_stream *s = zcomp_stream_get (z);
  unsigned formats[FORMAT_DICTS];
  ssize_t n[FORMAT_DICTS];
  const void *out;
  size_t memory;

  (void) state;
  fill (plain, 1);
  for (unsigned i = 0; i < FORMAT_DICTS; i++) {
    struct zcomp_method m = { formats[i] = add (z, ZSTD, i), 1 };

    n[i] = zcomp_compress (s, &m, plain, SLOT, SLOT, &out);
    assert_in_range (n[i], 1, SLOT);
    memcpy (object[i], out, (size_t) n[i]);
  }
  zcomp_stream_put (s);
  memory = zcomp_memory (z);
  for (unsigned i = 0; i < 3 * FORMAT_DICTS; i++) {
    unsigned k = i * 7 % FORMAT_DICTS;

    assert_int_equal (
      decompress_at_once (z, formats[k], object[k], (size_t) n[k], back, SLOT),
      0);
    assert_memory_equal (back, plain, SLOT);
  }
  assert_int_equal (zcomp_memory (z), memory);
  zcomp_free (z);
}

static void
test_errors (void **state)
{
  struct zcomp *z = make (&lz4, 1);
  unsigned format = add (z, ZSTD, 1), none;
  const struct zcomp_method wrong[] = { { format, 23 }, { 31, 1 }, { 32, 1 } };
  struct zcomp_method m = { format, -5 };
  unsigned char plain[SLOT], back[SLOT];
  struct zcomp_dict_info info;
  struct zcomp_stream *s;
  struct reason why = { "" };
  const void *out;

  (void) state;
  fill (plain, 1);
  for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
    errno = 0;
    assert_int_equal (zcomp_set_primary (z, &wrong[i]), -1);
    assert_int_equal (errno, EINVAL);
    s = zcomp_stream_get (z);
    errno = 0;
    assert_true (zcomp_compress (s, &wrong[i], plain, SLOT, SLOT, &out) == -1);
    assert_int_equal (errno, EINVAL);
    zcomp_stream_put (s);
  }
  errno = 0;
  assert_int_equal (decompress_at_once (z, 31, plain, 100, back, SLOT), -1);
  assert_int_equal (errno, EIO);
  errno = 0;
  assert_int_equal (decompress_at_once (z, 32, plain, 100, back, SLOT), -1);
  assert_int_equal (errno, EIO);
  memset (back, 0xff, SLOT);
  errno = 0;
  assert_int_equal (decompress_at_once (z, format, back, 100, plain, SLOT), -1);
  assert_int_equal (errno, EIO);

  errno = 0;
  assert_int_equal (zcomp_dict_remove (z, ZSTD), -1);
  assert_int_equal (errno, EINVAL);
  assert_int_equal (zcomp_dict_remove (z, 31), -1);
  assert_int_equal (zcomp_dict_info (z, 31, &info), -1);
  assert_int_equal (zcomp_dict_info (z, 32, &info), -1);

  for (unsigned codec = LZ4HC; codec <= DEFLATE; codec += DEFLATE - LZ4HC) {
    errno = 0;
    assert_int_equal (
      zcomp_dict_add (z, codec_by_id (codec), plain, SLOT, &none, &why), -1);
    assert_int_equal (errno, EINVAL);
    assert_string_equal (why.text, "this algorithm takes no dictionary");
  }

  /* As the primary it may not go. */
  assert_int_equal (zcomp_set_primary (z, &m), 0);
  assert_int_equal (zcomp_primary (z).format, format);
  assert_int_equal (zcomp_primary (z).level, -5);
  round_trip (z, &m, 1);
  errno = 0;
  assert_int_equal (zcomp_dict_remove (z, format), -1);
  assert_int_equal (errno, EBUSY);
  round_trip (z, &m, 2);
  assert_int_equal (zcomp_set_primary (z, &lz4), 0);
  assert_int_equal (zcomp_dict_remove (z, format), 0);
  zcomp_free (z);
}

/* The primary with a dictionary: streams that come later have it, too, and
 * compress without asking for memory.
 */
static void
test_primary (void **state)
{
  struct zcomp *z = make (&lz4, 2);
  size_t memory = zcomp_memory (z);
  struct zcomp_method m = { add (z, ZSTD, 1), 9 };

  (void) state;
  assert_int_equal (zcomp_set_primary (z, &m), 0);
  assert_int_equal (zcomp_set_workers (z, 4), 0);
  for (unsigned i = 0; i < 4; i++) {
    struct zcomp_stream *s = zcomp_stream_get (z);
    struct zcomp_method has = zcomp_stream_primary (s);
    unsigned char plain[SLOT];
    const void *out;

    assert_int_equal (has.format, m.format);
    assert_int_equal (has.level, 9);
    fill (plain, i);
#ifdef ZRAM_FAULTS
    fault_fail_nth (NULL, 1, true);
#endif
    assert_in_range (zcomp_compress (s, &has, plain, SLOT, SLOT, &out), 1,
                     SLOT);
#ifdef ZRAM_FAULTS
    fault_clear ();
#endif
    zcomp_stream_put (s);
  }
  assert_int_equal (zcomp_set_workers (z, 2), 0);
  assert_int_equal (zcomp_set_primary (z, &lz4), 0);
  assert_int_equal (zcomp_dict_remove (z, m.format), 0);
  assert_int_equal (zcomp_memory (z), memory);
  zcomp_free (z);
}

/* lz4 reads without a stream, dictionary or not; zstd with one, its own or
 * one that the caller has.
 */
static void
test_readers (void **state)
{
  struct zcomp *z = make (&lz4, 1);
  unsigned with_lz4 = add (z, LZ4, 1), with_zstd = add (z, ZSTD, 1);
  struct zcomp_method m = { with_lz4, 1 };
  struct zcomp_stream *s = zcomp_stream_get (z);
  unsigned char plain[SLOT], object[SLOT], back[SLOT];
  struct zcomp_reader reader;
  const void *out;
  ssize_t n;

  (void) state;
  fill (plain, 1);
  n = zcomp_compress (s, &m, plain, SLOT, SLOT, &out);
  assert_in_range (n, 1, 100);
  memcpy (object, out, (size_t) n);
  assert_int_equal (zcomp_reader_get (z, with_lz4, &reader), 0);
  assert_null (reader.stream);
  assert_non_null (reader.dict);
  assert_int_equal (
    zcomp_reader_decompress (&reader, object, (size_t) n, back, SLOT), 0);
  assert_memory_equal (back, plain, SLOT);
  zcomp_reader_put (&reader);
  assert_null (reader.dict);

  m.format = with_zstd;
  n = zcomp_compress (s, &m, plain, SLOT, SLOT, &out);
  assert_in_range (n, 1, 100);
  memcpy (object, out, (size_t) n);
  assert_int_equal (zcomp_stream_reader (s, with_zstd, &reader), 0);
  assert_int_equal (zcomp_reader_decompress (&reader, object, (size_t) n,
                                             zcomp_stream_scratch (s), SLOT),
                    0);
  assert_memory_equal (zcomp_stream_scratch (s), plain, SLOT);
  zcomp_reader_put (&reader);
  zcomp_stream_put (s);
  assert_int_equal (zcomp_reader_get (z, with_zstd, &reader), 0);
  assert_non_null (reader.stream);
  assert_int_equal (zcomp_busy (z), 1);
  zcomp_reader_put (&reader);
  assert_true (zcomp_is_idle (z));
  zcomp_free (z);
}

/* ------------------------------------------------------------------------
 * Dictionaries that come and go, one that stays, the primary with and
 * without it, and the number of streams, all under borrowers.
 */

static unsigned staying[2];

static void *
dict_hammer (void *arg)
{
  struct hammer *h = arg;

  for (unsigned i = 0; i < 4 * ROUNDS; i++) {
    struct zcomp_method m = { staying[i % 2], 1 + (int) (i / 2 % 3) };

    round_trip (h->z, i % 4 < 2 ? &m : &methods[i % METHODS],
                4 * h->id * ROUNDS + i);
  }
  atomic_fetch_sub (h->left, 1);
  return NULL;
}

static void
come_and_go (struct zcomp *z, unsigned turn)
{
  struct zcomp_method m = { add (z, turn % 2 ? LZ4 : ZSTD, turn), 3 };
  struct zcomp_dict_info info;

  round_trip (z, &m, turn);
  if (turn % 3 == 0) {
    assert_int_equal (zcomp_set_primary (z, &m), 0);
    assert_int_equal (zcomp_set_workers (z, turn % 2 ? 1 : 8), 0);
    assert_int_equal (zcomp_set_primary (z, turn % 6 ? &lz4 : &zstd), 0);
  }
  assert_int_equal (zcomp_dict_info (z, m.format, &info), 0);
  assert_int_equal (zcomp_dict_remove (z, m.format), 0);
}

static void
test_come_and_go (void **state)
{
  struct zcomp *z = make (&lz4, 4);

  (void) state;
  staying[0] = add (z, ZSTD, 1000);
  staying[1] = add (z, LZ4, 1000);
  run_hammers (z, 8, dict_hammer, come_and_go);
  assert_true (zcomp_is_idle (z));
  zcomp_free (z);
}

/* ------------------------------------------------------------------------
 * Failures, and threads held where they could meet.
 */

#ifdef ZRAM_FAULTS

static void
test_add_fails (void **state)
{
  struct zcomp *z = make (&lz4, 2);
  size_t memory = zcomp_memory (z);
  unsigned char bytes[BYTES];
  unsigned format = 0;
  struct reason why = { "" };
  int r = -1;

  (void) state;
  dict_bytes (bytes, 1);
  for (unsigned codec = LZ4; codec <= ZSTD; codec += ZSTD - LZ4, r = -1) {
    for (uint64_t nth = 1; r == -1; nth++) {
      fault_fail_nth (NULL, nth, false);
      errno = 0;
      r = zcomp_dict_add (z, codec_by_id (codec), bytes, BYTES, &format, &why);
      fault_clear ();
      assert_true (nth < 100);
      if (r == -1) {
        assert_int_equal (errno, ENOMEM);
        assert_string_not_equal (why.text, "");
        assert_int_equal (zcomp_memory (z), memory);
        assert_null (zcomp_format_codec (z, FORMAT_DICT));
      }
      else
        assert_true (nth > 3);
    }
    assert_int_equal (format, FORMAT_DICT);
    assert_int_equal (zcomp_dict_remove (z, format), 0);
    assert_int_equal (zcomp_memory (z), memory);
  }
  zcomp_free (z);
}

/* No memory for the level's digest or the context is an error to the caller,
 * that once, and leaves nothing behind.
 */
static void
test_context_fails (void **state)
{
  struct zcomp *z = make (&lz4, 1);
  struct zcomp_method m = { add (z, ZSTD, 1), 3 };
  size_t memory = zcomp_memory (z);
  unsigned char plain[SLOT];
  struct zcomp_stream *s;
  const void *out;
  ssize_t n = -1;

  (void) state;
  fill (plain, 1);
  for (uint64_t nth = 1; n == -1; nth++) {
    s = zcomp_stream_get (z);
    fault_fail_nth (NULL, nth, false);
    errno = 0;
    n = zcomp_compress (s, &m, plain, SLOT, SLOT, &out);
    fault_clear ();
    zcomp_stream_put (s);
    assert_true (nth < 100);
    if (n == -1) {
      assert_int_equal (errno, ENOMEM);
      assert_int_equal (zcomp_memory (z), memory);
    }
    else
      assert_true (nth > 4);
  }
  assert_int_equal (zcomp_dict_remove (z, m.format), 0);

  /* The primary stays what it was. */
  m.format = add (z, ZSTD, 2);
  fault_fail_nth ("dict.level", 1, false);
  errno = 0;
  assert_int_equal (zcomp_set_primary (z, &m), -1);
  assert_int_equal (errno, ENOMEM);
  fault_clear ();
  assert_int_equal (zcomp_primary (z).format, LZ4);
  assert_int_equal (zcomp_memory (z), memory);
  zcomp_free (z);
}

struct remover {
  struct zcomp *z;
  unsigned format;
};

static void *
remove_it (void *arg)
{
  struct remover *r = arg;

  check_always (zcomp_dict_remove (r->z, r->format) == 0);
  return NULL;
}

static void *
borrow (void *arg)
{
  zcomp_stream_put (zcomp_stream_get (arg));
  return NULL;
}

/* A removal waits for a borrower, and who goes to sleep because the removal
 * has the only stream is woken.
 */
static void
test_remove_waits (void **state)
{
  struct zcomp *z = make (&lz4, 1);
  struct zcomp_stream *s = zcomp_stream_get (z);
  struct remover r = { z, add (z, ZSTD, 1) };
  struct unit_thread remover, borrower;

  (void) state;
  unit_start (&remover, remove_it, &r);
  unit_wait_asleep (&remover);
  assert_null (zcomp_format_codec (z, r.format));
  fault_hold ("zcomp.forget");
  zcomp_stream_put (s);
  fault_wait_held ("zcomp.forget");
  unit_start (&borrower, borrow, z);
  unit_wait_asleep (&borrower);
  fault_release ("zcomp.forget");
  unit_join (&remover);
  unit_join (&borrower);
  assert_true (zcomp_is_idle (z));
  zcomp_free (z);
}

#endif /* ZRAM_FAULTS */

int
main (void)
{
  const struct CMUnitTest tests[] = {
    UNIT_TEST (test_formats),      UNIT_TEST (test_memory),
    UNIT_TEST (test_one_context),  UNIT_TEST (test_errors),
    UNIT_TEST (test_primary),      UNIT_TEST (test_readers),
    UNIT_TEST (test_come_and_go),
#ifdef ZRAM_FAULTS
    UNIT_TEST (test_add_fails),    UNIT_TEST (test_context_fails),
    UNIT_TEST (test_remove_waits),
#endif
  };

  return UNIT_RUN (tests);
}
