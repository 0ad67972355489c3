/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Few descriptors: the control server under small limits of them, under one
 * that is lowered while it runs, and when no descriptor is left.  It serves,
 * and it ends when it is told to: a loop that does not is found by the
 * watchdog.
 */

#include <config.h>

#include <errno.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "control-fixture.h"

#include "plugin/control/control.h"
#include "plugin/control/fds.h"

static struct control_fixture c;
static struct control *control;
static char folder[64], path[80];
static struct rlimit before;

/* -- limits ------------------------------------------------------------- */

static void
limit_fds (rlim_t n)
{
  const struct rlimit limit = { n, before.rlim_max };

  check_always (setrlimit (RLIMIT_NOFILE, &limit) == 0);
}

/* No descriptor under the limit is free. */
static void
leave_none (void)
{
  int fd = dup (0);

  check_always (fd >= 0);
  close (fd);
  limit_fds ((rlim_t) fd);
}

/* -- clients ------------------------------------------------------------ */

static int
peer_open (void)
{
  struct sockaddr_un address = { .sun_family = AF_UNIX };
  int fd = socket (AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

  check_always (fd >= 0);
  strcpy (address.sun_path, path);
  check_always (connect (fd, (struct sockaddr *) &address, sizeof address) ==
                0);
  return fd;
}

static void
peer_send (int fd)
{
  check_always (dprintf (fd, "{\"jsonrpc\":\"2.0\",\"id\":1,"
                             "\"method\":\"version\"}\n") > 0);
}

static void
peer_must (int fd, const char *words)
{
  char line[1000];
  size_t n = 0;

  while (n < sizeof line - 1) {
    check_always (read (fd, line + n, 1) == 1);
    if (line[n++] == '\n')
      break;
  }
  line[n] = '\0';
  if (!strstr (line, words))
    fail_msg ("the answer is %s, without %s", line, words);
}

static void
peer_is_served (int fd)
{
  peer_send (fd);
  peer_must (fd, "\"protocol\"");
}

static void
serve_start (void)
{
  struct reason why;

  control = control_open (&c.service, path, &why);
  check_always (control);
  check_always (control_start (control) == 0);
}

/* -- tests -------------------------------------------------------------- */

/* As many as may be are served, one more is told so, and it ends. */
static void
test_small_limits (void **state)
{
  static const unsigned limits[] = { 256, 255, 100, 64, 32 };

  (void) state;
  for (unsigned i = 0; i < sizeof limits / sizeof limits[0]; i++) {
    unsigned most = limits[i] / 4, here = 0;
    int peer[64], one_more;
    char words[80];

    /* Both ends of each connection are in this process. */
    limit_fds (limits[i]);
    serve_start ();
    while (here < most && 2 * here + 16 < limits[i])
      peer_is_served (peer[here++] = peer_open ());
    for (unsigned k = 0; k < here; k++)
      peer_is_served (peer[k]);
    if (here == most) {
      one_more = peer_open ();
      snprintf (words, sizeof words, "%u clients are connected already: a qu",
                most);
      peer_must (one_more, words);
      close (one_more);
    }
    else
      check_always (limits[i] < 64);
    control_close (control);
    control = NULL;
    while (here > 0)
      close (peer[--here]);
  }
}

/* poll is not possible any more: it goes on without, and ends. */
static void
test_lowered_limit (void **state)
{
  static const rlim_t limits[] = { 5, 1, 0 };
  struct pollfd p[2] = { { .fd = -1 }, { .fd = -1 } };
  int peer[8];

  (void) state;
  for (unsigned i = 0; i < sizeof limits / sizeof limits[0]; i++) {
    serve_start ();
    for (unsigned k = 0; k < 8; k++)
      peer_is_served (peer[k] = peer_open ());
    limit_fds (limits[i]);
    if (limits[i] < 2)
      check_always (poll (p, 2, 0) == -1 && errno == EINVAL);
    for (unsigned k = 0; k < 8; k++)
      peer_is_served (peer[k]);
    close (peer[0]);
    control_close (control);
    control = NULL;
    limit_fds (before.rlim_cur);
    for (unsigned k = 1; k < 8; k++)
      close (peer[k]);
  }
}

static uint64_t
cpu_ns (void)
{
  struct timespec ts;

  clock_gettime (CLOCK_PROCESS_CPUTIME_ID, &ts);
  return (uint64_t) ts.tv_sec * 1000000000 + (uint64_t) ts.tv_nsec;
}

/* A client that cannot be accepted waits, and costs nothing meanwhile; those
 * that are there are served; it ends.
 */
static void
test_none_left (void **state)
{
  (void) state;
  for (unsigned again = 0; again < 2; again++) {
    int here, waits;
    uint64_t cpu;
    struct pollfd p;

    serve_start ();
    peer_is_served (here = peer_open ());
    waits = socket (AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    leave_none ();
    close (waits);
    waits = peer_open (); /* the place that was left is this end's */
    peer_send (waits);
    cpu = cpu_ns ();
    unit_sleep_ms (1000);
    assert_true (cpu_ns () - cpu < 100000000);
    p = (struct pollfd){ waits, POLLIN, 0 };
    check_always (poll (&p, 1, 0) == 0);
    peer_is_served (here);
    if (again == 0) {
      limit_fds (before.rlim_cur);
      peer_must (waits, "\"protocol\""); /* it was not forgotten */
    }
    control_close (control);
    control = NULL;
    limit_fds (before.rlim_cur);
    close (waits);
    close (here);
  }
}

/* What passes by itself, and what does not. */
static void
test_accept (void **state)
{
  struct sockaddr_un address = { .sun_family = AF_UNIX };
  int plain = open ("/dev/null", O_RDONLY | O_CLOEXEC), fd, s, peer;

  (void) state;
  check_always (plain >= 0);
  assert_int_equal (fds_accept (plain, &fd), FDS_NEVER);
  assert_int_equal (fds_accept (-1, &fd), FDS_NEVER);
  close (plain);
  s = socket (AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  assert_int_equal (fds_accept (s, &fd), FDS_NEVER); /* EINVAL */
  strcpy (address.sun_path, path);
  check_always (bind (s, (struct sockaddr *) &address, sizeof address) == 0);
  check_always (listen (s, 5) == 0);
  assert_int_equal (fds_accept (s, &fd), FDS_NOBODY);
  peer = peer_open ();
  leave_none ();
  assert_int_equal (fds_accept (s, &fd), FDS_PAUSE);
  limit_fds (before.rlim_cur);
  assert_int_equal (fds_accept (s, &fd), FDS_ACCEPTED);
  close (fd);
  close (peer);
  close (s);
  unlink (path);
}

static void
test_share (void **state)
{
  (void) state;
  limit_fds (100);
  assert_int_equal (fds_share (4, 256), 25);
  assert_int_equal (fds_share (4, 20), 20);
  limit_fds (3);
  assert_int_equal (fds_share (4, 20), 1);
  limit_fds (0);
  assert_int_equal (fds_share (4, 20), 1);
  limit_fds (before.rlim_cur);
}

/* -------------------------------------------------------------------------- */

static int
setup (void **state)
{
  unit_setup (state);
  check_always (getrlimit (RLIMIT_NOFILE, &before) == 0);
  control_fixture_open (&c, 4 * MiB);
  strcpy (folder, "/tmp/zram-unit.XXXXXX");
  check_always (mkdtemp (folder));
  snprintf (path, sizeof path, "%s/control", folder);
  return 0;
}

static int
teardown (void **state)
{
  limit_fds (before.rlim_cur);
  control_close (control);
  control = NULL;
  check_always (rmdir (folder) == 0);
  control_fixture_close (&c);
  return unit_teardown (state);
}

#define FDS_TEST(f)                     \
  {                                     \
#f, f, setup, teardown, (void *) #f \
  }

int
main (void)
{
  static const struct CMUnitTest tests[] = {
    FDS_TEST (test_small_limits), FDS_TEST (test_lowered_limit),
    FDS_TEST (test_none_left),    FDS_TEST (test_accept),
    FDS_TEST (test_share),
  };

  return UNIT_RUN (tests);
}
