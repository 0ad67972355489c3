/* SPDX-License-Identifier: BSD-3-Clause */
/* Ctrl-C and its kin become a number that loops look at.
 *
 * A verb that has something to put in order first (a job to cancel, a
 * terminal to restore) catches them; all others die of them as usual.
 */

#ifndef NBDZRAMCTL_SIGNALS_H
#define NBDZRAMCTL_SIGNALS_H

#include <stdbool.h>

/* From now on SIGINT, SIGTERM and SIGHUP are counted.  After more than
 * patience of them even a request to the server is given up.
 */
void signals_catch (unsigned patience);

/* Has one come? */
bool signals_seen (void);

/* Have more come than there is patience for? */
bool signals_impatient (void);

/* Sleeps, but not longer than until a signal comes. */
void signals_sleep_ms (unsigned ms);

#endif /* NBDZRAMCTL_SIGNALS_H */
