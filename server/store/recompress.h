/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Recompressing one slot: its object is copied out under the shared lock,
 * decompressed and compressed with other codecs while nothing is locked, and
 * swapped in if it gets a smaller size class and the slot still holds the same
 * data.
 */

#ifndef ZRAM_RECOMPRESS_H
#define ZRAM_RECOMPRESS_H

#include "store/disk.h"

#define RECOMPRESS_METHODS 3 /* secondary codecs, priorities 1 … 3 */

/* What to try, in order of priority. */
struct recompress_plan {
  struct zcomp_method methods[RECOMPRESS_METHODS];
  unsigned count;       /* methods there are */
  unsigned first, last; /* priorities to try, 1 … count */
  uint32_t threshold;   /* leave alone what is smaller; 0: nothing */
};

enum recompress_result {
  RECOMPRESS_SKIPPED, /* not worth a try, or somebody was at it */
  RECOMPRESS_DONE,    /* smaller now */
  RECOMPRESS_VAIN,    /* no codec helped; incompressible, if it was the last */
  RECOMPRESS_LOST,    /* its data changed meanwhile */
  RECOMPRESS_FAILED,  /* errno: ENOMEM, ENOSPC, EIO; as it was */
};

/* Would slot_recompress try a slot with this meta?  No lock. */
bool recompress_wants (const struct recompress_plan *plan, uint32_t meta);

/* Does all of that for the slot, which had this meta at a look without lock,
 * with a claim of the caller's and slot_size bytes at 'buf'.  Counts what it
 * did.  Takes the slot lock twice, and a stream while it works; may sleep.
 */
enum recompress_result slot_recompress (struct disk *disk, uint64_t index,
                                        uint32_t meta,
                                        const struct recompress_plan *plan,
                                        unsigned claim, void *buf) MUST_USE;

#endif /* ZRAM_RECOMPRESS_H */
