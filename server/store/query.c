/* SPDX-License-Identifier: BSD-3-Clause */

#include <config.h>

#include <string.h>

#include "base/fault.h"
#include "store/query.h"
#include "store/slot_walk.h"

struct disk_stats
disk_stats (struct disk *disk)
{
  struct counter_set *c = &disk->counters;
  struct counter_set *p = &disk->store->pool->counters;
  struct budget *b = &disk->store->budget;
  uint64_t stored = (uint64_t) counter_sum (c, DISK_SLOTS_STORED);
  uint64_t buffered = (uint64_t) counter_sum (c, DISK_SLOTS_BUFFERED);

  return (struct disk_stats){
    .orig_data_size = stored << disk->store->slot_shift,
    .compr_data_size = (uint64_t) counter_sum (c, DISK_COMPR_BYTES) +
                       (buffered << disk->store->slot_shift),
    .mem_used_total = atomic_load_explicit (&b->used, memory_order_relaxed),
    .mem_used_max = atomic_load_explicit (&b->peak, memory_order_relaxed),
    .mem_limit = atomic_load_explicit (&b->limit, memory_order_relaxed),
    .slots_stored = stored,
    .same_slots = (uint64_t) counter_sum (c, DISK_SLOTS_SAME),
    .huge_slots = (uint64_t) counter_sum (c, DISK_SLOTS_HUGE),
    .huge_since = (uint64_t) counter_sum (c, DISK_HUGE_SINCE),
    .objects = (uint64_t) counter_sum (c, DISK_OBJECTS),
    .pages_compacted = (uint64_t) counter_sum (p, POOL_PAGES_COMPACTED),
    .objects_moved = (uint64_t) counter_sum (p, POOL_OBJECTS_MOVED),
    .zspages_migrated = (uint64_t) counter_sum (p, POOL_ZSPAGES_MIGRATED),
    .mover_skips = (uint64_t) counter_sum (p, POOL_MOVER_SKIPS),
    .pages_reclaimed = (uint64_t) counter_sum (p, POOL_PAGES_RECLAIMED),
    .reclaim_failures = (uint64_t) counter_sum (p, POOL_RECLAIM_FAILURES),
    .freeable_pages = pool_freeable_pages (disk->store->pool),
    .read_requests = (uint64_t) counter_sum (c, DISK_READ_REQUESTS),
    .read_bytes = (uint64_t) counter_sum (c, DISK_READ_BYTES),
    .write_requests = (uint64_t) counter_sum (c, DISK_WRITE_REQUESTS),
    .write_bytes = (uint64_t) counter_sum (c, DISK_WRITE_BYTES),
    .discard_requests = (uint64_t) counter_sum (c, DISK_DISCARD_REQUESTS),
    .discard_bytes = (uint64_t) counter_sum (c, DISK_DISCARD_BYTES),
    .flush_requests = (uint64_t) counter_sum (c, DISK_FLUSH_REQUESTS),
    .failed_reads = (uint64_t) counter_sum (c, DISK_FAILED_READS),
    .failed_writes = (uint64_t) counter_sum (c, DISK_FAILED_WRITES),
    .slots_freed = (uint64_t) counter_sum (c, DISK_SLOTS_FREED),
    .reclaim_misses = (uint64_t) counter_sum (c, DISK_RECLAIM_MISSES),
    .recompressed = (uint64_t) counter_sum (c, DISK_RECOMPRESSED),
    .recompress_won = (uint64_t) counter_sum (c, DISK_RECOMPRESS_WON),
    .recompress_vain = (uint64_t) counter_sum (c, DISK_RECOMPRESS_VAIN),
    .recompress_lost = (uint64_t) counter_sum (c, DISK_RECOMPRESS_LOST),
    .recompress_failed = (uint64_t) counter_sum (c, DISK_RECOMPRESS_FAILED),
    .recompress_ns = (uint64_t) counter_sum (c, DISK_RECOMPRESS_NS),
    .slots_backed = (uint64_t) counter_sum (c, DISK_SLOTS_BACKED),
    .backed_bytes = (uint64_t) counter_sum (c, DISK_BACKED_BYTES),
    .bd_reads = (uint64_t) counter_sum (c, DISK_BD_READS),
    .bd_writes = (uint64_t) counter_sum (c, DISK_BD_WRITES),
    .bd_read_errors = (uint64_t) counter_sum (c, DISK_BD_READ_ERRORS),
    .bd_write_errors = (uint64_t) counter_sum (c, DISK_BD_WRITE_ERRORS),
    .bd_damaged = (uint64_t) counter_sum (c, DISK_BD_DAMAGED),
    .promoted = (uint64_t) counter_sum (c, DISK_PROMOTED),
    .write_stalls = (uint64_t) counter_sum (c, DISK_WRITE_STALLS),
    .slots_buffered = buffered,
    .buffer_capacity = buffer_capacity (&disk->store->buffer),
    .buffer_bytes = buffer_memory (&disk->store->buffer),
    .buffer_writes = (uint64_t) counter_sum (c, DISK_BUFFER_WRITES),
    .buffer_hits = (uint64_t) counter_sum (c, DISK_BUFFER_HITS),
    .buffer_passed = (uint64_t) counter_sum (c, DISK_BUFFER_PASSED),
    .drained = (uint64_t) counter_sum (c, DISK_DRAINED),
    .drain_lost = (uint64_t) counter_sum (c, DISK_DRAIN_LOST),
    .drain_failed = (uint64_t) counter_sum (c, DISK_DRAIN_FAILED),
  };
}

static bool
is_stored (const struct slot *s)
{
  return slot_meta_state (slot_load_meta (s)) != SLOT_EMPTY;
}

/* What is said of the content is of one moment; age and idle mark, of another
 * field, may be of a moment before or after.
 */
bool
disk_slot_info (struct disk *disk, uint64_t index, uint32_t now,
                struct slot_info *info)
{
  const struct slot *s = slot_table_peek (&disk->table, index);

  memset (info, 0, sizeof *info);
  if (!s)
    return false;
  fault_pause ("table.peeked");
  uint32_t meta = slot_look_meta (s);
  uint32_t age = slot_age (s, now);
  bool idle = slot_is_idle (s);
  /* Not so any more: its leaf was given back, and it was EMPTY then. */
  if (!slot_table_is_still (&disk->table, index, s))
    return false;
  info->state = slot_meta_state (meta);
  if (info->state == SLOT_EMPTY)
    return false;
  if (slot_meta_has_object (meta)) {
    info->size = slot_meta_size (meta);
    info->codec = slot_meta_format (meta);
    info->huge = info->codec == CODEC_RAW;
  }
  if (info->state == SLOT_BUFFERED)
    info->size = slot_meta_size (meta);
  info->recompressed = slot_meta_by (meta) != 0;
  info->incompressible = slot_meta_incompressible (meta);
  info->age_s = age;
  info->idle = idle;
  return true;
}

/* A hint: whoever asks what is stored there looks again, and one that is passed
 * over was EMPTY at a moment since this was called (slot_table.h).
 */
uint64_t
disk_next_stored (struct disk *disk, uint64_t index, uint64_t end)
{
  for (index = slot_table_next_present (&disk->table, index, end); index < end;
       index = slot_table_next_present (&disk->table, index + 1, end)) {
    const struct slot *s = slot_table_peek (&disk->table, index);

    if (s && is_stored (s))
      break;
  }
  return index;
}

static uint64_t
mark_idle (struct slot_walk *w, uint32_t min_age_s, uint32_t now)
{
  uint64_t marked = 0;

  while (slot_walk_next (w)) {
    /* Type-stable: a leaf given back meanwhile at worst marks another slot
     * idle, which its next access mends.
     */
    struct slot *s = (struct slot *) w->slot;

    if (slot_is_idle (s) ||
        (slot_age (s, now) >= min_age_s && slot_mark_idle (s)))
      marked++;
  }
  slot_walk_end (w);
  return marked;
}

uint64_t
disk_mark_idle (struct disk *disk, uint64_t first, uint64_t end,
                uint32_t min_age_s, uint32_t now)
{
  struct slot_walk w;

  slot_walk_disk (&w, disk, first, end);
  return mark_idle (&w, min_age_s, now);
}

uint64_t
store_mark_idle (struct store *store, uint32_t min_age_s, uint32_t now)
{
  struct slot_walk w;

  slot_walk_all (&w, store);
  return mark_idle (&w, min_age_s, now);
}

static void
add_to_cell (struct map_cell *cell, const struct slot_info *info,
             uint32_t slot_size)
{
  cell->stored++;
  cell->orig += slot_size;
  cell->compr += info->state == SLOT_BACKED ? 0 : info->size;
  cell->same += info->state == SLOT_SAME;
  cell->backed += info->state == SLOT_BACKED;
  cell->huge += info->huge;
  cell->idle += info->idle;
}

void
disk_map (struct disk *disk, unsigned cells, struct map_cell *map)
{
  uint64_t slots = disk->table.slots;
  struct slot_info info;

  memset (map, 0, cells * sizeof *map);
  for (unsigned c = 0; c < cells; c++) {
    /* 128 bits: slots times cells may not fit in 64. */
    uint64_t from = (uint64_t) ((unsigned __int128) slots * c / cells);
    uint64_t to = (uint64_t) ((unsigned __int128) slots * (c + 1) / cells);

    map[c].slots = to - from;
    for (uint64_t i = disk_next_stored (disk, from, to); i < to;
         i = disk_next_stored (disk, i + 1, to))
      if (disk_slot_info (disk, i, 0, &info))
        add_to_cell (&map[c], &info, disk->store->config.slot_size);
  }
}
