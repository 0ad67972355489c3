/* SPDX-License-Identifier: BSD-3-Clause */
/* Ctrl-C and similar signals become a number that loops check.
 *
 *A verb that must clean up first (cancel a job, restore a terminal) catches
 *them; all others die of them as usual.
 */

#ifndef NBDZRAMCTL_SIGNALS_H
#define NBDZRAMCTL_SIGNALS_H

#include <stdbool.h>

/* From now on SIGINT, SIGTERM and SIGHUP are counted.  After more than
 * 'patience' of them even a request to the server is given up.
 */
void signals_catch (unsigned patience);

/* Has one come? */
bool signals_seen (void);

/* Have more than 'patience' come? */
bool signals_impatient (void);

/* Sleeps, but only until a signal comes. */
void signals_sleep_ms (unsigned ms);

#endif /* NBDZRAMCTL_SIGNALS_H */
