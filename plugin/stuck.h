/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A backing store that does not answer while the process ends.
 *
 * One that has requests and completes none of them for STUCK_NS is given up: it
 * is shut, so that all that waits for it fails, and so does all that waits for
 * room which only it could make.
 */

#ifndef ZRAM_STUCK_H
#define ZRAM_STUCK_H

#include <stdbool.h>

#include "store/store.h"

#define STUCK_NS (UINT64_C (1000) * 1000000)

/* Its backing store, if it has one, may be looked at from now on; NULL: not any
 * more.
 */
void stuck_watch (struct store *store);

/* Look, from time to time, in one thread: true if it does not answer, and then
 * it has been given up.  Waits for locks that are held for moments only: by
 * stuck_watch, by the backing store for its queue, and by who waits for room.
 */
bool stuck_look (void);

/* It was given up once. */
bool stuck_given_up (void);

#endif /* ZRAM_STUCK_H */
