/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Requests for byte ranges of a disk.  Each is cut at slot boundaries;
 * slot_read.h and slot_write.h serve whole slots and edges.  Idle workers share
 * large requests.
 *
 * The caller has checked that [offset, offset + count) lies in the disk, and
 * holds no lock.  All of these may sleep.  0, or -1 with errno as in those
 * headers.  A request that fails may have changed some of its slots: each of
 * them completely or not at all.
 */

#ifndef ZRAM_RANGE_H
#define ZRAM_RANGE_H

#include "base/patience.h"
#include "store/disk.h"

int disk_read (struct disk *disk, void *buf, uint32_t count, uint64_t offset)
  MUST_USE;

/* The buffer must not change before this returns: it is compressed in place.
 * If it does change, the slots concerned hold arbitrary data or cannot be read
 * (EIO) until they are written again.  No other slot is harmed.
 */
int disk_write (struct disk *disk, const void *buf, uint32_t count,
                uint64_t offset) MUST_USE;

/* The range reads as zeroes from now on, and its whole slots use no memory any
 * more.  Serves "write zeroes".  Cannot fail for whole slots.  If an edge
 * cannot be made zero (its old data cannot be read, or memory is used up), that
 * edge stays unchanged, the rest becomes zero, and the call fails.
 */
int disk_discard (struct disk *disk, uint64_t offset, uint64_t count) MUST_USE;

/* The same as advice: serves trim.  An edge that cannot be made zero stays
 * unchanged, and that is not a failure.  Fails only if the store is closed.
 */
int disk_trim (struct disk *disk, uint64_t offset, uint64_t count) MUST_USE;

/* Does nothing but count the request: all data are already where they stay. */
void disk_flush (struct disk *disk);

/* Discard everything, also if the store is closed.  Waits for each slot's lock.
 */
void disk_discard_all (struct disk *disk);

/* The same, but slots that are still locked when patience ends stay unchanged.
 * Returns how many those are.
 */
uint64_t disk_discard_patiently (struct disk *disk, const struct patience *p)
  MUST_USE;

#endif /* ZRAM_RANGE_H */
