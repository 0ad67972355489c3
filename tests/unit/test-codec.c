/* SPDX-License-Identifier: BSD-3-Clause */
/* Every codec in the registry against its contract (comp/codec.h). */

#include <config.h>

#include <errno.h>

#include <libdeflate.h>
#include <zstd.h>

#include "codec-util.h"

static const size_t slot_sizes[] = { 4096, 8192, 16384, 32768, 65536 };
static const size_t short_lengths[] = { 1, 2, 12, 13, 511, 4095, 4097 };

static void
test_registry (void **state)
{
  static const char *const names[CODEC_IDS] = {
    [1] = "lz4", [2] = "lz4hc", [3] = "zstd", [4] = "deflate"
  };
  const struct codec *codec;

  (void) state;
  for (unsigned id = 0; id < CODEC_IDS; id++) {
    codec = codec_by_id (id);
    if (!names[id]) {
      assert_null (codec);
      continue;
    }
    assert_non_null (codec);
    assert_string_equal (codec->name, names[id]);
    assert_ptr_equal (codec_find (names[id]), codec);
    assert_int_equal (codec_id (codec), id);
    assert_true (codec->level_min <= codec->level_default);
    assert_true (codec->level_default <= codec->level_max);
    assert_int_equal (codec->decompress_needs_ctx, codec->dctx_create != NULL);
  }
  assert_null (codec_by_id (CODEC_IDS));
  assert_null (codec_by_id (UINT32_MAX));
  assert_null (codec_find (""));
  assert_null (codec_find ("z"));
  assert_null (codec_find ("LZ4"));
  assert_null (codec_find ("zstd "));

  assert_int_equal (codec_find ("zstd")->level_min, ZSTD_minCLevel ());
  assert_int_equal (codec_find ("zstd")->level_max, ZSTD_maxCLevel ());
}

static void
round_trip (struct pair *p, size_t len)
{
  struct unit_rng rng = unit_rng (len);
  unsigned char *packed, *plain;
  ssize_t n, n2;

  for (int kind = 0; kind < KINDS; kind++) {
    bool at_end = unit_rand (&rng) % 2;

    plain = place (in_room, len, at_end);
    fill (plain, len, kind, &rng);
    n = compress (p, plain, len, len + 1024, at_end, &packed);
    assert_in_range (n, 1, len + 1024);
    check_decompresses_to (p, packed, (size_t) n, plain, len);
    if (len >= 4095 && kind != RANDOM &&
        p->params.level == p->codec->level_default)
      assert_true (n < (ssize_t) len);

    /* As zcomp calls it; what does not fit is stored raw. */
    n2 = compress (p, plain, len, len - 1, !at_end, &packed);
    if (n2 > 0)
      check_decompresses_to (p, packed, (size_t) n2, plain, len);
    else
      assert_true (n + CODEC_SLACK > (ssize_t) len - 1);
    if (kind == RANDOM)
      assert_int_equal (n2, 0);
  }
}

static void
round_trip_slot (struct pair *p)
{
  round_trip (p, p->params.slot_size);
}

static void
round_trip_short (struct pair *p)
{
  for (size_t i = 0; i < sizeof short_lengths / sizeof *short_lengths; i++)
    round_trip (p, short_lengths[i]);
}

static void
round_trips_of_codec (const struct codec *codec)
{
  for (size_t i = 0; i < sizeof slot_sizes / sizeof *slot_sizes; i++)
    for_each_pair (codec, slot_sizes[i], round_trip_slot);
  for_each_pair (codec, 8192, round_trip_short);
}

static void
test_round_trip (void **state)
{
  (void) state;
  for_each_codec (round_trips_of_codec);
}

/* With less and less room: the same bytes while there is slack, then perhaps
 * another encoding that fits, then none.
 */
static void
shrink_room (struct pair *p)
{
  const size_t len = p->params.slot_size;
  const ssize_t step = p->params.level == p->codec->level_max ? 7
                                                              : 1; /* slow */
  struct unit_rng rng = unit_rng (len);
  unsigned char *plain = malloc (len), *whole = malloc (2 * len), *packed;
  ssize_t n, m;

  assert_non_null (plain);
  assert_non_null (whole);
  for (int kind = 0; kind < KINDS; kind++) {
    fill (plain, len, kind, &rng);
    n = compress (p, plain, len, 2 * len, true, &packed);
    memcpy (whole, packed, (size_t) n);
    for (ssize_t cap = n + CODEC_SLACK; cap > 0 && cap > n - 40; cap -= step) {
      m = compress (p, plain, len, (size_t) cap, cap % 2, &packed);
      if (m > 0)
        check_decompresses_to (p, packed, (size_t) m, plain, len);
      if (cap == n + CODEC_SLACK) {
        assert_int_equal (m, n);
        assert_memory_equal (packed, whole, (size_t) n);
      }
    }
    for (size_t cap = 1; cap < (size_t) n / 2; cap += cap / 2 + 1)
      assert_int_equal (compress (p, plain, len, cap, cap % 2, &packed), 0);
  }
  free (whole);
  free (plain);
}

static void
shrink_room_of_codec (const struct codec *codec)
{
  for_each_pair (codec, 4096, shrink_room);
}

static void
test_room (void **state)
{
  (void) state;
  for_each_codec (shrink_room_of_codec);
}

/* What a context did before, failing included, does not show in what it does
 * next: the bytes are those of a fresh context.
 */
static void
reuse (struct pair *used)
{
  const size_t len = used->params.slot_size;
  struct unit_rng rng = unit_rng (len);
  unsigned char *plain = malloc (len), *other = malloc (len);
  unsigned char *first = malloc (2 * len), *packed;
  struct pair fresh;
  ssize_t n, m;
  size_t held = used->codec->cctx_size (used->cctx);

  assert_non_null (plain);
  assert_non_null (other);
  assert_non_null (first);
  for (int i = 0; i < 3 * KINDS; i++) {
    fill (plain, len, i % KINDS, &rng);
    fill (other, len, RANDOM, &rng);
    assert_int_equal (compress (used, other, len, len - 1, true, &packed), 0);
    if (i % 3 == 0) {
      n = compress (used, plain, len, 5, true, &packed);
      assert_int_equal (n, 0);
    }
    if (i % 4 == 0)
      compress (used, plain, 100, 200, true, &packed);
    n = compress (used, plain, len, 2 * len, true, &packed);
    memcpy (first, packed, (size_t) n);

    open_pair (&fresh, used->codec, used->params.level, len);
    m = compress (&fresh, plain, len, 2 * len, true, &packed);
    assert_int_equal (n, m);
    assert_memory_equal (first, packed, (size_t) n);
    /* What one made the other reads, also after failing to read. */
    other[0] = 0xff;
    (void) decompress (&fresh, other, len, len, true, &packed);
    check_decompresses_to (&fresh, first, (size_t) n, plain, len);
    close_pair (&fresh);
  }

  /* Whole slots never make it larger: it had all its memory from the start. */
  for (int i = 0; i < 150; i++)
    compress (used, plain, len, len - 1, true, &packed);
  assert_true (used->codec->cctx_size (used->cctx) <= held);
  free (first);
  free (other);
  free (plain);
}

static void
reuse_of_codec (const struct codec *codec)
{
  for_each_pair (codec, 4096, reuse);
  for_each_pair (codec, 16384, reuse);
}

static void
test_reuse (void **state)
{
  (void) state;
  for_each_codec (reuse_of_codec);
}

static void
damage_codec (const struct codec *codec)
{
  struct pair p;

  for_each_pair (codec, 4096, damage_pair);
  open_pair (&p, codec, codec->level_default, MAX_LEN);
  damage_pair (&p);
  close_pair (&p);
}

static void
test_damage (void **state)
{
  (void) state;
  for_each_codec (damage_codec);
}

/* An object of another length than it should be is not taken for it. */
static void
wrong_lengths (struct pair *p)
{
  const size_t len = p->params.slot_size;
  struct unit_rng rng = unit_rng (len);
  unsigned char *plain = malloc (len), *object = malloc (2 * len + 1), *out;
  size_t n;

  assert_non_null (plain);
  assert_non_null (object);
  for (int kind = 0; kind < KINDS; kind++) {
    fill (plain, len, kind, &rng);
    n = (size_t) compress (p, plain, len, 2 * len, true, &out);
    memcpy (object, out, n);
    object[n] = 0;
    assert_int_equal (decompress (p, object, n, len - 1, true, &out), -1);
    assert_int_equal (decompress (p, object, n, len + 1, true, &out), -1);
    assert_int_equal (decompress (p, object, n, 1, true, &out), -1);
    assert_int_equal (decompress (p, object, n - 1, len, true, &out), -1);
    assert_int_equal (decompress (p, object, n + 1, len, true, &out), -1);
    assert_int_equal (decompress (p, object, 0, len, true, &out), -1);
    check_decompresses_to (p, object, n, plain, len);
  }
  free (object);
  free (plain);
}

static void
wrong_lengths_of_codec (const struct codec *codec)
{
  for_each_pair (codec, 4096, wrong_lengths);
}

static void
test_lengths (void **state)
{
  (void) state;
  for_each_codec (wrong_lengths_of_codec);
}

/* ------------------------------------------------------------------------
 * Memory of contexts.
 */

static size_t hook_bytes;

static void *
counting_malloc (size_t size)
{
  hook_bytes += size;
  return malloc (size);
}

/* The sizes that codec_deflate.c knows against what the library asks for. */
static void
test_deflate_memory (void **state)
{
  const struct codec *codec = codec_find ("deflate");
  struct codec_params params = { .slot_size = 4096 };
  size_t said;
  void *ctx;

  (void) state;
  libdeflate_set_memory_allocator (counting_malloc, free);
  for (params.level = codec->level_min; params.level <= codec->level_max;
       params.level++) {
    hook_bytes = 0;
    ctx = codec_cctx_create (codec, &params);
    assert_non_null (ctx);
    said = codec->cctx_size (ctx);
    assert_in_range (said, hook_bytes / 2, hook_bytes * 2);
    codec->cctx_destroy (ctx);
  }
  hook_bytes = 0;
  ctx = codec_dctx_create (codec, &params);
  assert_non_null (ctx);
  said = codec->dctx_size (ctx);
  assert_in_range (said, hook_bytes / 2, hook_bytes * 2);
  codec->dctx_destroy (ctx);
  libdeflate_set_memory_allocator (malloc, free);
}

/* zstd's contexts are made for the slot: the library's own for level 3 is
 * 1.3 MB.
 */
static void
test_zstd_memory (void **state)
{
  const struct codec *codec = codec_find ("zstd");
  struct codec_params params = { .level = 3, .slot_size = 4096 };
  void *ctx = codec_cctx_create (codec, &params);

  (void) state;
  assert_non_null (ctx);
  assert_in_range (codec->cctx_size (ctx), 1, 128 * 1024);
  codec->cctx_destroy (ctx);
}

/* A zstd object has no frame magic, content size or checksum: what does not
 * compress grows by 2 bytes of frame header and 3 of block header.
 */
static void
test_zstd_header (void **state)
{
  struct pair p;
  unsigned char *plain = malloc (4096), *out;
  struct unit_rng rng = unit_rng (0);

  (void) state;
  assert_non_null (plain);
  fill (plain, 4096, RANDOM, &rng);
  open_pair (&p, codec_find ("zstd"), 3, 4096);
  assert_int_equal (compress (&p, plain, 4096, 8192, true, &out), 4096 + 5);
  close_pair (&p);
  free (plain);
}

#ifdef ZRAM_FAULTS
static void
context_faults (const struct codec *codec)
{
  const struct codec_params params = { .level = codec->level_default,
                                       .slot_size = 4096 };
  void *ctx = NULL;

  /* Each request for memory in turn. */
  for (uint64_t nth = 1; !ctx; nth++) {
    fault_fail_nth (NULL, nth, false);
    errno = 0;
    ctx = codec_cctx_create (codec, &params);
    assert_true (nth < 100);
    if (!ctx)
      assert_int_equal (errno, ENOMEM);
    else
      assert_true (nth > 1);
  }
  codec->cctx_destroy (ctx);
  if (codec->decompress_needs_ctx) {
    fault_fail_nth ("codec.dctx", 1, false);
    errno = 0;
    assert_null (codec_dctx_create (codec, &params));
    assert_int_equal (errno, ENOMEM);
  }
  fault_clear ();
}

static void
test_context_faults (void **state)
{
  (void) state;
  for_each_codec (context_faults);
}
#endif

int
main (void)
{
  const struct CMUnitTest tests[] = {
    UNIT_TEST (test_registry),       UNIT_TEST (test_round_trip),
    UNIT_TEST (test_room),           UNIT_TEST (test_reuse),
    UNIT_TEST (test_damage),         UNIT_TEST (test_lengths),
    UNIT_TEST (test_deflate_memory), UNIT_TEST (test_zstd_memory),
    UNIT_TEST (test_zstd_header),
#ifdef ZRAM_FAULTS
    UNIT_TEST (test_context_faults),
#endif
  };

  int r;

  make_rooms ();
  r = UNIT_RUN (tests);
  free_rooms ();
  return r;
}
