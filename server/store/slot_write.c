/* SPDX-License-Identifier: BSD-3-Clause */
/* Writes one slot, or a part of it, and discards it.
 * Contract: store/slot_write.h.
 */

/*
 *   a whole slot                             a part of one
 *     |                                        |  locked; its old data fetched
 *     |   is the slot in the write buffer?     |
 *     +--yes--> changed there <---------yes----+
 *     |                                        |  merged
 *     +-------------> keep <-------------------+
 *     |  one word, repeated?        SAME       |
 *     |  room in the write buffer?  BUFFERED   |
 *     |  else compressed            OBJECT     |  raw, if that does not help
 *     |                                        |
 *     |  slot locked                           |
 *     +------> the slot holds it <-------------+
 *              or, without room for an object, its old one is overwritten
 */

#include <config.h>

#include <errno.h>
#include <string.h>

#include "base/fault.h"
#include "store/content.h"
#include "store/slot_read.h"
#include "store/slot_write.h"

bool
slot_same_filled (const void *buf, uint32_t len, uint64_t *word)
{
  const char *p = buf;

  memcpy (word, p, 8);
  /* In most data the last word differs from the first: compare it first.  Then
   * compare each byte with the one eight before it.
   */
  return memcmp (word, p + len - 8, 8) == 0 && memcmp (p, p + 8, len - 8) == 0;
}

/* Are these bytes ('buf' NULL: zeroes) equal to 'len' bytes at 'offset' of a
 * slot that repeats the word?
 */
static bool
repeats_word (const char *buf, uint32_t offset, uint32_t len, uint64_t word)
{
  char pattern[8];

  memcpy (pattern, &word, 8);
  for (uint32_t i = 0; i < len && i < 8; i++)
    if ((buf ? buf[i] : 0) != pattern[(offset + i) & 7])
      return false;
  /* Those 8 bytes are equal: compare each byte with the one eight before it. */
  return !buf || len <= 8 || memcmp (buf, buf + 8, len - 8) == 0;
}

/* Are these bytes ('buf' NULL: zeroes) equal to the present ones? */
static bool
is_so_already (const char *data, const void *buf, uint32_t len)
{
  return buf ? memcmp (data, buf, len) == 0 : repeats_word (data, 0, len, 0);
}

/* -- how data are kept -------------------------------------------------- */

/* Data on their way to a slot. */
struct draft {
  const void *data;            /* slot_size bytes */
  struct zcomp_stream *stream; /* borrowed by the draft's maker, or by keep */
  struct packed packed;        /* the data, packed, in the stream */
  struct content buffered;     /* or their entry of the write buffer */
  bool passed;                 /* the write buffer had no room */
};

/* Take an entry of the write buffer for the data, and copy them to it unless
 * they are NULL.  False if there is no room; then it is not asked again.
 */
static bool
draft_buffer (struct disk *disk, uint64_t index, struct draft *d)
{
  if (d->passed || !buffer_is_on (&disk->store->buffer))
    return false;
  if (content_make_buffered (disk, index, d->data, &d->buffered))
    return true;
  d->passed = true;
  disk_count (disk, DISK_BUFFER_PASSED, 1);
  return false;
}

static void
draft_end (struct disk *disk, struct draft *d)
{
  if (d->buffered.state != SLOT_EMPTY)
    content_drop (disk, &d->buffered);
  if (d->stream)
    zcomp_stream_put (d->stream);
  d->stream = NULL;
}

/* Decides for every write how the data are kept.  0 and the new content for the
 * slot, or -1 with errno; ENOSPC: there was no room for d->packed.
 */
static inline int
keep (struct disk *disk, uint64_t index, struct draft *d, struct content *new)
{
  struct store *store = disk->store;

  *new = (struct content){ .state = SLOT_SAME, .size = 1 };
  if (slot_same_filled (d->data, store->config.slot_size, &new->cell))
    return 0;

  if (d->buffered.state != SLOT_EMPTY || draft_buffer (disk, index, d)) {
    *new = d->buffered;
    d->buffered.state = SLOT_EMPTY;
    disk_count (disk, DISK_BUFFER_WRITES, 1);
    return 0;
  }

  if (!d->stream)
    d->stream = zcomp_stream_get (store->zcomp);
  if (object_pack (store, d->stream, d->data, &d->packed) == -1)
    return -1;
  return content_make (disk, &d->packed, new);
}

/* Keep the data, and put them into the slot. */
static int
keep_locked (struct disk *disk, struct slot *s, uint64_t index, struct draft *d)
  REQUIRES (s)
{
  struct content new;

  if (keep (disk, index, d, &new) == 0) {
    content_set_locked (disk, s, &new);
    return 0;
  }
  return errno == ENOSPC && content_overwrite_locked (disk, s, &d->packed) ? 0
                                                                           : -1;
}

/* The slot is BUFFERED: change it in the buffer, which needs no room.  If it
 * then repeats one word, it leaves the buffer.
 */
static void
rewrite_locked (struct disk *disk, struct slot *s, const void *buf,
                uint32_t offset, uint32_t len) REQUIRES (s)
{
  const char *data = buffer_data (&disk->store->buffer,
                                  (uint32_t) slot_load_cell (s));
  struct content same = { .state = SLOT_SAME, .size = 1 };

  content_rewrite_locked (disk, s, buf, offset, len);
  disk_count (disk, DISK_BUFFER_HITS, 1);
  if (slot_same_filled (data, disk->store->config.slot_size, &same.cell))
    content_set_locked (disk, s, &same);
}

/* -- a whole slot -------------------------------------------------------- */

/* Change the slot in the write buffer if it is there, and the new data are not
 * one repeated word, which would leave the buffer.  The first look is a hint:
 * if it is wrong, the slot is written like any other.
 */
static bool
rewrite_buffered (struct disk *disk, uint64_t index, const void *buf,
                  uint32_t now)
{
  const struct slot *peek = slot_table_peek (&disk->table, index);
  uint32_t slot_size = disk->store->config.slot_size;
  uint64_t word;

  if (!peek || slot_meta_state (slot_load_meta (peek)) != SLOT_BUFFERED ||
      slot_same_filled (buf, slot_size, &word))
    return false;
  struct slot *s = slot_table_write_lock (&disk->table, index);
  if (!slot_is_there (s))
    return false;
  bool buffered = slot_meta_state (slot_load_meta (s)) == SLOT_BUFFERED;
  if (buffered)
    rewrite_locked (disk, s, buf, 0, slot_size);
  slot_write_unlock_stamped (s, now);
  return buffered;
}

/* There is no room for a new object beside the old one: try again with the slot
 * locked, because it may fit in the old one's place.
 */
static int
write_at_limit (struct disk *disk, uint64_t index, struct draft *d,
                uint32_t now)
{
  struct slot *s = slot_table_write_lock (&disk->table, index);

  if (!slot_is_there (s)) {
    errno = ENOSPC;
    return -1;
  }
  int r = keep_locked (disk, s, index, d);
  draft_end (disk, d);
  slot_write_unlock_stamped (s, now);
  return r;
}

static int
try_write (struct disk *disk, uint64_t index, const void *buf, uint32_t now)
{
  struct draft d = { .data = buf };
  struct content new;

  if (buffer_used (&disk->store->buffer) > 0 &&
      rewrite_buffered (disk, index, buf, now))
    return 0;
  int r = keep (disk, index, &d, &new);
  draft_end (disk, &d); /* before the slot is locked: lock order */
  if (r == -1)
    return errno == ENOSPC ? write_at_limit (disk, index, &d, now) : -1;

  bool zeroes = new.state == SLOT_SAME &&new.cell == 0;
  struct slot *s = zeroes ? slot_table_write_lock (&disk->table, index)
                          : slot_table_write_lock_new (&disk->table, index);
  if (!slot_is_there (s)) {
    /* The slot was EMPTY at the moment when the directory named no leaf: the
     * zeroes count as written then.  A write that was answered before is in a
     * leaf that the lookup sees, so these zeroes cannot be ordered before it.
     * A write that is still running comes after them.
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

/* -- a part of one ------------------------------------------------------- */

/* The slot's present data, to be changed: in a stream's scratch buffer, or
 * without an object in the write buffer, if that has room.  NULL if they cannot
 * be read.  'record': for a BACKED slot.
 */
static char *
old_data_locked (struct disk *disk, struct slot *s, uint64_t index,
                 const char *record, struct draft *d) REQUIRES (s)
{
  struct store *store = disk->store;
  bool has_object = slot_meta_has_object (slot_load_meta (s));
  char *data;

  if (!has_object && draft_buffer (disk, index, d))
    data = buffer_data (&store->buffer, (uint32_t) d->buffered.cell);
  else {
    d->stream = zcomp_stream_get (store->zcomp);
    data = zcomp_stream_scratch (d->stream);
  }
  if (has_object)
    return object_unpack_locked (store, s, record, d->stream);
  /* An EMPTY slot's cell is 0. */
  slot_fill_words (data, 0, store->config.slot_size, slot_load_cell (s));
  return data;
}

/* Merge the part in, and keep the data. */
static int
merge_locked (struct disk *disk, struct slot *s, uint64_t index,
              struct draft *d, char *data, const void *buf, uint32_t offset,
              uint32_t len) REQUIRES (s)
{
  if (is_so_already (data + offset, buf, len))
    return 0;
  if (buf)
    memcpy (data + offset, buf, len);
  else
    memset (data + offset, 0, len);
  fault_pause ("slot.part.merged");
  d->data = data;
  return keep_locked (disk, s, index, d);
}

static int
fetch_and_merge_locked (struct disk *disk, struct slot *s, uint64_t index,
                        const void *buf, uint32_t offset, uint32_t len)
  REQUIRES (s)
{
  bool backed = slot_meta_state (slot_load_meta (s)) == SLOT_BACKED;
  char *record = backed ? object_fetch_locked (disk, s, index) : NULL;
  struct draft d = { 0 };

  if (backed && !record)
    return -1;
  char *data = old_data_locked (disk, s, index, record, &d);
  int r = data ? merge_locked (disk, s, index, &d, data, buf, offset, len) : -1;
  draft_end (disk, &d);
  backed_record_free (disk->store->backed, record);
  return r;
}

static int
write_part_locked (struct disk *disk, struct slot *s, uint64_t index,
                   const void *buf, uint32_t offset, uint32_t len) REQUIRES (s)
{
  static const struct content zeroes = { .state = SLOT_SAME, .size = 1 };
  enum slot_state state = slot_meta_state (slot_load_meta (s));

  /* An EMPTY slot's cell is 0. */
  if ((state == SLOT_EMPTY || state == SLOT_SAME) &&
      repeats_word (buf, offset, len, slot_load_cell (s))) {
    /* Written zeroes are distinguished from EMPTY when that costs nothing: the
     * leaf exists.
     */
    if (state == SLOT_EMPTY && buf)
      content_set_locked (disk, s, &zeroes);
    return 0;
  }
  if (state != SLOT_BUFFERED)
    return fetch_and_merge_locked (disk, s, index, buf, offset, len);
  rewrite_locked (disk, s, buf, offset, len);
  return 0;
}

static int
try_write_part (struct disk *disk, uint64_t index, const void *buf,
                uint32_t offset, uint32_t len, uint32_t now)
{
  struct slot *s = slot_table_write_lock (&disk->table, index);

  /* Zeroes into a part of an EMPTY slot: as in try_write. */
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

/* Wait until there may be room.  Returns whether to try again.  Keeps errno. */
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

/* Call it after a try that failed.  Returns whether to try again.  Keeps errno.
 * 'stall' NULL: do not wait.
 */
static bool
may_try_again (struct disk *disk, struct stall *stall)
{
  return errno == ENOSPC &&
         (drain_for_room (disk->store) ||
          (stall && disk->store->backed && stall_wait (disk, stall)));
}

/* Try until there is room, or no hope of any.  'part': write a part of the
 * slot, else the whole slot.
 */
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
