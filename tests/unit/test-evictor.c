/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The evictor: memory stays under its limit without a write that fails while
 * the store has room; unused slots go; and no writer waits for what cannot
 * come.
 */

#include <config.h>

#include "held-backing.h"
#include "unbounded.h"

#include "maint/evictor.h"

#define SLOT 4096u
#define DISK (64 * MiB)
#define LIMIT (4 * MiB)
#define PERCENT (LIMIT / 100)

static struct fixture f;
static struct held *store;
static struct evictor *evictor;

static void
setup (uint64_t blocks, unsigned low, unsigned high)
{
  fixture_open (&f, SLOT, "lz4", 2, DISK);
  store = held_attach (&f, blocks);
  fixture_limit (&f, LIMIT);
  evictor = evictor_create (f.store, low, high);
  check_always (evictor && evictor_start (evictor) == 0);
}

static void
finish (void)
{
  evictor_stop (evictor);
  evictor_destroy (evictor);
  fixture_close (&f);
}

/* As a write 'age' seconds ago would have left it. */
static int
try_write_aged (uint64_t index, unsigned generation, unsigned age)
{
  char buf[SLOT];

  held_data (buf, SLOT, index, generation);
  return slot_write (f.disk, index, buf, clock_coarse_s () - age);
}

static void
write_aged (uint64_t index, unsigned generation, unsigned age)
{
  check_always (try_write_aged (index, generation, age) == 0);
}

/* Until there were so many rounds and the last is over. */
static void
wait_rounds (uint64_t n)
{
  while (evictor_stats (evictor).rounds < n)
    unit_sleep_ms (1);
  evictor_hold (evictor);
  evictor_unhold (evictor);
}

static void
wait_below (uint64_t bytes)
{
  while (fixture_used (&f) > bytes)
    unit_sleep_ms (1);
}

/* Slots from 'first' on until so much is used; returns the next. */
static uint64_t
fill_to (uint64_t first, uint64_t bytes)
{
  while (fixture_used (&f) <= bytes)
    write_aged (first++, 1, 0);
  return first;
}

/* -- marks -------------------------------------------------------------- */

static void
test_hysteresis (void **state)
{
  uint64_t next;

  (void) state;
  setup (16384, 60, 80);
  next = fill_to (0, 78 * PERCENT);
  unit_sleep_ms (300); /* more than the evictor's own pause */
  assert_int_equal (evictor_stats (evictor).rounds, 0);
  assert_int_equal (fixture_count (&f, DISK_SLOTS_BACKED), 0);
  while (evictor_stats (evictor).rounds == 0)
    write_aged (next++, 1, 0);
  /* The last write, and a leaf for it, may have come after the round. */
  wait_below (60 * PERCENT + 2 * SLOT);
  unit_sleep_ms (300);
  assert_int_equal (evictor_stats (evictor).rounds, 1);
  /* No more than needed. */
  assert_true (fixture_used (&f) > 52 * PERCENT);
  assert_false (evictor_stats (evictor).hopeless);
  /* Between the marks nothing happens. */
  next = fill_to (next, 75 * PERCENT);
  unit_sleep_ms (300);
  assert_int_equal (evictor_stats (evictor).rounds, 1);
  for (uint64_t i = 0; i < next; i++)
    held_expect (&f, i, 1);
  finish ();
}

static void
test_far_beyond_memory (void **state)
{
  unsigned n = 3000 + UNIT_TIMES (9000);

  (void) state;
  setup (16384, EVICT_LOW, EVICT_HIGH);
  for (unsigned i = 0; i < n; i++)
    write_aged (i, i % 7, 0);
  assert_true (fixture_used (&f) <= LIMIT);
  for (unsigned i = 0; i < n; i++)
    held_expect (&f, i, i % 7);
  for (unsigned i = 0; i < n; i++)
    write_aged (i, i % 7 + 1, 0);
  for (unsigned i = 0; i < n; i++)
    held_expect (&f, i, i % 7 + 1);
  assert_int_equal (fixture_count (&f, DISK_BD_READ_ERRORS), 0);
  assert_true (fixture_count (&f, DISK_SLOTS_BACKED) > 0);
  /* Where the pool can say what goes, it does. */
  assert_int_equal (
    counter_sum (&f.store->pool->counters, POOL_PAGES_RECLAIMED) > 0,
    pool_has_lru (f.store->pool));
  finish ();
}

/* Even if there is nothing between the marks and the limit. */
static void
test_marks_at_the_limit (void **state)
{
  (void) state;
  setup (16384, 100, 100);
  for (unsigned i = 0; i < UNIT_TIMES (8000) + 2000; i++)
    write_aged (i, 1, 0);
  assert_true (fixture_count (&f, DISK_SLOTS_BACKED) > 0);
  /* No more than a share of the limit at a time. */
  assert_true (fixture_used (&f) > LIMIT * 8 / 10);
  finish ();
}

static void
test_limit_changes (void **state)
{
  uint64_t next;

  (void) state;
  setup (16384, 80, 90);
  fixture_limit (&f, 0);
  next = fill_to (0, LIMIT);
  unit_sleep_ms (300);
  assert_int_equal (evictor_stats (evictor).rounds, 0);
  store_set_mem_limit (f.store, LIMIT / 2);
  evictor_set_marks (evictor, 0, 0);
  wait_below (LIMIT / 2 * 80 / 100);
  fixture_limit (&f, LIMIT);
  evictor_set_marks (evictor, 20, 30);
  wait_rounds (2);
  wait_below (30 * PERCENT);
  for (uint64_t i = 0; i < next; i++)
    held_expect (&f, i, 1);
  finish ();
}

/* -- what goes ---------------------------------------------------------- */

#define HOT 200u

static void
test_least_recently_used (void **state)
{
  unsigned resident = 0, stayed = 0, next = HOT;

  (void) state;
  setup (16384, 50, 80);
  evictor_hold (evictor);
  for (unsigned i = 0; i < HOT; i++)
    write_aged (i, 1, 500);
  while (fixture_used (&f) < 79 * PERCENT)
    write_aged (next++, 1, 500);
  /* Read again: as good as new, though first in the order of the hand. */
  for (unsigned i = 0; i < HOT; i++)
    held_expect (&f, i, 1);
  unsigned cold = next;
  while (fixture_used (&f) < 85 * PERCENT)
    write_aged (next++, 1, 0);
  evictor_unhold (evictor);
  wait_rounds (1);
  wait_below (50 * PERCENT);
  for (unsigned i = 0; i < next; i++) {
    bool here = fixture_state (&f, i) == SLOT_OBJECT;

    if (i >= HOT && i < cold)
      stayed += here;
    else
      resident += here;
  }
  /* Raw slots count as older, but not as old as that. */
  assert_int_equal (resident, HOT + next - cold);
  assert_true (stayed < cold - HOT);
  finish ();
}

/* Of one age, what does not compress goes first. */
static void
test_huge_first (void **state)
{
  unsigned next = 0, huge = 0, gone = 0;

  (void) state;
  fixture_only ("zsmalloc", "z3fold evicts by the use of pages");
  setup (16384, 70, 80);
  evictor_hold (evictor);
  while (fixture_used (&f) < 85 * PERCENT)
    write_aged (next++, 1, 3);
  for (unsigned i = 0; i < next; i++)
    huge += slot_meta_format (fixture_meta (&f, i)) == CODEC_RAW;
  assert_true (huge > 100);
  evictor_unhold (evictor);
  wait_rounds (1);
  wait_below (70 * PERCENT);
  for (unsigned i = 0; i < next; i++) {
    if (fixture_state (&f, i) == SLOT_OBJECT)
      continue;
    gone++;
    assert_int_equal (slot_meta_format (fixture_meta (&f, i)), CODEC_RAW);
  }
  assert_true (gone > 0);
  finish ();
}

/* -- the end of memory and store ---------------------------------------- */

/* Until nothing fits any more; returns how many slots are there. */
static unsigned
fill_up (unsigned first)
{
  while (try_write_aged (first, 1, 0) == 0) {
    first++;
    check_always ((uint64_t) first * SLOT < DISK);
  }
  assert_int_equal (errno, ENOSPC);
  return first;
}

static void
test_store_full (void **state)
{
  uint64_t start = clock_ns ();
  struct blocks_stats st;
  unsigned n;

  (void) state;
  setup (400, 80, 90);
  n = fill_up (0);
  st = held_blocks (&f);
  assert_true (st.used >= st.total * 95 / 100);
  assert_true (fixture_used (&f) > 97 * PERCENT);
  assert_true (evictor_stats (evictor).hopeless);
  assert_true (clock_ns () - start < ROOM_TIMEOUT_NS);
  for (unsigned i = 0; i < n; i++)
    held_expect (&f, i, 1);
  /* Room in the store is room: the very first write has it. */
  for (unsigned i = 0; i < n / 2; i++)
    if (fixture_state (&f, i) == SLOT_BACKED)
      must_discard (&f, (uint64_t) i * SLOT, SLOT);
  for (unsigned i = 0; i < 50; i++)
    write_aged (n + i, 1, 0);
  for (unsigned i = n / 2; i < n + 50; i++)
    held_expect (&f, i, 1);
  finish ();
}

static void
test_store_fails (void **state)
{
  unsigned n;

  (void) state;
  setup (16384, 80, 90);
  writeback_limit_set (&f.store->writeback_limit, true, 100000);
  held_fail (store, 1, UINT32_MAX / 2, EIO);
  n = fill_up (0);
  assert_int_equal (fixture_count (&f, DISK_SLOTS_BACKED), 0);
  assert_true (fixture_count (&f, DISK_BD_WRITE_ERRORS) > 0);
  assert_true (evictor_stats (evictor).failed > 0);
  assert_int_equal (held_blocks (&f).used, 0);
  assert_int_equal (atomic_load (&f.store->writeback_limit.left), 100000);
  for (unsigned i = 0; i < n; i++)
    held_expect (&f, i, 1);
  held_fail (store, 0, 0, 0);
  for (unsigned i = 0; i < 200; i++)
    write_aged (n + i, 1, 0);
  for (unsigned i = 0; i < n + 200; i++)
    held_expect (&f, i, 1);
  finish ();
}

static void
test_budget_used_up (void **state)
{
  unsigned n;

  (void) state;
  setup (16384, 80, 90);
  writeback_limit_set (&f.store->writeback_limit, true, 0);
  n = fill_up (0);
  assert_int_equal (fixture_count (&f, DISK_SLOTS_BACKED), 0);
  writeback_limit_set (&f.store->writeback_limit, true, 10);
  n = fill_up (n);
  assert_int_equal (fixture_count (&f, DISK_BD_WRITES), 10);
  assert_int_equal (atomic_load (&f.store->writeback_limit.left), 0);
  writeback_limit_set (&f.store->writeback_limit, false, 0);
  write_aged (n, 1, 0);
  finish ();
}

/* -- waiting ------------------------------------------------------------ */

static void *
write_many (void *arg)
{
  unsigned first = *(unsigned *) arg;

  for (unsigned i = first; i < first + 300; i++)
    write_aged (i, 1, 0);
  return NULL;
}

/* All that is free is being punched: that is no reason to fail. */
static void
test_punches_in_flight (void **state)
{
  struct unit_thread writer;
  int64_t stalls;
  unsigned n;

  (void) state;
  setup (400, 80, 90);
  atomic_store (&store->base.can_punch, true);
  blocks_set_punch (f.store->backed->blocks, true);
  (void) fill_up (0);
  held_hold (store, false, true, false);
  must_discard (&f, 0, DISK);
  while (held_blocks (&f).punching < 400)
    unit_sleep_ms (1);
  stalls = fixture_count (&f, DISK_WRITE_STALLS);
  n = (unsigned) fill_to (0, 95 * PERCENT);
  unit_start (&writer, write_many, &n);
  while (fixture_count (&f, DISK_WRITE_STALLS) == stalls)
    unit_sleep_ms (1);
  unit_sleep_ms (100); /* some rounds that find the store full */
  assert_int_equal (fixture_count (&f, DISK_SLOTS_BACKED), 0);
  held_release (store);
  unit_join (&writer);
  finish ();
}

/* Punched, but kept back for longer than a writer waits: that is full. */
static void
test_punches_kept_back (void **state)
{
  uint64_t start;
  unsigned n;

  (void) state;
  setup (400, 80, 90);
  atomic_store (&store->base.can_punch, true);
  blocks_set_punch (f.store->backed->blocks, true);
  (void) fill_up (0);
  store->resent = true;
  must_discard (&f, 0, DISK);
  while (backed_late_punches (f.store->backed) < 400)
    unit_sleep_ms (1);
  start = clock_ns ();
  for (n = 0; try_write_aged (n, 1, 0) == 0; n++)
    ;
  assert_int_equal (errno, ENOSPC);
  assert_true (clock_ns () - start < ROOM_TIMEOUT_NS);
  assert_int_equal (fixture_count (&f, DISK_SLOTS_BACKED), 0);
  finish ();
}

/* Nothing completes; the writer waits.  It goes on when something does. */
static void
start_stalled (struct unit_thread *writer, unsigned *first)
{
  held_hold (store, true, false, false);
  *first = 0;
  while (fixture_used (&f) < 97 * PERCENT)
    write_aged ((*first)++, 1, 0);
  unit_start (writer, write_many, first);
  while (fixture_count (&f, DISK_WRITE_STALLS) == 0)
    unit_sleep_ms (1);
}

static void
test_writer_waits (void **state)
{
  struct unit_thread writer;
  unsigned n;

  (void) state;
  setup (16384, 80, 90);
  start_stalled (&writer, &n);
  unit_wait_asleep (&writer);
  held_release (store);
  unit_join (&writer);
  for (unsigned i = 0; i < n + 300; i++)
    held_expect (&f, i, 1);
  finish ();
}

static void
test_limit_raised_for_a_writer (void **state)
{
  struct unit_thread writer;
  unsigned n;

  (void) state;
  setup (16384, 80, 90);
  writeback_limit_set (&f.store->writeback_limit, true, 1000000);
  start_stalled (&writer, &n);
  fixture_limit (&f, 0);
  held_release (store);
  unit_join (&writer);
  finish ();
}

static void *
expect_enospc (void *arg)
{
  int *r = arg;
  unsigned i = 5000;

  while ((*r = try_write_aged (i++, 1, 0)) == 0)
    ;
  *r = errno;
  return NULL;
}

/* The end of the evictor is the end of the wait; what is in flight must come
 * back first.
 */
static void *
release_store (void *arg)
{
  (void) arg;
  held_wait_queued (store, 1);
  unit_sleep_ms (50);
  held_release (store);
  return NULL;
}

static void
test_stop_lets_go (void **state)
{
  struct unit_thread writer, releaser;
  unsigned n = 0;
  int err = 0;

  (void) state;
  setup (16384, 80, 90);
  held_hold (store, true, false, false);
  while (fixture_used (&f) < 95 * PERCENT)
    write_aged (n++, 1, 0);
  unit_start (&writer, expect_enospc, &err);
  while (fixture_count (&f, DISK_WRITE_STALLS) == 0)
    unit_sleep_ms (1);
  held_wait_queued (store, 1);
  unit_start (&releaser, release_store, NULL);
  evictor_stop (evictor);
  unit_join (&writer);
  unit_join (&releaser);
  assert_int_equal (err, ENOSPC);
  for (unsigned i = 0; i < n; i++)
    held_expect (&f, i, 1);
  finish ();
}

/* A part of a slot that is in the store, written when memory is out. */
static void
test_part_at_the_limit (void **state)
{
  char want[SLOT], part[500];
  unsigned n = 0, parts = 0;

  (void) state;
  setup (16384, 90, 95);
  while (fixture_count (&f, DISK_SLOTS_BACKED) < 300)
    write_aged (n++, 1, 0);
  memset (part, 0x3c, sizeof part);
  for (unsigned i = 0; i < n; i++) {
    if (fixture_state (&f, i) != SLOT_BACKED)
      continue;
    must_write (&f, part, sizeof part, (uint64_t) i * SLOT + 1000);
    held_data (want, SLOT, i, 1);
    memcpy (want + 1000, part, sizeof part);
    must_hold (&f, want, SLOT, (uint64_t) i * SLOT);
    parts++;
  }
  assert_true (parts > 100);
  finish ();
}

/* A pass by hand has everything in flight, and readers hold claims too. */
static void
test_claims_are_short (void **state)
{
  struct batch_writer *w;
  unsigned taken[SLOT_CLAIMS], n = 0;

  (void) state;
  setup (16384, 80, 90);
  evictor_hold (evictor);
  w = batch_writer_create (f.store);
  held_hold (store, true, false, false);
  for (unsigned i = 0; i < BATCHES; i++) {
    write_aged (i, 1, 0);
    check_always (held_put (&f, w, i) == PUT_DONE);
    batch_writer_flush (w);
  }
  while (n < SLOT_CLAIMS - 2 - BATCHES &&
         (taken[n] = claim_take (f.store)) != 0)
    n++;
  store->hold_writes = false;
  evictor_unhold (evictor);
  for (unsigned i = 100; i < 3000; i++)
    write_aged (i, 1, 0);
  held_release (store);
  batch_writer_destroy (w);
  while (n)
    claim_release (f.store, taken[--n]);
  finish ();
}

/* -- held, and at rest -------------------------------------------------- */

static atomic_bool stop;

static void *
write_until_stopped (void *arg)
{
  unsigned first = *(unsigned *) arg;

  for (unsigned i = 0; !atomic_load (&stop); i++) {
    check_always (store_request_begin (f.store) == 0);
    write_aged (first + i % 1500, i, 0);
    store_request_end (f.store);
  }
  return NULL;
}

static void
test_held_for_an_audit (void **state)
{
  struct unit_thread writers[3];
  unsigned first[3] = { 0, 2000, 4000 };
  struct reason why;

  (void) state;
  setup (16384, 80, 90);
  atomic_store (&stop, false);
  unit_start_all (writers, 3, write_until_stopped, first, sizeof first[0]);
  /* Until there was something to evict, however slow the writers are. */
  for (unsigned i = 0; i < 10 || fixture_count (&f, DISK_BD_WRITES) == 0; i++) {
    unit_sleep_ms (20);
    /* Requests first: one that waits for room needs the evictor. */
    check_always (store_freeze (f.store, 10000));
    evictor_hold (evictor);
    if (store_audit (f.store, false, &why) == -1)
      fail_msg ("%s", why.text);
    evictor_unhold (evictor);
    store_thaw (f.store);
  }
  atomic_store (&stop, true);
  unit_join_all (writers, 3);
  assert_true (fixture_count (&f, DISK_BD_WRITES) > 0);
  finish ();
}

static uint64_t
cpu_ns (void)
{
  struct timespec ts;

  check_always (clock_gettime (CLOCK_PROCESS_CPUTIME_ID, &ts) == 0);
  return (uint64_t) ts.tv_sec * 1000000000 + (uint64_t) ts.tv_nsec;
}

/* Of a second, not a twentieth is spent; nor when nothing can be done. */
static void
test_rests (void **state)
{
  uint64_t start;

  (void) state;
  setup (400, 80, 90);
  (void) fill_to (0, 85 * PERCENT);
  unit_sleep_ms (100);
  start = cpu_ns ();
  unit_sleep_ms (1000);
  assert_true (cpu_ns () - start < 50000000);
  (void) fill_up (2000);
  unit_sleep_ms (100);
  start = cpu_ns ();
  unit_sleep_ms (1000);
  assert_true (cpu_ns () - start < 50000000 * UNIT_SCALE);
  finish ();
}

/* Writes that fit go on when nothing can be evicted, and do not make the
 * evictor try again with each.
 */
static void
test_failed_rounds_are_few (void **state)
{
  uint64_t rounds, start;
  unsigned n;

  (void) state;
  setup (400, 80, 90);
  n = fill_up (0);
  rounds = evictor_stats (evictor).rounds;
  start = clock_ns ();
  for (unsigned i = 0; clock_ns () - start < 500000000; i++)
    (void) try_write_aged (i % n, 1, 0);
  rounds = evictor_stats (evictor).rounds - rounds;
  /* Some, and some each second: the last write may have taken any time. */
  assert_true (rounds <= 2 + (clock_ns () - start) / 50000000);
  finish ();
}

/* A limit that nothing fits in, though nothing is used. */
static void
test_limit_below_a_slot (void **state)
{
  static const uint64_t limits[] = { 5, 99, 4000 };

  (void) state;
  setup (16384, EVICT_LOW, EVICT_HIGH);
  for (unsigned i = 0; i < 3; i++) {
    uint64_t start = clock_ns ();

    store_set_mem_limit (f.store, limits[i]);
    evictor_set_marks (evictor, 0, 0);
    assert_int_equal (fixture_used (&f), 0);
    for (unsigned n = 0; n < 3; n++) {
      assert_int_equal (try_write_aged (n, 1, 0), -1);
      assert_int_equal (errno, ENOSPC);
    }
    assert_true (clock_ns () - start < ROOM_TIMEOUT_NS); /* for one of them */
  }
  store_set_mem_limit (f.store, LIMIT);
  evictor_set_marks (evictor, 0, 0);
  write_aged (1, 1, 0);
  held_expect (&f, 1, 1);
  finish ();
}

int
main (void)
{
  static const struct CMUnitTest tests[] = {
    UNIT_TEST (test_hysteresis),
    UNIT_TEST (test_far_beyond_memory),
    UNIT_TEST (test_marks_at_the_limit),
    UNIT_TEST (test_limit_changes),
    UNIT_TEST (test_least_recently_used),
    UNIT_TEST (test_huge_first),
    UNIT_TEST (test_store_full),
    UNIT_TEST (test_store_fails),
    UNIT_TEST (test_budget_used_up),
    UNIT_TEST (test_punches_in_flight),
    UNIT_TEST (test_punches_kept_back),
    UNIT_TEST (test_writer_waits),
    UNIT_TEST (test_limit_raised_for_a_writer),
    UNIT_TEST (test_stop_lets_go),
    UNIT_TEST (test_part_at_the_limit),
    UNIT_TEST (test_claims_are_short),
    UNIT_TEST (test_held_for_an_audit),
    UNIT_TEST (test_rests),
    UNIT_TEST (test_failed_rounds_are_few),
    UNIT_TEST (test_limit_below_a_slot),
  };

  return UNIT_RUN (tests);
}
