/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The rank checker: every breach aborts (a child, here) with the names of
 * both locks, and what is allowed does not.
 */

#include <config.h>

#include "unit.h"

#include "base/alloc.h"
#include "base/mutex.h"
#include "base/park.h"
#include "base/rank.h"
#include "base/run_clock.h"
#include "mem/zspage.h"

#ifdef ZRAM_DEBUG

static struct mutex of[RANK_COUNT], other[RANK_COUNT];
static struct cond cond;
static struct zspage zspage;
static struct rwword word;

/* What the checker must say of this breach. */
struct breach {
  void (*commit) (void);
  const char *doing, *what, *holding;
};

static void
wrong_order (void) NO_THREAD_SAFETY_ANALYSIS
{
  mutex_lock (&of[RANK_ARENA]);
  mutex_lock (&of[RANK_CLASS]);
}

static void
slot_under_class (void) NO_THREAD_SAFETY_ANALYSIS
{
  mutex_lock (&of[RANK_CLASS]);
  rank_acquire (RANK_SLOT); /* as slot_read_lock does */
}

static void
same_rank_twice (void) NO_THREAD_SAFETY_ANALYSIS
{
  mutex_lock (&of[RANK_CLASS]);
  mutex_lock (&other[RANK_CLASS]);
}

static void
try_lower (void) NO_THREAD_SAFETY_ANALYSIS
{
  mutex_lock (&of[RANK_STREAM]);
  if (!mutex_trylock (&of[RANK_SLOT]))
    _exit (2);
}

static void
pinned_then_class (void) NO_THREAD_SAFETY_ANALYSIS
{
  zspage_read_lock (&zspage);
  mutex_lock (&of[RANK_CLASS]);
}

static void
pinned_twice (void) NO_THREAD_SAFETY_ANALYSIS
{
  zspage_read_lock (&zspage);
  zspage_read_lock (&zspage);
}

static void
release_not_held (void) NO_THREAD_SAFETY_ANALYSIS
{
  mutex_lock (&of[RANK_SLOT]);
  rank_release (RANK_STREAM);
}

static void
writer (void) NO_THREAD_SAFETY_ANALYSIS
{
  if (!zspage_try_write_lock (&zspage))
    _exit (2);
}

static void
writer_takes_arena (void) NO_THREAD_SAFETY_ANALYSIS
{
  writer ();
  mutex_lock (&of[RANK_ARENA]);
}

static void
writer_parks (void) NO_THREAD_SAFETY_ANALYSIS
{
  writer ();
  park_wait (&word, park_ticket (&word));
}

static void
writer_allocates (void) NO_THREAD_SAFETY_ANALYSIS
{
  writer ();
  free (alloc_zeroed (8, 8));
}

/* The word is taken, and stays so: without the checker this would hang. */
static void
class_parks (void) NO_THREAD_SAFETY_ANALYSIS
{
  atomic_store (&word.v, RW_WRITER);
  mutex_lock (&of[RANK_CLASS]);
  rwword_read_lock (&word, 0, 0);
}

static void
class_waits_for_zspage (void) NO_THREAD_SAFETY_ANALYSIS
{
  atomic_store (&zspage.lock.v, RW_WRITER);
  mutex_lock (&of[RANK_CLASS]);
  zspage_read_lock (&zspage);
}

static void
arena_allocates (void) NO_THREAD_SAFETY_ANALYSIS
{
  mutex_lock (&of[RANK_ARENA]);
  free (alloc_zeroed (8, 8));
}

/* The mutex of the condition itself may be of any rank, as below. */
static void
class_waits_for_condition (void) NO_THREAD_SAFETY_ANALYSIS
{
  mutex_lock (&of[RANK_CLASS]);
  mutex_lock (&of[RANK_LEAF]);
  cond_wait (&cond, &of[RANK_LEAF]);
}

static void
waits_with_a_higher_lock (void) NO_THREAD_SAFETY_ANALYSIS
{
  mutex_lock (&of[RANK_SLOT]);
  mutex_lock (&of[RANK_STREAM]);
  cond_wait_until (&cond, &of[RANK_SLOT], 0);
}

static void
waits_without_its_mutex (void) NO_THREAD_SAFETY_ANALYSIS
{
  cond_wait_until (&cond, &of[RANK_LEAF], 0);
}

static void
two_leaves (void) NO_THREAD_SAFETY_ANALYSIS
{
  mutex_lock (&of[RANK_LEAF]);
  mutex_lock (&other[RANK_LEAF]);
}

static const struct breach breaches[] = {
  { wrong_order, "taking", "size class", "arena" },
  { slot_under_class, "taking", "slot", "size class" },
  { same_rank_twice, "taking", "size class", "size class" },
  { try_lower, "taking", "slot", "stream" },
  { pinned_then_class, "taking", "size class", "zspage" },
  { pinned_twice, "taking", "zspage", "zspage" },
  { release_not_held, "releasing", "stream", "nothing of that rank" },
  { writer_takes_arena, "waiting for", "arena", "zspage (as its writer)" },
  { writer_parks, "sleeping in", "park_wait", "zspage (as its writer)" },
  { writer_allocates, "sleeping in", "alloc", "zspage (as its writer)" },
  { class_parks, "sleeping in", "park_wait", "size class" },
  { class_waits_for_zspage, "sleeping in", "park_wait", "size class" },
  { arena_allocates, "sleeping in", "alloc", "arena" },
  { class_waits_for_condition, "sleeping in", "wait for a condition",
    "size class" },
  { waits_with_a_higher_lock, "taking", "slot", "stream" },
  { waits_without_its_mutex, "releasing", "leaf", "nothing of that rank" },
  { two_leaves, "taking", "leaf", "leaf" },
};

static void
commit (void *arg)
{
  const struct breach *b = arg;

  b->commit ();
}

static void
test_breaches (void **state)
{
  (void) state;
  for (size_t i = 0; i < sizeof breaches / sizeof *breaches; i++) {
    const struct breach *b = &breaches[i];
    char said[4096], expected[256];
    int status = unit_child (commit, (void *) (uintptr_t) b, said, sizeof said);

    snprintf (expected, sizeof expected,
              "zram: lock rank: %s \"%s\" while holding \"%s\"\n", b->doing,
              b->what, b->holding);
    if (!WIFSIGNALED (status) || WTERMSIG (status) != SIGABRT ||
        !strstr (said, expected))
      fail_msg ("breach %zu: status 0x%x, expected %snot: %s", i, status,
                expected, said);
  }
}

/* -- what is allowed ---------------------------------------------------- */

static void
in_order (void *arg) NO_THREAD_SAFETY_ANALYSIS
{
  (void) arg;
  for (enum lock_rank r = RANK_SETTINGS; r < RANK_COUNT; r++)
    mutex_lock (&of[r]);
  for (enum lock_rank r = RANK_SETTINGS; r < RANK_COUNT; r++) {
    check_always (rank_held (r) == 1);
    mutex_unlock (&of[r]); /* in any order */
    check_always (rank_held (r) == 0);
  }
}

static void
try_the_same (void *arg) NO_THREAD_SAFETY_ANALYSIS
{
  (void) arg;
  mutex_lock (&of[RANK_SLOT]);
  check_always (mutex_trylock (&other[RANK_SLOT]));
  check_always (rank_held (RANK_SLOT) == 2);
  check_always (!mutex_trylock (&other[RANK_SLOT]));
  check_always (rank_held (RANK_SLOT) == 2);
  mutex_unlock (&other[RANK_SLOT]);
  mutex_unlock (&of[RANK_SLOT]);

  /* A try that would be a breach, had it succeeded, may fail. */
  mutex_lock (&of[RANK_STREAM]);
  pthread_mutex_lock (&of[RANK_SLOT].m);
  check_always (!mutex_trylock (&of[RANK_SLOT]));
}

static void
sleep_where_allowed (void *arg) NO_THREAD_SAFETY_ANALYSIS
{
  (void) arg;
  mutex_lock (&of[RANK_SLOT]);
  mutex_lock (&of[RANK_STREAM]);
  zspage_read_lock (&zspage); /* a reader may */
  rank_may_sleep ("test");
  free (alloc_zeroed (8, 8));
  zspage_read_unlock (&zspage);
  mutex_unlock (&of[RANK_STREAM]);
  mutex_unlock (&of[RANK_SLOT]);

  mutex_lock (&of[RANK_CLASS]); /* the mover's way */
  writer ();
  zspage_write_unlock (&zspage);
  mutex_lock (&of[RANK_ARENA]);
  mutex_unlock (&of[RANK_ARENA]);
  mutex_unlock (&of[RANK_CLASS]);
  rank_may_sleep ("test");
}

/* Both ends of a wait, with locks below its mutex. */
static void
wait_where_allowed (void *arg) NO_THREAD_SAFETY_ANALYSIS
{
  (void) arg;
  mutex_lock (&of[RANK_SLOT]);
  mutex_lock (&of[RANK_LEAF]);
  check_always (!cond_wait_until (&cond, &of[RANK_LEAF], 0));
  check_always (rank_held (RANK_LEAF) == 1);
  (void) run_clock_ns ();
  check_always (!run_clock_wait (&cond, &of[RANK_LEAF], 0));
  mutex_unlock (&of[RANK_LEAF]);
  mutex_unlock (&of[RANK_SLOT]);
}

static void *
hold_nothing (void *arg) NO_THREAD_SAFETY_ANALYSIS
{
  (void) arg;
  check_always (rank_held (RANK_ARENA) == 0);
  rank_may_sleep ("test");
  mutex_lock (&of[RANK_SLOT]);
  mutex_unlock (&of[RANK_SLOT]);
  return NULL;
}

/* Another thread's locks do not count. */
static void
test_per_thread (void **state) NO_THREAD_SAFETY_ANALYSIS
{
  struct unit_thread t;

  (void) state;
  mutex_lock (&of[RANK_ARENA]);
  unit_start (&t, hold_nothing, NULL);
  unit_join (&t);
  mutex_unlock (&of[RANK_ARENA]);
}

static void
test_allowed (void **state)
{
  (void) state;
  unit_child_succeeds (in_order, NULL);
  unit_child_succeeds (try_the_same, NULL);
  unit_child_succeeds (sleep_where_allowed, NULL);
  unit_child_succeeds (wait_where_allowed, NULL);
}

#endif /* ZRAM_DEBUG */

static void
test_names (void **state)
{
  (void) state;
  for (enum lock_rank r = RANK_SETTINGS; r < RANK_COUNT; r++) {
    assert_non_null (rank_name (r));
    for (enum lock_rank s = RANK_SETTINGS; s < r; s++)
      assert_string_not_equal (rank_name (r), rank_name (s));
  }
  assert_string_equal (rank_name (RANK_COUNT), "unknown");
  assert_string_equal (rank_name (0), "unknown");
}

static const struct CMUnitTest tests[] = {
  UNIT_TEST (test_names),
#ifdef ZRAM_DEBUG
  UNIT_TEST (test_breaches),
  UNIT_TEST (test_allowed),
  UNIT_TEST (test_per_thread),
#endif
};

int
main (void)
{
#ifdef ZRAM_DEBUG
  for (enum lock_rank r = RANK_SETTINGS; r < RANK_COUNT; r++) {
    mutex_init (&of[r], r);
    mutex_init (&other[r], r);
  }
  cond_init (&cond);
#endif
  return UNIT_RUN (tests);
}
