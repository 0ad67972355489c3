/* SPDX-License-Identifier: BSD-3-Clause */

/* Preloaded into nbdkit by test-ctl-job.py and test-ctl-screen.sh: who gives
 * memory back to the system waits there for as long as the file $HOLD_DECOMMIT
 * exists.  While one waits the file $HOLD_DECOMMIT.held exists.
 *
 * Only whole spans of the allocator, which begin at multiples of SPAN, are
 * given back without a lock; of a span's end that is done with the class
 * locked, and held there it would hold statistics up too.
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
