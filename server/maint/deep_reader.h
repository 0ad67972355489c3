/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Deep reader: reads slots for a deep audit.  The audit need not wait for a
 * read that takes too long.
 *
 *   caller                           thread
 *   deep_reader_read  --- slot --->  begins a request, sleeps in the
 *        waits, with patience        backing store, ends the request
 *        <---------- errno --------
 *   patience ends: returns           is busy until the backing store answers;
 *                                    the next call waits for that first
 *
 * The caller reads slots in memory itself.  Only slots in the backing store are
 * read by the thread, as a request like a client's.  So the store never counts
 * as frozen while the thread holds a slot's lock.
 *
 * Locks: 'lock' (a leaf) protects the data that the two share.
 */

#ifndef ZRAM_DEEP_READER_H
#define ZRAM_DEEP_READER_H

#include "base/patience.h"
#include "store/slot_walk.h"

struct deep_reader;

/* Starts the thread, so call it after the last fork.  NULL with errno set. */
struct deep_reader *deep_reader_create (struct store *store) MUST_USE;

/* Waits for the current read.  That ends: an NBD backing store answers or fails
 * within its timeout, and once the server stops, all requests to a backing
 * store fail at once.  A read of a file that the kernel does not answer ends
 * with the process (plugin/ending.h).  NULL is allowed.
 */
void deep_reader_destroy (struct deep_reader *r);

/* Read the whole slot; does not count as an access.  0, or -1 with errno: as
 * slot_read_unnoticed; ESHUTDOWN; ETIMEDOUT or ECANCELED if patience ended
 * before the backing store answered.  *requests grows by the number of requests
 * that the reader itself made.
 */
int deep_reader_read (struct deep_reader *r, struct disk *disk, uint64_t index,
                      void *buf, const struct patience *p, unsigned *requests)
  MUST_USE;

#endif /* ZRAM_DEEP_READER_H */
