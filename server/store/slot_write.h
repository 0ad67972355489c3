/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One slot: write, write a part of it, discard.
 *
 * A write is not visible until it succeeds.  If it fails (limit, memory, codec)
 * the slot is unchanged.  Each operation is atomic for the slot: other threads
 * see all of it or nothing.
 *
 * A write that does not change the data takes no memory, so it cannot fail for
 * lack of memory: zeroes where nothing was written, or a part that has these
 * bytes already.  It fails only if the old data are needed and cannot be read.
 *
 * All of them take the slot lock, and may sleep; the caller holds no lock.
 * 'now' is clock_coarse_s () at the time of the request.  0, or -1 with errno
 * ENOSPC (over the limit), ENOMEM, or EIO (the object is damaged, or the codec
 * failed).
 */

#ifndef ZRAM_SLOT_WRITE_H
#define ZRAM_SLOT_WRITE_H

#include "store/disk.h"

/* The whole slot: slot_size bytes.  Zeroes do not make a leaf in the table; if
 * there is one, the slot becomes SAME.
 */
int slot_write (struct disk *disk, uint64_t index, const void *buf,
                uint32_t now) MUST_USE;

/* Bytes [offset, offset + len) of the slot; buf NULL: zeroes. */
int slot_write_part (struct disk *disk, uint64_t index, const void *buf,
                     uint32_t offset, uint32_t len, uint32_t now) MUST_USE;

/* The same with zeroes.  Without 'wait' it does not wait for the evictor to
 * make room.
 */
int slot_zero_part (struct disk *disk, uint64_t index, uint32_t offset,
                    uint32_t len, uint32_t now, bool wait) MUST_USE;

/* The whole slot becomes EMPTY.  Cannot fail. */
void slot_discard (struct disk *disk, uint64_t index);

/* The same, but does nothing and returns false if the slot is locked. */
bool slot_try_discard (struct disk *disk, uint64_t index) MUST_USE;

/* Does the buffer repeat one 64-bit word?  len: a multiple of 8, at least 8. */
bool slot_same_filled (const void *buf, uint32_t len, uint64_t *word);

#endif /* ZRAM_SLOT_WRITE_H */
