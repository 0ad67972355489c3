/* SPDX-License-Identifier: BSD-3-Clause */
/* Follows a job of the server until it has ended.
 *
 *On a terminal it draws a bar again and again in one place:
 *
 *   compact [############--------]  60% 1200/2000 pages, 400/s, 0:02 left
 *
 * elsewhere it prints the same figures once a second, on a line of their own.
 * Both go to stderr; the result goes to stdout.  The first Ctrl-C cancels the
 * job, and the result so far is printed.  After a second one the job goes on
 * without us.
 */

#ifndef NBDZRAMCTL_PROGRESS_H
#define NBDZRAMCTL_PROGRESS_H

#include <stdint.h>

#include "ctl.h"

void progress_catch_signals (void);

/* STATUS_OK if it was done; otherwise the reason is on stderr. */
int progress_follow (struct ctl *ctl, int64_t id);

#endif /* NBDZRAMCTL_PROGRESS_H */
