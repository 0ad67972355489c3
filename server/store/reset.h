/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Reset: empties a disk, which then starts again or is destroyed.
 *
 * It uses byte ranges, and nothing else in store/ uses it: the code that makes
 * and finds disks (store/disk.h) knows nothing about their content.
 */

#ifndef ZRAM_RESET_H
#define ZRAM_RESET_H

#include "base/patience.h"
#include "store/disk.h"

/* Discard everything, and let the counters that only grow start again from 0,
 * those of the pool too.  Requests may run: for them it is a trim of the whole
 * disk.  Slots that are still locked when patience ends stay unchanged, and
 * then the counters do too.  Returns how many slots those are.
 */
uint64_t disk_reset_patiently (struct disk *disk, const struct patience *p)
  MUST_USE;

/* Take the disk out of the list, free all its objects, and drop the caller's
 * reference.  No request may be running on it.  Walks may be in it, and the
 * last of them frees the rest.  NULL is allowed.
 */
void disk_destroy (struct disk *disk);

#endif /* ZRAM_RESET_H */
