/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Threads that help a request which is worth sharing.
 *
 * A request is cut in chunks.  The calling thread works through them itself
 * and never waits for help that has not come: idle workers are woken, and
 * each takes the next chunk that nobody has.
 *
 *      caller    0  1     3     5  done: wait only for chunk 4
 *      worker          2     4
 *
 * Handing one chunk to a sleeping thread and hearing back costs 25 to 30 µs,
 * so chunks should be several times that, and while no worker is idle the
 * caller does everything alone without taking the lock.
 */

#ifndef ZRAM_WORKPOOL_H
#define ZRAM_WORKPOOL_H

#include "base/compiler.h"

struct workpool;

/* Works on chunk number 'chunk'; runs on several threads at once. */
typedef void (*workpool_fn) (void *ctx, unsigned chunk);

/* No threads yet: a fork would kill them.  NULL with errno ENOMEM. */
struct workpool *workpool_create (void) MUST_USE;

/* Make the number of threads 'n' (0 … 256).  Waits for nobody: of those that
 * are too many each leaves when it has nothing to do, and stays if by then it
 * is not too many any more; one that sleeps in a request may leave late.  0, or
 * -1 with errno ENOMEM or EAGAIN and as many threads as could be had.  The
 * caller sees to it that there is one call at a time.
 */
int workpool_set_threads (struct workpool *wp, unsigned n) MUST_USE;

/* How many there shall be; and how many are there besides, still busy. */
unsigned workpool_threads (struct workpool *wp);
unsigned workpool_leaving (struct workpool *wp);

/* Ends all threads and waits for their end.  Nothing may be shared at the
 * time.
 */
void workpool_destroy (struct workpool *wp);

/* Run fn (ctx, 0 … chunks-1); returns when all are done.  May sleep; the
 * caller holds no lock that fn, or whoever fn waits for, could need.
 */
void workpool_share (struct workpool *wp, unsigned chunks, workpool_fn fn,
                     void *ctx);

#endif /* ZRAM_WORKPOOL_H */
