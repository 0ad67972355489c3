/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A backing store that does not answer while the process ends.
 *
 * If it has requests and completes none of them for STUCK_NS, it is given up.
 * It is shut, so every wait for it fails, and so does every wait for room that
 * only it could make.
 */

#ifndef ZRAM_STUCK_H
#define ZRAM_STUCK_H

#include <stdbool.h>

#include "store/store.h"

#define STUCK_NS (UINT64_C (1000) * 1000000)

/* From now on the store's backing store, if it has one, may be watched; NULL:
 * stop watching.
 */
void stuck_watch (struct store *store);

/* Call it from time to time, on one thread: true if the backing store does not
 * answer; it has been given up then.  Waits only for locks that are held for
 * moments: stuck_watch's, the backing store's for its queue, and that of the
 * waits for room.
 */
bool stuck_look (void);

/* True if it was ever given up. */
bool stuck_given_up (void);

#endif /* ZRAM_STUCK_H */
