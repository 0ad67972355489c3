/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Recompressing one slot: when it pays, when it is tried, and that nothing is
 * lost whatever fails.
 */

#include <config.h>

#include "comp/train.h"
#include "recompress-fixture.h"
#include "unbounded.h"

#ifdef ZRAM_FAULTS

static struct fixture f;

/* -- class boundaries ---------------------------------------------------- */

/* Level 1 gives n1 bytes (0: raw), level 2 n2: is it done? */
static void
expect (uint64_t i, uint32_t n1, uint32_t n2, bool done)
{
  struct recompress_plan plan = levels_plan (1, 1, 1, 0);
  int64_t won = fixture_count (&f, DISK_RECOMPRESS_WON);
  enum recompress_result r;
  uint32_t old;

  levels_put (&f, i, 1, n1, n2, 0, 0);
  old = slot_meta_size (fixture_meta (&f, i));
  assert_int_equal (old, n1 ? n1 : f.slot_size);
  r = recompress_one (&f, i, &plan);
  uint32_t meta = fixture_meta (&f, i);
  if (r != (done ? RECOMPRESS_DONE : RECOMPRESS_VAIN))
    fail_msg ("%u to %u bytes: result %d", n1, n2, r);
  assert_int_equal (slot_meta_size (meta), done ? n2 : old);
  assert_int_equal (slot_meta_by (meta), done);
  assert_int_equal (slot_meta_incompressible (meta), !done);
  assert_int_equal (slot_meta_claim (meta), 0);
  assert_int_equal (fixture_count (&f, DISK_RECOMPRESS_WON) - won,
                    done ? old - n2 : 0);
  if (done)
    assert_true (class_of (&f, n2) < class_of (&f, old));
  levels_hold (&f, i, 1, n1, n2, 0, 0);

  /* Either way there is nothing more to do. */
  assert_int_equal (recompress_one (&f, i, &plan), RECOMPRESS_SKIPPED);
  assert_int_equal (fixture_meta (&f, i), meta);
}

static void
boundaries_of (uint32_t slot_size)
{
  struct unit_rng rng = unit_rng (slot_size);
  struct pool *pool;

  levels_open (&f, slot_size, 1, 64);
  pool = f.store->pool;
  uint32_t largest = pool_largest (pool);
  for (unsigned k = 0; k < UNIT_TIMES (60); k++) {
    uint32_t any = k == 0 ? largest : 1 + unit_below (&rng, largest);
    uint32_t size = pool_room_for (pool, any);
    uint32_t below = pool_smaller_than (pool, size);

    if (below < LEVELS_LEAST)
      continue;
    for (unsigned d = 0; d < 2; d++) {
      uint32_t n1 = d ? below + 1 : size; /* both ends of the class */

      expect (k, n1, below - 1 < LEVELS_LEAST ? below : below - 1, true);
      expect (k, n1, below, true);
      if (below + 1 <= size)
        expect (k, n1, below + 1, false);
    }
    expect (k, size, size, false);
  }
  /* Raw: whatever is not huge is a gain. */
  expect (1, 0, largest - 1, true);
  expect (1, 0, largest, true);
  expect (1, 0, largest + 1, false);
  expect (1, 0, slot_size, false);
  expect (1, 0, 0, false);
  /* There is nothing below the smallest class. */
  uint32_t smallest = pool_room_for (pool, 1);
  if (smallest >= LEVELS_LEAST)
    expect (1, smallest, LEVELS_LEAST, false);
  levels_close (&f);
}

static void
test_boundaries (void **state)
{
  (void) state;
  for (uint32_t slot_size = 4096; slot_size <= MAX_SLOT; slot_size *= 2)
    boundaries_of (slot_size);
}

/* -- real codecs, with and without dictionaries -------------------------- */

/* Sentences of a few words: a dictionary of them pays. */
static void
sentences (char *p, size_t len, struct unit_rng *rng)
{
  for (size_t i = 0; i < len;) {
    struct unit_rng word = { 7 + unit_below (rng, 500) };
    size_t n = 4 + unit_below (&word, 12);

    for (size_t k = 0; k < n && i < len; k++)
      p[i++] = (char) ('a' + unit_below (&word, 26));
    if (i < len)
      p[i++] = ' ';
  }
}

static unsigned
add_dictionary (const struct codec *codec)
{
  struct unit_rng rng = { 3 };
  const size_t size = 16 * KiB;
  char *bytes = must_alloc (size);
  struct reason why;
  unsigned format;

  sentences (bytes, size, &rng);
  check_always (
    zcomp_dict_add (f.store->zcomp, codec, bytes, size, &format, &why) == 0);
  free (bytes);
  return format;
}

/* What the method makes of the data: 0 if it stays raw. */
static uint32_t
packs_to (const struct zcomp_method *m, const void *data)
{
  struct zcomp_stream *stream = zcomp_stream_get (f.store->zcomp);
  const void *out;
  ssize_t n = zcomp_compress (stream, m, data, f.slot_size,
                              pool_largest (f.store->pool), &out);

  zcomp_stream_put (stream);
  check_always (n >= 0);
  return (uint32_t) n;
}

/* Data that are a byte less compressible each time, so that both sizes walk
 * over class boundaries: swapped if, and only if, the class gets smaller.
 */
static void
walk_boundaries (const struct zcomp_method *secondary, unsigned *done,
                 unsigned *vain)
{
  struct unit_rng rng = unit_rng (secondary->format * 100 + f.slot_size);
  struct recompress_plan plan = {
    .methods = { *secondary }, .count = 1, .first = 1, .last = 1
  };
  char *data = must_alloc (f.slot_size), *noise = must_alloc (f.slot_size);
  uint32_t step = pool_room_for (f.store->pool, 1);
  uint32_t from = f.slot_size / 8 + unit_below (&rng, f.slot_size / 2);

  sentences (data, f.slot_size, &rng);
  fill_kind (noise, f.slot_size, KIND_RANDOM, &rng);
  for (uint32_t k = 0; k < UNIT_TIMES (3 * step) + 3; k++) {
    uint32_t noisy = from + k * (step > 64 ? step / 64 : 1);

    if (noisy > f.slot_size)
      noisy = f.slot_size;
    memcpy (data, noise, noisy);
    must_write (&f, data, f.slot_size, 0);
    uint32_t old = slot_meta_size (fixture_meta (&f, 0));
    uint32_t n = packs_to (secondary, data);
    uint32_t size = n ? n : f.slot_size;
    enum recompress_result r = recompress_one (&f, 0, &plan);
    uint32_t now = slot_meta_size (fixture_meta (&f, 0));

    if (r == RECOMPRESS_DONE) {
      ++*done;
      assert_int_equal (now, size);
      assert_true (class_of (&f, now) < class_of (&f, old));
      assert_int_equal (slot_meta_format (fixture_meta (&f, 0)),
                        secondary->format);
    }
    else {
      ++*vain;
      assert_int_equal (r, RECOMPRESS_VAIN);
      assert_int_equal (now, old);
      assert_true (class_of (&f, size + CODEC_SLACK > f.slot_size
                                   ? f.slot_size
                                   : size + CODEC_SLACK) >= class_of (&f, old));
    }
    must_hold (&f, data, f.slot_size, 0);
  }
  free (noise);
  free (data);
}

static void
codecs_of (uint32_t slot_size, unsigned *done, unsigned *vain)
{
  fixture_open (&f, slot_size, "lz4", 1, 64 * (uint64_t) slot_size);
  for (unsigned id = 1; id < CODEC_TEST; id++) {
    const struct codec *codec = codec_by_id (id);
    struct zcomp_method m = { id, codec ? codec->level_default : 0 };

    if (!codec)
      continue;
    walk_boundaries (&m, done, vain);
    if (!codec->dict)
      continue;
    m.format = add_dictionary (codec);
    walk_boundaries (&m, done, vain);
    must_discard (&f, 0, slot_size);
    assert_int_equal (store_format_objects (f.store, m.format), 0);
    assert_int_equal (zcomp_dict_remove (f.store->zcomp, m.format), 0);
  }
  check_no_claims (&f);
  fixture_close (&f);
}

static void
test_codecs (void **state)
{
  unsigned done = 0, vain = 0;

  (void) state;
  for (uint32_t slot_size = 4096; slot_size <= MAX_SLOT; slot_size *= 4)
    codecs_of (slot_size, &done, &vain);
  assert_true (done > 10 && vain > 10);
}

/* Everything there is, before and after. */
static void
test_equal (void **state)
{
  const unsigned slots = 400;
  const uint32_t slot_size = 4096;
  unsigned done = 0;

  (void) state;
  fixture_open (&f, slot_size, "lz4", 2, (uint64_t) slots * slot_size);
  const struct recompress_plan plan = {
    .methods = { { codec_named ("lz4hc"), 9 },
                 { codec_named ("deflate"), 6 },
                 { add_dictionary (codec_find ("zstd")), 9 } },
    .count = 3,
    .first = 1,
    .last = 3
  };
  char *all = must_alloc (slots * slot_size);
  struct unit_rng rng = unit_rng (1);
  for (unsigned i = 0; i < slots; i++)
    if (i % 3)
      fill_any (all + i * slot_size, slot_size, &rng);
    else
      sentences (all + i * slot_size, slot_size, &rng);
  must_write (&f, all, slots * slot_size, 0);
  int64_t bytes = fixture_count (&f, DISK_COMPR_BYTES);
  for (unsigned round = 0; round < 4; round++)
    for (unsigned i = 0; i < slots; i++) {
      done += recompress_one (&f, i, &plan) == RECOMPRESS_DONE;
      must_hold (&f, all + i * slot_size, slot_size, (uint64_t) i * slot_size);
    }
  assert_true (done > slots / 4);
  assert_int_equal (fixture_count (&f, DISK_RECOMPRESSED), done);
  assert_int_equal (bytes - fixture_count (&f, DISK_COMPR_BYTES),
                    fixture_count (&f, DISK_RECOMPRESS_WON));
  must_hold (&f, all, slots * slot_size, 0);
  free (all);
  check_no_claims (&f);
  fixture_close (&f);
}

/* -- priorities, marks and the threshold --------------------------------- */

static void
try_it (uint64_t i, unsigned count, unsigned first, unsigned last,
        uint32_t threshold, enum recompress_result want, unsigned by,
        bool incompressible)
{
  struct recompress_plan plan = levels_plan (count, first, last, threshold);

  assert_int_equal (recompress_one (&f, i, &plan), want);
  assert_int_equal (slot_meta_by (fixture_meta (&f, i)), by);
  assert_int_equal (slot_meta_incompressible (fixture_meta (&f, i)),
                    incompressible);
}

static void
test_priorities (void **state)
{
  (void) state;
  levels_open (&f, 4096, 1, 64);

  /* The first that helps, not the best; then the next ones. */
  levels_put (&f, 1, 1, 3000, 2000, 1500, 1000);
  try_it (1, 3, 1, 3, 0, RECOMPRESS_DONE, 1, false);
  try_it (1, 3, 1, 3, 0, RECOMPRESS_DONE, 2, false);
  try_it (1, 3, 1, 1, 0, RECOMPRESS_SKIPPED, 2, false);
  try_it (1, 3, 2, 2, 0, RECOMPRESS_SKIPPED, 2, false);
  try_it (1, 3, 3, 3, 0, RECOMPRESS_DONE, 3, false);
  try_it (1, 3, 1, 3, 0, RECOMPRESS_SKIPPED, 3, false);
  levels_hold (&f, 1, 1, 3000, 2000, 1500, 1000);

  /* What does not help is passed over. */
  levels_put (&f, 2, 1, 3000, 0, 3000, 1000);
  try_it (2, 3, 1, 2, 0, RECOMPRESS_VAIN, 0, false);
  try_it (2, 3, 1, 3, 0, RECOMPRESS_DONE, 3, false);

  /* Only the last one's failure is final. */
  levels_put (&f, 3, 1, 3000, 2000, 1990, 0);
  try_it (3, 3, 2, 2, 0, RECOMPRESS_DONE, 2, false);
  try_it (3, 3, 1, 3, 0, RECOMPRESS_VAIN, 2, true);
  try_it (3, 3, 1, 3, 0, RECOMPRESS_SKIPPED, 2, true);
  levels_hold (&f, 3, 1, 3000, 2000, 1990, 0);

  /* Until it is written: whole, in part, or trimmed in part. */
  levels_put (&f, 3, 2, 3000, 2000, 1990, 0);
  try_it (3, 3, 1, 3, 0, RECOMPRESS_DONE, 1, false);

  /* No method at all. */
  levels_put (&f, 4, 1, 3000, 2000, 0, 0);
  uint64_t calls = atomic_load (&levels_calls[2]);
  try_it (4, 0, 1, 0, 0, RECOMPRESS_SKIPPED, 0, false);
  assert_int_equal (atomic_load (&levels_calls[2]), calls);

  /* Nothing to recompress. */
  must_discard (&f, 4 * 4096, 4096);
  try_it (4, 1, 1, 1, 0, RECOMPRESS_SKIPPED, 0, false);
  levels_close (&f);
}

static void
test_marks_go (void **state)
{
  struct recompress_plan plan = levels_plan (1, 1, 1, 0);
  struct unit_rng rng = unit_rng (5);
  char buf[4096], part[64];

  (void) state;
  fixture_open (&f, 4096, "lz4", 1, 64 * 4096);
  plan.methods[0] = (struct zcomp_method){ codec_named ("zstd"), 1 };
  for (unsigned how = 0; how < 3; how++) {
    fill_kind (buf, 4096, KIND_RANDOM, &rng);
    must_write (&f, buf, 4096, 0);
    assert_int_equal (recompress_one (&f, 0, &plan), RECOMPRESS_VAIN);
    assert_true (slot_meta_incompressible (fixture_meta (&f, 0)));
    fill_kind (part, 64, KIND_RANDOM, &rng);
    if (how == 0)
      must_write (&f, buf, 4096, 0);
    else if (how == 1) {
      must_write (&f, part, 64, 100);
      memcpy (buf + 100, part, 64);
    }
    else {
      must_discard (&f, 100, 64);
      memset (buf + 100, 0, 64);
    }
    assert_int_equal (fixture_meta (&f, 0) & SLOT_MARKS, 0);
    assert_int_equal (recompress_one (&f, 0, &plan), RECOMPRESS_VAIN);
    must_hold (&f, buf, 4096, 0);
  }
  assert_int_equal (fixture_count (&f, DISK_RECOMPRESS_VAIN), 6);
  fixture_close (&f);
}

static void
test_threshold (void **state)
{
  (void) state;
  levels_open (&f, 4096, 1, 64);
  levels_put (&f, 1, 1, 2000, 1000, 500, 100);
  try_it (1, 3, 1, 3, 2001, RECOMPRESS_SKIPPED, 0, false);
  try_it (1, 3, 1, 3, 2000, RECOMPRESS_DONE, 1, false);

  /* The result has to be below it. */
  levels_put (&f, 2, 1, 3000, 2000, 1999, 100);
  try_it (2, 3, 1, 1, 2000, RECOMPRESS_VAIN, 0, false);
  try_it (2, 3, 1, 2, 2000, RECOMPRESS_DONE, 2, false);
  try_it (2, 3, 1, 3, 2000, RECOMPRESS_SKIPPED, 2, false);
  levels_put (&f, 3, 1, 3000, 2000, 0, 0);
  try_it (3, 1, 1, 1, 1, RECOMPRESS_VAIN, 0, true);
  levels_close (&f);
}

/* -- failures ------------------------------------------------------------ */

static void
stays (uint64_t i, int error)
{
  struct recompress_plan plan = levels_plan (3, 1, 3, 0);
  uint32_t meta = fixture_meta (&f, i), word = lock_word (&f, i);
  int64_t failed = fixture_count (&f, DISK_RECOMPRESS_FAILED);

  assert_int_equal (recompress_one (&f, i, &plan), RECOMPRESS_FAILED);
  assert_int_equal (errno, error);
  assert_int_equal (fixture_meta (&f, i), meta);
  assert_int_equal (lock_word (&f, i), word);
  assert_int_equal (fixture_count (&f, DISK_RECOMPRESS_FAILED), failed + 1);
  check_no_claims (&f);
}

static void
test_codec_fails (void **state)
{
  static const int errors[] = { ENOMEM, EIO };

  (void) state;
  levels_open (&f, 4096, 1, 64);
  levels_put (&f, 1, 1, 3000, 0, 2000, 1000);
  for (unsigned level = 2; level <= 3; level++)
    for (unsigned e = 0; e < 2; e++) {
      atomic_store (&levels_error, errors[e]);
      atomic_store (&levels_fail, level);
      stays (1, errors[e]);
    }
  atomic_store (&levels_fail, 0);
  levels_hold (&f, 1, 1, 3000, 0, 2000, 1000);
  try_it (1, 3, 1, 3, 0, RECOMPRESS_DONE, 2, false);
  levels_close (&f);
}

static void
test_no_context (void **state)
{
  (void) state;
  levels_open (&f, 4096, 1, 64);
  levels_put (&f, 1, 1, 3000, 2000, 0, 0);
  fault_fail_nth ("codec.cctx", 1, true);
  stays (1, ENOMEM);
  stays (1, ENOMEM);
  fault_clear ();
  try_it (1, 3, 1, 3, 0, RECOMPRESS_DONE, 1, false);
  levels_close (&f);
}

/* A damaged object: everything stays as it is, and it alone suffers. */
static void
test_damaged (void **state)
{
  char buf[4096];

  (void) state;
  levels_open (&f, 4096, 1, 64);
  for (unsigned i = 0; i < 3; i++)
    levels_put (&f, i, 1, 3000, 2000, 0, 0);
  damage (&f, 1, 1000, 3);
  assert_int_equal (disk_read (f.disk, buf, 4096, 4096), -1);
  stays (1, EIO);
  errno = 0;
  assert_int_equal (disk_read (f.disk, buf, 4096, 4096), -1);
  assert_int_equal (errno, EIO);
  try_it (0, 3, 1, 3, 0, RECOMPRESS_DONE, 1, false);
  levels_hold (&f, 0, 1, 3000, 2000, 0, 0);
  levels_hold (&f, 2, 1, 3000, 2000, 0, 0);
  damage (&f, 1, 1000, 3); /* back again */
  levels_hold (&f, 1, 1, 3000, 2000, 0, 0);
  levels_close (&f);
}

/* No room for a second object: as it was, counters and all. */
static void
test_at_limit (void **state)
{
  const unsigned slots = 64;
  struct recompress_plan plan = levels_plan (1, 1, 1, 0);
  unsigned failed = 0, done = 0;

  (void) state;
  levels_open (&f, 4096, 1, slots);
  for (unsigned i = 0; i < slots; i++)
    levels_put (&f, i, 1, 0, 1200 + i * 40, 0, 0);
  pool_give_back (f.store->pool);
  fixture_limit (&f, fixture_used (&f));
  for (unsigned i = 0; i < slots; i++) {
    uint32_t meta = fixture_meta (&f, i);
    enum recompress_result r = recompress_one (&f, i, &plan);

    if (r == RECOMPRESS_FAILED) {
      assert_int_equal (errno, ENOSPC);
      assert_int_equal (fixture_meta (&f, i), meta);
      failed++;
    }
    else {
      assert_int_equal (r, RECOMPRESS_DONE);
      done++;
    }
    assert_true (fixture_used (&f) <= atomic_load (&f.store->budget.limit));
    levels_hold (&f, i, 1, 0, 1200 + i * 40, 0, 0);
  }
  assert_true (failed > 0);
  assert_int_equal (fixture_count (&f, DISK_RECOMPRESSED), done);
  assert_int_equal (fixture_count (&f, DISK_RECOMPRESS_FAILED), failed);
  fixture_audit (&f);
  fixture_limit (&f, 0);
  for (unsigned i = 0; i < slots; i++)
    (void) !recompress_one (&f, i, &plan);
  assert_int_equal (fixture_count (&f, DISK_RECOMPRESSED), slots);
  levels_close (&f);
}

/* Whatever fails while it works, for every N. */
static void
fail_each (bool ever_after)
{
  struct recompress_plan plan = { .methods = { { CODEC_RAW, 9 },
                                               { codec_named ("deflate"), 6 } },
                                  .count = 2,
                                  .first = 1,
                                  .last = 2 };
  const unsigned slots = 12;
  bool reached = true;
  unsigned failures = 0;
  char buf[12][4096];

  for (uint64_t n = 1; reached && n < 200; n++) {
    struct unit_rng rng = unit_rng (n);

    fixture_open (&f, 4096, "lz4", 2, slots * 4096);
    plan.methods[0].format = add_dictionary (codec_find ("zstd"));
    for (unsigned i = 0; i < slots; i++) {
      sentences (buf[i], 4096, &rng);
      fill_kind (buf[i], i * 300, KIND_RANDOM, &rng);
      must_write (&f, buf[i], 4096, (uint64_t) i * 4096);
    }
    fault_fail_nth (NULL, n, ever_after);
    for (unsigned i = 0; i < slots; i++) {
      unsigned claim = claim_take (f.store);
      char object[4096]; /* not allocated: the test's own must not fail */

      check_always (claim);
      if (slot_recompress (f.disk, i, fixture_meta (&f, i), &plan, claim,
                           object) == RECOMPRESS_FAILED) {
        assert_true (errno == ENOMEM || errno == ENOSPC);
        failures++;
      }
      claim_release (f.store, claim);
    }
    reached = fault_reached (NULL) >= n;
    fault_clear ();
    for (unsigned i = 0; i < slots; i++)
      must_hold (&f, buf[i], 4096, (uint64_t) i * 4096);
    check_no_claims (&f);
    fixture_close (&f);
  }
  assert_false (reached);
  assert_true (failures > 0);
}

static void
test_failures (void **state)
{
  (void) state;
  fail_each (false);
  fail_each (true);
}

/* -- overtaken while it works -------------------------------------------- */

static void *
recompress_slot_1 (void *arg)
{
  struct recompress_plan plan = levels_plan (1, 1, 1, 0);

  *(enum recompress_result *) arg = recompress_one (&f, 1, &plan);
  return NULL;
}

static void
overtake (unsigned how)
{
  enum recompress_result r = RECOMPRESS_SKIPPED;
  struct unit_thread t;
  char buf[4096], want[4096];
  bool vain = how & 1;

  levels_put (&f, 1, 1, 3000, vain ? 0 : 2000, 0, 0);
  fault_hold ("recompress.packed");
  unit_start (&t, recompress_slot_1, &r);
  fault_wait_held ("recompress.packed");
  levels_hold (&f, 1, 1, 3000, vain ? 0 : 2000, 0, 0); /* reads go on */
  switch (how / 2) {
  case 0:
    levels_put (&f, 1, 2, 3000, vain ? 0 : 2000, 0, 0);
    break;
  case 1:
    must_discard (&f, 4096, 4096);
    break;
  case 2:
    disk_reset (f.disk);
    break;
  case 3:
    must_write (&f, "abc", 3, 4096 + 17);
    break;
  }
  uint32_t meta = fixture_meta (&f, 1);
  must_read (&f, want, 4096, 4096);
  fault_release ("recompress.packed");
  unit_join (&t);
  assert_int_equal (r, RECOMPRESS_LOST);
  assert_int_equal (fixture_meta (&f, 1), meta);
  must_read (&f, buf, 4096, 4096);
  assert_memory_equal (buf, want, 4096);
  check_no_claims (&f);
  fixture_audit (&f);
}

static void
test_overtaken (void **state)
{
  (void) state;
  levels_open (&f, 4096, 2, 64);
  for (unsigned how = 0; how < 8; how++)
    overtake (how);
  levels_close (&f);
}

int
main (void)
{
  static const struct CMUnitTest tests[] = {
    UNIT_TEST (test_boundaries),  UNIT_TEST (test_codecs),
    UNIT_TEST (test_equal),       UNIT_TEST (test_priorities),
    UNIT_TEST (test_marks_go),    UNIT_TEST (test_threshold),
    UNIT_TEST (test_codec_fails), UNIT_TEST (test_no_context),
    UNIT_TEST (test_damaged),     UNIT_TEST (test_at_limit),
    UNIT_TEST (test_failures),    UNIT_TEST (test_overtaken),
  };

  return UNIT_RUN (tests);
}

#else

int
main (void)
{
  printf ("skipped: no fault points in this build\n");
  return 77;
}

#endif
