/* SPDX-License-Identifier: BSD-3-Clause */
/* Stays with a job of the server until it has ended.
 *
 * On a terminal there is a bar, drawn again and again in one place:
 *
 *   compact [############--------]  60% 1200/2000 pages, 400/s, 0:02 left
 *
 * elsewhere the same figures, once a second on a line of their own.  Both go
 * to stderr; what was done in the end goes to stdout.  The first Ctrl-C
 * cancels the job, and then what was done until then is said; after a second
 * one it goes on without us.
 */

#ifndef NBDZRAMCTL_PROGRESS_H
#define NBDZRAMCTL_PROGRESS_H

#include <stdint.h>

#include "ctl.h"

void progress_catch_signals (void);

/* STATUS_OK if it was done; else the reason is on stderr. */
int progress_follow (struct ctl *ctl, int64_t id);

#endif /* NBDZRAMCTL_PROGRESS_H */
