/* SPDX-License-Identifier: BSD-3-Clause */
/* Descriptors of one thread alone.
 * Contract: base/own_files.h.
 */

#include <config.h>

#include <sys/syscall.h>
#include <unistd.h>

#include "base/own_files.h"

#define FIRST 3 /* after stdin, stdout and stderr */

#ifndef CLOSE_RANGE_UNSHARE
#define CLOSE_RANGE_UNSHARE (1u << 1)
#endif

static bool
close_all (unsigned from, unsigned to, unsigned flags)
{
#ifdef SYS_close_range
  return syscall (SYS_close_range, from, to, flags) == 0;
#else
  (void) from;
  (void) to;
  (void) flags;
  return false;
#endif
}

static void
close_between (int a, int b)
{
  if (a + 1 < b)
    (void) close_all ((unsigned) a + 1, (unsigned) b - 1, 0);
}

bool
own_files (int a, int b)
{
  int low = a < b ? a : b, high = a < b ? b : a;

  if (low < FIRST)
    low = FIRST - 1;
  if (high < FIRST)
    high = FIRST - 1;
  /* The first call gives this thread its own table, and may fail; after it
   * nothing can fail.
   */
  if (!close_all ((unsigned) high + 1, ~0u, CLOSE_RANGE_UNSHARE))
    return false;
  close_between (FIRST - 1, low);
  close_between (low, high);
  return true;
}
