/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Reads slots for a deep audit, and can be left alone with one.
 *
 *   who asks                         thread
 *   deep_reader_read  --- slot --->  begins a request, sleeps in the store
 *        waits, with patience        ends the request
 *        <---------- errno --------
 *   patience ends: goes away         is busy until the store has answered; who
 *                                    asks next waits for that first
 *
 * What is in memory is read by who asks.  Only what is in the backing store
 * goes through the thread, as a request like a client's: so nobody takes the
 * world for frozen while it holds a slot's lock.
 *
 * Locks: 'lock' (a leaf) protects what the two share.
 */

#ifndef ZRAM_DEEP_READER_H
#define ZRAM_DEEP_READER_H

#include "base/patience.h"
#include "store/slot_walk.h"

struct deep_reader;

/* Starts the thread, so after the last fork.  NULL with errno set. */
struct deep_reader *deep_reader_create (struct store *store) MUST_USE;

/* Waits for the read at hand: an NBD store answers or fails within its timeout,
 * and once the server stops all requests to a store fail at once; what the
 * kernel does not answer for a file ends with the process (plugin/ending.h).
 * NULL is allowed.
 */
void deep_reader_destroy (struct deep_reader *r);

/* The whole slot, no access.  0, or -1 with errno: as slot_read_unnoticed;
 * ESHUTDOWN; ETIMEDOUT or ECANCELED when patience ended before the store had
 * answered.  *requests grows by those that were the reader's own.
 */
int deep_reader_read (struct deep_reader *r, struct disk *disk, uint64_t index,
                      void *buf, const struct patience *p, unsigned *requests)
  MUST_USE;

#endif /* ZRAM_DEEP_READER_H */
