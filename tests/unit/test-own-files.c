/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A thread with its own descriptors keeps no connection of the process open.
 */

#include <config.h>

#include <errno.h>
#include <sys/socket.h>

#include "unit.h"

#include "base/own_files.h"

struct keeper {
  int keep[2], ready[2], go[2];
  bool own;
};

static bool
is_open (int fd)
{
  return fcntl (fd, F_GETFD) != -1;
}

/* Says when it has them, and stays until it is told to go. */
static void *
keeper_thread (void *arg)
{
  struct keeper *k = arg;
  char byte;

  k->own = own_files (k->ready[1], k->go[0]);
  assert_int_equal (write (k->ready[1], "r", 1), 1);
  assert_int_equal (read (k->go[0], &byte, 1), 1);
  if (k->own) {
    assert_false (is_open (k->keep[0]));
    assert_false (is_open (k->keep[1]));
    assert_false (is_open (k->ready[0]));
    assert_false (is_open (k->go[1]));
    assert_true (is_open (k->ready[1]));
    assert_true (is_open (k->go[0]));
  }
  return NULL;
}

static void
test_shares_nothing (void **state)
{
  struct keeper k;
  pthread_t thread;
  char byte;

  (void) state;
  assert_int_equal (socketpair (AF_UNIX, SOCK_STREAM, 0, k.keep), 0);
  assert_int_equal (pipe (k.ready), 0);
  assert_int_equal (pipe (k.go), 0);
  assert_int_equal (pthread_create (&thread, NULL, keeper_thread, &k), 0);
  assert_int_equal (read (k.ready[0], &byte, 1), 1);

  if (k.own) {
    close (k.keep[0]);
    assert_int_equal (read (k.keep[1], &byte, 1), 0); /* the end */
    /* Nor has it taken anything from us. */
    assert_true (is_open (k.keep[1]));
    assert_true (is_open (k.ready[1]));
    assert_true (is_open (k.go[0]));
  }
  assert_int_equal (write (k.go[1], "g", 1), 1);
  pthread_join (thread, NULL);
  if (!k.own) {
    puts ("not tested: the kernel cannot do it");
    skip ();
  }
  close (k.keep[1]);
  for (int i = 0; i < 2; i++) {
    close (k.ready[i]);
    close (k.go[i]);
  }
}

/* Numbers next to each other, in any order, the same, and none. */
static void *
numbers_thread (void *arg)
{
  const int *keep = arg;

  if (!own_files (keep[0], keep[1]))
    return NULL;
  for (int fd = 3; fd < 64; fd++)
    assert_int_equal (is_open (fd), fd == keep[0] || fd == keep[1]);
  return NULL;
}

static void
test_numbers (void **state)
{
  static int keep[][2] = { { 20, 21 }, { 21, 20 }, { 20, 20 }, { -1, 20 },
                           { 20, -1 }, { -1, -1 }, { 20, 40 }, { 40, 22 } };
  int fds[] = { 20, 21, 22, 40 };

  (void) state;
  for (unsigned i = 0; i < 4; i++)
    assert_int_equal (dup2 (2, fds[i]), fds[i]);
  for (unsigned i = 0; i < sizeof keep / sizeof keep[0]; i++) {
    pthread_t thread;

    assert_int_equal (pthread_create (&thread, NULL, numbers_thread, keep[i]),
                      0);
    pthread_join (thread, NULL);
  }
  for (unsigned i = 0; i < 4; i++) {
    assert_true (is_open (fds[i]));
    close (fds[i]);
  }
}

int
main (void)
{
  static const struct CMUnitTest tests[] = {
    UNIT_TEST (test_shares_nothing),
    UNIT_TEST (test_numbers),
  };

  return UNIT_RUN (tests);
}
