/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Leaves of the slot table that come and go under threads which use them: a
 * leaf is made once, no write to one is lost, no thread sleeps for ever.
 */

#include <config.h>

#include "store-fixture.h"

#define THREADS 4

static struct leaves leaves;
static struct slot_table table;
static struct budget budget;

static void
open_table (uint64_t slots)
{
  budget_init (&budget, 0);
  assert_int_equal (leaves_init (&leaves, slots, &budget), 0);
  assert_int_equal (slot_table_init (&table, &leaves, 0, slots), 0);
}

/* A locked slot is set to 'word' (0: EMPTY) and unlocked. */
static void
set_and_unlock (struct slot *s, uint64_t word) NO_THREAD_SAFETY_ANALYSIS
{
  int live = !!word - !!slot_load_meta (s);

  atomic_store_explicit (&s->cell, word, memory_order_relaxed);
  atomic_store_explicit (&s->meta, word ? slot_meta (SLOT_SAME, 0, 1) : 0,
                         memory_order_relaxed);
  if (live)
    leaves_count_live (&leaves, s, live);
  slot_write_unlock (s);
}

static void
put (uint64_t index, uint64_t word)
{
  struct slot *s = word ? slot_table_write_lock_new (&table, index)
                        : slot_table_write_lock (&table, index);

  check_always (s || !word);
  if (s)
    set_and_unlock (s, word);
}

static void
close_table (void)
{
  struct leaves_audit counted = { 0 };
  const char *wrong = slot_table_audit (&table, &counted);

  if (!wrong)
    wrong = leaves_audit (&leaves, &counted);
  if (wrong)
    fail_msg ("%s", wrong);
  assert_int_equal (atomic_load (&budget.used), leaves_memory (&leaves));
  for (uint64_t i = slot_table_next_present (&table, 0, table.slots);
       i < table.slots;
       i = slot_table_next_present (&table, i + 1, table.slots))
    put (i, 0);
  slot_table_destroy (&table);
  assert_int_equal (atomic_load (&budget.used), 0);
  leaves_destroy (&leaves);
}

static uint64_t
get (uint64_t index) NO_THREAD_SAFETY_ANALYSIS
{
  struct slot *s = slot_table_read_lock (&table, index, 0);
  uint64_t word = s ? slot_load_cell (s) : 0;

  if (s)
    slot_read_unlock (s);
  return word;
}

/* -- made once ----------------------------------------------------------- */

struct racer {
  unsigned id;
  pthread_barrier_t *barrier;
  unsigned rounds;
};

/* All add to the same slot of a leaf that is not there yet. */
static void *
create_racer (void *arg)
{
  struct racer *r = arg;

  for (unsigned i = 0; i < r->rounds; i++) {
    uint64_t index = i * LEAF_SLOTS * 3 + 5;

    pthread_barrier_wait (r->barrier);
    struct slot *s = slot_table_write_lock_new (&table, index);
    check_always (s);
    set_and_unlock (s, slot_load_cell (s) + 1);
  }
  return NULL;
}

static void
test_create_race (void **state)
{
  unsigned rounds = UNIT_TIMES (2000) + 100;
  struct unit_thread t[THREADS];
  struct racer r[THREADS];
  pthread_barrier_t barrier;

  (void) state;
  open_table (UINT64_C (1) << 40);
  pthread_barrier_init (&barrier, NULL, THREADS);
  for (unsigned i = 0; i < THREADS; i++)
    r[i] = (struct racer){ .id = i, .barrier = &barrier, .rounds = rounds };
  unit_start_all (t, THREADS, create_racer, r, sizeof *r);
  unit_join_all (t, THREADS);
  pthread_barrier_destroy (&barrier);

  for (unsigned i = 0; i < rounds; i++)
    assert_int_equal (get (i * LEAF_SLOTS * 3 + 5), THREADS);
  assert_int_equal (leaves.leaf_count, rounds);
  assert_int_equal (leaves.top, rounds); /* none made twice, then dropped */
  close_table ();
}

/* -- used and reclaimed at once ------------------------------------------ */

/* Leaves that take each other's pages. */
#define LEAVES 3

static atomic_bool stop;
static atomic_uint reclaimed;

/* Each thread owns some slots of every leaf and knows what is in them; they
 * are EMPTY much of the time, so that leaves are, too.
 */
static void *
owner (void *arg)
{
  struct racer *r = arg;
  struct unit_rng rng = unit_rng (100 + r->id);
  uint64_t mine[LEAVES][2] = { { 0 } };

  /* Until a leaf was reclaimed, however slow the machine is. */
  for (unsigned i = 0; i < r->rounds || atomic_load (&reclaimed) == 0; i++) {
    unsigned leaf = unit_below (&rng, LEAVES), n = unit_below (&rng, 2);
    uint64_t index = leaf * LEAF_SLOTS + n * 131 + r->id * 7;

    check_always (get (index) == mine[leaf][n]);
    mine[leaf][n] = unit_below (&rng, 3) ? 0 : unit_rand (&rng) | 1;
    put (index, mine[leaf][n]);
    check_always (get (index) == mine[leaf][n]);
    if (unit_below (&rng, 4) == 0 && slot_table_leaf_is_empty (&table, index))
      atomic_fetch_add (&reclaimed, slot_table_reclaim (&table, index));
  }
  for (unsigned leaf = 0; leaf < LEAVES; leaf++)
    for (unsigned n = 0; n < 2; n++) {
      uint64_t index = leaf * LEAF_SLOTS + n * 131 + r->id * 7;

      check_always (get (index) == mine[leaf][n]);
      put (index, 0);
    }
  return NULL;
}

/* A counter that all share; it vanishes only while it is 0. */
static void *
sharer (void *arg)
{
  struct racer *r = arg;

  for (unsigned i = 0; i < r->rounds; i++) {
    uint64_t index = i % LEAVES * LEAF_SLOTS + 255;
    struct slot *s = slot_table_write_lock_new (&table, index);

    check_always (s);
    set_and_unlock (s, slot_load_cell (s) + 1);
    if (i % 16 == 0)
      sched_yield ();
    s = slot_table_write_lock (&table, index);
    check_always (s); /* not EMPTY, so its leaf stays */
    check_always (slot_load_cell (s) > 0);
    set_and_unlock (s, slot_load_cell (s) - 1);
  }
  return NULL;
}

static void *
reclaimer (void *arg)
{
  (void) arg;
  while (!atomic_load (&stop))
    for (unsigned leaf = 0; leaf < LEAVES; leaf++) {
      atomic_fetch_add (&reclaimed,
                        slot_table_reclaim (&table, leaf * LEAF_SLOTS));
      if (!slot_table_peek (&table, leaf * LEAF_SLOTS))
        sched_yield ();
    }
  return NULL;
}

static void
test_reclaim_race (void **state)
{
  unsigned rounds = UNIT_TIMES (60000);
  struct unit_thread owners[THREADS], sharers[2], reclaimers[2];
  struct racer r[THREADS];

  (void) state;
  open_table (LEAVES * LEAF_SLOTS);
  atomic_store (&stop, false);
  atomic_store (&reclaimed, 0);
  for (unsigned i = 0; i < THREADS; i++)
    r[i] = (struct racer){ .id = i, .rounds = rounds };
  unit_start_all (owners, THREADS, owner, r, sizeof *r);
  unit_start_all (sharers, 2, sharer, r, sizeof *r);
  unit_start_all (reclaimers, 2, reclaimer, r, 0);
  unit_join_all (owners, THREADS);
  unit_join_all (sharers, 2);
  atomic_store (&stop, true);
  unit_join_all (reclaimers, 2);

  assert_true (atomic_load (&reclaimed) > 0);
  for (unsigned leaf = 0; leaf < LEAVES; leaf++) {
    if (slot_table_peek (&table, leaf * LEAF_SLOTS))
      assert_true (slot_table_reclaim (&table, leaf * LEAF_SLOTS));
  }
  assert_int_equal (leaves_memory (&leaves), 0);
  /* A page more for each thread that was just giving one back.  (They need not
   * all have left RAM: a thread that comes late locks and unlocks a slot of a
   * free page before it looks at the directory again.)
   */
  assert_true (leaves.top <= LEAVES + THREADS + 2);
  close_table ();
}

/* -- trapped at a chosen place ------------------------------------------- */

#ifdef ZRAM_FAULTS

static void *
add_one (void *arg)
{
  struct slot *s = slot_table_write_lock_new (&table, *(uint64_t *) arg);

  check_always (s);
  set_and_unlock (s, slot_load_cell (s) + 1);
  return NULL;
}

/* All have seen that there is no leaf; one makes it. */
static void
test_create_together (void **state)
{
  struct unit_thread t[THREADS];
  uint64_t index = 77 * LEAF_SLOTS;

  (void) state;
  open_table (UINT64_C (1) << 40);
  fault_hold ("table.leaf.missing");
  unit_start_all (t, THREADS, add_one, &index, 0);
  for (unsigned i = 0; i < THREADS; i++)
    unit_wait_asleep (&t[i]);
  assert_int_equal (leaves.leaf_count, 0);
  fault_release ("table.leaf.missing");
  unit_join_all (t, THREADS);
  assert_int_equal (get (index), THREADS);
  assert_int_equal (leaves.leaf_count, 1);
  assert_int_equal (leaves.top, 1);
  close_table ();
}

static void *
reclaim_in_vain (void *arg)
{
  check_always (!slot_table_reclaim (&table, *(uint64_t *) arg));
  return NULL;
}

/* A reclaimer has looked its leaf up and stops.  Another one is faster; the
 * page is in use elsewhere then, and empty, and its old place has another
 * page or (again) none.
 */
static void
test_late_reclaimer (void **state)
{
  uint64_t here = 3 * LEAF_SLOTS, there = 9 * LEAF_SLOTS;
  struct unit_thread t;

  (void) state;
  for (unsigned again = 0; again < 2; again++) {
    open_table (100 * LEAF_SLOTS);
    put (here, 1);
    put (here, 0);
    const struct slot *page = slot_table_peek (&table, here);
    fault_hold_first ("table.reclaim.found");
    unit_start (&t, reclaim_in_vain, &here);
    fault_wait_held ("table.reclaim.found");

    assert_true (slot_table_reclaim (&table, here));
    put (there, 1);
    put (there, 0);
    assert_ptr_equal (slot_table_peek (&table, there), page);
    if (!again)
      put (here, 5);

    fault_release ("table.reclaim.found");
    unit_join (&t);
    assert_int_equal (get (here), again ? 0 : 5);
    assert_ptr_equal (slot_table_peek (&table, there), page);
    assert_int_equal (leaves.leaf_count, again ? 1 : 2);
    assert_int_equal (leaves_empty (&leaves), 1);
    close_table ();
  }
}

#define INDEX (7 * LEAF_SLOTS + 9)

static struct slot *stale; /* of the leaf that is being reclaimed */

static void *
reclaim_it (void *arg)
{
  (void) arg;
  check_always (slot_table_reclaim (&table, INDEX));
  return NULL;
}

/* Threads that looked the leaf up before it was taken out: what is inside
 * slot_table_write_lock and _read_lock after find_leaf.
 */
static void *
stale_writer (void *arg) NO_THREAD_SAFETY_ANALYSIS
{
  struct racer *r = arg;
  uint64_t index = INDEX + r->id;

  slot_write_lock (stale + r->id);
  check_always (slot_table_peek (&table, index) != stale + r->id);
  slot_write_unlock (stale + r->id);
  put (index, 1000 + r->id);
  return NULL;
}

static void *
stale_reader (void *arg) NO_THREAD_SAFETY_ANALYSIS
{
  struct racer *r = arg;

  slot_read_lock (stale + r->id, 5);
  check_always (slot_table_peek (&table, INDEX + r->id) != stale + r->id);
  slot_read_unlock (stale + r->id);
  return NULL;
}

/* Trapped between the directory and the page: a thread that waits for a lock of
 * the old page sleeps; a later thread makes a new leaf, and is not held up.
 */
static void
test_trapped (void **state)
{
  struct unit_thread reclaim, writers[3], readers[3];
  struct racer r[3] = { { .id = 0 }, { .id = 1 }, { .id = 1 } };

  (void) state;
  open_table (100 * LEAF_SLOTS);
  put (INDEX, 1);
  put (INDEX, 0);
  stale = (struct slot *) slot_table_peek (&table, INDEX);
  assert_non_null (stale);

  fault_hold ("table.reclaim.unlinked");
  unit_start (&reclaim, reclaim_it, NULL);
  fault_wait_held ("table.reclaim.unlinked");
  unit_start_all (writers, 3, stale_writer, r, sizeof *r);
  unit_start_all (readers, 3, stale_reader, r, sizeof *r);
  for (unsigned i = 0; i < 3; i++) {
    unit_wait_asleep (&writers[i]);
    unit_wait_asleep (&readers[i]);
  }

  assert_null (slot_table_peek (&table, INDEX));
  assert_int_equal (get (INDEX), 0);
  assert_false (slot_table_reclaim (&table, INDEX));
  put (INDEX + 100, 42); /* the new leaf */
  assert_int_equal (get (INDEX + 100), 42);
  assert_ptr_not_equal (slot_table_peek (&table, INDEX), stale);
  assert_int_equal (leaves.leaf_count, 2);

  fault_release ("table.reclaim.unlinked");
  unit_join (&reclaim);
  unit_join_all (writers, 3);
  unit_join_all (readers, 3);
  assert_int_equal (get (INDEX), 1000);
  assert_int_equal (get (INDEX + 1), 1001);
  assert_int_equal (get (INDEX + 100), 42);
  assert_int_equal (leaves.leaf_count, 1);
  close_table ();
}

/* The page is in use elsewhere by the time the stale threads run. */
static void *
visit_stale (void *arg) NO_THREAD_SAFETY_ANALYSIS
{
  struct racer *r = arg;

  for (unsigned i = 0; i < r->rounds; i++) {
    slot_write_lock (stale + i % LEAF_SLOTS);
    slot_write_unlock (stale + i % LEAF_SLOTS);
    slot_read_lock (stale + i % LEAF_SLOTS, i);
    slot_read_unlock (stale + i % LEAF_SLOTS);
  }
  return NULL;
}

static void
test_stale_visitors (void **state)
{
  struct racer r = { .rounds = UNIT_TIMES (200000) };
  struct unit_thread t[2];

  (void) state;
  open_table (100 * LEAF_SLOTS);
  put (INDEX, 1);
  stale = (struct slot *) slot_table_peek (&table, INDEX & ~255);
  put (INDEX, 0);
  unit_start_all (t, 2, visit_stale, &r, 0);
  for (unsigned i = 0; i < UNIT_TIMES (20000); i++) {
    uint64_t index = i % 100 * LEAF_SLOTS + i % LEAF_SLOTS;

    put (index, i + 1);
    check_always (get (index) == i + 1);
    put (index, 0);
    (void) slot_table_reclaim (&table, index);
  }
  unit_join_all (t, 2);
  close_table ();
}

#endif

int
main (void)
{
  static const struct CMUnitTest tests[] = {
    UNIT_TEST (test_create_race),     UNIT_TEST (test_reclaim_race),
#ifdef ZRAM_FAULTS
    UNIT_TEST (test_create_together), UNIT_TEST (test_late_reclaimer),
    UNIT_TEST (test_trapped),         UNIT_TEST (test_stale_visitors),
#endif
  };

  return UNIT_RUN (tests);
}
