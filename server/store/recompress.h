/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Recompressing one slot.  Its object is copied out under the shared lock,
 * decompressed, and compressed with other methods while nothing is locked.  The
 * result replaces the object if its size class is smaller and the slot still
 * holds the same data.
 */

#ifndef ZRAM_RECOMPRESS_H
#define ZRAM_RECOMPRESS_H

#include "store/disk.h"

#define RECOMPRESS_METHODS 3 /* secondary methods, priorities 1 … 3 */

/* Which methods to try, in order of priority. */
struct recompress_plan {
  struct zcomp_method methods[RECOMPRESS_METHODS];
  unsigned count;       /* of methods */
  unsigned first, last; /* priorities to try, 1 … count */
  uint32_t threshold;   /* bytes: skip smaller objects; 0: none */
};

enum recompress_result {
  RECOMPRESS_SKIPPED, /* not worth a try, or locked, or claimed */
  RECOMPRESS_DONE,    /* smaller now */
  RECOMPRESS_VAIN,    /* no method helped; incompressible if it was the last */
  RECOMPRESS_LOST,    /* its data changed meanwhile */
  RECOMPRESS_FAILED,  /* errno: ENOMEM, ENOSPC, EIO; unchanged */
};

/* Would slot_recompress try a slot with this meta?  No lock. */
bool recompress_wants (const struct recompress_plan *plan, uint32_t meta);

/* Recompress the slot, which had this meta at a look without lock.  The caller
 * provides a claim, and slot_size bytes at 'buf'.  Counts the result.  Takes
 * the slot lock twice, and a stream while it works; may sleep.
 */
enum recompress_result slot_recompress (struct disk *disk, uint64_t index,
                                        uint32_t meta,
                                        const struct recompress_plan *plan,
                                        unsigned claim, void *buf) MUST_USE;

#endif /* ZRAM_RECOMPRESS_H */
