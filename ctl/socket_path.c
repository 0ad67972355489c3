/* SPDX-License-Identifier: BSD-3-Clause */

#include <config.h>

#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "socket_path.h"

#define NAME "run/control.sock"

/* BUILD/run/control.sock, if this program is BUILD/ctl/nbdzramctl. */
static bool
beside_program (char path[PATH_MAX])
{
  static const char place[] = "/ctl/nbdzramctl";
  char self[PATH_MAX];
  ssize_t n = readlink ("/proc/self/exe", self, sizeof self - 1);
  size_t tail = sizeof place - 1;

  if (n < (ssize_t) tail)
    return false;
  self[n] = '\0';
  if (strcmp (self + n - tail, place) != 0)
    return false;
  return snprintf (path, PATH_MAX, "%.*s/" NAME, (int) ((size_t) n - tail),
                   self) < PATH_MAX;
}

const char *
socket_path (void)
{
  static char path[PATH_MAX];
  const char *env = getenv ("NBDZRAM_SOCKET");

  if (env && *env)
    return env;
  if (beside_program (path))
    return path;
  if (access (NAME, F_OK) == 0 && access ("build/" NAME, F_OK) < 0)
    return NAME;
  return "build/" NAME;
}
