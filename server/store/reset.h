/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Reset: a disk is emptied, and begins anew or ends.
 *
 * Stands above byte ranges and below nothing else of store/: what makes and
 * finds disks (store/disk.h) knows nothing of what is in them.
 */

#ifndef ZRAM_RESET_H
#define ZRAM_RESET_H

#include "base/patience.h"
#include "store/disk.h"

/* Discard everything, and let the counters that only grow start again from 0,
 * those of the pool with them.
 * Requests may run: for them it is a trim of the whole disk.
 */
void disk_reset (struct disk *disk);

/* The same, but slots that somebody has locked until patience ends stay as they
 * are, and the counters too then; returns how many slots those are.
 */
uint64_t disk_reset_patiently (struct disk *disk, const struct patience *p)
  MUST_USE;

/* Take it out of the list, free every object, and drop the caller's reference.
 * No request may be running on it; walks may be in it, and the last of them
 * frees what is left.  NULL is allowed.
 */
void disk_destroy (struct disk *disk);

#endif /* ZRAM_RESET_H */
