/* SPDX-License-Identifier: BSD-3-Clause */

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
#include <unistd.h>

#include "plugin/control/listener.h"
#include "zram-shown.h"

#define BACKLOG 128

/* Forks after which this process was the parent. */
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
  char *why;
  size_t size;
};

static int
refuse (const struct refusal *r, const char *reason)
{
  snprintf (r->why, r->size, "%s: %s", r->path, reason);
  return -1;
}

static int
refuse_errno (const struct refusal *r, const char *what)
{
  snprintf (r->why, r->size, "%s: %s: %s", r->path, what, strerror (errno));
  return -1;
}

static int
new_socket (void)
{
  return socket (AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
}

/* Lock the folder.  Its descriptor; -1 if that cannot be: then we do without.
 */
static int
lock_folder (const char *path)
{
  const char *slash = strrchr (path, '/');
  char folder[sizeof ((struct sockaddr_un *) 0)->sun_path];
  int fd;

  if (!slash)
    return -1;
  snprintf (folder, sizeof folder, "%.*s", (int) (slash - path) + 1, path);
  fd = open (folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd >= 0)
    while (flock (fd, LOCK_EX) == -1 && errno == EINTR)
      ;
  return fd;
}

/* What is at the path already goes, or is a reason to refuse. */
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
  /* EAGAIN: it listens, and its queue is full. */
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
  l->dev = st.st_dev;
  l->ino = st.st_ino;
  return 0;
}

int
listener_open (struct listener *l, const char *path, char *why, size_t size)
{
  const struct refusal r = { path, why, size };
  static pthread_once_t once = PTHREAD_ONCE_INIT;
  char shown[200];
  int folder, status;

  pthread_once (&once, count_forks);
  *l = (struct listener){ .fd = -1,
                          .owner = getpid (),
                          .forks = atomic_load (&forks_seen) };
  l->address.sun_family = AF_UNIX;
  if (strlen (path) >= sizeof l->address.sun_path) {
    snprintf (why, size, "%s: too long: a socket's path has at most %zu bytes",
              shown_cut (shown, sizeof shown, path, SHOWN_MESSAGE),
              sizeof l->address.sun_path - 1);
    return -1;
  }
  strcpy (l->address.sun_path, path);
  l->fd = new_socket ();
  if (l->fd == -1)
    return refuse_errno (&r, "cannot make a socket");

  folder = lock_folder (path);
  status = make_way (l, &r);
  if (status == 0)
    status = bind_and_listen (l, &r);
  if (folder >= 0)
    close (folder);
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

  if (is_owner (l) && lstat (path, &st) == 0 && st.st_dev == l->dev &&
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
