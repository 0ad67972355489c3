/* SPDX-License-Identifier: BSD-3-Clause */
/* Queries about a disk: its slots, its map, idle marks.
 * Contract: store/query.h.
 */

#include <config.h>

#include <string.h>

#include "base/fault.h"
#include "store/query.h"
#include "store/slot_walk.h"

uint64_t
disk_orig_bytes (struct disk *disk)
{
  return disk_sum (disk, DISK_SLOTS_STORED) << disk->store->slot_shift;
}

uint64_t
disk_compr_bytes (struct disk *disk)
{
  return disk_sum (disk, DISK_COMPR_BYTES) +
         (disk_sum (disk, DISK_SLOTS_BUFFERED) << disk->store->slot_shift);
}

static bool
is_stored (const struct slot *s)
{
  return slot_meta_state (slot_load_meta (s)) != SLOT_EMPTY;
}

/* The answer about the content is of one moment.  Age and idle mark are in
 * another field, and may be of a moment before or after.
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
  /* No longer true: the leaf was given back, and then the slot was EMPTY. */
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

/* A hint: a caller that wants the slot's state looks again.  A slot that is
 * skipped was EMPTY at a moment since the call (slot_table.h).
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
    /* Leaves are type-stable.  If this one was given back meanwhile, at worst
     * another slot is marked idle; its next access clears the mark.
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
