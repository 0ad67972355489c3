/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * How writers wait for room: no wake-up is lost, no writer waits for room that
 * cannot come, and one question is asked once.
 */

#include <config.h>

#include "base/run_clock.h"
#include "store/room.h"
#include "unit.h"

#define NEVER (UINT64_C (3600) * 1000000000)

static struct room room;
static atomic_uint woken;

static void
wake (void *ctx)
{
  check_always (ctx == &woken);
  atomic_fetch_add (&woken, 1);
}

static uint64_t
ticket_now (void)
{
  struct stall stall;

  room_stall_begin (&room, &stall);
  return stall.ticket;
}

static bool
wait_until (uint64_t ticket, uint64_t deadline_ns)
{
  struct stall stall = { .ticket = ticket, .deadline_ns = deadline_ns };

  return room_wait (&room, &stall);
}

static void
open_room (void)
{
  room_init (&room);
  atomic_store (&woken, 0);
  room_open (&room, wake, &woken);
}

static void
test_nobody (void **state)
{
  (void) state;
  room_init (&room);
  room_check (&room, UINT64_MAX); /* no evictor to ask */
  assert_false (wait_until (ticket_now (), run_clock_ns () + NEVER));
  room_close (&room);
  room_destroy (&room);
}

static void
test_check (void **state)
{
  (void) state;
  open_room ();
  room_check (&room, UINT64_MAX);
  assert_int_equal (atomic_load (&woken), 0);
  room_set_marks (&room, 500, 1000);
  assert_int_equal (atomic_load (&room.low), 500);
  room_check (&room, 999);
  room_check (&room, 1000);
  assert_int_equal (atomic_load (&woken), 0);
  room_check (&room, 1001);
  room_check (&room, 1001);
  room_check (&room, UINT64_MAX);
  assert_int_equal (atomic_load (&woken), 1); /* until it is answered */
  room_answer (&room);
  room_check (&room, 1000);
  assert_int_equal (atomic_load (&woken), 1);
  room_check (&room, 1001);
  assert_int_equal (atomic_load (&woken), 2);
  room_answer (&room);
  room_close (&room);
  room_check (&room, UINT64_MAX - 1);
  assert_int_equal (atomic_load (&woken), 2);
  room_destroy (&room);
}

static void
test_deadline (void **state)
{
  uint64_t ticket, start;

  (void) state;
  open_room ();
  ticket = ticket_now ();
  start = run_clock_ns ();
  assert_false (wait_until (ticket, start + 5000000));
  assert_true (run_clock_ns () - start >= 5000000);
  assert_int_equal (atomic_load (&woken), 1);
  assert_false (wait_until (ticket, 1)); /* long past */
  room_made (&room);
  /* Made since the ticket: at once, without asking. */
  unsigned before = atomic_load (&woken);
  assert_true (wait_until (ticket, run_clock_ns () + NEVER));
  assert_int_equal (atomic_load (&woken), before);
  assert_false (wait_until (ticket_now (), run_clock_ns () + 1000000));
  room_close (&room);
  room_destroy (&room);
}

struct waiter {
  struct unit_thread t;
  bool result;
};

static void *
wait_now (void *arg)
{
  struct waiter *w = arg;

  w->result = wait_until (0, run_clock_ns () + NEVER);
  return NULL;
}

static void
start_waiters (struct waiter *w, unsigned n)
{
  unsigned before = atomic_load (&woken);

  for (unsigned i = 0; i < n; i++)
    unit_start (&w[i].t, wait_now, &w[i]);
  while (atomic_load (&woken) < before + n) /* each has asked */
    sched_yield ();
  for (unsigned i = 0; i < n; i++)
    unit_wait_asleep (&w[i].t);
}

static void
join_waiters (struct waiter *w, unsigned n, bool want)
{
  for (unsigned i = 0; i < n; i++) {
    unit_join (&w[i].t);
    assert_int_equal (w[i].result, want);
  }
}

static void
test_hopeless (void **state)
{
  struct waiter w[3];

  (void) state;
  open_room ();
  assert_false (room_answer (&room));
  start_waiters (w, 3);
  assert_true (room_is_needed (&room));
  /* That round had begun when they asked. */
  room_hopeless (&room, true);
  for (unsigned i = 0; i < 3; i++)
    unit_wait_asleep (&w[i].t);
  assert_true (room_is_needed (&room));
  assert_true (room_answer (&room));
  room_hopeless (&room, true);
  join_waiters (w, 3, false);
  assert_false (room_is_needed (&room));

  start_waiters (w, 3); /* it may be otherwise by now: they ask */
  assert_true (room_answer (&room));
  room_made (&room);
  room_hopeless (&room, true);
  join_waiters (w, 3, true);
  room_close (&room);
  assert_false (wait_until (ticket_now (), run_clock_ns () + NEVER));
  room_destroy (&room);

  open_room ();
  start_waiters (w, 3);
  room_close (&room);
  join_waiters (w, 3, false);
  room_destroy (&room);
}

/* Room that is made and made again, and taken by others, does not make the
 * wait endless; nor does a round that says so for the second time.
 */
static void
test_starved (void **state)
{
  struct stall stall;

  (void) state;
  open_room ();
  room_stall_begin (&room, &stall);
  stall.deadline_ns = run_clock_ns () + 5000000;
  do
    room_made (&room);
  while (room_wait (&room, &stall));
  assert_true (run_clock_ns () >= stall.deadline_ns);

  room_stall_begin (&room, &stall);
  stall.deadline_ns = run_clock_ns () + NEVER;
  room_made (&room);
  assert_true (room_wait (&room, &stall));
  (void) room_answer (&room);
  room_hopeless (&room, true);
  assert_false (room_wait (&room, &stall));
  room_close (&room);
  room_destroy (&room);
}

/* -- no wake-up is lost -------------------------------------------------- */

/* The evictor makes room only when it is asked; writers take what there is,
 * and wait for more.  If one wake-up were lost, all would stand still.
 */
#define WRITERS 4u

static atomic_int units, asked;
static atomic_bool stop;

static void
ask (void *ctx)
{
  (void) ctx;
  atomic_store (&asked, 1);
}

static bool
take_unit (void)
{
  int n = atomic_load (&units);

  while (n > 0)
    if (atomic_compare_exchange_weak (&units, &n, n - 1))
      return true;
  return false;
}

static void *
writer (void *arg)
{
  (void) arg;
  for (unsigned i = 0; i < UNIT_TIMES (4000); i++)
    for (;;) {
      uint64_t ticket = ticket_now ();

      if (take_unit ())
        break;
      check_always (wait_until (ticket, run_clock_ns () + NEVER));
    }
  return NULL;
}

static void *
evictor (void *arg)
{
  (void) arg;
  while (!atomic_load (&stop))
    if (atomic_exchange (&asked, 0)) {
      room_answer (&room);
      atomic_fetch_add (&units, 1);
      room_made (&room);
    }
    else
      sched_yield ();
  return NULL;
}

static void
test_none_lost (void **state)
{
  struct unit_thread writers[WRITERS], e;

  (void) state;
  room_init (&room);
  room_open (&room, ask, NULL);
  atomic_store (&units, 0);
  atomic_store (&asked, 0);
  atomic_store (&stop, false);
  unit_start (&e, evictor, NULL);
  unit_start_all (writers, WRITERS, writer, NULL, 0);
  unit_join_all (writers, WRITERS);
  atomic_store (&stop, true);
  unit_join (&e);
  room_close (&room);
  room_destroy (&room);
}

int
main (void)
{
  static const struct CMUnitTest tests[] = {
    UNIT_TEST (test_nobody),   UNIT_TEST (test_check),
    UNIT_TEST (test_deadline), UNIT_TEST (test_hopeless),
    UNIT_TEST (test_starved),  UNIT_TEST (test_none_lost),
  };

  return UNIT_RUN (tests);
}
