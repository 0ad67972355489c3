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

struct disk_stats {
  uint64_t orig_data_size;  /* bytes: slots stored times slot size */
  uint64_t compr_data_size; /* bytes, also of what lies in the write buffer */
  uint64_t mem_used_total;  /* bytes: pool and table, of the whole store */
  uint64_t mem_used_max;    /* bytes: its peak */
  uint64_t mem_limit;       /* bytes, 0 = none */
  uint64_t slots_stored, same_slots, huge_slots, huge_since, objects;
  uint64_t pages_compacted, objects_moved, zspages_migrated, mover_skips;
  uint64_t pages_reclaimed, reclaim_failures; /* see pool_reclaim */
  uint64_t freeable_pages; /* what compaction could free now */
  uint64_t read_requests, read_bytes, write_requests, write_bytes;
  uint64_t discard_requests, discard_bytes, flush_requests;
  uint64_t failed_reads, failed_writes, slots_freed, reclaim_misses;
  uint64_t recompressed, recompress_won; /* slots, bytes */
  uint64_t recompress_vain, recompress_lost, recompress_failed, recompress_ns;
  uint64_t slots_backed, backed_bytes; /* in the backing store */
  uint64_t bd_reads, bd_writes, bd_read_errors, bd_write_errors; /* slots */
  uint64_t bd_damaged, promoted, write_stalls;
  uint64_t slots_buffered, buffer_capacity; /* in the write buffer; it may be */
  uint64_t buffer_bytes;                    /* resident there */
  uint64_t buffer_writes, buffer_hits, buffer_passed;
  uint64_t drained, drain_lost, drain_failed; /* slots */
};

/* Takes no lock. */
struct disk_stats disk_stats (struct disk *disk);

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
