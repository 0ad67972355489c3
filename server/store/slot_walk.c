/* SPDX-License-Identifier: BSD-3-Clause */
/* Walks over the slots of disks.
 * Contract: store/slot_walk.h.
 */

#include <config.h>

#include <string.h>

#include "store/slot_walk.h"

static void
enter (struct slot_walk *w, struct disk *disk, uint64_t index)
{
  w->disk = disk;
  w->index = index;
  w->end = disk ? disk->table.slots : 0;
  w->begun = false;
}

void
slot_walk_from (struct slot_walk *w, struct store *store, uint64_t slot)
{
  struct disk *disk = store_disk_from (store, disk_id_of (slot));

  *w = (struct slot_walk){ .store = store };
  enter (w, disk,
         disk && disk->id == disk_id_of (slot) ? disk_index_of (slot) : 0);
}

void
slot_walk_all (struct slot_walk *w, struct store *store)
{
  slot_walk_from (w, store, 0);
}

void
slot_walk_disk (struct slot_walk *w, struct disk *disk, uint64_t first,
                uint64_t end)
{
  *w = (struct slot_walk){ .store = disk->store, .one = true };
  disk_get (disk);
  enter (w, disk, first);
  if (end < w->end)
    w->end = end;
}

void
slot_walk_end (struct slot_walk *w)
{
  if (w->disk)
    disk_put (w->disk);
  w->disk = NULL;
}

/* Go to the next slot of this disk that has a leaf; false: none. */
static bool
step (struct slot_walk *w)
{
  w->index += w->begun;
  w->begun = true;
  if (w->index < w->end)
    w->index = slot_table_next_present (&w->disk->table, w->index, w->end);
  return w->index < w->end;
}

bool
slot_walk_next_present (struct slot_walk *w)
{
  while (w->disk && !step (w)) {
    struct disk *next = w->one ? NULL
                               : store_disk_from (w->store, w->disk->id + 1);

    disk_put (w->disk);
    enter (w, next, 0);
  }
  if (!w->disk)
    return false;
  w->slot = slot_table_peek (&w->disk->table, w->index);
  w->meta = w->slot ? slot_look_meta (w->slot) : 0;
  return true;
}

bool
slot_walk_next (struct slot_walk *w)
{
  while (slot_walk_next_present (w))
    if (slot_meta_state (w->meta) != SLOT_EMPTY)
      return true;
  return false;
}

void
slot_walk_skip_leaf (struct slot_walk *w)
{
  w->index |= LEAF_SLOTS - 1;
}

uint64_t
slot_walk_position (const struct slot_walk *w)
{
  return w->disk ? disk_slot (w->disk, w->index + w->begun) : UINT64_MAX;
}
