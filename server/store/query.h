/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Looking at a disk, and the few things that change it from outside the
 * path of requests.  Statistics take no lock of rank slot or stream, so they
 * answer at once whatever runs.
 */

#ifndef ZRAM_QUERY_H
#define ZRAM_QUERY_H

#include "store/disk.h"

/* What a slot is worth being told apart by. */
struct slot_info {
  enum slot_state state;
  uint32_t size;  /* bytes of the object, also in the store; 0: none */
  unsigned codec; /* its id, CODEC_RAW: stored as it is */
  uint32_t age_s; /* since the last access, at most 65535 */
  bool idle, huge;
  bool recompressed;   /* by a secondary codec */
  bool incompressible; /* no secondary codec helped */
};

/* Bytes of what is stored, before and after compression.  What lies in the
 * write buffer is not compressed yet.  Take no lock.
 */
uint64_t disk_orig_bytes (struct disk *disk);
uint64_t disk_compr_bytes (struct disk *disk);

/* The slot at some moment; false if it is EMPTY.  Takes no lock. */
bool disk_slot_info (struct disk *disk, uint64_t index, uint32_t now,
                     struct slot_info *info);

/* The first slot from 'index' on, below 'end', that is not EMPTY; else 'end'.
 * Takes no lock.
 */
uint64_t disk_next_stored (struct disk *disk, uint64_t index, uint64_t end);

/* Mark what is stored in slots [first, end) and was not accessed for min_age_s
 * seconds as idle.  Returns how many there are, marked now or before.  Takes
 * no lock.
 */
uint64_t disk_mark_idle (struct disk *disk, uint64_t first, uint64_t end,
                         uint32_t min_age_s, uint32_t now);

/* The same of all disks. */
uint64_t store_mark_idle (struct store *store, uint32_t min_age_s,
                          uint32_t now);

/* An equal part of the disk (the last may be smaller). */
struct map_cell {
  uint64_t slots, stored, same, huge, idle, backed;
  uint64_t orig, compr; /* bytes; compr: in memory */
};

/* Takes no lock. */
void disk_map (struct disk *disk, unsigned cells, struct map_cell *map);

#endif /* ZRAM_QUERY_H */
