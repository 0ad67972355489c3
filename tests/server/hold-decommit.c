/* SPDX-License-Identifier: BSD-3-Clause */

/* Preloaded into nbdkit by test-ctl-job.py and test-ctl-screen.sh.  While the
 * file $HOLD_DECOMMIT exists, a thread that gives memory back to the system
 * waits here, and the file $HOLD_DECOMMIT.held exists.
 *
 * Only threads that give back whole spans of the allocator, which begin at
 * multiples of SPAN, are held: they hold no lock.  A span's end is given back
 * with its class locked, so a wait there would also stop statistics.
 */

#define _GNU_SOURCE

#include <dlfcn.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define SPAN (128 * 1024)

static void
hold (const char *path)
{
  const struct timespec ts = { .tv_nsec = 5000000 };
  char held[4096];

  snprintf (held, sizeof held, "%s.held", path);
  close (open (held, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
  while (access (path, F_OK) == 0)
    nanosleep (&ts, NULL);
  unlink (held);
}

int
madvise (void *addr, size_t len, int advice)
{
  static int (*next) (void *, size_t, int);
  const char *path = getenv ("HOLD_DECOMMIT");

  if (!next)
    next = (int (*) (void *, size_t, int)) dlsym (RTLD_NEXT, "madvise");
  if (advice == MADV_DONTNEED && (uintptr_t) addr % SPAN == 0 && path &&
      access (path, F_OK) == 0)
    hold (path);
  return next (addr, len, advice);
}
