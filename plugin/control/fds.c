/* SPDX-License-Identifier: BSD-3-Clause */
/* Polling, accepting and counting descriptors.
 * Contract: plugin/control/fds.h.
 */

#include <config.h>

#include <errno.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "plugin/control/fds.h"

void
fds_poll (struct pollfd *fds, unsigned n, int timeout_ms)
{
  int err = poll (fds, n, timeout_ms) == -1 ? errno : 0;

  if (!err)
    return;
  if (err != EINTR)
    usleep (FDS_PAUSE_MS * 1000);
  for (unsigned i = 0; i < n; i++)
    fds[i].revents = (short) (err != EINTR ? fds[i].events : 0);
}

enum fds_accept
fds_accept (int listener, int *fd)
{
  *fd = accept4 (listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
  if (*fd >= 0)
    return FDS_ACCEPTED;
  switch (errno) {
  case EAGAIN:
  case EINTR:
  case ECONNABORTED:
    return FDS_NOBODY;
  case EBADF:
  case EINVAL:
  case ENOTSOCK:
    return FDS_NEVER;
  default:
    /* EMFILE, ENFILE, ENOBUFS, ENOMEM; EPERM from a firewall; and errors of the
     * network about a connection that no longer exists.
     */
    return FDS_PAUSE;
  }
}

unsigned
fds_share (unsigned share, unsigned most)
{
  struct rlimit limit;

  if (getrlimit (RLIMIT_NOFILE, &limit) == -1 || limit.rlim_cur / share >= most)
    return most;
  return limit.rlim_cur >= share ? (unsigned) (limit.rlim_cur / share) : 1;
}
