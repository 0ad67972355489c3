/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Streams, workers and the gate of a store: their number changes under load;
 * large requests are shared without a visible difference; requests are counted,
 * held back and refused.  Codecs that sleep are in test-sleeping-codec.c.
 */

#include <config.h>

#include <sched.h>

#include "sized-codec.h"

#define THREADS 4u

static struct fixture f;
static atomic_bool stop;

/* -- the number of workers ----------------------------------------------- */

#define OWN (40 * 1024 + 100) /* bytes of a thread; not whole slots */

static void *
load (void *arg)
{
  unsigned id = *(unsigned *) arg;
  struct unit_rng rng = unit_rng (id);
  char *model = must_alloc (OWN);

  while (!atomic_load (&stop)) {
    uint32_t at = unit_below (&rng, OWN);
    uint32_t len = 1 + unit_below (&rng, OWN - at);

    if (unit_below (&rng, 2))
      len = 1 + len % 5000 < OWN - at ? 1 + len % 5000 : len;
    fill_any (model + at, len, &rng);
    must_write (&f, model + at, len, id * OWN + at);
    must_hold (&f, model, OWN, id * OWN);
  }
  must_hold (&f, model, OWN, id * OWN);
  free (model);
  return NULL;
}

static void
test_switch_under_load (void **state)
{
  static const char *const codecs[] = { "lz4", "zstd" };
  unsigned id[THREADS] = { 0, 1, 2, 3 };
  struct unit_thread t[THREADS];

  (void) state;
  for (unsigned c = 0; c < 2; c++) {
    fixture_open (&f, 4096, codecs[c], 1, MiB);
    atomic_store (&stop, false);
    unit_start_all (t, THREADS, load, id, sizeof *id);
    for (unsigned i = 0; i < 80; i++) {
      assert_int_equal (store_set_workers (f.store, i % 2 ? 1 : 8), 0);
      assert_int_equal (zcomp_workers (f.store->zcomp), i % 2 ? 1 : 8);
      unit_sleep_ms (10);
    }
    atomic_store (&stop, true);
    unit_join_all (t, THREADS);
    fixture_close (&f);
  }
}

static void
test_impossible (void **state)
{
  static const unsigned wrong[] = { 0, ZCOMP_MAX_STREAMS + 1, UINT32_MAX };
  struct zcomp_method none = { 9, 1 };

  (void) state;
  fixture_open (&f, 4096, "lz4", 3, MiB);
  for (unsigned i = 0; i < 3; i++) {
    errno = 0;
    assert_int_equal (store_set_workers (f.store, wrong[i]), -1);
    assert_int_equal (errno, EINVAL);
    assert_int_equal (zcomp_workers (f.store->zcomp), 3);
    assert_int_equal (workpool_threads (f.store->workpool), 3);
  }
  errno = 0;
  assert_int_equal (store_set_primary (f.store, &none), -1);
  assert_int_equal (errno, EINVAL);
  must_write (&f, "still there", 11, 5000);
  fixture_close (&f);
}

#ifdef ZRAM_FAULTS

/* The threads that a failed try had started leave when they are scheduled;
 * until then the next try would take them back, and need fewer new ones.
 */
static void
wait_until_left (void)
{
  while (workpool_leaving (f.store->workpool) > 0)
    sched_yield ();
}

/* A thread, or a stream, cannot be had: the number stays what it was. */
static void
test_grow_fails (void **state)
{
  static const char *const points[] = { "workpool.thread", "codec.cctx",
                                        "alloc" };

  (void) state;
  fixture_open (&f, 4096, "zstd", 2, MiB);
  for (unsigned p = 0; p < 3; p++)
    for (unsigned nth = 1; nth <= 4; nth++) {
      fault_fail_nth (points[p], nth, true);
      errno = 0;
      assert_int_equal (store_set_workers (f.store, 8), -1);
      assert_true (errno == ENOMEM || errno == EAGAIN);
      fault_clear ();
      assert_int_equal (zcomp_workers (f.store->zcomp), 2);
      assert_int_equal (workpool_threads (f.store->workpool), 2);
      must_write (&f, "goes on", 7, 4000);
      wait_until_left ();
    }
  assert_int_equal (store_set_workers (f.store, 8), 0);
  fixture_close (&f);
}

#endif

/* -- shared requests ----------------------------------------------------- */

#define DISK (4 * MiB)
#define KIB64 (64u * 1024)

/* Lengths and offsets around the borders of the chunks that requests are
 * cut into.
 */
static uint32_t
near_border (struct unit_rng *rng, uint32_t most)
{
  static const int off[] = { 0, 1, -1, 4096, -4096, 4095, 100 };
  int64_t n = (int64_t) unit_below (rng, most / KIB64 + 1) * KIB64 +
              off[unit_below (rng, sizeof off / sizeof *off)];

  return n < 0 ? 0 : n > most ? most : (uint32_t) n;
}

/* The same writes to a store that shares and one that does not; each is read
 * whole, in pieces, and by shared and unshared requests.
 */
static void
test_shared (void **state)
{
  static const uint32_t slot_sizes[] = { 4096, 65536 };
  char *data = must_alloc (DISK), *got = must_alloc (DISK);
  struct unit_rng rng = unit_rng (1);
  struct fixture alone;

  (void) state;
  for (unsigned s = 0; s < 2; s++) {
    fixture_open (&f, slot_sizes[s], "lz4", 8, DISK);
    fixture_open (&alone, slot_sizes[s], "lz4", 1, DISK);
    for (unsigned i = 0; i < UNIT_TIMES (160); i++) {
      uint32_t at = near_border (&rng, DISK - 1);
      uint32_t len = near_border (&rng, (uint32_t) DISK - at);

      fill_any (data, len, &rng);
      must_write (&f, data, len, at);
      must_write (&alone, data, len, at);
      must_hold (&f, data, len, at);
      at = near_border (&rng, DISK - 1);
      len = near_border (&rng, (uint32_t) DISK - at);
      must_read (&f, data, len, at);
      must_hold (&alone, data, len, at);
    }
    must_read (&alone, data, DISK, 0);
    must_hold (&f, data, DISK, 0);
    for (uint32_t at = 0; at < DISK; at += KIB64)
      must_hold (&f, data + at, KIB64, at);
    assert_true (fixture_count (&f, DISK_REQUESTS_SHARED) > 0);
    assert_int_equal (fixture_count (&alone, DISK_REQUESTS_SHARED), 0);
    fixture_close (&f);
    fixture_close (&alone);
  }
  free (data);
  free (got);
}

#ifdef ZRAM_FAULTS

/* One slot fails, in whichever chunk: so does the request, and the others
 * are written or not.
 */
static void
test_shared_fails (void **state)
{
  enum { N = 128 };
  char *data = must_alloc (N * 4096), *zero = must_alloc (N * 4096);
  char got[4096];

  (void) state;
  sized_open (&f, 4096, 4, N * 4096);
  for (unsigned bad = 0; bad < N; bad += 21) {
    must_write (&f, zero, N * 4096, 0);
    for (unsigned i = 0; i < N; i++)
      sized_slot (data + i * 4096, 4096, 500 + i, i == bad ? 200 : 1);
    atomic_store (&sized_fail_compress, 200);
    errno = 0;
    assert_int_equal (disk_write (f.disk, data, N * 4096, 0), -1);
    assert_int_equal (errno, EIO);
    must_hold (&f, NULL, 4096, bad * 4096);
    for (unsigned i = 0; i < N; i++) {
      must_read (&f, got, 4096, i * 4096);
      assert_true (all_zero (got, 4096) ||
                   memcmp (got, data + i * 4096, 4096) == 0);
    }
    atomic_store (&sized_fail_compress, SIZED_NONE);
    must_write (&f, data, N * 4096, 0);

    atomic_store (&sized_fail_decompress, 200);
    errno = 0;
    assert_int_equal (disk_read (f.disk, zero, N * 4096, 0), -1);
    assert_int_equal (errno, EIO);
    atomic_store (&sized_fail_decompress, SIZED_NONE);
    must_hold (&f, data, N * 4096, 0);
    memset (zero, 0, N * 4096);
  }
  free (data);
  free (zero);
  sized_close (&f);
}

#endif

/* -- requests are counted ------------------------------------------------ */

static void
run_on (unsigned cpu)
{
  cpu_set_t set;

  CPU_ZERO (&set);
  CPU_SET (cpu, &set);
  (void) sched_setaffinity (0, sizeof set, &set); /* as it may be */
}

/* Begins a request on one CPU and ends it on another. */
static void *
wanderer (void *arg)
{
  bool there = *(unsigned *) arg;

  while (!atomic_load (&stop)) {
    run_on (there);
    check_always (store_request_begin (f.store) == 0);
    run_on (!there);
    store_request_end (f.store);
  }
  return NULL;
}

/* One runs all the time: however others come and go, there is no moment in
 * which none is counted.
 */
static void
test_counted (void **state)
{
  unsigned id[THREADS] = { 0, 1, 0, 0 };
  struct unit_thread t[THREADS];
  int64_t least = INT64_MAX;

  (void) state;
  fixture_open (&f, 4096, "lz4", 2, MiB);
  assert_int_equal (store_request_begin (f.store), 0);
  atomic_store (&stop, false);
  unit_start_all (t, THREADS, wanderer, id, sizeof *id);
  for (unsigned i = 0; i < UNIT_TIMES (2000000); i++) {
    int64_t n = store_requests (f.store);

    least = n < least ? n : least;
  }
  atomic_store (&stop, true);
  unit_join_all (t, THREADS);
  assert_true (least >= 1);
  store_request_end (f.store);
  assert_int_equal (store_requests (f.store), 0);
  fixture_close (&f);
}

/* -- the gate ------------------------------------------------------------ */

static void
expect_refused (void)
{
  char c = 0;

  errno = 0;
  assert_int_equal (disk_read (f.disk, &c, 1, 0), -1);
  assert_int_equal (errno, ESHUTDOWN);
  errno = 0;
  assert_int_equal (disk_write (f.disk, &c, 1, 0), -1);
  assert_int_equal (errno, ESHUTDOWN);
  errno = 0;
  assert_int_equal (disk_discard (f.disk, 0, 1), -1);
  assert_int_equal (errno, ESHUTDOWN);
}

static void
test_close (void **state)
{
  (void) state;
  fixture_open (&f, 4096, "lz4", 2, MiB);
  must_write (&f, "x", 1, 0);
  assert_int_equal (store_request_begin (f.store), 0);
  assert_false (store_close (f.store, 3));
  expect_refused ();
  assert_int_equal (store_requests (f.store), 1);
  store_request_end (f.store);
  assert_true (store_close (f.store, 0));
  expect_refused ();
  assert_int_equal (store_requests (f.store), 0);
  /* Not a request: the end of the disk needs it. */
  disk_discard_all (f.disk);
  fixture_check_empty (&f);
  fixture_close (&f);
}

static atomic_int served, refused;

static void *
one_request (void *arg)
{
  char c;

  (void) arg;
  if (disk_read (f.disk, &c, 1, 0) == 0)
    atomic_fetch_add (&served, 1);
  else {
    check_always (errno == ESHUTDOWN);
    atomic_fetch_add (&refused, 1);
  }
  return NULL;
}

/* Frozen, requests sleep before they have begun; thawed, they go on, and
 * closed they are refused.
 */
static void
test_freeze (void **state)
{
  struct unit_thread t[THREADS];

  (void) state;
  for (unsigned close = 0; close < 2; close++) {
    fixture_open (&f, 4096, "lz4", 2, MiB);
    atomic_store (&served, 0);
    atomic_store (&refused, 0);
    assert_int_equal (store_request_begin (f.store), 0);
    assert_false (store_freeze (f.store, 3)); /* one runs */
    store_request_end (f.store);
    must_write (&f, "x", 1, 0);

    assert_true (store_freeze (f.store, 100));
    assert_false (store_freeze (f.store, 0));
    unit_start_all (t, THREADS, one_request, NULL, 0);
    for (unsigned i = 0; i < THREADS; i++)
      unit_wait_asleep (&t[i]);
    assert_int_equal (store_requests (f.store), 0);
    assert_int_equal (atomic_load (&served), 0);
    fixture_audit (&f);
    if (close)
      assert_true (store_close (f.store, 0));
    store_thaw (f.store);
    unit_join_all (t, THREADS);
    assert_int_equal (atomic_load (close ? &refused : &served), THREADS);
    if (close)
      expect_refused ();
    else
      must_hold (&f, "x", 1, 0);
    fixture_close (&f);
  }
}

/* Frozen and thawed again and again under load: while it is frozen nothing
 * changes.
 */
static void
test_freeze_under_load (void **state)
{
  unsigned id[THREADS] = { 0, 1, 2, 3 };
  struct unit_thread t[THREADS];

  (void) state;
  fixture_open (&f, 4096, "lz4", 4, MiB);
  atomic_store (&stop, false);
  unit_start_all (t, THREADS, load, id, sizeof *id);
  for (unsigned i = 0; i < UNIT_TIMES (200); i++)
    if (i % 2) {
      struct reason why;

      if (store_audit_live (f.store, true, NULL, &why) == -1)
        fail_msg ("%s", why.text);
    }
    else if (store_freeze (f.store, 1000)) {
      fixture_audit (&f);
      store_thaw (f.store);
    }
  atomic_store (&stop, true);
  unit_join_all (t, THREADS);
  fixture_close (&f);
}

int
main (void)
{
  static const struct CMUnitTest tests[] = {
    UNIT_TEST (test_switch_under_load),
    UNIT_TEST (test_impossible),
#ifdef ZRAM_FAULTS
    UNIT_TEST (test_grow_fails),
    UNIT_TEST (test_shared_fails),
#endif
    UNIT_TEST (test_shared),
    UNIT_TEST (test_counted),
    UNIT_TEST (test_close),
    UNIT_TEST (test_freeze),
    UNIT_TEST (test_freeze_under_load),
  };

  return UNIT_RUN (tests);
}
