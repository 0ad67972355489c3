/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Which parts of a disk hold data, read from the slot table alone: nothing
 * is locked and nothing decompressed.
 */

#ifndef ZRAM_EXTENTS_H
#define ZRAM_EXTENTS_H

#include "store/disk.h"

enum extent_type {
  EXTENT_DATA,
  EXTENT_ZERO, /* written as zeroes */
  EXTENT_HOLE, /* never written or discarded; reads as zeroes */
};

/* Gets the next extent; returns 0 to go on, -1 to stop with that result. */
typedef int (*extent_fn) (void *ctx, uint64_t offset, uint64_t length,
                          enum extent_type type);

/* Reports [offset, offset + count) in ascending order, without gaps, exactly
 * that and no more, neighbours of different types; with 'one' only the first.
 * What is written meanwhile may be seen as before or after.  0, or what fn
 * returned.
 */
int disk_extents (struct disk *disk, uint64_t offset, uint64_t count, bool one,
                  extent_fn fn, void *ctx) MUST_USE;

#endif /* ZRAM_EXTENTS_H */
