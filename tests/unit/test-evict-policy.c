/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The evictor's policy by itself: when, how much and which slots it proposes.
 * There is no backing store: 'put' only writes down what it is asked for, and
 * answers as the test says.
 */

#include <config.h>

#include "held-backing.h"

#include "maint/evict_policy.h"

#define SLOT 4096u
#define DISK (64 * MiB)
#define LIMIT (64 * MiB)
#define SLOTS 1500u /* in each disk, some leaves */
#define MOST 20000u /* calls of 'put' */

/* Seconds, far below the next power of two: the test may take its time. */
#define OLD 70
#define OLDER 300

static struct fixture f;
static struct evict_policy policy;
static struct ticker ticker;

struct asked {
  unsigned disk;
  uint64_t index;
  uint32_t size;
};

static struct asked asked[MOST];
static unsigned calls;
static enum put_result answer;

static enum put_result
put (void *ctx, struct disk *disk, uint64_t index, uint32_t meta)
{
  assert_ptr_equal (ctx, &policy);
  assert_int_equal (slot_meta_state (meta), SLOT_OBJECT);
  check_always (calls < MOST);
  asked[calls++] = (struct asked){ disk->id, index, slot_meta_size (meta) };
  return answer;
}

static void
setup (unsigned low, unsigned high)
{
  fixture_open (&f, SLOT, "lz4", 2, DISK);
  fixture_limit (&f, LIMIT);
  evict_policy_init (&policy, f.store, low, high, put, &policy);
  ticker_init (&ticker);
  calls = 0;
  answer = PUT_DONE;
}

static void
finish (void)
{
  ticker_destroy (&ticker);
  fixture_close (&f);
}

/* As writes 'age' seconds ago would have left them. */
static void
write_aged (struct disk *disk, unsigned first, unsigned end, unsigned age)
{
  char buf[SLOT];

  for (unsigned i = first; i < end; i++) {
    held_data (buf, SLOT, i, 1);
    check_always (slot_write (disk, i, buf, clock_coarse_s () - age) == 0);
  }
}

/* A turn to its end; how it ended. */
static enum evict_step
turn (uint64_t bytes)
{
  enum evict_step r = STEP_MORE;

  calls = 0;
  assert_true (evict_policy_begin (&policy, bytes, &ticker));
  while (r == STEP_MORE)
    r = evict_policy_propose (&policy);
  return r;
}

static uint64_t
asked_bytes (void)
{
  uint64_t sum = 0;

  for (unsigned i = 0; i < calls; i++)
    sum += asked[i].size;
  return sum;
}

/* How often a slot of disk 'id' was asked for. */
static unsigned
times_asked (unsigned id, uint64_t index)
{
  unsigned n = 0;

  for (unsigned i = 0; i < calls; i++)
    n += asked[i].disk == id && asked[i].index == index;
  return n;
}

/* -- when --------------------------------------------------------------- */

static void
set_used (uint64_t bytes)
{
  atomic_store (&f.store->budget.used, bytes);
}

static void
test_target (void **state)
{
  uint64_t used, unit = LIMIT / 100;

  (void) state;
  setup (60, 80);
  used = fixture_used (&f);
  set_used (80 * unit);
  assert_true (evict_policy_target (&policy, false) == EVICT_NOTHING);
  set_used (80 * unit + 1);
  assert_int_equal (evict_policy_target (&policy, false), 60 * unit);
  /* A writer that waits: down to low, */
  assert_int_equal (evict_policy_target (&policy, true), 60 * unit);
  /* or a part of the limit, where that is less, */
  set_used (50 * unit);
  assert_true (evict_policy_target (&policy, false) == EVICT_NOTHING);
  assert_int_equal (evict_policy_target (&policy, true),
                    50 * unit - LIMIT / 32);
  /* but not below nothing. */
  set_used (1000);
  assert_int_equal (evict_policy_target (&policy, true), 0);
  /* The least of such a part. */
  fixture_limit (&f, 1 * MiB);
  set_used (512 * 1024);
  assert_int_equal (evict_policy_target (&policy, true), 256 * 1024);
  /* Without a limit nothing has to go. */
  fixture_limit (&f, 0);
  set_used (LIMIT);
  assert_true (evict_policy_target (&policy, false) == EVICT_NOTHING);
  assert_true (evict_policy_target (&policy, true) == EVICT_NOTHING);
  set_used (used);
  finish ();
}

static void
test_marks (void **state)
{
  unsigned low, high;

  (void) state;
  setup (60, 80);
  evict_policy_set_marks (&policy, 0, 0);
  assert_int_equal (atomic_load (&f.store->room.low), LIMIT / 100 * 60);
  assert_int_equal (atomic_load (&f.store->room.high), LIMIT / 100 * 80);
  evict_policy_set_marks (&policy, 10, 20);
  evict_policy_get_marks (&policy, &low, &high);
  assert_int_equal (low, 10);
  assert_int_equal (high, 20);
  assert_int_equal (atomic_load (&f.store->room.high), LIMIT / 100 * 20);
  fixture_limit (&f, 0);
  evict_policy_set_marks (&policy, 0, 0);
  assert_true (atomic_load (&f.store->room.low) == UINT64_MAX);
  assert_true (atomic_load (&f.store->room.high) == UINT64_MAX);
  finish ();
}

/* -- which, by the clock ------------------------------------------------ */

/* The old, from where the hand was before, and no more of them than needed. */
static void
test_old_in_turn (void **state)
{
  const uint64_t part = 400 * 1024;
  struct asked last = { .index = 0 };

  (void) state;
  fixture_only ("zsmalloc", "z3fold proposes by the use of pages");
  setup (60, 80);
  write_aged (f.disk, 0, SLOTS, 0);
  write_aged (f.disk, SLOTS, 3 * SLOTS, OLDER);
  for (unsigned n = 0; n < 2; n++) {
    assert_int_equal (turn (part), STEP_OVER);
    assert_true (evict_policy_has_put (&policy));
    assert_true (asked_bytes () >= part);
    assert_true (asked_bytes () - asked[calls - 1].size < part);
    for (unsigned i = 0; i < calls; i++) {
      assert_true (asked[i].index >= SLOTS);
      assert_true (i == 0 || asked[i].index > asked[i - 1].index);
    }
    assert_true (n == 0 || asked[0].index > last.index);
    last = asked[calls - 1];
  }
  /* What is not worth a write is made one that is. */
  assert_int_equal (turn (1), STEP_OVER);
  assert_true (asked_bytes () >= BATCH_BLOCKS * BACKING_BLOCK);
  finish ();
}

static void
expect_each_once (struct disk *disk, bool more)
{
  for (unsigned i = 0; i < SLOTS; i++)
    assert_int_equal (times_asked (0, i), 1);
  for (unsigned i = 0; i < SLOTS && disk; i++)
    assert_int_equal (times_asked (disk->id, i), 1);
  assert_int_equal (calls, more ? 2 * SLOTS : SLOTS);
}

/* What cannot go does not end a turn, and is proposed once in it: wherever the
 * hand begins, in all disks, and when the disk that it is in goes.
 */
static void
test_once_around (void **state)
{
  struct disk *other;

  (void) state;
  fixture_only ("zsmalloc", "z3fold proposes by the use of pages");
  setup (60, 80);
  other = disk_create (f.store, DISK);
  assert_non_null (other);
  assert_false (evict_policy_begin (&policy, 1, &ticker));
  write_aged (f.disk, 0, SLOTS, OLD);
  write_aged (other, 0, SLOTS, OLD);
  answer = PUT_SKIPPED;
  assert_int_equal (turn (LIMIT), STEP_OVER);
  assert_false (evict_policy_has_put (&policy));
  expect_each_once (other, true);
  /* A short run has no room for this one: the next may be smaller. */
  answer = PUT_NO_RUN;
  assert_int_equal (turn (LIMIT), STEP_OVER);
  expect_each_once (other, true);
  /* To the middle of the second disk, and around. */
  answer = PUT_DONE;
  policy.clock.hand = disk_slot (other, SLOTS / 2);
  assert_int_equal (turn (1), STEP_OVER);
  assert_int_equal (asked[0].disk, other->id);
  answer = PUT_SKIPPED;
  assert_int_equal (turn (LIMIT), STEP_OVER);
  /* The step that comes to where it began may go on to its own end. */
  for (unsigned i = 0; i < SLOTS; i++) {
    assert_int_equal (times_asked (0, i), 1);
    assert_in_range (times_asked (other->id, i), 1, 2);
  }
  assert_true (calls < 2 * SLOTS + 256);
  disk_destroy (other);
  policy.clock.hand = (UINT64_C (1) << DISK_INDEX_BITS) + SLOTS / 2;
  assert_int_equal (turn (LIMIT), STEP_OVER);
  expect_each_once (NULL, false);
  finish ();
}

/* -- which, by the pool ------------------------------------------------- */

static void
test_least_used_pages (void **state)
{
  (void) state;
  fixture_only ("z3fold", "zsmalloc has no LRU");
  setup (60, 80);
  write_aged (f.disk, 0, SLOTS, OLD);
  /* Each page has its turn, and with it each object. */
  answer = PUT_SKIPPED;
  assert_int_equal (turn (LIMIT), STEP_OVER);
  assert_false (evict_policy_has_put (&policy));
  expect_each_once (NULL, false);
  /* Counted by pages. */
  answer = PUT_DONE;
  assert_int_equal (turn (100 * SLOT), STEP_OVER);
  assert_true (evict_policy_has_put (&policy));
  assert_in_range (calls, 99, 300);
  finish ();
}

/* -- no more ------------------------------------------------------------ */

static void
test_stops (void **state)
{
  static const enum put_result ends[] = { PUT_FULL, PUT_LIMIT, PUT_FAILED };

  (void) state;
  setup (60, 80);
  write_aged (f.disk, 0, SLOTS, OLD);
  for (unsigned i = 0; i < sizeof ends / sizeof ends[0]; i++) {
    answer = ends[i];
    assert_int_equal (turn (LIMIT), STEP_STOPPED);
    assert_false (evict_policy_has_put (&policy));
    /* A page's other objects are asked for all the same. */
    assert_in_range (calls, 1, pool_has_lru (f.store->pool) ? 3 : 1);
  }
  /* It can be asked again. */
  answer = PUT_DONE;
  assert_int_equal (turn (10 * SLOT), STEP_OVER);
  assert_true (evict_policy_has_put (&policy));
  finish ();
}

int
main (void)
{
  static const struct CMUnitTest tests[] = {
    UNIT_TEST (test_target),           UNIT_TEST (test_marks),
    UNIT_TEST (test_old_in_turn),      UNIT_TEST (test_once_around),
    UNIT_TEST (test_least_used_pages), UNIT_TEST (test_stops),
  };

  return UNIT_RUN (tests);
}
