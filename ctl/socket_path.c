/* SPDX-License-Identifier: BSD-3-Clause */

#include <config.h>

#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ctl.h"
#include "socket_path.h"

#define SELF "/proc/self/exe"

/* BUILD/run/control.sock, if this program is BUILD/ctl/nbdzramctl. */
static bool
beside_program (char path[PATH_MAX])
{
  static const char place[] = "/ctl/nbdzramctl";
  char self[PATH_MAX];
  ssize_t n = readlink (SELF, self, sizeof self - 1);
  size_t tail = sizeof place - 1;

  if (n < (ssize_t) tail)
    return false;
  self[n] = '\0';
  if (strcmp (self + n - tail, place) != 0)
    return false;
  return snprintf (path, PATH_MAX, "%.*s/run/control.sock",
                   (int) ((size_t) n - tail), self) < PATH_MAX;
}

/* The owner of the program could change it to do anything. */
static bool
is_trusted (uid_t owner)
{
  struct stat self;

  return owner == geteuid () || owner == 0 ||
         (stat (SELF, &self) == 0 && owner == self.st_uid);
}

const char *
socket_path (void)
{
  static char path[PATH_MAX];
  const char *env = getenv ("NBDZRAM_SOCKET");
  struct stat st;

  if (env && *env)
    return env;
  if (!beside_program (path))
    die (STATUS_NO_SERVER, "which server? (-s SOCKET, or NBDZRAM_SOCKET)");
  /* scripts/run may have left a link: check the socket itself. */
  if (stat (path, &st) == 0 && !is_trusted (st.st_uid))
    die (STATUS_NO_SERVER,
         "%s belongs to somebody else (-s SOCKET, if it is meant)", path);
  return path;
}
