/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Byte ranges of a disk: cut at slot boundaries, whole slots and edges
 * each served by slot_read.h and slot_write.h, large requests shared with idle
 * workers.
 *
 * The caller has checked that [offset, offset + count) lies in the disk,
 * and holds no lock.  All of these may sleep.  0, or -1 with errno as in
 * those; a request that fails may have been carried out for some of its
 * slots, each of them wholly or not at all.
 */

#ifndef ZRAM_RANGE_H
#define ZRAM_RANGE_H

#include "base/patience.h"
#include "store/disk.h"

int disk_read (struct disk *disk, void *buf, uint32_t count, uint64_t offset)
  MUST_USE;

/* The buffer does not change before this returns: it is compressed where it
 * is.  If it does, the slots concerned hold anything or cannot be read (EIO)
 * until they are written again; nothing else suffers.
 */
int disk_write (struct disk *disk, const void *buf, uint32_t count,
                uint64_t offset) MUST_USE;

/* Reads as zeroes from now on, and whole slots cost nothing any more.  Serves
 * write zeroes.  Of whole slots alone it cannot fail.  If an edge cannot be
 * made zero (its old data cannot be read, memory is out) that edge stays as it
 * was, all else is zero, and it fails.
 */
int disk_discard (struct disk *disk, uint64_t offset, uint64_t count) MUST_USE;

/* The same as advice: serves trim.  What cannot be made zero stays as it was,
 * and that is no failure.  Fails only once the store is closed.
 */
int disk_trim (struct disk *disk, uint64_t offset, uint64_t count) MUST_USE;

/* Everything is where it stays; counted. */
void disk_flush (struct disk *disk);

/* Discard everything; also when the store is closed.  Waits for whoever has a
 * slot locked.
 */
void disk_discard_all (struct disk *disk);

/* The same, but slots that somebody has locked until patience ends stay as they
 * are; returns how many those are.
 */
uint64_t disk_discard_patiently (struct disk *disk, const struct patience *p)
  MUST_USE;

#endif /* ZRAM_RANGE_H */
