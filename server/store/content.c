/* SPDX-License-Identifier: BSD-3-Clause */
/* Makes contents, puts them into slots, and keeps the counters.
 * Contract: store/content.h.
 */

#include <config.h>

#include <errno.h>
#include <string.h>

#include "base/clock.h"
#include "base/fault.h"
#include "base/keep_errno.h"
#include "store/content.h"

int
content_make (struct disk *disk, const struct packed *packed,
              struct content *new)
{
  uint64_t handle = object_make (disk->store, packed);

  if (!handle)
    return -1;
  *new = (struct content){ .state = SLOT_OBJECT,
                           .format = packed->format,
                           .size = packed->size,
                           .cell = handle };
  store_format_made (disk->store, packed->format);
  return 0;
}

void
content_make_backed (struct disk *disk, uint64_t address, unsigned format,
                     uint32_t size, struct content *new)
{
  *new = (struct content){
    .state = SLOT_BACKED, .format = format, .size = size, .cell = address
  };
  blocks_ref (disk->store->backed->blocks, address, record_bytes (size));
  store_format_made (disk->store, format);
}

bool
content_make_buffered (struct disk *disk, uint64_t slot, const void *data,
                       struct content *new)
{
  struct buffer *b = &disk->store->buffer;
  uint32_t entry = buffer_take (b, disk_slot (disk, slot));

  if (entry == BUFFER_NONE)
    return false;
  if (data)
    memcpy (buffer_data (b, entry), data, b->slot_size);
  *new = (struct content){ .state = SLOT_BUFFERED,
                           .size = b->slot_size,
                           .cell = entry };
  return true;
}

void
content_rewrite_locked (struct disk *disk, struct slot *s, const void *buf,
                        uint32_t offset, uint32_t len)
{
  struct buffer *b = &disk->store->buffer;
  uint32_t entry = (uint32_t) slot_load_cell (s);
  char *data = buffer_data (b, entry);

  check_debug (slot_meta_state (slot_load_meta (s)) == SLOT_BUFFERED);
  if (buf)
    memcpy (data + offset, buf, len);
  else
    memset (data + offset, 0, len);
  buffer_stamp (b, entry, clock_coarse_ms ());
  slot_store_meta (s, slot_meta (SLOT_BUFFERED, 0, b->slot_size));
}

/* The slot no longer uses the record. */
static void
forget_record (struct disk *disk, uint64_t address, uint32_t size)
{
  blocks_unref (disk->store->backed->blocks, address, record_bytes (size));
}

void
content_drop (struct disk *disk, const struct content *new)
{
  KEEP_ERRNO;

  if (new->state == SLOT_OBJECT)
    pool_drop (disk->store->pool, new->cell);
  if (new->state == SLOT_BACKED)
    forget_record (disk, new->cell, new->size);
  if (new->state == SLOT_BUFFERED)
    buffer_put (&disk->store->buffer, (uint32_t) new->cell);
  if (new->state == SLOT_OBJECT || new->state == SLOT_BACKED)
    store_format_freed (disk->store, new->format);
}

static void
count (struct disk *disk, enum slot_state state, unsigned format, uint32_t size,
       int sign)
{
  if (state == SLOT_EMPTY)
    return;
  disk_count (disk, DISK_SLOTS_STORED, sign);
  if (state == SLOT_SAME)
    disk_count (disk, DISK_SLOTS_SAME, sign);
  if (state == SLOT_BUFFERED)
    disk_count (disk, DISK_SLOTS_BUFFERED, sign);
  if (state == SLOT_BACKED) {
    disk_count (disk, DISK_SLOTS_BACKED, sign);
    disk_count (disk, DISK_BACKED_BYTES, sign * (int64_t) size);
  }
  if (state == SLOT_OBJECT) {
    disk_count (disk, DISK_OBJECTS, sign);
    disk_count (disk, DISK_COMPR_BYTES, sign * (int64_t) size);
    if (format == CODEC_RAW) {
      disk_count (disk, DISK_SLOTS_HUGE, sign);
      if (sign > 0)
        disk_count (disk, DISK_HUGE_SINCE, 1);
    }
  }
}

static void
count_change (struct disk *disk, uint32_t old, const struct content *new)
{
  count (disk, slot_meta_state (old), slot_meta_format (old),
         slot_meta_size (old), -1);
  count (disk, new->state, new->format, new->size, 1);
  if (slot_meta_has_object (old))
    store_format_freed (disk->store, slot_meta_format (old));
}

static uint32_t
meta_of (const struct content *new)
{
  if (new->state == SLOT_EMPTY)
    return 0;
  if (new->state == SLOT_SAME)
    return slot_meta_same (new->cell);
  return slot_meta (new->state, new->format, new->size) | new->marks;
}

void
content_set_locked (struct disk *disk, struct slot *s,
                    const struct content *new)
{
  uint32_t old = slot_load_meta (s);
  uint64_t old_cell = slot_load_cell (s);

  if (slot_meta_state (old) == SLOT_OBJECT)
    pool_replace (disk->store->pool, &s->cell, new->cell);
  else
    atomic_store_explicit (&s->cell, new->cell, memory_order_relaxed);
  fault_pause ("slot.set.cell"); /* a look now sees the old meta */
  slot_store_meta (s, meta_of (new));
  if (new->state == SLOT_OBJECT)
    pool_attach (disk->store->pool, new->cell, &s->cell);
  if (slot_meta_state (old) == SLOT_BACKED)
    forget_record (disk, old_cell, slot_meta_size (old));
  if (slot_meta_state (old) == SLOT_BUFFERED)
    buffer_put (&disk->store->buffer, (uint32_t) old_cell);

  count_change (disk, old, new);
  int live = (new->state != SLOT_EMPTY) - (slot_meta_state (old) != SLOT_EMPTY);
  if (live)
    leaves_count_live (&disk->store->leaves, s, live);
}

bool
content_overwrite_locked (struct disk *disk, struct slot *s,
                          const struct packed *packed)
{
  const struct content new = { .state = SLOT_OBJECT,
                               .format = packed->format,
                               .size = packed->size };
  uint32_t old = slot_load_meta (s);

  if (!object_overwrite_locked (disk->store, s, packed))
    return false;
  store_format_made (disk->store, packed->format);
  slot_store_meta (s, slot_meta (SLOT_OBJECT, packed->format, packed->size));
  count_change (disk, old, &new);
  return true;
}
