/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Drainer: when what lies in the write buffer is compressed.  The mechanism is
 * store/drain.h.
 *
 *   age that is due
 *   1 s |--------------------------.        all of it, once memory is nearly
 *       |                           `.      used up (buffer_is_closed)
 *       |                             `.
 *   1/8 |                               `
 *       +---------------------------|----
 *       0        entries in use    3/4   capacity
 *
 * What was not written for a second goes; what is written again and again
 * stays, and is never compressed.  When the buffer gets full the age falls, so
 * that what comes back seldom makes way for what comes next.
 *
 * It has a CPU to itself while nobody asks for anything, and PACE_BUSY_PERCENT
 * of one while clients do: writes that find the buffer full are compressed by
 * those who serve them, as without a buffer, so there is nothing to be won by
 * taking a CPU away from them.
 *
 * Chunks that were not needed for some seconds go back to the system.
 */

#ifndef ZRAM_DRAINER_H
#define ZRAM_DRAINER_H

#include "maint/pace.h"
#include "store/slot_walk.h"

#define DRAIN_AGE_MS 1000u      /* not written for so long: due */
#define DRAIN_LEAST_AGE_MS 125u /* the same when the buffer is full */

struct drainer;

/* The disk is not owned and must outlive the drainer.  NULL with errno
 * ENOMEM. */
struct drainer *drainer_create (struct store *store) MUST_USE;

/* Start the thread (after the last fork).  0, or -1 with errno EAGAIN. */
int drainer_start (struct drainer *d) MUST_USE;

/* End the thread, after the step at hand. */
void drainer_stop (struct drainer *d);
void drainer_destroy (struct drainer *d); /* NULL is allowed */

/* In the calling thread: drain all that is in the buffer, unless it is written
 * again meanwhile or somebody sets *cancel; and give its memory back.
 */
void drainer_empty (struct store *store, struct pace *pace,
                    const atomic_bool *cancel);

/* The age that is due now, in ms. */
uint32_t drainer_due (const struct buffer *b);

#endif /* ZRAM_DRAINER_H */
