/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One slot: write, write a part of it, discard.
 *
 * Until a write succeeds nothing of it is seen; when it fails (limit, memory,
 * codec) the slot still holds what it held.  Each of these is atomic for the
 * slot: others see all of it or nothing.
 *
 * A write that leaves the data as they are takes no memory and cannot fail for
 * want of it: zeroes where nothing was written, a part that is already so.  It
 * fails only if the old data have to be read, and cannot be.
 *
 * All of them take the slot lock, and may sleep; the caller holds no lock.
 * 'now' is clock_coarse_s () at the time of the request.  0, or -1 with errno
 * ENOSPC (over the limit), ENOMEM, or EIO (the object is damaged, or the codec
 * failed).
 */

#ifndef ZRAM_SLOT_WRITE_H
#define ZRAM_SLOT_WRITE_H

#include "store/disk.h"

/* The whole slot: slot_size bytes.  Zeroes need no leaf of the table, and make
 * none; where there is one, the slot becomes SAME.
 */
int slot_write (struct disk *disk, uint64_t index, const void *buf,
                uint32_t now) MUST_USE;

/* Bytes [offset, offset + len) of the slot; buf NULL: zeroes. */
int slot_write_part (struct disk *disk, uint64_t index, const void *buf,
                     uint32_t offset, uint32_t len, uint32_t now) MUST_USE;

/* The same with zeroes, but without 'wait' it does not wait for the evictor to
 * make room.
 */
int slot_zero_part (struct disk *disk, uint64_t index, uint32_t offset,
                    uint32_t len, uint32_t now, bool wait) MUST_USE;

/* The whole slot becomes EMPTY.  Cannot fail. */
void slot_discard (struct disk *disk, uint64_t index);

/* The same, but false, and nothing done, if somebody has it locked. */
bool slot_try_discard (struct disk *disk, uint64_t index) MUST_USE;

/* Is this all one repeated 64-bit word?  len: a multiple of 8, at least 8. */
bool slot_same_filled (const void *buf, uint32_t len, uint64_t *word);

#endif /* ZRAM_SLOT_WRITE_H */
