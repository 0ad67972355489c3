/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * From the configuration keys to a store, its disk and their upkeep: everything
 * that can fail, except threads.
 */

#ifndef ZRAM_SET_UP_H
#define ZRAM_SET_UP_H

#include "plugin/control/service.h"

/* Set up what 'keys' say.  0, or -1 with the reason logged.  Parts that were
 * already made stay, for tear_down.
 */
int set_up (struct service *s) MUST_USE;

/* Free everything.  No request runs, and no pass by hand.  Harmless if nothing
 * was set up.
 */
void tear_down (struct service *s);

#endif /* ZRAM_SET_UP_H */
