/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Work pool: threads that help with large requests.
 *
 * A request is cut into chunks.  The calling thread works through them itself
 * and never waits for help that has not come.  Idle workers are woken, and each
 * takes the next free chunk.
 *
 *      caller    0  1     3     5  done: wait only for chunk 4
 *      worker          2     4
 *
 * To hand one chunk to a sleeping thread and to hear back costs 25 to 30 µs.
 * So a chunk should take several times that.  While no worker is idle the
 * caller does everything alone, without taking the lock.
 */

#ifndef ZRAM_WORKPOOL_H
#define ZRAM_WORKPOOL_H

#include "base/compiler.h"

struct workpool;

/* Works on chunk number 'chunk'; runs on several threads at once. */
typedef void (*workpool_fn) (void *ctx, unsigned chunk);

/* No threads yet: a fork would kill them.  NULL with errno ENOMEM. */
struct workpool *workpool_create (void) MUST_USE;

/* Make the number of threads 'n' (0 … 256).  Does not wait: each thread that is
 * too many leaves when it has nothing to do, and stays if by then it is not too
 * many any more.  One that sleeps in a request may leave late.  0, or -1 with
 * errno ENOMEM or EAGAIN and as many threads as could be made.  The caller
 * makes only one call at a time.
 */
int workpool_set_threads (struct workpool *wp, unsigned n) MUST_USE;

/* The number of threads wanted; and how many more still exist because they are
 * busy.
 */
unsigned workpool_threads (struct workpool *wp);
unsigned workpool_leaving (struct workpool *wp);

/* Ends all threads and waits for their end.  No request may be shared at that
 * time.
 */
void workpool_destroy (struct workpool *wp);

/* Run fn (ctx, 0 … chunks-1); returns when all are done.  May sleep.  The
 * caller holds no lock that fn, or a thread that fn waits for, could need.
 */
void workpool_share (struct workpool *wp, unsigned chunks, workpool_fn fn,
                     void *ctx);

#endif /* ZRAM_WORKPOOL_H */
