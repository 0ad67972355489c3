/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * KEEP_ERRNO: a release leaves errno unchanged.
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
 * A release often happens on the way out of a function that failed, and the
 * caller must see the error of that failure.  If the release changed ENOSPC to
 * EINVAL, for example, the caller would make no room.  So every function that
 * gives something back (closes, unmaps, unlocks with a wake, waits for a thread
 * to end) has this line, and its callers need not think of it.  At the end of
 * the scope errno has the value that it had at the line.  Do not use it in a
 * function that itself reports by errno: give the release a scope of its own
 * there.
 *
 * Not needed for free (POSIX 2024, glibc since 2.33, and compilers rely on it),
 * nor for the pthread functions that only lock, unlock and signal: they return
 * their errors and set no errno in any C library.
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
