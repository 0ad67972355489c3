/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Descriptors: waiting for them, accepting them, and how many may be used.
 *
 * RLIMIT_NOFILE may be low and may change while the process runs.  nbdkit comes
 * first: each of its connections takes three descriptors.
 */

#ifndef ZRAM_FDS_H
#define ZRAM_FDS_H

#include <poll.h>

#include "base/compiler.h"

/* poll, for an event loop whose descriptors do not block.  Returns when a
 * descriptor is ready, the time is over, or a signal came.
 *
 * If poll itself fails, every descriptor counts as ready after a pause of
 * FDS_PAUSE_MS: the loop goes on, slowly, and notices when it must stop.
 * ENOMEM passes by itself.  EINVAL (more descriptors than RLIMIT_NOFILE, which
 * was lowered) does not.
 */
#define FDS_PAUSE_MS 100
void fds_poll (struct pollfd *fds, unsigned n, int timeout_ms);

enum fds_accept {
  FDS_ACCEPTED,
  FDS_NOBODY, /* no connection waits, or it left again */
  FDS_PAUSE,  /* no descriptors or no memory now.  Do not try again for
                 FDS_PAUSE_MS: the listener stays ready meanwhile. */
  FDS_NEVER,  /* the descriptor does not listen any more */
};

/* Accept one connection into *fd, without blocking. */
enum fds_accept fds_accept (int listener, int *fd) MUST_USE;

/* One 'share'th of all descriptors that the process may have: 4 is a quarter.
 * At least one, and at most 'most'.
 */
unsigned fds_share (unsigned share, unsigned most);

#endif /* ZRAM_FDS_H */
