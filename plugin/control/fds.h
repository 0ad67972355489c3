/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Descriptors: waiting for them, accepting them, and how many may be had.
 *
 * RLIMIT_NOFILE may be small, may be changed while the process runs, and what
 * it allows is nbdkit's first: each of its connections takes three.
 */

#ifndef ZRAM_FDS_H
#define ZRAM_FDS_H

#include <poll.h>

#include "base/compiler.h"

/* poll, for an event loop whose descriptors do not block.  Returns when
 * something happened, the time is over, or a signal came.
 *
 * Where poll itself fails, every descriptor counts as ready after a pause of
 * FDS_PAUSE_MS: the loop goes on, slowly, and looks at whatever tells it to
 * stop.  ENOMEM passes by itself.  EINVAL (more descriptors than
 * RLIMIT_NOFILE, which was lowered) does not.
 */
#define FDS_PAUSE_MS 100
void fds_poll (struct pollfd *fds, unsigned n, int timeout_ms);

enum fds_accept {
  FDS_ACCEPTED,
  FDS_NOBODY, /* is waiting, or not any more */
  FDS_PAUSE,  /* not now: no descriptors, no memory.  Not to be tried again
                 for FDS_PAUSE_MS: the listener stays ready meanwhile. */
  FDS_NEVER,  /* the listener is not one any more */
};

/* Accept one connection, not blocking, into *fd. */
enum fds_accept fds_accept (int listener, int *fd) MUST_USE;

/* 'share' of all descriptors that the process may have: 4 is a quarter.  'most'
 * at the most, and at least one.
 */
unsigned fds_share (unsigned share, unsigned most);

#endif /* ZRAM_FDS_H */
