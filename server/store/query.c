/* SPDX-License-Identifier: BSD-3-Clause */

#include <config.h>

#include <string.h>

#include "base/fault.h"
#include "store/query.h"
#include "store/range.h"

struct device_stats
device_stats (struct device *dev)
{
  struct counter_set *c = &dev->counters;
  struct counter_set *p = &dev->store->pool->counters;
  struct budget *b = &dev->store->budget;
  uint64_t stored = (uint64_t) counter_sum (c, DEV_SLOTS_STORED);
  uint64_t buffered = (uint64_t) counter_sum (c, DEV_SLOTS_BUFFERED);

  return (struct device_stats){
    .orig_data_size = stored << dev->store->slot_shift,
    .compr_data_size = (uint64_t) counter_sum (c, DEV_COMPR_BYTES) +
                       (buffered << dev->store->slot_shift),
    .mem_used_total = atomic_load_explicit (&b->used, memory_order_relaxed),
    .mem_used_max = atomic_load_explicit (&b->peak, memory_order_relaxed),
    .mem_limit = atomic_load_explicit (&b->limit, memory_order_relaxed),
    .slots_stored = stored,
    .same_slots = (uint64_t) counter_sum (c, DEV_SLOTS_SAME),
    .huge_slots = (uint64_t) counter_sum (c, DEV_SLOTS_HUGE),
    .huge_since = (uint64_t) counter_sum (c, DEV_HUGE_SINCE),
    .objects = (uint64_t) counter_sum (c, DEV_OBJECTS),
    .pages_compacted = (uint64_t) counter_sum (p, POOL_PAGES_COMPACTED),
    .objects_moved = (uint64_t) counter_sum (p, POOL_OBJECTS_MOVED),
    .zspages_migrated = (uint64_t) counter_sum (p, POOL_ZSPAGES_MIGRATED),
    .mover_skips = (uint64_t) counter_sum (p, POOL_MOVER_SKIPS),
    .pages_reclaimed = (uint64_t) counter_sum (p, POOL_PAGES_RECLAIMED),
    .reclaim_failures = (uint64_t) counter_sum (p, POOL_RECLAIM_FAILURES),
    .freeable_pages = pool_freeable_pages (dev->store->pool),
    .read_requests = (uint64_t) counter_sum (c, DEV_READ_REQUESTS),
    .read_bytes = (uint64_t) counter_sum (c, DEV_READ_BYTES),
    .write_requests = (uint64_t) counter_sum (c, DEV_WRITE_REQUESTS),
    .write_bytes = (uint64_t) counter_sum (c, DEV_WRITE_BYTES),
    .discard_requests = (uint64_t) counter_sum (c, DEV_DISCARD_REQUESTS),
    .discard_bytes = (uint64_t) counter_sum (c, DEV_DISCARD_BYTES),
    .flush_requests = (uint64_t) counter_sum (c, DEV_FLUSH_REQUESTS),
    .failed_reads = (uint64_t) counter_sum (c, DEV_FAILED_READS),
    .failed_writes = (uint64_t) counter_sum (c, DEV_FAILED_WRITES),
    .slots_freed = (uint64_t) counter_sum (c, DEV_SLOTS_FREED),
    .reclaim_misses = (uint64_t) counter_sum (c, DEV_RECLAIM_MISSES),
    .recompressed = (uint64_t) counter_sum (c, DEV_RECOMPRESSED),
    .recompress_won = (uint64_t) counter_sum (c, DEV_RECOMPRESS_WON),
    .recompress_vain = (uint64_t) counter_sum (c, DEV_RECOMPRESS_VAIN),
    .recompress_lost = (uint64_t) counter_sum (c, DEV_RECOMPRESS_LOST),
    .recompress_failed = (uint64_t) counter_sum (c, DEV_RECOMPRESS_FAILED),
    .recompress_ns = (uint64_t) counter_sum (c, DEV_RECOMPRESS_NS),
    .slots_backed = (uint64_t) counter_sum (c, DEV_SLOTS_BACKED),
    .backed_bytes = (uint64_t) counter_sum (c, DEV_BACKED_BYTES),
    .bd_reads = (uint64_t) counter_sum (c, DEV_BD_READS),
    .bd_writes = (uint64_t) counter_sum (c, DEV_BD_WRITES),
    .bd_read_errors = (uint64_t) counter_sum (c, DEV_BD_READ_ERRORS),
    .bd_write_errors = (uint64_t) counter_sum (c, DEV_BD_WRITE_ERRORS),
    .bd_damaged = (uint64_t) counter_sum (c, DEV_BD_DAMAGED),
    .promoted = (uint64_t) counter_sum (c, DEV_PROMOTED),
    .write_stalls = (uint64_t) counter_sum (c, DEV_WRITE_STALLS),
    .slots_buffered = buffered,
    .buffer_capacity = buffer_capacity (&dev->buffer),
    .buffer_bytes = buffer_memory (&dev->buffer),
    .buffer_writes = (uint64_t) counter_sum (c, DEV_BUFFER_WRITES),
    .buffer_hits = (uint64_t) counter_sum (c, DEV_BUFFER_HITS),
    .buffer_passed = (uint64_t) counter_sum (c, DEV_BUFFER_PASSED),
    .drained = (uint64_t) counter_sum (c, DEV_DRAINED),
    .drain_lost = (uint64_t) counter_sum (c, DEV_DRAIN_LOST),
    .drain_failed = (uint64_t) counter_sum (c, DEV_DRAIN_FAILED),
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
device_slot_info (struct device *dev, uint64_t index, uint32_t now,
                  struct slot_info *info)
{
  const struct slot *s = slot_table_peek (&dev->table, index);

  memset (info, 0, sizeof *info);
  if (!s)
    return false;
  fault_pause ("table.peeked");
  uint32_t meta = slot_look_meta (s);
  uint32_t age = slot_age (s, now);
  bool idle = slot_is_idle (s);
  /* Not so any more: its leaf was given back, and it was EMPTY then. */
  if (!slot_table_is_still (&dev->table, index, s))
    return false;
  info->state = slot_meta_state (meta);
  if (info->state == SLOT_EMPTY)
    return false;
  if (info->state == SLOT_OBJECT || info->state == SLOT_BACKED) {
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
device_next_stored (struct device *dev, uint64_t index, uint64_t end)
{
  for (index = slot_table_next_present (&dev->table, index, end); index < end;
       index = slot_table_next_present (&dev->table, index + 1, end)) {
    const struct slot *s = slot_table_peek (&dev->table, index);

    if (s && is_stored (s))
      break;
  }
  return index;
}

uint64_t
device_mark_idle (struct device *dev, uint64_t first, uint64_t end,
                  uint32_t min_age_s, uint32_t now)
{
  uint64_t marked = 0;

  for (uint64_t i = device_next_stored (dev, first, end); i < end;
       i = device_next_stored (dev, i + 1, end)) {
    /* Type-stable: a leaf given back meanwhile at worst marks another slot
     * idle, which its next access mends.
     */
    struct slot *s = (struct slot *) slot_table_peek (&dev->table, i);

    if (s && (slot_is_idle (s) ||
              (slot_age (s, now) >= min_age_s && slot_mark_idle (s))))
      marked++;
  }
  return marked;
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
device_map (struct device *dev, unsigned cells, struct map_cell *map)
{
  uint64_t slots = dev->table.slots;
  struct slot_info info;

  memset (map, 0, cells * sizeof *map);
  for (unsigned c = 0; c < cells; c++) {
    /* 128 bits: slots times cells may not fit in 64. */
    uint64_t from = (uint64_t) ((unsigned __int128) slots * c / cells);
    uint64_t to = (uint64_t) ((unsigned __int128) slots * (c + 1) / cells);

    map[c].slots = to - from;
    for (uint64_t i = device_next_stored (dev, from, to); i < to;
         i = device_next_stored (dev, i + 1, to))
      if (device_slot_info (dev, i, 0, &info))
        add_to_cell (&map[c], &info, dev->store->config.slot_size);
  }
}

static void
reset_counters (struct device *dev)
{
  for (unsigned id = DEV_READ_REQUESTS; id < DEV_COUNTERS; id++)
    counter_reset (&dev->counters, id);
  for (unsigned i = 0; i < LATENCY_KINDS; i++)
    for (unsigned b = 0; b <= HISTOGRAM_BUCKETS; b++)
      counter_reset (&dev->latency[i].counters, b);
  /* The kernel's reset makes a new pool, so what the pool counts starts anew
   * there too.
   */
  for (unsigned id = 0; id < POOL_COUNTERS; id++)
    counter_reset (&dev->store->pool->counters, id);
  store_reset_peak (dev->store);
}

void
device_reset (struct device *dev)
{
  device_discard_all (dev);
  reset_counters (dev);
}

uint64_t
device_reset_patiently (struct device *dev, const struct patience *p)
{
  uint64_t locked = device_discard_patiently (dev, p);

  if (locked == 0)
    reset_counters (dev);
  return locked;
}
