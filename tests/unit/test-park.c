/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Parking: tickets that went stale do not sleep, a wake reaches everybody
 * who waits on that word, and all words of a page share a bucket.
 */

#include <config.h>

#include "unit.h"

#include "base/park.h"

#define PAGE 4096

static _Alignas(PAGE) char page[PAGE];

/* It would hang if it slept. */
static void
test_stale_ticket (void **state)
{
  uint32_t ticket = park_ticket (page);
  uint64_t sleeps = park_sleeps ();

  (void) state;
  park_wake (page);
  assert_int_not_equal (park_ticket (page), ticket);
  park_wait (page, ticket);
  assert_true (park_sleeps () >= sleeps);
}

/* What the system zeroes as a page is woken with one call. */
static void
test_one_bucket_a_page (void **state)
{
  uint32_t ticket = park_ticket (page);

  (void) state;
  for (unsigned i = 0; i < PAGE; i += 4)
    assert_int_equal (park_ticket (page + i), ticket);
  park_wake (page + PAGE / 2);
  for (unsigned i = 0; i < PAGE; i += 4)
    assert_int_equal (park_ticket (page + i), ticket + 1);
}

/* Neighbouring pages mostly do not. */
static void
test_pages_spread (void **state)
{
  enum { N = 64 };
  const char *far = (const char *) (uintptr_t) (1u << 30);
  uint32_t before[N];
  unsigned same = 0;

  (void) state;
  for (unsigned i = 0; i < N; i++)
    before[i] = park_ticket (far + i * PAGE);
  park_wake (far);
  for (unsigned i = 0; i < N; i++)
    same += park_ticket (far + i * PAGE) != before[i];
  assert_in_range (same, 1, 4);
}

struct sleeper {
  const char *word;
  atomic_uint *flag;
  struct unit_thread thread;
};

/* As a lock's waiter does: look again after every return. */
static void *
sleep_until_flag (void *arg)
{
  struct sleeper *me = arg;

  for (;;) {
    uint32_t ticket = park_ticket (me->word);

    if (atomic_load (me->flag))
      return NULL;
    park_wait (me->word, ticket);
  }
}

static void
test_wakes_all (void **state)
{
  enum { N = 8 };
  struct sleeper s[N];
  atomic_uint flag = 0;
  uint64_t sleeps = park_sleeps ();

  (void) state;
  for (unsigned i = 0; i < N; i++) {
    s[i].word = page + 4 * i;
    s[i].flag = &flag;
    unit_start (&s[i].thread, sleep_until_flag, &s[i]);
  }
  for (unsigned i = 0; i < N; i++)
    unit_wait_asleep (&s[i].thread);
  assert_true (park_sleeps () - sleeps >= N);

  /* For nothing: they sleep again. */
  park_wake (page);
  for (unsigned i = 0; i < N; i++)
    unit_wait_asleep (&s[i].thread);

  atomic_store (&flag, 1);
  park_wake (page);
  for (unsigned i = 0; i < N; i++)
    unit_join (&s[i].thread);
}

/* Two that hand a flag to and fro: a lost wake-up hangs. */
struct ping {
  atomic_uint turn;
  unsigned me, times;
};

static struct ping *
pingpong_word (void)
{
  return (struct ping *) page;
}

static void *
pingpong (void *arg)
{
  unsigned me = *(unsigned *) arg;
  struct ping *p = pingpong_word ();

  for (unsigned i = 0; i < p->times; i++) {
    for (;;) {
      uint32_t ticket = park_ticket (p);

      if (atomic_load (&p->turn) == me)
        break;
      park_wait (p, ticket);
    }
    atomic_store (&p->turn, !me);
    park_wake (p);
  }
  return NULL;
}

static void
test_no_lost_wakeup (void **state)
{
  struct ping *p = pingpong_word ();
  unsigned numbers[2] = { 0, 1 };
  struct unit_thread t[2];

  (void) state;
  atomic_store (&p->turn, 0);
  p->times = UNIT_TIMES (20000);
  unit_start_all (t, 2, pingpong, numbers, sizeof numbers[0]);
  unit_join_all (t, 2);
  assert_int_equal (atomic_load (&p->turn), 0);
}

static const struct CMUnitTest tests[] = {
  UNIT_TEST (test_stale_ticket),   UNIT_TEST (test_one_bucket_a_page),
  UNIT_TEST (test_pages_spread),   UNIT_TEST (test_wakes_all),
  UNIT_TEST (test_no_lost_wakeup),
};

int
main (void)
{
  return UNIT_RUN (tests);
}
