/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Tells which parts of a disk hold data, from the slot table alone: without
 * locks and without decompression.
 */

#ifndef ZRAM_EXTENTS_H
#define ZRAM_EXTENTS_H

#include "store/disk.h"

enum extent_type {
  EXTENT_DATA,
  EXTENT_ZERO, /* written as zeroes */
  EXTENT_HOLE, /* never written or discarded; reads as zeroes */
};

/* Called with the next extent; returns 0 to go on, or -1 to stop. */
typedef int (*extent_fn) (void *ctx, uint64_t offset, uint64_t length,
                          enum extent_type type);

/* Reports exactly [offset, offset + count), in ascending order and without
 * gaps; neighbours have different types.  With 'one', reports only the first
 * extent.  Data that are written meanwhile are reported as before or after the
 * write.  Returns 0, or the result of fn if that is -1.
 */
int disk_extents (struct disk *disk, uint64_t offset, uint64_t count, bool one,
                  extent_fn fn, void *ctx) MUST_USE;

#endif /* ZRAM_EXTENTS_H */
