/* SPDX-License-Identifier: BSD-3-Clause */
#include <config.h>

#include <errno.h>
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
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#ifdef __linux__
#include <linux/vm_sockets.h>
#endif

#include "base/check.h"
#include "base/clock.h"
#include "plugin/control/thread.h"
#include "plugin/ending.h"
#include "plugin/nbdkit.h"

/* nbdkit has one, or a few by socket activation; we have two. */
#define MAX_LISTENERS 32

/* More descriptors than this are not looked at. */
#define MAX_FD 65536

#define POLLED_AT_ONCE 512

/* What nbdkit takes for an order to end. */
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
static int signalled = -1;               /* an eventfd: a signal came */
static int stopping = -1;                /* an eventfd: no need for us */
static pthread_t thread;
static bool started;
static void (*own_cleanup) (void);
static _Atomic int end_is; /* enum whose: who calls cleanup */

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
  int err = errno;

  tell (signalled);
  for (unsigned i = 0; i < SIGNALS; i++)
    if (signals[i] == sig) {
      if (before[i].sa_flags & SA_SIGINFO)
        before[i].sa_sigaction (sig, info, context);
      else
        before[i].sa_handler (sig);
    }
  errno = err;
}

static bool
is_handled (const struct sigaction *action)
{
  return (action->sa_flags & SA_SIGINFO) ||
         (action->sa_handler != SIG_DFL && action->sa_handler != SIG_IGN);
}

/* In front of nbdkit's handlers; a signal that it does not handle is none of
 * ours.
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

/* A connection that was accepted has its listener's name; but one to a
 * wildcard address has the address that it came to.
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
    /* One without a name is none that was accepted. */
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

/* How many poll takes; it may have been changed since descriptors were opened.
 */
static int
polled_at_once (void)
{
  struct rlimit limit;

  if (getrlimit (RLIMIT_NOFILE, &limit) == -1 ||
      limit.rlim_cur > POLLED_AT_ONCE)
    return POLLED_AT_ONCE;
  return limit.rlim_cur ? (int) limit.rlim_cur : 1;
}

/* Calls visit for each open descriptor, and perhaps for some that are not open.
 * poll tells of many at once which are, and needs no /proc; where it cannot
 * (EINVAL, ENOMEM), they are all visited.  RLIMIT_NOFILE bounds what poll
 * takes, but not where open descriptors are: it may have been higher.
 */
static void
each_fd (void (*visit) (int fd))
{
  struct pollfd p[POLLED_AT_ONCE];
  const int step = polled_at_once ();

  for (int first = 0; first < MAX_FD; first += step) {
    int n = MAX_FD - first < step ? MAX_FD - first : step;
    bool told;

    for (int i = 0; i < n; i++)
      p[i] = (struct pollfd){ .fd = first + i };
    told = poll (p, (nfds_t) n, 0) != -1;
    for (int i = 0; i < n; i++)
      if (!told || !(p[i].revents & POLLNVAL))
        visit (first + i);
  }
}

/* Of the thread alone. */
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

/* nbdkit does not tell its plugins which sockets are its own; but whoever
 * came in by any of this process's listeners is a client of something that
 * ends now.  Answers still go out.
 */
static void
hear_no_more (void)
{
  listeners = 0;
  each_fd (note_listener);
  each_fd (shut_connection);
}

/* -- the thread --------------------------------------------------------- */

static bool
is_told (int fd, int ms)
{
  struct pollfd p = { .fd = fd, .events = POLLIN };

  return poll (&p, 1, ms) == 1;
}

static void *
end_in_time (void *arg)
{
  struct pollfd p[] = { { .fd = signalled, .events = POLLIN },
                        { .fd = stopping, .events = POLLIN } };
  uint64_t deadline;
  int whose = NOBODYS;

  (void) arg;
  while (poll (p, 2, -1) == -1 && errno == EINTR)
    ;
  deadline = clock_ns () + ENDING_PATIENCE_MS * UINT64_C (1000000);
  if (is_told (stopping, ENDING_GRACE_MS))
    return NULL;
  do
    hear_no_more ();
  while (!is_told (stopping, ENDING_PERIOD_MS) && clock_ns () < deadline);
  if (!atomic_compare_exchange_strong (&end_is, &whose, OURS))
    return NULL;
  nbdkit_error ("clients or their requests do not end: ending without them");
  own_cleanup ();
  _exit (EXIT_SUCCESS);
}

int
ending_start (void (*cleanup) (void))
{
  own_cleanup = cleanup;
  signalled = eventfd (0, EFD_CLOEXEC | EFD_NONBLOCK);
  stopping = eventfd (0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (signalled == -1 || stopping == -1 ||
      control_thread_start (&thread, end_in_time, NULL) == -1)
    return -1;
  started = true;
  handlers_set ();
  return 0;
}

void
ending_stop (void)
{
  int whose = NOBODYS;

  if (!started)
    return;
  if (!atomic_compare_exchange_strong (&end_is, &whose, NBDKITS))
    for (;;)
      pause ();
  handlers_reset ();
  tell (stopping);
  pthread_join (thread, NULL);
  close (signalled);
  close (stopping);
  started = false;
}
