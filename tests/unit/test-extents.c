/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Extents beside a model of the slots' states: the whole range and nothing
 * but the range, in order, without gaps, neighbours of different types; from
 * the table alone, without a lock; and at once, however large the disk.
 */

#include <config.h>

#include "store-fixture.h"

#define MANY 64 /* extents kept of a report */

struct report {
  unsigned n, stop_after;
  struct {
    uint64_t offset, length;
    enum extent_type type;
  } e[MANY];
};

static int
collect (void *ctx, uint64_t offset, uint64_t length, enum extent_type type)
{
  struct report *r = ctx;

  check_always (r->n < MANY);
  r->e[r->n].offset = offset;
  r->e[r->n].length = length;
  r->e[r->n].type = type;
  r->n++;
  return r->n == r->stop_after ? -1 : 0;
}

static void
query (struct fixture *f, uint64_t offset, uint64_t count, bool one,
       struct report *r)
{
  memset (r, 0, sizeof *r);
  check_always (disk_extents (f->disk, offset, count, one, collect, r) == 0);
}

static void
expect (const struct report *r, unsigned i, uint64_t offset, uint64_t length,
        enum extent_type type)
{
  assert_true (i < r->n);
  assert_int_equal (r->e[i].offset, offset);
  assert_int_equal (r->e[i].length, length);
  assert_int_equal (r->e[i].type, type);
}

/* -- beside a model ------------------------------------------------------ */

#define SLOTS 1500u /* five leaves and a part of one */
#define SIZE (SLOTS * 4096u - 1000)

/* A leaf stays until a discard leaves nothing in it. */
struct model {
  enum extent_type type[SLOTS];
  bool leaf[(SLOTS + LEAF_SLOTS - 1) / LEAF_SLOTS];
};

/* Zeroes that are written where there is no leaf leave a hole. */
static void
note (struct model *m, unsigned slot, enum extent_type type)
{
  unsigned first = slot / LEAF_SLOTS * LEAF_SLOTS;
  bool *leaf = &m->leaf[slot / LEAF_SLOTS];

  if (type == EXTENT_ZERO && !*leaf)
    type = EXTENT_HOLE;
  m->type[slot] = type;
  *leaf |= type != EXTENT_HOLE;
  if (type != EXTENT_HOLE)
    return;
  for (unsigned i = first; i < first + LEAF_SLOTS && i < SLOTS; i++)
    if (m->type[i] != EXTENT_HOLE)
      return;
  *leaf = false;
}

/* Set a run of slots, short or long, to one type. */
static void
change (struct fixture *f, struct model *m, struct unit_rng *rng)
{
  static char data[4096];
  unsigned from = unit_below (rng, SLOTS);
  unsigned n = 1 + unit_below (rng, unit_below (rng, 4) ? 4 : 700);
  enum extent_type type = unit_below (rng, 3);

  fill_kind (data, sizeof data, unit_below (rng, 2) ? KIND_SAME : KIND_SPARSE,
             rng);
  if (type == EXTENT_ZERO)
    memset (data, 0, sizeof data);
  for (unsigned i = from; i < from + n && i < SLOTS; i++) {
    uint32_t len = i == SLOTS - 1 ? 4096 - 1000 : 4096;

    if (type == EXTENT_HOLE)
      must_discard (f, i * 4096u, len);
    else
      must_write (f, data, len, i * 4096u);
    note (m, i, type);
  }
}

struct walk {
  const struct model *m;
  uint64_t next;
  unsigned n;
  enum extent_type last;
};

static int
check_extent (void *ctx, uint64_t offset, uint64_t length,
              enum extent_type type)
{
  struct walk *w = ctx;

  assert_int_equal (offset, w->next);
  assert_true (length > 0);
  assert_true (w->n == 0 || type != w->last);
  for (uint64_t i = offset / 4096; i <= (offset + length - 1) / 4096; i++)
    assert_int_equal (w->m->type[i], type);
  w->next = offset + length;
  w->last = type;
  w->n++;
  return 0;
}

static void
check_query (struct fixture *f, const struct model *m, uint64_t offset,
             uint64_t count)
{
  struct walk w = { .m = m, .next = offset };
  struct report one;

  assert_int_equal (
    disk_extents (f->disk, offset, count, false, check_extent, &w), 0);
  assert_int_equal (w.next, offset + count);

  /* With 'one' the first of those, whole. */
  query (f, offset, count, true, &one);
  assert_int_equal (one.n, 1);
  assert_int_equal (one.e[0].offset, offset);
  uint64_t end = offset + one.e[0].length;
  assert_true (end <= offset + count);
  assert_int_equal (m->type[offset / 4096], one.e[0].type);
  if (end < offset + count)
    assert_int_not_equal (m->type[end / 4096], one.e[0].type);
}

static void
test_model (void **state)
{
  struct unit_rng rng = unit_rng (1);
  struct model *m = must_alloc (sizeof *m);
  struct fixture f;

  (void) state;
  for (unsigned i = 0; i < SLOTS; i++)
    m->type[i] = EXTENT_HOLE;
  fixture_open (&f, 4096, "lz4", 1, SIZE);
  for (unsigned step = 0; step < UNIT_TIMES (4000); step++) {
    change (&f, m, &rng);
    for (unsigned i = 0; i < 10; i++) {
      uint64_t offset = unit_below (&rng, SIZE);
      uint64_t count = 1 + unit_below (&rng, SIZE - (uint32_t) offset);

      if (i % 2)
        count = 1 + count % 10000;
      if (offset + count > SIZE)
        count = SIZE - offset;
      check_query (&f, m, offset, count);
    }
    check_query (&f, m, 0, SIZE);
  }
  free (m);
  fixture_close (&f);
}

/* -- particulars --------------------------------------------------------- */

static void
test_clamped (void **state)
{
  struct fixture f;
  struct report r;

  (void) state;
  fixture_open (&f, 4096, "lz4", 1, 10000);
  must_write (&f, "data", 4, 4096);
  query (&f, 0, 10000, false, &r);
  assert_int_equal (r.n, 3);
  expect (&r, 0, 0, 4096, EXTENT_HOLE);
  expect (&r, 1, 4096, 4096, EXTENT_DATA);
  expect (&r, 2, 8192, 10000 - 8192, EXTENT_HOLE);

  query (&f, 4000, 200, false, &r);
  assert_int_equal (r.n, 2);
  expect (&r, 0, 4000, 96, EXTENT_HOLE);
  expect (&r, 1, 4096, 104, EXTENT_DATA);
  query (&f, 5000, 1, false, &r);
  assert_int_equal (r.n, 1);
  expect (&r, 0, 5000, 1, EXTENT_DATA);
  query (&f, 9999, 1, true, &r);
  expect (&r, 0, 9999, 1, EXTENT_HOLE);
  query (&f, 0, 0, false, &r);
  assert_int_equal (r.n, 0);
  query (&f, 5000, 0, false, &r);
  assert_int_equal (r.n, 0);
  fixture_close (&f);
}

/* What the callback returns ends the report. */
static void
test_stopped (void **state)
{
  struct report r = { .stop_after = 2 };
  struct fixture f;

  (void) state;
  fixture_open (&f, 4096, "lz4", 1, MiB);
  for (unsigned i = 0; i < 10; i++)
    must_write (&f, "data", 4, i * 2 * 4096);
  assert_int_equal (disk_extents (f.disk, 0, MiB, false, collect, &r), -1);
  assert_int_equal (r.n, 2);
  r = (struct report){ .stop_after = 1 };
  assert_int_equal (disk_extents (f.disk, 0, MiB, true, collect, &r), -1);
  assert_int_equal (r.n, 1);
  fixture_close (&f);
}

/* Zeroes that were written where the table has a place for them are not a hole;
 * a part of a slot zeroed leaves data, all of it zeroed by parts leaves zeroes.
 */
static void
test_zero_or_hole (void **state)
{
  static const char zeroes[4096];
  struct fixture f;
  struct report r;

  (void) state;
  fixture_open (&f, 4096, "lz4", 1, MiB);
  must_write (&f, zeroes, 4096, 0);
  query (&f, 0, MiB, false, &r);
  assert_int_equal (r.n, 1);
  expect (&r, 0, 0, MiB, EXTENT_HOLE);
  must_write (&f, "x", 1, 8192);
  must_write (&f, zeroes, 4096, 0);
  query (&f, 0, 8192, false, &r);
  assert_int_equal (r.n, 2);
  expect (&r, 0, 0, 4096, EXTENT_ZERO);
  must_write (&f, "x", 1, 10);
  query (&f, 0, 4096, false, &r);
  expect (&r, 0, 0, 4096, EXTENT_DATA);
  must_discard (&f, 10, 1);
  query (&f, 0, 4096, false, &r);
  expect (&r, 0, 0, 4096, EXTENT_ZERO);
  must_discard (&f, 0, 4096);
  must_discard (&f, 8192, 4096);
  query (&f, 0, MiB, false, &r);
  assert_int_equal (r.n, 1);
  expect (&r, 0, 0, MiB, EXTENT_HOLE);
  fixture_close (&f);
}

/* The largest disk there is, asked for as a whole. */
static void
test_largest (void **state)
{
  const uint64_t far[] = { 0, UINT64_C (1) << 40, UINT64_C (1) << 44,
                           (UINT64_C (1) << 62) + 4096 };
  struct fixture f;
  struct report r;

  (void) state;
  fixture_open (&f, 4096, "lz4", 1, LARGEST_DISK);
  query (&f, 0, LARGEST_DISK, false, &r);
  assert_int_equal (r.n, 1);
  expect (&r, 0, 0, LARGEST_DISK, EXTENT_HOLE);
  query (&f, LARGEST_DISK - 1, 1, true, &r);
  expect (&r, 0, LARGEST_DISK - 1, 1, EXTENT_HOLE);
  query (&f, 12345, UINT32_MAX, false, &r);
  expect (&r, 0, 12345, UINT32_MAX, EXTENT_HOLE);

  for (unsigned i = 0; i < 4; i++)
    must_write (&f, "data", 4, far[i]);
  must_write (&f, "end", 3, LARGEST_DISK - 3);
  query (&f, 0, LARGEST_DISK, false, &r);
  assert_int_equal (r.n, 9);
  for (unsigned i = 0; i < 4; i++)
    expect (&r, 2 * i, far[i], 4096, EXTENT_DATA);
  expect (&r, 8, LARGEST_DISK - 4095, 4095, EXTENT_DATA);
  expect (&r, 7, far[3] + 4096, LARGEST_DISK - 4095 - far[3] - 4096,
          EXTENT_HOLE);

  /* Each end of the hole is found from the middle of it. */
  query (&f, UINT64_C (1) << 61, LARGEST_DISK - (UINT64_C (1) << 61), true, &r);
  expect (&r, 0, UINT64_C (1) << 61, far[3] - (UINT64_C (1) << 61),
          EXTENT_HOLE);
  must_discard (&f, 0, LARGEST_DISK);
  query (&f, 0, LARGEST_DISK, false, &r);
  assert_int_equal (r.n, 1);
  fixture_check_empty (&f);
  fixture_close (&f);
}

/* No slot lock and no stream: all are held, and the answer comes (else this
 * hangs).
 */
static void
test_no_locks (void **state) NO_THREAD_SAFETY_ANALYSIS
{
  static char data[4096];
  struct unit_rng rng = unit_rng (2);
  struct fixture f;
  struct report r;

  (void) state;
  fixture_open (&f, 4096, "zstd", 1, MiB);
  fill_kind (data, sizeof data, KIND_TEXT, &rng);
  must_write (&f, data, 4096, 8192);
  struct slot *s = slot_table_write_lock (&f.disk->table, 2);
  assert_non_null (s);
  struct zcomp_stream *stream = zcomp_stream_get (f.store->zcomp);
  query (&f, 0, MiB, false, &r);
  assert_int_equal (r.n, 3);
  expect (&r, 1, 8192, 4096, EXTENT_DATA);
  zcomp_stream_put (stream);
  slot_write_unlock (s);
  fixture_close (&f);
}

/* -- while others write -------------------------------------------------- */

static atomic_bool stop;

static void *
disturber (void *arg)
{
  struct fixture *f = arg;
  struct unit_rng rng = unit_rng (3);
  char data[4096];

  while (!atomic_load (&stop)) {
    uint64_t slot = unit_below (&rng, 4) * LEAF_SLOTS + unit_below (&rng, 4);

    fill_any (data, sizeof data, &rng);
    if (unit_below (&rng, 2))
      must_write (f, data, 4096, slot * 4096);
    else /* leaves come and go */
      must_discard (f, slot / LEAF_SLOTS * MiB, MiB);
  }
  return NULL;
}

static int
check_whole (void *ctx, uint64_t offset, uint64_t length, enum extent_type type)
{
  struct walk *w = ctx;

  /* Neighbours may be of one type here, if it changed in between. */
  check_always (offset == w->next && length > 0);
  /* No thread ever writes here. */
  check_always (type == EXTENT_HOLE || length < MiB);
  w->next += length;
  return 0;
}

static void
test_disturbed (void **state)
{
  const uint64_t size = 5 * MiB - 77;
  struct unit_thread t[2];
  struct fixture f;

  (void) state;
  fixture_open (&f, 4096, "lz4", 2, size);
  /* Always there, between what comes and goes. */
  must_write (&f, "data", 4, 4 * MiB);
  atomic_store (&stop, false);
  unit_start_all (t, 2, disturber, &f, 0);
  for (unsigned i = 0; i < UNIT_TIMES (20000); i++) {
    struct walk w = { .next = 0 };
    struct report r;

    assert_int_equal (disk_extents (f.disk, 0, size, false, check_whole, &w),
                      0);
    assert_int_equal (w.next, size);
    query (&f, 4 * MiB, 4096, false, &r);
    expect (&r, 0, 4 * MiB, 4096, EXTENT_DATA);
  }
  atomic_store (&stop, true);
  unit_join_all (t, 2);
  fixture_close (&f);
}

int
main (void)
{
  static const struct CMUnitTest tests[] = {
    UNIT_TEST (test_model),     UNIT_TEST (test_clamped),
    UNIT_TEST (test_stopped),   UNIT_TEST (test_zero_or_hole),
    UNIT_TEST (test_largest),   UNIT_TEST (test_no_locks),
    UNIT_TEST (test_disturbed),
  };

  return UNIT_RUN (tests);
}
