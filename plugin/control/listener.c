/* SPDX-License-Identifier: BSD-3-Clause */
/* Making, locking and removing the control socket.
 * Contract: plugin/control/listener.h.
 */

#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error_text.h"
#include "plugin/control/listener.h"
#include "zram-shown.h"

#define BACKLOG 128

#define LOCK_SUFFIX ".lock"
#define LOCK_PATIENCE_MS 3000
#define LOCK_PAUSE_MS 10

/* Counts the forks in which this process was the parent. */
static atomic_uint forks_seen;

static void
after_fork_in_parent (void)
{
  atomic_fetch_add (&forks_seen, 1);
}

static void
count_forks (void)
{
  pthread_atfork (NULL, after_fork_in_parent, NULL);
}

struct refusal {
  const char *path;
  struct reason *why;
};

static int
refuse (const struct refusal *r, const char *reason)
{
  reason_set (r->why, "%s: %s", r->path, reason);
  return -1;
}

static int
refuse_errno (const struct refusal *r, const char *what)
{
  reason_set (r->why, "%s: %s: %s", r->path, what, error_text (errno));
  return -1;
}

static int
new_socket (void)
{
  return socket (AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
}

/* -- the lock ----------------------------------------------------------- */

struct lock {
  char path[sizeof ((struct sockaddr_un *) 0)->sun_path + sizeof LOCK_SUFFIX];
  int fd;
};

static int
refuse_lock (const struct lock *lock, const struct refusal *r,
             const char *reason)
{
  reason_set (r->why, "%s: cannot lock %s: %s", r->path, lock->path, reason);
  return -1;
}

/* No other user can open a file that this makes.  So only processes that may
 * also make the socket can hold its lock.  A file that was already there must
 * be of this kind: not a link or a FIFO, not another user's.
 */
static int
lock_file_open (struct lock *lock, const struct refusal *r)
{
  struct stat st;

  lock->fd = open (
    lock->path, O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0600);
  if (lock->fd == -1)
    return refuse_lock (lock, r, error_text (errno));
  if (fstat (lock->fd, &st) == 0 && S_ISREG (st.st_mode) &&
      st.st_uid == geteuid () && (st.st_mode & 0077) == 0)
    return 0;
  close (lock->fd);
  return refuse_lock (lock, r, "is not a lock file of ours: remove it");
}

/* Has the previous holder of the lock removed the file since we opened it? */
static bool
lock_file_is_gone (const struct lock *lock)
{
  struct stat here, there;

  return fstat (lock->fd, &here) == -1 || lstat (lock->path, &there) == -1 ||
         here.st_dev != there.st_dev || here.st_ino != there.st_ino;
}

/* 1: locked; 0: another process has the lock; -1: refused, with a reason. */
static int
lock_try (struct lock *lock, const struct refusal *r)
{
  int err;

  if (lock_file_open (lock, r) == -1)
    return -1;
  err = flock (lock->fd, LOCK_EX | LOCK_NB) == 0 ? 0 : errno;
  if (err == 0 && !lock_file_is_gone (lock))
    return 1;
  close (lock->fd);
  if (err == 0 || err == EWOULDBLOCK || err == EINTR)
    return 0;
  return refuse_lock (lock, r, error_text (err));
}

/* Waits at most LOCK_PATIENCE_MS.  A process needs the lock only for some
 * system calls, so one that keeps it longer hangs.  Tries once more after that
 * time, because this process may have been the one that did not run.
 */
static int
lock_take (struct lock *lock, const struct refusal *r)
{
  const struct timespec pause = { .tv_nsec = LOCK_PAUSE_MS * 1000000L };
  const uint64_t deadline = clock_ns () + LOCK_PATIENCE_MS * UINT64_C (1000000);

  snprintf (lock->path, sizeof lock->path, "%s" LOCK_SUFFIX, r->path);
  for (bool late = false; !late;) {
    int status;

    late = clock_ns () >= deadline;
    status = lock_try (lock, r);
    if (status)
      return status == 1 ? 0 : -1;
    nanosleep (&pause, NULL);
  }
  return refuse_lock (lock, r, "another process keeps it locked");
}

static void
lock_drop (struct lock *lock)
{
  unlink (lock->path);
  close (lock->fd);
}

/* -- the socket --------------------------------------------------------- */

/* Remove a dead server's socket at the path; refuse everything else there. */
static int
make_way (const struct listener *l, const struct refusal *r)
{
  const struct sockaddr *address = (const struct sockaddr *) &l->address;
  struct stat st;
  int fd, err;

  if (lstat (r->path, &st) == -1)
    return errno == ENOENT ? 0 : refuse_errno (r, "cannot be looked at");
  if (!S_ISSOCK (st.st_mode))
    return refuse (r, "exists and is not a socket");
  fd = new_socket ();
  if (fd == -1)
    return refuse_errno (r, "cannot make a socket");
  /* EAGAIN: a server listens, and its queue is full. */
  err = connect (fd, address, sizeof l->address) == 0 ? 0 : errno;
  close (fd);
  if (err == 0 || err == EAGAIN)
    return refuse (r, "another server is listening there");
  errno = err;
  if (err != ECONNREFUSED)
    return refuse_errno (r, "cannot tell who made this socket");
  if (unlink (r->path) == -1 && errno != ENOENT)
    return refuse_errno (r, "cannot remove the socket of a dead server");
  return 0;
}

static int
bind_and_listen (struct listener *l, const struct refusal *r)
{
  const struct sockaddr *address = (const struct sockaddr *) &l->address;
  struct stat st;
  mode_t mask;
  int err;

  mask = umask (0177);
  err = bind (l->fd, address, sizeof l->address) == 0 ? 0 : errno;
  umask (mask);
  errno = err;
  if (err)
    return refuse_errno (r, "cannot make the socket");
  if (lstat (r->path, &st) == -1 || listen (l->fd, BACKLOG) == -1) {
    refuse_errno (r, "cannot listen");
    unlink (r->path);
    return -1;
  }
  l->disk = st.st_dev;
  l->ino = st.st_ino;
  return 0;
}

int
listener_open (struct listener *l, const char *path, struct reason *why)
{
  const struct refusal r = { path, why };
  static pthread_once_t once = PTHREAD_ONCE_INIT;
  struct lock lock;
  char shown[200];
  int status;

  pthread_once (&once, count_forks);
  *l = (struct listener){ .fd = -1,
                          .owner = getpid (),
                          .forks = atomic_load (&forks_seen) };
  l->address.sun_family = AF_UNIX;
  if (strlen (path) >= sizeof l->address.sun_path) {
    reason_set (why, "%s: too long: a socket's path has at most %zu bytes",
                shown_cut (shown, sizeof shown, path, SHOWN_MESSAGE),
                sizeof l->address.sun_path - 1);
    return -1;
  }
  strcpy (l->address.sun_path, path);
  l->fd = new_socket ();
  if (l->fd == -1)
    return refuse_errno (&r, "cannot make a socket");

  status = lock_take (&lock, &r);
  if (status == 0) {
    status = make_way (l, &r);
    if (status == 0)
      status = bind_and_listen (l, &r);
    lock_drop (&lock);
  }
  if (status == -1) {
    close (l->fd);
    l->fd = -1;
  }
  return status;
}

void
listener_adopt (struct listener *l)
{
  l->owner = getpid ();
  l->adopted = true;
}

static bool
is_owner (const struct listener *l)
{
  return l->fd != -1 && l->owner == getpid () &&
         (l->adopted || l->forks == atomic_load (&forks_seen));
}

void
listener_unlink (const struct listener *l)
{
  const char *path = l->address.sun_path;
  struct stat st;

  if (is_owner (l) && lstat (path, &st) == 0 && st.st_dev == l->disk &&
      st.st_ino == l->ino)
    unlink (path);
}

void
listener_close (struct listener *l)
{
  if (l->fd == -1)
    return;
  listener_unlink (l);
  close (l->fd);
  l->fd = -1;
}
