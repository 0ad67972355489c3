/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * From the configuration keys to a store, its disk and their upkeep: all that
 * can fail, but for threads.
 */

#ifndef ZRAM_SET_UP_H
#define ZRAM_SET_UP_H

#include "plugin/control/service.h"

/* As 'keys' say.  0, or -1, and why has been said in the log.  What was made
 * till then stays, for tear_down.
 */
int set_up (struct service *s) MUST_USE;

/* Free what there is.  No request runs, and no pass by hand.  Harmless where
 * nothing was set up.
 */
void tear_down (struct service *s);

#endif /* ZRAM_SET_UP_H */
