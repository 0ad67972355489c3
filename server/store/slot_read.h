/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Reading one slot.
 *
 * Functions that take the slot lock may sleep; their caller holds no lock.  0,
 * or -1 with errno ENOMEM, or EIO: the object is damaged or cannot be read, or
 * the codec failed.
 */

#ifndef ZRAM_SLOT_READ_H
#define ZRAM_SLOT_READ_H

#include "store/disk.h"

/* Bytes [offset, offset + len) of the slot.  'now' is clock_coarse_s () at the
 * time of the request.  A slot that was read from the backing store may be put
 * back into memory (store.h: promote).
 */
int slot_read (struct disk *disk, uint64_t index, void *buf, uint32_t offset,
               uint32_t len, uint32_t now) MUST_USE;

/* The slot will be read next: prefetch its object's bytes, without a lock. */
void slot_prefetch (struct disk *disk, uint64_t index);

/* As slot_read of the whole slot, but it does not count as an access: the slot
 * keeps its age and mark.  -1 with errno EAGAIN instead of waiting for a
 * writer, or ENOENT if the slot is EMPTY.
 */
int slot_read_unnoticed (struct disk *disk, uint64_t index, void *buf) MUST_USE;

/* The same, but -1 with errno EREMOTE if the slot is BACKED: does not wait for
 * the backing store.
 */
int slot_read_in_memory (struct disk *disk, uint64_t index, void *buf) MUST_USE;

/* Bytes [offset, offset + len) of a slot that repeats the word. */
void slot_fill_words (char *buf, uint32_t offset, uint32_t len, uint64_t word);

#endif /* ZRAM_SLOT_READ_H */
