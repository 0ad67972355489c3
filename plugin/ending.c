/* SPDX-License-Identifier: BSD-3-Clause */
/* The watchdog of the end: signals, connections, and the last exit.
 * Contract: plugin/ending.h.
 */
#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>
#ifdef __linux__
#include <linux/vm_sockets.h>
#endif

#include "base/check.h"
#include "base/clock.h"
#include "base/keep_errno.h"
#include "plugin/control/thread.h"
#include "plugin/ending.h"
#include "plugin/nbdkit.h"

/* nbdkit has one listener, or a few with socket activation; we have two. */
#define MAX_LISTENERS 32

/* Descriptors above this are not looked at. */
#define MAX_FD 65536

#define MS UINT64_C (1000000) /* in ns */

/* The signals on which nbdkit ends. */
static const int signals[] = { SIGTERM, SIGINT, SIGQUIT, SIGHUP };
#define SIGNALS (sizeof signals / sizeof signals[0])

union address {
  struct sockaddr any;
  struct sockaddr_in in;
  struct sockaddr_in6 in6;
  struct sockaddr_un un;
#ifdef __linux__
  struct sockaddr_vm vm;
#endif
};

struct local {
  union address address;
  socklen_t length;
};

enum whose { NOBODYS, NBDKITS, OURS };

static struct sigaction before[SIGNALS]; /* nbdkit's own handlers */
static struct ending ending;
static pthread_t thread;
static bool started;
static _Atomic int end_is; /* enum whose: who calls cleanup */
static atomic_bool auditing;
static atomic_bool all_done; /* for the last words */

/* Descriptors that become readable once, and stay so, when: */
static int signalled = -1; /* a signal came */
static int cleaning = -1;  /* nbdkit has called cleanup */
static int over = -1;      /* all the work is done */
static int spoken = -1;    /* the last words were said */

/* -- the signal --------------------------------------------------------- */

static void
tell (int fd)
{
  const uint64_t one = 1;
  ssize_t r;

  do
    r = write (fd, &one, sizeof one);
  while (r == -1 && errno == EINTR);
}

static void
handle (int sig, siginfo_t *info, void *context)
{
  KEEP_ERRNO;

  tell (signalled);
  for (unsigned i = 0; i < SIGNALS; i++)
    if (signals[i] == sig) {
      if (before[i].sa_flags & SA_SIGINFO)
        before[i].sa_sigaction (sig, info, context);
      else
        before[i].sa_handler (sig);
    }
}

static bool
is_handled (const struct sigaction *action)
{
  return (action->sa_flags & SA_SIGINFO) ||
         (action->sa_handler != SIG_DFL && action->sa_handler != SIG_IGN);
}

/* Our handlers run before nbdkit's.  Signals that nbdkit does not handle are
 * left alone.
 */
static void
handlers_set (void)
{
  for (unsigned i = 0; i < SIGNALS; i++) {
    struct sigaction ours;

    check_always (sigaction (signals[i], NULL, &before[i]) == 0);
    if (!is_handled (&before[i]))
      continue;
    ours = before[i];
    ours.sa_flags |= SA_SIGINFO;
    ours.sa_sigaction = handle;
    check_always (sigaction (signals[i], &ours, NULL) == 0);
  }
}

/* The plugin may be unloaded before the next signal. */
static void
handlers_reset (void)
{
  for (unsigned i = 0; i < SIGNALS; i++)
    if (is_handled (&before[i]))
      check_always (sigaction (signals[i], &before[i], NULL) == 0);
}

/* -- connections -------------------------------------------------------- */

static bool
is_listening (int fd)
{
  int yes = 0;
  socklen_t length = sizeof yes;

  return getsockopt (fd, SOL_SOCKET, SO_ACCEPTCONN, &yes, &length) == 0 && yes;
}

static bool
local_get (int fd, struct local *local)
{
  memset (local, 0, sizeof *local);
  local->length = sizeof local->address;
  return getsockname (fd, &local->address.any, &local->length) == 0;
}

/* An accepted connection has its listener's name.  If the listener has a
 * wildcard address, the connection has the address that the client called.
 */
static bool
is_accepted_by (const struct local *connection, const struct local *listener)
{
  const union address *a = &connection->address, *b = &listener->address;

  if (a->any.sa_family != b->any.sa_family)
    return false;
  switch (a->any.sa_family) {
  case AF_INET:
    return a->in.sin_port == b->in.sin_port;
  case AF_INET6:
    return a->in6.sin6_port == b->in6.sin6_port;
  case AF_UNIX:
    /* A connection without a name was not accepted. */
    return connection->length > sizeof a->un.sun_family &&
           connection->length == listener->length &&
           memcmp (a, b, connection->length) == 0;
#ifdef __linux__
  case AF_VSOCK:
    return a->vm.svm_port == b->vm.svm_port;
#endif
  default:
    return false;
  }
}

/* The end of the numbers that a descriptor may have: the largest size that the
 * process's descriptor table has ever had.  RLIMIT_NOFILE does not tell it,
 * because it may have been higher before.  poll would find the open descriptors
 * faster, but it also asks files of FUSE, and waits for their answers.  Listing
 * /proc/self/fd takes memory.  MAX_FD if /proc is missing or no descriptor is
 * free.
 */
static int
fd_end (void)
{
  static const char key[] = "\nFDSize:";
  int fd = open ("/proc/thread-self/status", O_RDONLY | O_CLOEXEC);
  char text[1024];
  ssize_t n = fd == -1 ? -1 : read (fd, text, sizeof text - 1);
  const char *at;
  long end = 0;

  if (fd != -1)
    close (fd);
  text[n > 0 ? n : 0] = '\0';
  at = strstr (text, key);
  if (at)
    end = strtol (at + sizeof key - 1, NULL, 10);
  return end > 0 && end < MAX_FD ? (int) end : MAX_FD;
}

/* Calls visit for each number that a descriptor may have. */
static void
each_fd (void (*visit) (int fd))
{
  int end = fd_end ();

  for (int fd = 0; fd < end; fd++)
    visit (fd);
}

/* Used by one thread only. */
static struct local listener[MAX_LISTENERS];
static unsigned listeners;

static void
note_listener (int fd)
{
  if (listeners < MAX_LISTENERS && is_listening (fd) &&
      local_get (fd, &listener[listeners]))
    listeners++;
}

static void
shut_connection (int fd)
{
  struct local local;

  if (!local_get (fd, &local) || is_listening (fd))
    return;
  for (unsigned i = 0; i < listeners; i++)
    if (is_accepted_by (&local, &listener[i])) {
      shutdown (fd, SHUT_RD);
      return;
    }
}

/* nbdkit does not tell its plugins which sockets belong to it.  But every
 * connection that came in by a listener of this process is a client of
 * something that ends now.  Answers are still sent.
 */
static void
hear_no_more (void)
{
  listeners = 0;
  each_fd (note_listener);
  each_fd (shut_connection);
}

static bool
is_socket (int fd)
{
  int type;
  socklen_t length = sizeof type;

  return getsockopt (fd, SOL_SOCKET, SO_TYPE, &type, &length) == 0;
}

static bool
is_pipe (int fd)
{
  return fcntl (fd, F_GETPIPE_SZ) != -1;
}

/* Descriptors whose other end somebody may wait on.  They are not shut down,
 * because a listener from systemd is systemd's too.  No other kinds are closed,
 * because closing a file may wait for it.  Other threads still use these
 * descriptors.  ThreadSanitizer would report that as a race if this called
 * close (); but the process ends before a thread can use them again.
 */
static void
close_if_seen (int fd)
{
  if (is_socket (fd) || is_pipe (fd))
    syscall (SYS_close, fd);
}

/* -- the end ------------------------------------------------------------ */

static bool
is_told (int fd, unsigned ms)
{
  struct pollfd p = { .fd = fd, .events = POLLIN };

  return poll (&p, 1, (int) ms) == 1;
}

/* Wait until the process ends.  A thread that is not joined must not end by
 * itself: its stack is freed without any ordering after its last use, or so it
 * looks to ThreadSanitizer.
 */
static void __attribute__ ((noreturn)) wait_for_exit (void)
{
  for (;;)
    pause ();
}

static void *
clean_up (void *arg)
{
  (void) arg;
  nbdkit_error ("clients or their requests do not end: ending without them");
  ending.cleanup ();
  tell (over);
  wait_for_exit ();
}

static void *
say_last_words (void *arg)
{
  (void) arg;
  ending.last_words (atomic_load (&all_done));
  tell (spoken);
  wait_for_exit ();
}

/* False if no thread can be started. */
static bool
begin (void *(*run) (void *) )
{
  pthread_t t;

  if (control_thread_start (&t, run, NULL) == -1)
    return false;
  pthread_detach (t);
  return true;
}

/* Ends the process, no matter which threads still run or hang. */
static void
leave (bool done)
{
  atomic_store (&all_done, done);
  if (begin (say_last_words))
    (void) is_told (spoken, ENDING_LAST_WORDS_MS);
  each_fd (close_if_seen);
  _exit (EXIT_SUCCESS);
}

/* -- the watchdog ------------------------------------------------------- */

/* Returns the time; *by_signal: nbdkit has not called cleanup yet. */
static uint64_t
wait_for_the_end (bool *by_signal)
{
  struct pollfd p[] = { { .fd = signalled, .events = POLLIN },
                        { .fd = cleaning, .events = POLLIN } };

  while (poll (p, 2, -1) == -1 && errno == EINTR)
    ;
  *by_signal = p[1].revents == 0;
  return clock_ns ();
}

/* Returns when nbdkit calls cleanup, or when its time for that is over. */
static void
wait_for_clients (uint64_t since)
{
  int whose = NOBODYS;

  while (!is_told (cleaning, ENDING_PERIOD_MS)) {
    uint64_t now = clock_ns ();

    (void) ending.backing_is_stuck ();
    if (now >= since + ENDING_GRACE_MS * MS)
      hear_no_more ();
    if (now < since + ENDING_PATIENCE_MS * MS)
      continue;
    if (atomic_compare_exchange_strong (&end_is, &whose, OURS) &&
        !begin (clean_up))
      leave (false);
    return;
  }
}

static bool
is_late (uint64_t since)
{
  bool stuck = ending.backing_is_stuck ();
  uint64_t most = atomic_load (&auditing) && !stuck ? ENDING_AUDIT_MS
                                                    : ENDING_MS;

  return clock_ns () >= since + most * MS;
}

static void *
watchdog (void *arg)
{
  bool by_signal;
  uint64_t since = wait_for_the_end (&by_signal);

  (void) arg;
  if (by_signal)
    wait_for_clients (since);
  while (!is_told (over, ENDING_PERIOD_MS))
    if (is_late (since))
      leave (false);
  if (atomic_load (&end_is) == OURS)
    leave (true);
  return NULL;
}

static int
event (void)
{
  return eventfd (0, EFD_CLOEXEC | EFD_NONBLOCK);
}

int
ending_start (const struct ending *e)
{
  ending = *e;
  signalled = event ();
  cleaning = event ();
  over = event ();
  spoken = event ();
  if (signalled == -1 || cleaning == -1 || over == -1 || spoken == -1 ||
      control_thread_start (&thread, watchdog, NULL) == -1)
    return -1;
  started = true;
  handlers_set ();
  return 0;
}

void
ending_cleanup (void)
{
  int whose = NOBODYS;

  if (!started)
    return;
  if (!atomic_compare_exchange_strong (&end_is, &whose, NBDKITS))
    wait_for_exit ();
  tell (cleaning);
}

void
ending_audit_begin (void)
{
  atomic_store (&auditing, true);
}

void
ending_audit_end (void)
{
  atomic_store (&auditing, false);
}

void
ending_stop (void)
{
  if (!started)
    return;
  handlers_reset ();
  tell (over);
  /* The thread sees that within a period, or it ends the process. */
  pthread_join (thread, NULL);
  close (signalled);
  close (cleaning);
  close (over);
  close (spoken);
  started = false;
}
