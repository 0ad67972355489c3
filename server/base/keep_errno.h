/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * errno survives what is released.
 *
 *   void
 *   thing_free (struct thing *t)
 *   {
 *     KEEP_ERRNO;
 *
 *     munmap (t->p, t->size);  // may set errno, also when it succeeds
 *     close (t->fd);
 *   }
 *
 * A release is most often on its way out with an error, and the error is what
 * the caller is to hear of: of EINVAL in the place of ENOSPC it would make no
 * room.  So every function that gives something back (closes, unmaps, unlocks
 * with a wake, waits for a thread to end) has this line, and no caller of one
 * needs to think of it.  errno at the end of the scope is what it was at the
 * line.  Not in a function that itself reports by errno: give the release a
 * scope of its own there.
 *
 * What needs nothing: free (POSIX 2024, glibc since 2.33, and compilers count
 * on it); and of pthreads what only locks, unlocks and signals, which returns
 * its errors and sets no errno in any C library.
 */

#ifndef ZRAM_KEEP_ERRNO_H
#define ZRAM_KEEP_ERRNO_H

#include <errno.h>

static inline void
keep_errno_restore (const int *saved)
{
  errno = *saved;
}

#define KEEP_ERRNO \
  __attribute__ ((cleanup (keep_errno_restore), unused)) int errno_kept = errno

#endif /* ZRAM_KEEP_ERRNO_H */
