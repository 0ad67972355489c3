/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A listening Unix socket in the file system, never taken from another server.
 *
 *   at the path there is          then
 *     nothing                     it is made, mode 0600
 *     a socket, a server listens  refused
 *     a socket, no one listens    replaced: its server is dead
 *     anything else               refused
 *
 * From looking to making, a file beside it (PATH.lock) is locked.  So if two
 * servers find the same dead socket, only one replaces it.  The file has mode
 * 0600 and exists only for that time.  The folder itself is not locked, because
 * everyone who can read a folder could lock it.
 *
 * The socket is removed at the end, if it is still the one that was made, and
 * only by the process that serves:
 *
 *   owner                            until
 *     the process that opened it     it forks: then its child serves
 *     the process that adopted it    the end
 */

#ifndef ZRAM_LISTENER_H
#define ZRAM_LISTENER_H

#include <stdbool.h>
#include <sys/types.h>
#include <sys/un.h>

#include "base/compiler.h"
#include "base/reason.h"

struct listener {
  int fd;
  struct sockaddr_un address;
  dev_t disk; /* of the socket that was made */
  ino_t ino;
  pid_t owner;    /* only this process removes it */
  unsigned forks; /* forks that the owner had counted when it opened it */
  bool adopted;
};

/* The path is absolute.  Changes the umask for a moment, so no thread may be
 * running yet.  Waits at most some seconds.  0, or -1 with a reason that begins
 * with the path.
 */
int listener_open (struct listener *l, const char *path, struct reason *why)
  MUST_USE;

/* From now on the calling process serves, and removes the socket. */
void listener_adopt (struct listener *l);

/* Remove the socket if the calling process owns it. */
void listener_unlink (const struct listener *l);

/* Like listener_unlink, and close the socket. */
void listener_close (struct listener *l);

#endif /* ZRAM_LISTENER_H */
