/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A listening Unix socket in the file system that nobody else is robbed of.
 *
 *   at the path there is          then
 *     nothing                     it is made, mode 0600
 *     a socket, someone listens   refused
 *     a socket, nobody listens    replaced: who made it is dead
 *     anything else               refused
 *
 * From looking to making, a file beside it (PATH.lock) is locked, so that of
 * two servers that find the same dead socket only one replaces it.  The file is
 * 0600 and there for that long only: a folder could be locked by anybody who
 * can read it.
 *
 * It is removed at the end, if it still is the one that was made, and by the
 * process that serves only:
 *
 *   owner             until
 *     who opened it   it forks: then it is the child that serves
 *     who adopted it  the end
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
  pid_t owner;    /* only that process removes it */
  unsigned forks; /* that the owner had seen when it opened it */
  bool adopted;
};

/* The path is absolute.  Changes the umask for a moment, so no thread may be
 * running yet.  Waits some seconds at the most.  0, or -1 with a reason
 * that begins with the path.
 */
int listener_open (struct listener *l, const char *path, struct reason *why)
  MUST_USE;

/* The calling process is the one that serves, and removes it. */
void listener_adopt (struct listener *l);

/* Remove it if the calling process owns it. */
void listener_unlink (const struct listener *l);

/* And close it. */
void listener_close (struct listener *l);

#endif /* ZRAM_LISTENER_H */
