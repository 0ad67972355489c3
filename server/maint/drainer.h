/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Drainer: decides when the data in the write buffer are compressed.  The
 * mechanism is store/drain.h.
 *
 *   age that is due
 *   1 s |--------------------------.        all of it, once memory is nearly
 *       |                           `.      used up (buffer_is_closed)
 *       |                             `.
 *   1/8 |                               `
 *       +---------------------------|----
 *       0        entries in use    3/4   capacity
 *
 * Data that were not written for a second leave the buffer.  Data that are
 * written again and again stay, and are never compressed.  When the buffer
 * fills up the age falls, so that data which are written seldom make way for
 * new data.
 *
 * The drainer may use a whole CPU while no requests come, and PACE_BUSY_PERCENT
 * of one while they do.  If a write finds the buffer full, the thread that
 * serves it compresses the data, as without a buffer.  So taking a CPU away
 * from these threads would gain nothing.
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

/* The store is not owned and must outlive the drainer.  NULL with errno ENOMEM.
 */
struct drainer *drainer_create (struct store *store) MUST_USE;

/* Start the thread (after the last fork).  0, or -1 with errno EAGAIN. */
int drainer_start (struct drainer *d) MUST_USE;

/* End the thread, after its current step. */
void drainer_stop (struct drainer *d);
void drainer_destroy (struct drainer *d); /* NULL is allowed */

/* In the calling thread: drain all data in the buffer, except those that are
 * written again meanwhile, and give its memory back.  Ends early if *cancel is
 * set.
 */
void drainer_empty (struct store *store, struct pace *pace,
                    const atomic_bool *cancel);

/* The age from which data are due now, in ms. */
uint32_t drainer_due (const struct buffer *b);

#endif /* ZRAM_DRAINER_H */
