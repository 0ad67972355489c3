/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Queries about a disk, and the few changes to it that are not requests.
 * Statistics take no lock of rank slot or stream, so they answer at once
 * whatever runs.
 */

#ifndef ZRAM_QUERY_H
#define ZRAM_QUERY_H

#include "store/disk.h"

/* What a client can learn about a slot. */
struct slot_info {
  enum slot_state state;
  uint32_t size;  /* bytes of the object, also a BACKED one; 0: none */
  unsigned codec; /* its id; CODEC_RAW: not compressed */
  uint32_t age_s; /* since the last access, at most 65535 */
  bool idle, huge;
  bool recompressed;   /* by a secondary method */
  bool incompressible; /* no secondary method helped */
};

/* Bytes of the stored data, before and after compression.  Data in the write
 * buffer are not compressed yet.  Take no lock.
 */
uint64_t disk_orig_bytes (struct disk *disk);
uint64_t disk_compr_bytes (struct disk *disk);

/* The slot as it was at one moment; false if it is EMPTY.  Takes no lock. */
bool disk_slot_info (struct disk *disk, uint64_t index, uint32_t now,
                     struct slot_info *info);

/* The first slot from 'index' on, below 'end', that is not EMPTY; else 'end'.
 * Takes no lock.
 */
uint64_t disk_next_stored (struct disk *disk, uint64_t index, uint64_t end);

/* Mark each stored slot in [first, end) idle if it was not accessed for
 * min_age_s seconds.  Returns how many such slots there are, marked now or
 * before.  Takes no lock.
 */
uint64_t disk_mark_idle (struct disk *disk, uint64_t first, uint64_t end,
                         uint32_t min_age_s, uint32_t now);

/* The same for all disks. */
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
