/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The budget: 'used' never goes over the limit, however many threads charge at
 * once; refunded bytes can be charged again; and each warning comes once.
 */

#include <config.h>

#include "unit.h"

#include "base/budget.h"

static uint64_t
used (struct budget *b)
{
  return atomic_load (&b->used);
}

static uint64_t
peak (struct budget *b)
{
  return atomic_load (&b->peak);
}

static void
test_limit (void **state)
{
  struct budget b;

  (void) state;
  budget_init (&b, 100);
  assert_true (budget_charge (&b, 99));
  assert_false (budget_charge (&b, 2));
  assert_int_equal (used (&b), 99);
  assert_true (budget_charge (&b, 1));
  assert_false (budget_charge (&b, 1));
  assert_true (budget_charge (&b, 0));
  assert_int_equal (used (&b), 100);
  budget_refund (&b, 60);
  assert_int_equal (used (&b), 40);
  assert_int_equal (peak (&b), 100);
  assert_true (budget_charge (&b, 60));
  budget_refund (&b, 100);
  assert_int_equal (used (&b), 0);
  assert_false (budget_charge (&b, 101));
  assert_int_equal (peak (&b), 100);

  /* A limit below what is used takes nothing away, but gives nothing. */
  assert_true (budget_charge (&b, 80));
  atomic_store (&b.limit, 50);
  assert_false (budget_charge (&b, 1));
  budget_refund (&b, 31);
  assert_true (budget_charge (&b, 1));
  assert_int_equal (used (&b), 50);
}

static void
test_no_limit (void **state)
{
  struct budget b;

  (void) state;
  budget_init (&b, 0);
  assert_true (budget_charge (&b, UINT64_C (1) << 62));
  assert_true (budget_charge (&b, UINT64_C (1) << 62));
  assert_int_equal (peak (&b), UINT64_C (1) << 63);
  budget_refund (&b, UINT64_C (1) << 63);
  assert_int_equal (used (&b), 0);
}

static uint64_t
warnings (struct budget *b, unsigned level)
{
  return atomic_load (&b->warnings[level]);
}

/* At 80 %, once on the way up, and again only after a real fall. */
static void
test_warning (void **state)
{
  struct budget b;

  (void) state;
  budget_init (&b, 1000);
  assert_true (budget_charge (&b, 799));
  assert_int_equal (budget_take_warning (&b), 0);
  assert_true (budget_charge (&b, 1));
  assert_int_equal (budget_take_warning (&b), 80);
  assert_int_equal (budget_take_warning (&b), 0);
  for (unsigned i = 0; i < 10; i++) { /* to and fro about the mark */
    budget_refund (&b, 50);
    assert_true (budget_charge (&b, 50));
  }
  assert_int_equal (budget_take_warning (&b), 0);
  budget_refund (&b, 51); /* 74.9 % */
  assert_true (budget_charge (&b, 51));
  assert_int_equal (budget_take_warning (&b), 80);
  assert_int_equal (warnings (&b, 0), 2);

  budget_init (&b, 0); /* no limit, nothing to warn of */
  assert_true (budget_charge (&b, UINT64_C (1) << 60));
  assert_int_equal (budget_take_warning (&b), 0);
}

/* At 90 and 95 % too, each by itself. */
static void
test_warning_levels (void **state)
{
  struct budget b;

  (void) state;
  budget_init (&b, 1000);
  assert_true (budget_charge (&b, 800));
  assert_int_equal (budget_take_warning (&b), 80);
  assert_true (budget_charge (&b, 150)); /* two at once: the higher */
  assert_int_equal (budget_take_warning (&b), 95);
  assert_int_equal (warnings (&b, 1), 1);
  assert_int_equal (warnings (&b, 2), 1);
  budget_refund (&b, 70); /* 88 %: below 95 - 5, not below 90 - 5 */
  assert_true (budget_charge (&b, 70));
  assert_int_equal (budget_take_warning (&b), 95);
  assert_int_equal (warnings (&b, 1), 1);
  assert_int_equal (warnings (&b, 2), 2);
  budget_refund (&b, 950);
  assert_true (budget_charge (&b, 1000));
  assert_int_equal (budget_take_warning (&b), 95);
  assert_int_equal (warnings (&b, 0), 2);
}

#define LIMIT 1000

struct charger {
  struct budget *b;
  unsigned number, times;
  uint64_t most; /* seen; result */
};

static void *
charge (void *arg)
{
  struct charger *c = arg;
  struct unit_rng rng = unit_rng (c->number);

  for (unsigned i = 0; i < c->times; i++) {
    uint32_t bytes = 1 + unit_below (&rng, LIMIT / 2);

    if (budget_charge (c->b, bytes)) {
      uint64_t now = used (c->b);

      check_always (now >= bytes && now <= LIMIT);
      c->most = now > c->most ? now : c->most;
      budget_refund (c->b, bytes);
    }
  }
  return NULL;
}

static void
test_threads (void **state)
{
  enum { N = 4 };
  struct budget b;
  struct charger c[N];
  struct unit_thread t[N];

  (void) state;
  budget_init (&b, LIMIT);
  for (unsigned i = 0; i < N; i++)
    c[i] = (struct charger){ &b, i, UNIT_TIMES (100000), 0 };
  unit_start_all (t, N, charge, c, sizeof *c);
  unit_join_all (t, N);
  assert_int_equal (used (&b), 0);
  assert_in_range (peak (&b), 1, LIMIT);
  for (unsigned i = 0; i < N; i++)
    assert_true (c[i].most <= peak (&b));
}

/* The last bytes are for work that makes room. */
static void
test_spare (void **state)
{
  struct budget b;

  (void) state;
  budget_init (&b, 1600);
  atomic_store (&b.spare, 1000); /* at the most a 16th of the limit */
  assert_true (budget_charge (&b, 1500));
  assert_false (budget_charge (&b, 1));
  budget_spare_begin (&b);
  assert_true (budget_charge (&b, 100));
  assert_false (budget_charge (&b, 1));
  budget_spare_end ();
  assert_int_equal (atomic_load (&b.used), 1600);
  budget_refund (&b, 60);
  assert_false (budget_charge (&b, 1));
  budget_spare_begin (&b);
  assert_true (budget_charge (&b, 1));
  budget_spare_end ();
  budget_refund (&b, 141);
  assert_int_equal (atomic_load (&b.used), 1400);
  assert_true (budget_charge (&b, 100));
  assert_false (budget_charge (&b, 1));
}

/* Lowered to below what is used: only such work goes on, and not far. */
static void
test_debt (void **state)
{
  struct budget b;

  (void) state;
  budget_init (&b, 0);
  atomic_store (&b.spare, 10);
  assert_true (budget_charge (&b, 1000));
  budget_set_limit (&b, 800);
  assert_false (budget_charge (&b, 1));
  budget_spare_begin (&b);
  assert_true (budget_charge (&b, 10));
  assert_false (budget_charge (&b, 1));
  budget_spare_end ();
  budget_refund (&b, 210); /* at the limit: the spare is not free yet */
  budget_spare_begin (&b);
  assert_true (budget_charge (&b, 10));
  assert_false (budget_charge (&b, 1));
  budget_spare_end ();
  assert_false (budget_charge (&b, 1));
  budget_refund (&b, 20); /* it is, so from here on all is as usual */
  budget_spare_begin (&b);
  assert_true (budget_charge (&b, 10));
  assert_false (budget_charge (&b, 1));
  budget_spare_end ();
  budget_spare_begin (&b);
  assert_false (budget_charge (&b, 1));
  budget_spare_end ();

  /* To where only the spare is left. */
  budget_set_limit (&b, 0);
  budget_set_limit (&b, 805);
  budget_spare_begin (&b);
  assert_true (budget_charge (&b, 10));
  budget_spare_end ();
}

static const struct CMUnitTest tests[] = {
  UNIT_TEST (test_limit),   UNIT_TEST (test_no_limit),
  UNIT_TEST (test_warning), UNIT_TEST (test_warning_levels),
  UNIT_TEST (test_spare),   UNIT_TEST (test_debt),
  UNIT_TEST (test_threads),
};

int
main (void)
{
  return UNIT_RUN (tests);
}
