/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The lock with which a control socket is made: only a process that may make
 * the socket can take it; a server does not wait for it for ever; and of
 * several servers that find the same dead socket exactly one replaces it.
 */

#include <config.h>

#include <errno.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "unit.h"

#include "plugin/control/listener.h"

static char folder[64], path[80], lock[90];

static int
lock_of (const char *name, int flags)
{
  int fd = open (name, flags | O_CLOEXEC, 0600);

  check_always (fd >= 0 && flock (fd, LOCK_EX) == 0);
  return fd;
}

static void
opens (void)
{
  struct listener l;
  struct reason why = { "" };

  if (listener_open (&l, path, &why) == -1)
    fail_msg ("%s", why.text);
  assert_int_equal (access (lock, F_OK), -1);
  listener_close (&l);
}

static void
is_refused (const char *words)
{
  struct listener l;
  struct reason why = { "" };

  assert_int_equal (listener_open (&l, path, &why), -1);
  if (strncmp (why.text, path, strlen (path)) != 0 ||
      !strstr (why.text, lock) || !strstr (why.text, words))
    fail_msg ("%s: is without %s", why.text, words);
  assert_int_equal (l.fd, -1);
  assert_int_equal (access (path, F_OK), -1);
  listener_close (&l);
}

/* Anybody could do that. */
static void
test_folder_is_locked (void **state)
{
  int fd = lock_of (folder, O_RDONLY | O_DIRECTORY);

  (void) state;
  opens ();
  close (fd);
}

/* It gives up, and soon: this is no promise, but seconds. */
static void
test_lock_is_kept (void **state)
{
  int fd = lock_of (lock, O_RDWR | O_CREAT);
  uint64_t begin = clock_ns ();

  (void) state;
  is_refused ("keeps it locked");
  assert_true (clock_ns () - begin < UINT64_C (60000000000));
  close (fd);
  opens (); /* one that was left behind is as good as a new one */
}

static void *
drop_later (void *arg)
{
  unit_sleep_ms (300);
  close (*(int *) arg);
  return NULL;
}

static void
test_lock_is_dropped (void **state)
{
  int fd = lock_of (lock, O_RDWR | O_CREAT);
  struct unit_thread t;

  (void) state;
  unit_start (&t, drop_later, &fd);
  opens ();
  unit_join_all (&t, 1);
}

/* What others may have put there. */
static void
test_no_lock_file (void **state)
{
  (void) state;
  check_always (symlink ("/dev/null", lock) == 0);
  is_refused ("symbolic links");
  check_always (unlink (lock) == 0);
  check_always (mkfifo (lock, 0600) == 0);
  is_refused ("not a lock file of ours");
  check_always (unlink (lock) == 0);
  check_always (mkdir (lock, 0700) == 0);
  is_refused ("directory");
  check_always (rmdir (lock) == 0);
  close (open (lock, O_RDWR | O_CREAT, 0600));
  check_always (chmod (lock, 0666) == 0);
  is_refused ("not a lock file of ours");
  check_always (chmod (lock, 0600) == 0);
  if (geteuid () == 0) {
    check_always (chown (lock, 1, 1) == 0);
    is_refused ("not a lock file of ours");
  }
  check_always (unlink (lock) == 0);
}

/* -- several at once ---------------------------------------------------- */

#define SERVERS 6

/* Says whether it has the socket, and keeps it until 'go_on' is closed. */
static void
be_a_server (int start, int said, int go_on)
{
  struct listener l;
  struct reason why;
  char byte;
  bool ok;

  check_always (read (start, &byte, 1) == 0);
  ok = listener_open (&l, path, &why) == 0;
  if (!ok && !strstr (why.text, "another server is listening there"))
    fprintf (stderr, "%s\n", why.text);
  check_always (write (said, ok ? "y" : "n", 1) == 1);
  check_always (read (go_on, &byte, 1) == 0);
  /* Dies without a word, or the socket is not its own any more. */
  _exit (!ok || access (path, F_OK) == 0 ? 0 : 1);
}

static void
one_of_several (void)
{
  int start[2], said[2], go_on[2], status;
  pid_t child[SERVERS];
  unsigned winners = 0;
  char answer;

  check_always (pipe (start) == 0 && pipe (said) == 0 && pipe (go_on) == 0);
  for (unsigned i = 0; i < SERVERS; i++) {
    child[i] = fork ();
    check_always (child[i] >= 0);
    if (child[i] == 0) {
      close (start[1]);
      close (go_on[1]);
      be_a_server (start[0], said[1], go_on[0]);
    }
  }
  close (start[1]);
  for (unsigned i = 0; i < SERVERS; i++) {
    check_always (read (said[0], &answer, 1) == 1);
    winners += answer == 'y';
  }
  close (go_on[1]);
  for (unsigned i = 0; i < SERVERS; i++)
    check_always (waitpid (child[i], &status, 0) == child[i] && status == 0);
  close (start[0]);
  close (said[0]);
  close (said[1]);
  close (go_on[0]);
  assert_int_equal (winners, 1);
}

/* Each round finds the dead socket of the round before. */
static void
test_servers_at_once (void **state)
{
  (void) state;
  for (unsigned i = 0; i < UNIT_TIMES (200); i++)
    one_of_several ();
  assert_int_equal (access (lock, F_OK), -1);
  opens ();
}

/* -------------------------------------------------------------------------- */

static int
setup (void **state)
{
  unit_setup (state);
  strcpy (folder, "/tmp/zram-unit.XXXXXX");
  check_always (mkdtemp (folder));
  snprintf (path, sizeof path, "%s/control", folder);
  snprintf (lock, sizeof lock, "%s.lock", path);
  return 0;
}

static int
teardown (void **state)
{
  unlink (lock);
  unlink (path);
  check_always (rmdir (folder) == 0);
  return unit_teardown (state);
}

#define LISTENER_TEST(f)                \
  {                                     \
#f, f, setup, teardown, (void *) #f \
  }

int
main (void)
{
  static const struct CMUnitTest tests[] = {
    LISTENER_TEST (test_folder_is_locked), LISTENER_TEST (test_lock_is_kept),
    LISTENER_TEST (test_lock_is_dropped),  LISTENER_TEST (test_no_lock_file),
    LISTENER_TEST (test_servers_at_once),
  };

  return UNIT_RUN (tests);
}
