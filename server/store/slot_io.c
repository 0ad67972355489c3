/* SPDX-License-Identifier: BSD-3-Clause */

#include <config.h>

#include <errno.h>
#include <string.h>

#include "base/clock.h"
#include "base/fault.h"
#include "store/content.h"
#include "store/slot_io.h"
#include "store/slot_read.h"

bool
slot_same_filled (const void *buf, uint32_t len, uint64_t *word)
{
  const char *p = buf;

  memcpy (word, p, 8);
  /* The last word differs from the first in most data: look there first.
   * Then each byte equals the one eight before it.
   */
  return memcmp (word, p + len - 8, 8) == 0 && memcmp (p, p + 8, len - 8) == 0;
}

/* Are these ('buf' NULL: zeroes) what 'len' bytes at 'offset' of a slot that
 * repeats the word are?
 */
static bool
repeats_word (const char *buf, uint32_t offset, uint32_t len, uint64_t word)
{
  char pattern[8];

  memcpy (pattern, &word, 8);
  for (uint32_t i = 0; i < len && i < 8; i++)
    if ((buf ? buf[i] : 0) != pattern[(offset + i) & 7])
      return false;
  /* Then each byte equals the one eight before it. */
  return !buf || len <= 8 || memcmp (buf, buf + 8, len - 8) == 0;
}

/* Are these ('buf' NULL: zeroes) what is there? */
static bool
is_so_already (const char *data, const void *buf, uint32_t len)
{
  return buf ? memcmp (data, buf, len) == 0 : repeats_word (data, 0, len, 0);
}

/* Compress the data and let the slot hold them. */
static int
store_data_locked (struct disk *disk, struct slot *s,
                   struct zcomp_stream *stream, const void *data) REQUIRES (s)
{
  struct content new = { .state = SLOT_SAME, .size = 1 };
  struct packed packed;

  if (!slot_same_filled (data, disk->store->config.slot_size, &new.cell)) {
    if (object_pack (disk->store, stream, data, &packed) == -1)
      return -1;
    if (content_make (disk, &packed, &new) == -1)
      return errno == ENOSPC && content_overwrite_locked (disk, s, &packed)
               ? 0
               : -1;
  }
  content_set_locked (disk, s, &new);
  return 0;
}

/* -- writing ------------------------------------------------------------ */

/* No room for the new object beside the old one: compress again with the
 * slot locked, and see whether it fits in the old one's place.
 */
static int
write_at_limit (struct disk *disk, uint64_t index, const void *buf,
                uint32_t now)
{
  struct slot *s = slot_table_write_lock (&disk->table, index);

  if (!slot_is_there (s)) {
    errno = ENOSPC;
    return -1;
  }
  struct zcomp_stream *stream = zcomp_stream_get (disk->store->zcomp);
  int r = store_data_locked (disk, s, stream, buf);
  zcomp_stream_put (stream);
  slot_write_unlock_stamped (s, now);
  return r;
}

/* The slot is in the write buffer: change it there.  The first look is a hint:
 * if it is wrong the slot is written as any other.
 */
static bool
rewrite_buffered (struct disk *disk, uint64_t index, const void *buf,
                  uint32_t now)
{
  const struct slot *peek = slot_table_peek (&disk->table, index);

  if (!peek || slot_meta_state (slot_load_meta (peek)) != SLOT_BUFFERED)
    return false;
  struct slot *s = slot_table_write_lock (&disk->table, index);
  if (!slot_is_there (s))
    return false;
  if (slot_meta_state (slot_load_meta (s)) != SLOT_BUFFERED) {
    slot_write_unlock (s);
    return false;
  }
  content_rewrite_locked (disk, s, buf, 0, disk->store->config.slot_size);
  disk_count (disk, DISK_BUFFER_HITS, 1);
  slot_write_unlock_stamped (s, now);
  return true;
}

/* What the slot is to hold: kept as it is if the write buffer has room, else
 * compressed.
 */
static int
make_data (struct disk *disk, uint64_t index, const void *buf,
           struct content *new)
{
  struct packed packed;

  if (buffer_is_on (&disk->store->buffer)) {
    if (content_make_buffered (disk, index, buf, new))
      return 0;
    disk_count (disk, DISK_BUFFER_PASSED, 1);
  }
  struct zcomp_stream *stream = zcomp_stream_get (disk->store->zcomp);
  int r = object_pack (disk->store, stream, buf, &packed);

  if (r == 0)
    r = content_make (disk, &packed, new);
  zcomp_stream_put (stream);
  return r;
}

static int
try_write (struct disk *disk, uint64_t index, const void *buf, uint32_t now)
{
  struct content new = { .state = SLOT_SAME, .size = 1 };
  bool zeroes = false;
  struct slot *s;

  if (slot_same_filled (buf, disk->store->config.slot_size, &new.cell))
    zeroes = new.cell == 0;
  else {
    if (buffer_used (&disk->store->buffer) > 0 &&
        rewrite_buffered (disk, index, buf, now))
      return 0;
    if (make_data (disk, index, buf, &new) == -1)
      return errno == ENOSPC ? write_at_limit (disk, index, buf, now) : -1;
  }
  s = zeroes ? slot_table_write_lock (&disk->table, index)
             : slot_table_write_lock_new (&disk->table, index);
  if (!slot_is_there (s)) {
    /* At the moment when the directory named no leaf the slot was EMPTY: that
     * is when these zeroes were written.  What was answered before is in a
     * leaf that the lookup sees, so they do not get lost behind it; a write
     * that is under way comes after them.
     */
    if (zeroes)
      return 0;
    content_drop (disk, &new);
    return -1;
  }
  content_set_locked (disk, s, &new);
  slot_write_unlock_stamped (s, now);
  return 0;
}

/* The slot's present data in the stream's scratch; NULL if they cannot be read.
 * 'record': of a BACKED slot.
 */
static char *
old_data_locked (struct disk *disk, struct slot *s, struct zcomp_stream *stream,
                 const char *record) REQUIRES (s)
{
  enum slot_state state = slot_meta_state (slot_load_meta (s));
  char *data = zcomp_stream_scratch (stream);

  if (state != SLOT_EMPTY && state != SLOT_SAME)
    return object_unpack_locked (disk->store, s, record, stream);
  slot_fill_words (data, 0, disk->store->config.slot_size, slot_load_cell (s));
  return data;
}

/* Merge the part in, compress the data and let the slot hold them. */
static int
merge_locked (struct disk *disk, struct slot *s, struct zcomp_stream *stream,
              char *data, const void *buf, uint32_t offset, uint32_t len)
  REQUIRES (s)
{
  if (is_so_already (data + offset, buf, len))
    return 0;
  if (buf)
    memcpy (data + offset, buf, len);
  else
    memset (data + offset, 0, len);
  fault_pause ("slot.part.merged");
  return store_data_locked (disk, s, stream, data);
}

static int
part_compressed_locked (struct disk *disk, struct slot *s, uint64_t index,
                        const void *buf, uint32_t offset, uint32_t len)
  REQUIRES (s)
{
  bool backed = slot_meta_state (slot_load_meta (s)) == SLOT_BACKED;
  char *record = backed ? object_fetch_locked (disk, s, index) : NULL;
  int r;

  if (backed && !record)
    return -1;
  struct zcomp_stream *stream = zcomp_stream_get (disk->store->zcomp);
  char *data = old_data_locked (disk, s, stream, record);
  r = data ? merge_locked (disk, s, stream, data, buf, offset, len) : -1;
  zcomp_stream_put (stream);
  backed_record_free (disk->store->backed, record);
  return r;
}

/* The slot is BUFFERED, and its data have just changed. */
static void
keep_buffered_locked (struct disk *disk, struct slot *s) REQUIRES (s)
{
  const char *data = buffer_data (&disk->store->buffer,
                                  (uint32_t) slot_load_cell (s));
  struct content same = { .state = SLOT_SAME, .size = 1 };

  if (slot_same_filled (data, disk->store->config.slot_size, &same.cell))
    content_set_locked (disk, s, &same);
}

enum fetched {
  FETCH_FAILED = -1, /* with errno */
  FETCH_NO_ROOM,
  FETCHED, /* the slot is BUFFERED */
  FETCHED_SO_ALREADY,
};

/* Bring the slot into the write buffer as it is, to change it there; not if
 * that part of it is already what it shall become.
 */
static enum fetched
fetch_into_buffer_locked (struct disk *disk, struct slot *s, uint64_t index,
                          const void *buf, uint32_t offset, uint32_t len)
  REQUIRES (s)
{
  struct content new = { .state = SLOT_BUFFERED,
                         .size = disk->store->config.slot_size };
  uint32_t entry = buffer_take (&disk->store->buffer, disk_slot (disk, index));
  char *record = NULL;

  if (entry == BUFFER_NONE) {
    disk_count (disk, DISK_BUFFER_PASSED, 1);
    return FETCH_NO_ROOM;
  }
  new.cell = entry;
  char *data = buffer_data (&disk->store->buffer, entry);
  int r = slot_read_locked (disk, s, index, data, 0, new.size, &record);
  bool same = r == 0 && is_so_already (data + offset, buf, len);
  backed_record_free (disk->store->backed, record);
  if (r == 0 && !same) {
    content_set_locked (disk, s, &new);
    disk_count (disk, DISK_BUFFER_WRITES, 1);
  }
  else
    content_drop (disk, &new);
  return r == -1 ? FETCH_FAILED : same ? FETCHED_SO_ALREADY : FETCHED;
}

static int
write_part_locked (struct disk *disk, struct slot *s, uint64_t index,
                   const void *buf, uint32_t offset, uint32_t len) REQUIRES (s)
{
  static const struct content zeroes = { .state = SLOT_SAME, .size = 1 };
  enum slot_state state = slot_meta_state (slot_load_meta (s));
  enum fetched there = FETCH_NO_ROOM;

  /* An EMPTY slot's cell is 0. */
  if ((state == SLOT_EMPTY || state == SLOT_SAME) &&
      repeats_word (buf, offset, len, slot_load_cell (s))) {
    /* Zeroes that were written are told from nothing where that is free. */
    if (state == SLOT_EMPTY && buf)
      content_set_locked (disk, s, &zeroes);
    return 0;
  }
  if (state == SLOT_BUFFERED) {
    disk_count (disk, DISK_BUFFER_HITS, 1);
    there = FETCHED;
  }
  else if (buffer_is_on (&disk->store->buffer))
    there = fetch_into_buffer_locked (disk, s, index, buf, offset, len);

  switch (there) {
  case FETCH_FAILED:
    return -1;
  case FETCHED_SO_ALREADY:
    return 0;
  case FETCH_NO_ROOM:
    return part_compressed_locked (disk, s, index, buf, offset, len);
  case FETCHED:
    break;
  }
  content_rewrite_locked (disk, s, buf, offset, len);
  keep_buffered_locked (disk, s);
  return 0;
}

static int
try_write_part (struct disk *disk, uint64_t index, const void *buf,
                uint32_t offset, uint32_t len, uint32_t now)
{
  struct slot *s = slot_table_write_lock (&disk->table, index);

  /* Zeroes in a part of nothing: as in try_write. */
  if (!s && repeats_word (buf, offset, len, 0))
    return 0;
  if (!s)
    s = slot_table_write_lock_new (&disk->table, index);
  if (!slot_is_there (s))
    return -1;
  int r = write_part_locked (disk, s, index, buf, offset, len);
  slot_write_unlock_stamped (s, now);
  return r;
}

/* -- waiting for room --------------------------------------------------- */

/* Wait until there may be room; shall there be another try?  errno stays. */
static bool
stall_wait (struct disk *disk, struct stall *stall)
{
  bool again;

  if (!stall->deadline_ns)
    disk_count (disk, DISK_WRITE_STALLS, 1);
  again = room_wait (&disk->store->room, stall);
  errno = ENOSPC;
  return again;
}

/* After a try that failed: shall there be another?  errno stays.  'stall' NULL:
 * not if that takes waiting.
 */
static bool
may_try_again (struct disk *disk, struct stall *stall)
{
  return errno == ENOSPC &&
         (drain_for_room (disk->store) ||
          (stall && disk->store->backed && stall_wait (disk, stall)));
}

/* Try until there is room, or no hope of any; 'part': else the whole slot. */
static int
write_with_room (struct disk *disk, uint64_t index, const void *buf, bool part,
                 uint32_t offset, uint32_t len, uint32_t now, bool wait)
{
  struct stall stall;
  int r;

  room_stall_begin (&disk->store->room, &stall);
  do
    r = part ? try_write_part (disk, index, buf, offset, len, now)
             : try_write (disk, index, buf, now);
  while (r == -1 && may_try_again (disk, wait ? &stall : NULL));
  if (disk->store->backed)
    room_check (&disk->store->room, store_memory_to_evict (disk->store));
  return r;
}

int
slot_write (struct disk *disk, uint64_t index, const void *buf, uint32_t now)
{
  return write_with_room (disk, index, buf, false, 0, 0, now, true);
}

int
slot_write_part (struct disk *disk, uint64_t index, const void *buf,
                 uint32_t offset, uint32_t len, uint32_t now)
{
  return write_with_room (disk, index, buf, true, offset, len, now, true);
}

int
slot_zero_part (struct disk *disk, uint64_t index, uint32_t offset,
                uint32_t len, uint32_t now, bool wait)
{
  return write_with_room (disk, index, NULL, true, offset, len, now, wait);
}

/* -- discarding --------------------------------------------------------- */

static void
discard_and_unlock (struct disk *disk, struct slot *s) RELEASE (s)
{
  static const struct content empty = { .state = SLOT_EMPTY };

  if (slot_meta_state (slot_load_meta (s)) != SLOT_EMPTY) {
    content_set_locked (disk, s, &empty);
    disk_count (disk, DISK_SLOTS_FREED, 1);
  }
  slot_write_unlock (s);
}

void
slot_discard (struct disk *disk, uint64_t index)
{
  struct slot *s = slot_table_write_lock (&disk->table, index);

  if (slot_is_there (s))
    discard_and_unlock (disk, s);
}

bool
slot_try_discard (struct disk *disk, uint64_t index)
{
  bool busy;
  struct slot *s = slot_table_try_write_lock (&disk->table, index, &busy);

  if (slot_is_there (s))
    discard_and_unlock (disk, s);
  return !busy;
}
