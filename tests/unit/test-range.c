/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Byte ranges of a disk beside a flat array: 10^5 random operations of
 * random offset and length, over several slot sizes, codecs and numbers of
 * workers; the same by several threads whose ranges meet inside slots; the
 * same where writes fail; and the edges of discards and of disks.
 */

#include <config.h>

#include "maint/compactor.h"
#include "store-fixture.h"

/* -- operations on a part of a disk ------------------------------------ */

/* Bytes [base, base + size) of the disk are this one's alone. */
struct flat {
  struct fixture *f;
  uint64_t base;
  uint32_t size;
  char *model, *buf;
  struct unit_rng rng;
};

static void
flat_open (struct flat *m, struct fixture *f, uint64_t base, uint32_t size,
           uint64_t stream)
{
  *m = (struct flat){
    .f = f, .base = base, .size = size, .rng = unit_rng (stream)
  };
  m->model = must_alloc (size);
  m->buf = must_alloc (size);
}

static void
flat_close (struct flat *m)
{
  free (m->model);
  free (m->buf);
}

static void
flat_compare (struct flat *m, uint32_t at, uint32_t len)
{
  memset (m->buf, 0x5a, len);
  must_read (m->f, m->buf, len, m->base + at);
  check_always (memcmp (m->buf, m->model + at, len) == 0);
}

/* Mostly short, some of several slots, few so long that they are shared. */
static uint32_t
random_length (struct flat *m)
{
  unsigned dice = unit_below (&m->rng, 1000);
  uint32_t most = dice < 500   ? 64
                  : dice < 890 ? 2 * m->f->slot_size
                  : dice < 989 ? 64 * 1024
                  : dice < 999 ? 512 * 1024
                               : m->size;

  return 1 + unit_below (&m->rng, most < m->size ? most : m->size);
}

static void
flat_step (struct flat *m)
{
  uint32_t len = random_length (m), at = unit_below (&m->rng, m->size);
  uint32_t slot = m->f->slot_size;

  if (unit_below (&m->rng, 4) == 0)
    at -= at % slot;
  if (len > m->size - at)
    len = m->size - at;
  if (unit_below (&m->rng, 4) == 0 && len > slot)
    len -= len % slot;

  switch (unit_below (&m->rng, 8)) {
  case 0 ... 3:
    fill_any (m->buf, len, &m->rng);
    must_write (m->f, m->buf, len, m->base + at);
    memcpy (m->model + at, m->buf, len);
    break;
  case 4:
    must_discard (m->f, m->base + at, len);
    memset (m->model + at, 0, len);
    break;
  default:
    flat_compare (m, at, len);
  }
}

/* -- 10^5 of them -------------------------------------------------------- */

static const struct {
  uint32_t slot_size;
  const char *codec;
  unsigned workers;
  uint32_t size;
  unsigned steps;
} configs[] = {
  { 4096, "lz4", 2, 1024 * 1024 + 777, 40000 },
  { 4096, "zstd", 1, 300 * 1024 + 1, 15000 },
  { 8192, "lz4", 4, 2048 * 1024, 15000 },
  { 16384, "zstd", 2, 1024 * 1024 + 4095, 10000 },
  { 65536, "lz4", 8, 4096 * 1024 + 1, 9000 },
  { 4096, "deflate", 2, 512 * 1024 + 4095, 5000 },
  { 65536, "zstd", 2, 2048 * 1024 + 65535, 4000 },
  { 32768, "lz4hc", 2, 1024 * 1024 + 1, 2000 },
};

static void
test_random (void **state)
{
  int64_t shared = 0;

  (void) state;
  for (unsigned c = 0; c < sizeof configs / sizeof *configs; c++) {
    unsigned steps = UNIT_TIMES (configs[c].steps);
    struct fixture f;
    struct flat m;

    fixture_open (&f, configs[c].slot_size, configs[c].codec,
                  configs[c].workers, configs[c].size);
    flat_open (&m, &f, 0, configs[c].size, c);
    for (unsigned i = 0; i < steps; i++) {
      flat_step (&m);
      if (i % (steps / 10) == 0)
        flat_compare (&m, 0, m.size);
    }
    flat_compare (&m, 0, m.size);
    shared += fixture_count (&f, DISK_REQUESTS_SHARED);
    fixture_audit (&f);
    must_discard (&f, 0, m.size);
    fixture_check_empty (&f);
    flat_close (&m);
    fixture_close (&f);
  }
  assert_true (shared > 0);
}

/* -- several at once ----------------------------------------------------- */

#define THREADS 4

static void *
flat_thread (void *arg)
{
  struct flat *m = arg;

  for (unsigned i = 0; i < UNIT_TIMES (4000); i++)
    flat_step (m);
  flat_compare (m, 0, m->size);
  return NULL;
}

/* Ranges meet in the middle of slots: a slot has two writers, and each finds
 * there what it wrote.  Compaction goes on without a pause.
 */
static void
test_random_threads (void **state)
{
  static const uint32_t slot_sizes[] = { 4096, 32768 };
  struct unit_thread t[THREADS];
  struct flat m[THREADS];
  struct fixture f;

  (void) state;
  for (unsigned s = 0; s < 2; s++) {
    uint32_t each = 6 * slot_sizes[s] + slot_sizes[s] / 3 + 5;

    fixture_open (&f, slot_sizes[s], "lz4", 2, THREADS * each);
    struct compactor *c = compactor_create (f.store, 1, 0);
    assert_non_null (c);
    assert_int_equal (compactor_start (c), 0);
    for (unsigned i = 0; i < THREADS; i++)
      flat_open (&m[i], &f, i * each, each, 50 + i);
    unit_start_all (t, THREADS, flat_thread, m, sizeof *m);
    unit_join_all (t, THREADS);
    compactor_destroy (c);
    for (unsigned i = 0; i < THREADS; i++) {
      flat_compare (&m[i], 0, each);
      flat_close (&m[i]);
    }
    fixture_close (&f);
  }
}

/* -- writes that fail ---------------------------------------------------- */

/* The write of 'len' bytes (buf, or NULL: discard) has failed: of each slot
 * all was done or nothing.  The model becomes what is there.
 */
static void
adopt_failed (struct flat *m, uint32_t at, uint32_t len, const char *buf)
{
  uint32_t slot = m->f->slot_size, end = at + len;
  char *got = must_alloc (slot);

  while (at < end) {
    uint32_t n = slot - at % slot < end - at ? slot - at % slot : end - at;

    must_read (m->f, got, n, at);
    bool old = memcmp (got, m->model + at, n) == 0;
    bool new = buf ? memcmp (got, buf, n) == 0 : all_zero (got, n);
    check_always (old || new);
    memcpy (m->model + at, got, n);
    at += n;
    buf = buf ? buf + n : NULL;
  }
  free (got);
}

static int
failing_step (struct flat *m)
{
  uint32_t len = random_length (m), at = unit_below (&m->rng, m->size);
  bool discard = unit_below (&m->rng, 6) == 0;
  int r;

  if (len > m->size - at)
    len = m->size - at;
  fill_any (m->buf, len, &m->rng);
  r = discard ? disk_discard (m->f->disk, at, len)
              : disk_write (m->f->disk, m->buf, len, at);
  int err = errno;
  if (r == -1)
    adopt_failed (m, at, len, discard ? NULL : m->buf);
  else if (discard)
    memset (m->model + at, 0, len);
  else
    memcpy (m->model + at, m->buf, len);
  return r == -1 ? err : 0;
}

/* Returns how many failed. */
static unsigned
run_failing (struct flat *m, unsigned steps, int allowed)
{
  unsigned failed = 0;

  for (unsigned i = 0; i < steps; i++) {
    int err = failing_step (m);

    check_always (err == 0 || err == ENOSPC || err == allowed);
    failed += err != 0;
  }
  check_always (fixture_count (m->f, DISK_FAILED_WRITES) == failed);
#ifdef ZRAM_FAULTS
  fault_clear ();
#endif
  flat_compare (m, 0, m->size);
  return failed;
}

static void
test_limit (void **state)
{
  struct fixture f;
  struct flat m;

  (void) state;
  for (unsigned workers = 1; workers <= 4; workers += 3) {
    fixture_open (&f, 4096, "lz4", workers, MiB + 123);
    fixture_limit (&f, 300 * KiB);
    flat_open (&m, &f, 0, MiB + 123, 90 + workers);
    assert_true (run_failing (&m, UNIT_TIMES (4000), ENOSPC) > 0);
    assert_true (fixture_used (&f) <= 300 * KiB);
    flat_close (&m);
    fixture_close (&f);
  }
}

#ifdef ZRAM_FAULTS

static void
test_faults (void **state)
{
  static const char *const of_zs[] = { "zs.alloc", "arena.charge",
                                       "reserve.commit" };
  static const char *const of_z3[] = { "z3.alloc", "z3.page",
                                       "reserve.commit" };
  const char *const *points = fixture_is_zsmalloc () ? of_zs : of_z3;
  struct fixture f;
  struct flat m;

  (void) state;
  for (unsigned p = 0; p < 3; p++) {
    unsigned failed = 0;

    for (unsigned round = 0; round < 10; round++) {
      fixture_open (&f, 8192, "lz4", 1 + 2 * (round % 2), MiB + 123);
      flat_open (&m, &f, 0, MiB + 123, 100 + round);
      fault_fail_nth (points[p], 1 + round * round, true);
      /* Not fewer under a sanitizer: some point must be reached. */
      failed += run_failing (&m, 400, ENOMEM);
      flat_close (&m);
      fixture_close (&f);
    }
    assert_true (failed > 0);
  }
}

#endif

/* -- edges --------------------------------------------------------------- */

/* Every way in which a discard can begin and end in three slots. */
static void
test_discard_edges (void **state)
{
  static const uint32_t points[] = { 0,    1,    8,    4095, 4096,  4097,
                                     6000, 8191, 8192, 8193, 12287, 12288 };
  enum { POINTS = sizeof points / sizeof *points, SIZE = 3 * 4096 };
  struct unit_rng rng = unit_rng (7);
  static char model[SIZE];
  struct fixture f;

  (void) state;
  fixture_open (&f, 4096, "lz4", 1, SIZE);
  for (unsigned kind = 0; kind < KINDS; kind++)
    for (unsigned a = 0; a < POINTS; a++)
      for (unsigned b = a; b < POINTS; b++) {
        uint32_t from = points[a], to = points[b];

        fill_kind (model, SIZE, kind, &rng);
        must_write (&f, model, SIZE, 0);
        must_discard (&f, from, to - from);
        memset (model + from, 0, to - from);
        must_hold (&f, model, SIZE, 0);
        for (unsigned i = 0; i < 3; i++)
          if (from <= i * 4096 && to >= (i + 1) * 4096)
            assert_int_equal (fixture_state (&f, i), SLOT_EMPTY);
      }
  fixture_close (&f);
}

/* Whole slots can be discarded with no memory left at all, and what is then
 * free serves the edges.
 */
static void
test_discard_when_full (void **state)
{
  struct unit_rng rng = unit_rng (8);
  static char data[MiB];
  struct fixture f;
  unsigned n = 0;

  (void) state;
  fixture_open (&f, 4096, "lz4", 1, MiB);
  fixture_limit (&f, 512 * KiB);
  fill_kind (data, sizeof data, KIND_RANDOM, &rng);
  while (n < 256 && disk_write (f.disk, data + n * 4096, 4096, n * 4096) == 0)
    n++;
  assert_true (n > 100 && n < 256);
  /* As many as fill a zspage of any class. */
  must_discard (&f, 10 * 4096 + 100, 70 * 4096);
  memset (data + 10 * 4096 + 100, 0, 70 * 4096);
  must_hold (&f, data, n * 4096, 0);
  must_discard (&f, 0, n * 4096);
  must_hold (&f, NULL, n * 4096, 0);
  fixture_check_empty (&f);
  fixture_close (&f);
}

/* A disk that ends inside its last slot: the rest of the slot is not used. */
static void
test_last_slot (void **state)
{
  static char data[3 * 4096];
  struct unit_rng rng = unit_rng (9);
  struct fixture f;

  (void) state;
  for (uint32_t tail = 1; tail < 4096; tail += 819) {
    uint64_t size = 2 * 4096 + tail;

    fixture_open (&f, 4096, "zstd", 1, size);
    fill_kind (data, sizeof data, KIND_TEXT, &rng);
    must_write (&f, data, size, 0);
    must_hold (&f, data, size, 0);
    must_write (&f, "x", 1, size - 1);
    data[size - 1] = 'x';
    must_hold (&f, data, size, 0);
    /* A discard to the end takes the whole slot. */
    must_discard (&f, 8192, tail);
    assert_int_equal (fixture_state (&f, 2), SLOT_EMPTY);
    must_write (&f, data + 8192, tail, 8192);
    must_discard (&f, 4096, 4096 + tail);
    assert_int_equal (fixture_count (&f, DISK_SLOTS_STORED), 1);
    must_hold (&f, data, 4096, 0);
    must_hold (&f, NULL, 4096 + tail, 4096);
    /* But not one that begins inside the slot. */
    must_write (&f, data, size, 0);
    if (tail > 1) {
      must_discard (&f, 8193, tail - 1);
      must_hold (&f, data, 8193, 0);
      must_hold (&f, NULL, tail - 1, 8193);
    }
    fixture_close (&f);
  }
}

/* Nothing asked for is nothing done, also at the end of the disk. */
static void
test_empty_requests (void **state)
{
  struct fixture f;
  char c = 'c';

  (void) state;
  fixture_open (&f, 4096, "lz4", 2, 4097);
  must_write (&f, "ab", 2, 4095);
  for (uint64_t at = 0; at <= 4097; at += at < 4090 ? 1023 : 1) {
    must_read (&f, &c, 0, at);
    must_write (&f, &c, 0, at);
    must_discard (&f, at, 0);
  }
  assert_int_equal (c, 'c');
  must_hold (&f, "ab", 2, 4095);
  assert_int_equal (fixture_count (&f, DISK_SLOTS_STORED), 2);
  fixture_close (&f);
}

int
main (void)
{
  static const struct CMUnitTest tests[] = {
    UNIT_TEST (test_random),        UNIT_TEST (test_random_threads),
    UNIT_TEST (test_limit),
#ifdef ZRAM_FAULTS
    UNIT_TEST (test_faults),
#endif
    UNIT_TEST (test_discard_edges), UNIT_TEST (test_discard_when_full),
    UNIT_TEST (test_last_slot),     UNIT_TEST (test_empty_requests),
  };

  return UNIT_RUN (tests);
}
