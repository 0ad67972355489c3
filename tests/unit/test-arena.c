/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Spans: which of the free ones is reused first, what goes back to the
 * system and when, and where it says no.
 */

#include <config.h>

#include "arena-fixture.h"

#define HOT_MIN 64u   /* pages kept for reuse, whatever happens */
#define HOT_MAX 4096u /* never more */
#define DESCRIPTORS (MEM_PAGE / sizeof (struct zspage)) /* in a page */

/* ------------------------------------------------------------------------
 * Which span is taken.
 */

/* Never used ones from the bottom; free ones without memory lowest first. */
static void
test_lowest_first (void **state)
{
  enum { N = 200 };
  static const uint32_t freed[] = { 150, 3, 64, 63, 127, 128, 5 };
  static const uint32_t again[] = { 3, 5, 63, 64, 127, 128, 150, N };

  (void) state;
  open_arena (1 << 30, 0);
  for (uint32_t i = 0; i < N; i++)
    assert_int_equal (arena_alloc (&arena, 1), i);
  for (size_t i = 0; i < sizeof freed / sizeof *freed; i++)
    arena_free (&arena, freed[i]);
  assert_int_equal (arena_stats (&arena).cold_spans, 7);
  assert_null (arena_audit (&arena));
  for (size_t i = 0; i < sizeof again / sizeof *again; i++)
    assert_int_equal (arena_alloc (&arena, 1), again[i]);
  assert_int_equal (arena_stats (&arena).used_spans, N + 1);
  assert_int_equal (top (), N + 1);
  close_arena ();
}

static void
test_below (void **state)
{
  (void) state;
  open_arena (1 << 30, 0);
  assert_int_equal (arena_alloc_below (&arena, 100), ARENA_NO_SPAN);
  for (uint32_t i = 0; i < 130; i++)
    assert_int_equal (arena_alloc (&arena, 1), i);
  assert_int_equal (arena_alloc_below (&arena, 130), ARENA_NO_SPAN);
  arena_free (&arena, 129);
  arena_free (&arena, 70);
  assert_int_equal (arena_alloc_below (&arena, 70), ARENA_NO_SPAN);
  assert_int_equal (arena_alloc_below (&arena, 71), 70);
  assert_int_equal (arena_alloc_below (&arena, 129), ARENA_NO_SPAN);
  arena_free (&arena, 2); /* the search has been past it */
  assert_int_equal (arena_alloc_below (&arena, 130), 2);
  assert_int_equal (arena_alloc_below (&arena, 130), 129);
  /* One that has memory is not for it. */
  assert_int_equal (arena_stats (&arena).cold_spans, 0);
  arena_free (&arena, 1);
  uint32_t span = use (3);
  assert_int_equal (span, 1);
  arena_free (&arena, span);
  assert_int_equal (arena_alloc_below (&arena, 130), ARENA_NO_SPAN);
  close_arena ();
}

/* With memory first: the same size, the next smaller, else a larger one,
 * whose surplus goes back.
 */
static void
test_hot (void **state)
{
  uint32_t s[5];

  (void) state;
  open_arena (1 << 30, 0);
  use_many (s, 2, 4);
  use_many (s + 2, 1, 2);
  use_many (s + 3, 1, 9);
  use_many (s + 4, 1, 12);
  assert_int_equal (arena_alloc (&arena, 1), 5);
  arena_free (&arena, 5); /* cold, so below it comes last */
  free_many (s, 5);
  assert_int_equal (charged (), 31);
  assert_int_equal (arena_stats (&arena).hot_pages, 31);
  assert_int_equal (arena_stats (&arena).used_spans, 0);
  assert_null (arena_audit (&arena));

  assert_int_equal (arena_alloc (&arena, 9), s[3]);
  assert_int_equal (arena_alloc (&arena, 4), s[1]);
  assert_int_equal (arena_alloc (&arena, 5), s[0]);
  assert_int_equal (arena_zspage (&arena, s[0])->resident, 4);
  assert_int_equal (arena_alloc (&arena, 1), s[2]);
  assert_int_equal (arena_zspage (&arena, s[2])->resident, 1);
  assert_int_equal (charged (), 30);
  assert_int_equal (arena_alloc (&arena, 11), s[4]);
  assert_int_equal (arena_zspage (&arena, s[4])->resident, 11);
  assert_int_equal (charged (), 29);
  assert_int_equal (resident (), 29);
  assert_int_equal (arena_alloc (&arena, 11), 5);
  close_arena ();
}

/* ------------------------------------------------------------------------
 * What goes back to the system.
 */

/* The pages kept are bounded, and above the bound go back in batches. */
static void
check_bound (uint32_t bound, unsigned n)
{
  uint32_t *spans = calloc (n, sizeof *spans);
  uint64_t before = charged (), had = 0;
  unsigned batches = 0;

  use_many (spans, n, PAGES);
  for (unsigned i = 0; i < n; i++) {
    arena_free (&arena, spans[i]);
    uint64_t hot = arena_stats (&arena).hot_pages;
    assert_true (hot <= bound);
    if (hot < had + PAGES) {
      batches++;
      assert_true (hot <= bound * 3 / 4);
      assert_true (hot + PAGES >= bound * 3 / 4);
    }
    had = hot;
    assert_int_equal (charged () - before, (n - i - 1) * PAGES + hot);
  }
  assert_in_range (batches, 1, n * PAGES / (bound / 4) + 1);
  assert_int_equal (resident (), had);
  assert_null (arena_audit (&arena));
  free (spans);
}

static void
test_hot_bound (void **state)
{
  const uint64_t most = (uint64_t) HOT_MAX * 128 * MEM_PAGE;

  (void) state;
  open_arena (1 << 30, 0);
  check_bound (HOT_MIN, 100);
  uint64_t hot = arena_stats (&arena).hot_pages;
  assert_in_range (hot, HOT_MIN * 3 / 4 - PAGES, HOT_MIN);
  assert_int_equal (arena_return_hot (&arena), hot * MEM_PAGE);
  assert_int_equal (arena_return_hot (&arena), 0);
  assert_int_equal (resident (), 0);
  assert_int_equal (charged (), 0);

  /* As if everything else was large: a 128th of it, up to the maximum. */
  assert_true (budget_charge (&budget, most * 2));
  check_bound (HOT_MAX, HOT_MAX / PAGES + 200);
  budget_refund (&budget, most * 2);
  close_arena ();
}

/* A reserve: made of whole spans first, then of what was asked for; and of it a
 * larger span is taken before a smaller one, which would have to grow.
 */
static void
test_keep (void **state)
{
  uint32_t small, span;

  (void) state;
  open_arena (1 << 30, 0);
  arena_keep (&arena, 4 * SPAN);
  small = use (2);
  arena_free (&arena, small);             /* hot, with 2 pages */
  arena.asked_total = arena.asked[2] = 0; /* as if nobody had */
  while (arena_fill (&arena))
    ;
  assert_in_range (arena_stats (&arena).hot_pages, 4 * PAGES, 5 * PAGES);
  assert_int_equal (charged (), arena_stats (&arena).hot_pages);
  assert_int_equal (resident (), charged ());
  assert_null (arena_audit (&arena));

  span = arena_alloc (&arena, 3);
  assert_int_not_equal (span, small);
  assert_int_equal (arena_zspage (&arena, span)->resident, 3);
  assert_int_equal (arena_alloc (&arena, 2), small);
  while (arena_fill (&arena))
    ;
  assert_true (arena.hot_spans[3] > 0 && arena.hot_spans[2] > 0);

  assert_in_range (arena_return_spare (&arena), 0, SPAN);
  assert_in_range (arena_return_hot (&arena), 3 * SPAN, 5 * SPAN);
  assert_int_equal (arena_stats (&arena).hot_pages, 0);
  close_arena ();
}

/* Only the end of the arena can sink, and only over what has no memory. */
static void
test_trim_end (void **state)
{
  uint32_t s[10];

  (void) state;
  open_arena (1 << 30, 0);
  arena_trim (&arena); /* of nothing */
  use_many (s, 10, 1);
  arena_trim (&arena);
  assert_int_equal (top (), 10);
  free_many (s + 6, 4);
  arena_trim (&arena); /* hot */
  assert_int_equal (top (), 10);
  arena_return_hot (&arena);
  arena_free (&arena, s[2]);
  arena_return_hot (&arena);
  arena_trim (&arena);
  assert_int_equal (top (), 6);
  assert_int_equal (arena_stats (&arena).cold_spans, 1);
  assert_int_equal (resident (), 5);
  assert_null (arena_audit (&arena));

  assert_int_equal (use (1), 2);
  assert_int_equal (use (1), 6); /* and grows again */
  free_many (s, 7);
  arena_return_hot (&arena);
  arena_trim (&arena);
  assert_int_equal (top (), 0);
  assert_int_equal (charged (), 0);
  assert_int_equal (use (PAGES), 0);
  close_arena ();
}

/* Page tables and descriptors go too, a page of descriptors at a time. */
static void
test_trim_descriptors (void **state)
{
  enum { N = 10 * DESCRIPTORS };
  static uint32_t s[N];
  size_t all = N * sizeof (struct zspage);

  (void) state;
  open_arena (1 << 30, 0);
  use_many (s, N, 1);
  assert_int_equal (reserve_resident (&arena.zspages, all), all);
  /* A page and a half stay. */
  free_many (s + DESCRIPTORS * 3 / 2, N - DESCRIPTORS * 3 / 2);
  arena_return_hot (&arena);
  arena_trim (&arena);
  assert_int_equal (top (), DESCRIPTORS * 3 / 2);
  assert_int_equal (reserve_resident (&arena.zspages, all), 2 * MEM_PAGE);
  assert_int_equal (resident (), charged ());
  assert_null (arena_audit (&arena));
  use_many (s + DESCRIPTORS * 3 / 2, N - DESCRIPTORS * 3 / 2, 1);
  assert_int_equal (top (), N);
  close_arena ();
}

/* A descriptor that some late reader has locked keeps its page. */
static void
test_trim_beside_reader (void **state) NO_THREAD_SAFETY_ANALYSIS
{
  enum { N = 4 * DESCRIPTORS };
  static uint32_t s[N];
  struct rwword *lock;

  (void) state;
  open_arena (1 << 30, 0);
  use_many (s, N, 1);
  free_many (s, N);
  arena_return_hot (&arena);
  lock = &arena_zspage (&arena, 2 * DESCRIPTORS + 7)->lock;
  rwword_read_lock (lock, 0, 0);
  arena_trim (&arena);
  assert_int_equal (top (), 0);
  assert_int_equal (
    reserve_resident (&arena.zspages, N * sizeof (struct zspage)), MEM_PAGE);
  assert_int_equal (atomic_load (&lock->v), RW_READER);
  for (uint32_t i = 0; i < DESCRIPTORS; i++)
    if (i != 7)
      assert_true (
        rwword_is_free (&arena_zspage (&arena, 2 * DESCRIPTORS + i)->lock));
  rwword_read_unlock (lock);
  use_many (s, N, 1);
  close_arena ();
}

/* ------------------------------------------------------------------------
 * Where it says no.
 */

static void
test_limit (void **state)
{
  (void) state;
  open_arena (1 << 30, 5 * MEM_PAGE);
  uint32_t span = use (3);
  struct zspage *z = arena_zspage (&arena, span);
  assert_false (arena_charge (&arena, z, 6));
  assert_int_equal (z->resident, 3);
  assert_int_equal (charged (), 3);
  assert_true (arena_charge (&arena, z, 5));
  assert_int_equal (charged (), 5);
  arena_free (&arena, span);
  assert_int_equal (charged (), 5); /* hot counts */
  assert_int_equal (arena_return_hot (&arena), 5 * MEM_PAGE);
  assert_int_equal (charged (), 0);
  close_arena ();
}

static void
test_full (void **state)
{
  (void) state;
  open_arena (1, 0); /* as little as there is */
  uint32_t n = arena.max_spans;
  assert_in_range (n, 1, 64);
  for (uint32_t i = 0; i < n; i++)
    assert_int_equal (use (1), i);
  errno = 0;
  assert_int_equal (arena_alloc (&arena, 1), ARENA_NO_SPAN);
  assert_int_equal (errno, ENOMEM);
  arena_free (&arena, n / 2);
  assert_int_equal (use (PAGES), n / 2);
  arena_address (&arena, n - 1)[SPAN - 1] = 1; /* the last byte is ours */
  close_arena ();
}

#ifdef ZRAM_FAULTS
static void
test_no_commit (void **state)
{
  (void) state;
  for (unsigned nth = 1; nth <= 3; nth++) { /* memory, zspages, cold_map */
    open_arena (1 << 30, 0);
    fault_fail_nth ("reserve.commit", nth, false);
    errno = 0;
    assert_int_equal (arena_alloc (&arena, 1), ARENA_NO_SPAN);
    assert_int_equal (errno, ENOMEM);
    assert_int_equal (top (), 0);
    assert_null (arena_audit (&arena));
    assert_int_equal (use (1), 0);
    fault_fail_nth ("arena.alloc", 1, false);
    assert_int_equal (arena_alloc (&arena, 1), ARENA_NO_SPAN);
    assert_int_equal (use (1), 1);
    close_arena ();
  }
}

static void
test_no_reserve (void **state)
{
  (void) state;
  /* Each asks once: it wants no more than it must have. */
  budget_init (&budget, 0);
  for (unsigned nth = 1; nth <= 3; nth++) {
    fault_fail_nth ("reserve.open", nth, false);
    errno = 0;
    assert_int_equal (arena_init (&arena, PAGES, 1, &budget), -1);
    assert_int_equal (errno, ENOMEM);
    assert_null (arena.memory.base);
    assert_null (arena.zspages.base);
  }
  fault_clear ();
}

/* The arena grows while its end sinks: the claimed spans become free ones. */
static void *
trim (void *arg)
{
  (void) arg;
  arena_trim (&arena);
  return NULL;
}

static void
test_grow_while_trimming (void **state)
{
  enum { N = 2 * DESCRIPTORS };
  static uint32_t s[N];
  struct unit_thread t;

  (void) state;
  open_arena (1 << 30, 0);
  use_many (s, N, 1);
  free_many (s, N);
  arena_return_hot (&arena);
  fault_hold ("arena.trim.returned");
  unit_start (&t, trim, NULL);
  fault_wait_held ("arena.trim.returned");
  assert_int_equal (use (2), N);
  fault_release ("arena.trim.returned");
  unit_join (&t);
  assert_int_equal (top (), N + 1);
  assert_int_equal (arena_stats (&arena).cold_spans, N);
  assert_null (arena_audit (&arena));
  for (uint32_t i = 0; i < N; i++) {
    /* What was zeroed is in no class. */
    assert_int_equal (zspage_group (arena_zspage (&arena, i)), ZS_NO_GROUP);
    assert_int_equal (use (1), i);
  }
  close_arena ();
}
#endif

static const struct CMUnitTest tests[] = {
  UNIT_TEST (test_lowest_first),
  UNIT_TEST (test_below),
  UNIT_TEST (test_hot),
  UNIT_TEST (test_hot_bound),
  UNIT_TEST (test_keep),
  UNIT_TEST (test_trim_end),
  UNIT_TEST (test_trim_descriptors),
  UNIT_TEST (test_trim_beside_reader),
  UNIT_TEST (test_limit),
  UNIT_TEST (test_full),
#ifdef ZRAM_FAULTS
  UNIT_TEST (test_no_commit),
  UNIT_TEST (test_no_reserve),
  UNIT_TEST (test_grow_while_trimming),
#endif
};

int
main (void)
{
  return UNIT_RUN (tests);
}
