/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The clock for deadlines goes on with the time, but not while the process is
 * frozen; and writers who wait for room are not late then.
 */

#include <config.h>

#include <errno.h>

#include "base/run_clock.h"
#include "store/room.h"
#include "unit.h"

#define MS UINT64_C (1000000)

/* -- made-up times ------------------------------------------------------ */

static void
test_goes_on (void **state)
{
  struct run_clock c = { 0, 0 };
  uint64_t start = run_clock_advance (&c, 5000000 * MS), now = 5000000 * MS;

  (void) state;
  assert_true (start > 0);
  for (unsigned i = 0; i < 1000; i++)
    assert_int_equal (run_clock_advance (&c, now += 50 * MS),
                      start + (i + 1) * 50 * MS);
  assert_int_equal (run_clock_advance (&c, now), start + 50000 * MS);
  assert_int_equal (run_clock_advance (&c, now += RUN_CLOCK_GAP_NS),
                    start + 50000 * MS + RUN_CLOCK_GAP_NS);
}

static void
test_stands_still (void **state)
{
  struct run_clock c = { 0, 0 };
  uint64_t start = run_clock_advance (&c, MS), now = MS;

  (void) state;
  for (unsigned i = 0; i < 10; i++) /* frozen ten times, for a day each */
    assert_int_equal (run_clock_advance (&c, now += 86400 * 1000 * MS),
                      start + (i + 1) * RUN_CLOCK_GAP_NS);
  assert_int_equal (run_clock_advance (&c, now + 1),
                    start + 10 * RUN_CLOCK_GAP_NS + 1);
}

/* -- a process that is frozen ------------------------------------------- */

static struct room room;
static int to_child[2], from_child[2];

static void
say (int fd)
{
  check_always (write (fd, "", 1) == 1);
}

static void
hear (int fd)
{
  char c;

  check_always (read (fd, &c, 1) == 1);
}

static void
wake (void *ctx)
{
  (void) ctx;
}

struct writer {
  struct unit_thread t;
  uint64_t deadline_ns;
  bool result;
};

static void *
wait_for_room (void *arg)
{
  struct writer *w = arg;
  struct stall stall = { .deadline_ns = w->deadline_ns };

  w->result = room_wait (&room, &stall);
  return NULL;
}

/* Room is made when the process goes on. */
static void
writers (void *arg)
{
  struct writer w[4];

  (void) arg;
  room_init (&room);
  room_open (&room, wake, NULL);
  for (unsigned i = 0; i < 4; i++) {
    w[i].deadline_ns = run_clock_ns () + 2000 * MS;
    unit_start (&w[i].t, wait_for_room, &w[i]);
  }
  for (unsigned i = 0; i < 4; i++)
    unit_wait_asleep (&w[i].t);
  say (from_child[1]);
  hear (to_child[0]);
  room_made (&room);
  for (unsigned i = 0; i < 4; i++) {
    unit_join (&w[i].t);
    check_always (w[i].result);
  }
  room_destroy (&room);
}

/* And the deadline works: without an evictor it ends the wait. */
static void
clock_of_frozen (void *arg)
{
  uint64_t before = run_clock_ns (), wall = clock_ns (), passed;
  struct writer w = { .deadline_ns = before + 1000 * MS };

  (void) arg;
  say (from_child[1]);
  hear (to_child[0]);
  passed = run_clock_ns () - before;
  check_always (clock_ns () - wall > 3000 * MS);
  check_always (passed < 1000 * MS);
  room_init (&room);
  room_open (&room, wake, NULL);
  wait_for_room (&w);
  check_always (!w.result);
  check_always (run_clock_ns () >= w.deadline_ns);
  room_destroy (&room);
}

/* As unit_child, but it is stopped for three seconds in the middle. */
static void
freeze (void (*fn) (void *))
{
  struct timespec three = { .tv_sec = 3 };
  int status;
  pid_t pid;

  check_always (pipe (to_child) == 0 && pipe (from_child) == 0);
  fflush (NULL);
  pid = fork ();
  check_always (pid >= 0);
  if (pid == 0) {
    alarm (UNIT_HANG / 2);
    fn (NULL);
    _exit (0);
  }
  hear (from_child[0]);
  check_always (kill (pid, SIGSTOP) == 0);
  check_always (waitpid (pid, &status, WUNTRACED) == pid &&
                WIFSTOPPED (status));
  while (nanosleep (&three, &three) == -1 && errno == EINTR)
    ;
  say (to_child[1]);
  check_always (kill (pid, SIGCONT) == 0);
  check_always (waitpid (pid, &status, 0) == pid);
  for (unsigned i = 0; i < 2; i++) {
    close (to_child[i]);
    close (from_child[i]);
  }
  assert_int_equal (status, 0);
}

static void
test_writers_are_not_late (void **state)
{
  (void) state;
  freeze (writers);
}

static void
test_clock_of_frozen (void **state)
{
  (void) state;
  freeze (clock_of_frozen);
}

int
main (void)
{
  static const struct CMUnitTest tests[] = {
    UNIT_TEST (test_goes_on),
    UNIT_TEST (test_stands_still),
    UNIT_TEST (test_writers_are_not_late),
    UNIT_TEST (test_clock_of_frozen),
  };

  return UNIT_RUN (tests);
}
