/* SPDX-License-Identifier: BSD-3-Clause */
/* Extents of a disk, from the slot table.
 * Contract: store/extents.h.
 */

#include <config.h>

#include "base/fault.h"
#include "store/extents.h"

/* From meta alone: the cell may be of another moment (slot.h). */
static enum extent_type
type_of (const struct slot *s)
{
  uint32_t meta = slot_look_meta (s);

  if (slot_meta_state (meta) == SLOT_EMPTY)
    return EXTENT_HOLE;
  return slot_meta_is_zero (meta) ? EXTENT_ZERO : EXTENT_DATA;
}

/* The type of slot 'index'.  *end becomes the end of its run: the next slot of
 * another type, the end of its leaf or of the gap without leaves, or 'limit'.
 *
 * Each slot had this type at a moment since the call.  A leaf that does not
 * exist, or was given back meanwhile, had only EMPTY slots.  A slot that holds
 * data all the time keeps its leaf, and is seen in it.
 */
static enum extent_type
run_at (struct slot_table *t, uint64_t index, uint64_t limit, uint64_t *end)
{
  const struct slot *s = slot_table_peek (t, index), *at = s;
  uint64_t next = index;
  enum extent_type type;

  if (!s) {
    *end = slot_table_next_present (t, index + 1, limit);
    return EXTENT_HOLE;
  }
  uint64_t leaf_end = (index | (LEAF_SLOTS - 1)) + 1;
  if (leaf_end > limit)
    leaf_end = limit;
  fault_pause ("table.peeked");
  type = type_of (at);
  while (++next < leaf_end && type_of (++at) == type)
    ;
  if (slot_table_is_still (t, index, s)) {
    *end = next;
    return type;
  }
  *end = leaf_end;
  return EXTENT_HOLE;
}

int
disk_extents (struct disk *disk, uint64_t offset, uint64_t count, bool one,
              extent_fn fn, void *ctx)
{
  uint64_t shift = disk->store->slot_shift, end = offset + count;
  uint64_t slot = offset >> shift, slots = ((end - 1) >> shift) + 1;

  while (offset < end) {
    uint64_t run_end, next;
    enum extent_type type = run_at (&disk->table, slot, slots, &run_end);

    /* The next leaf may continue with the same type. */
    while (run_end < slots &&
           run_at (&disk->table, run_end, slots, &next) == type)
      run_end = next;
    uint64_t stop = run_end == slots ? end : run_end << shift;
    int r = fn (ctx, offset, stop - offset, type);
    if (r || one)
      return r;
    offset = stop;
    slot = run_end;
  }
  return 0;
}
