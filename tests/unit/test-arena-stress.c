/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Spans at random against a model, and with many threads: no span has two
 * users, and what is charged is what is resident.
 */

#include <config.h>

#include "arena-fixture.h"

/* ------------------------------------------------------------------------
 * At random, against a model: spans and what each has resident.
 */

struct model {
  uint32_t n;
  uint32_t span[300], pages[300];
};

static void
model_check (const struct model *m)
{
  struct arena_stats st = arena_stats (&arena);
  uint64_t pages = st.hot_pages;

  for (uint32_t i = 0; i < m->n; i++)
    pages += m->pages[i];
  assert_int_equal (charged (), pages);
  assert_int_equal (st.used_spans, m->n);
  assert_null (arena_audit (&arena));
}

static void
model_step (struct model *m, struct unit_rng *rng)
{
  uint32_t what = unit_below (rng, 100), i;

  if (what < 45 && m->n < 300) {
    m->pages[m->n] = 1 + unit_below (rng, PAGES);
    m->span[m->n] = use (m->pages[m->n]);
    m->n++;
  }
  else if (what < 90 && m->n) {
    i = unit_below (rng, m->n);
    arena_free (&arena, m->span[i]);
    m->n--;
    m->span[i] = m->span[m->n];
    m->pages[i] = m->pages[m->n];
  }
  else if (what < 95 && m->n) {
    i = unit_below (rng, m->n);
    struct zspage *z = arena_zspage (&arena, m->span[i]);
    if (m->pages[i] < PAGES) {
      assert_true (arena_charge (&arena, z, PAGES));
      arena_populate (&arena, m->span[i], m->pages[i], PAGES);
      m->pages[i] = PAGES;
    }
  }
  else if (what == 95)
    arena_return_hot (&arena);
  else if (what == 96)
    arena_trim (&arena);
}

static void
test_random (void **state)
{
  static struct model m;
  struct unit_rng rng = unit_rng (0);

  (void) state;
  memset (&m, 0, sizeof m);
  open_arena (1 << 30, 0);
  for (unsigned i = 0; i < UNIT_TIMES (20000); i++) {
    model_step (&m, &rng);
    model_check (&m);
    if (i % 64 == 0)
      assert_int_equal (resident (), charged ());
  }
  free_many (m.span, m.n);
  arena_return_hot (&arena);
  arena_trim (&arena);
  assert_int_equal (top (), 0);
  assert_int_equal (resident (), 0);
  close_arena ();
}

/* -- many threads: each writes its name into its spans ------------------ */

struct user {
  uint64_t number;
  unsigned times;
};

static void
mark (uint32_t span, uint32_t pages, uint64_t name, bool check)
{
  for (uint32_t p = 0; p < pages; p++) {
    uint64_t *at = (uint64_t *) (arena_address (&arena, span) + p * MEM_PAGE);

    if (check)
      check_always (*at == name + p);
    *at = name + p;
  }
}

static void *
use_and_free (void *arg)
{
  enum { MOST = 200 };
  struct user *u = arg;
  struct unit_rng rng = unit_rng (u->number);
  uint32_t span[MOST], pages[MOST], n = 0;

  for (unsigned i = 0; i < u->times || n; i++) {
    bool more = i < u->times && n < MOST;

    if (n == 0 || (more && unit_below (&rng, 3))) {
      pages[n] = 1 + unit_below (&rng, PAGES);
      span[n] = use (pages[n]);
      mark (span[n], pages[n], u->number << 32, false);
      n++;
    }
    else {
      uint32_t k = unit_below (&rng, n--);
      mark (span[k], pages[k], u->number << 32, true);
      arena_free (&arena, span[k]);
      span[k] = span[n];
      pages[k] = pages[n];
    }
  }
  return NULL;
}

static void
test_threads (void **state)
{
  enum { N = 4, ROUNDS = 10 };
  struct unit_thread t[N];
  struct user u[N];

  (void) state;
  for (unsigned round = 0; round < ROUNDS; round++) {
    open_arena (1 << 30, 0);
    for (unsigned i = 0; i < N; i++)
      u[i] = (struct user){ 1 + i + round * N, UNIT_TIMES (4000) };
    unit_start_all (t, N, use_and_free, u, sizeof *u);
    for (unsigned i = 0; i < 50; i++) {
      arena_return_hot (&arena);
      arena_trim (&arena);
      sched_yield ();
    }
    unit_join_all (t, N);
    assert_int_equal (arena_stats (&arena).used_spans, 0);
    assert_int_equal (arena_stats (&arena).hot_pages, charged ());
    assert_int_equal (resident (), charged ());
    close_arena ();
  }
}

/* One extends the arena, and commits more of its addresses, while another
 * gives memory back.
 */
static void *
give_back (void *arg)
{
  atomic_bool *stop = arg;

  while (!atomic_load (stop)) {
    arena_free (&arena, use (PAGES));
    arena_return_hot (&arena);
  }
  return NULL;
}

static void
test_commit_beside_return (void **state)
{
  struct unit_thread t;
  atomic_bool stop = false;

  (void) state;
  open_arena (1 << 30, 0);
  unit_start (&t, give_back, &stop);
  while (arena.memory.committed < arena.memory.reserved)
    assert_int_not_equal (arena_alloc (&arena, 1), ARENA_NO_SPAN);
  atomic_store (&stop, true);
  unit_join (&t);
  close_arena ();
}

static const struct CMUnitTest tests[] = {
  UNIT_TEST (test_random),
  UNIT_TEST (test_threads),
  UNIT_TEST (test_commit_beside_return),
};

int
main (void)
{
  return UNIT_RUN (tests);
}
