/* SPDX-License-Identifier: BSD-3-Clause */

#include <config.h>

#include <errno.h>
#include <string.h>

#include "base/clock.h"
#include "base/fault.h"
#include "store/content.h"
#include "store/slot_io.h"
#include "store/time_sample.h"

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

/* Compress a slot's data into a new object. */
static int
pack_object (struct device *dev, struct zcomp_stream *stream, const void *data,
             struct content *new)
{
  struct packed packed;

  return content_pack (dev, stream, data, &packed) == 0
           ? content_make (dev, &packed, new)
           : -1;
}

/* Compress the data and let the slot hold them. */
static int
store_data_locked (struct device *dev, struct slot *s,
                   struct zcomp_stream *stream, const void *data) REQUIRES (s)
{
  struct content new = { .state = SLOT_SAME, .size = 1 };
  struct packed packed;

  if (!slot_same_filled (data, dev->store->config.slot_size, &new.cell)) {
    if (content_pack (dev, stream, data, &packed) == -1)
      return -1;
    if (content_make (dev, &packed, &new) == -1)
      return errno == ENOSPC && content_overwrite_locked (dev, s, &packed) ? 0
                                                                           : -1;
  }
  content_set_locked (dev, s, &new);
  return 0;
}

/* -- reading ------------------------------------------------------------ */

static void
fill_words (char *buf, uint32_t offset, uint32_t len, uint64_t word)
{
  char pattern[8];

  if (word == 0) {
    memset (buf, 0, len);
    return;
  }
  memcpy (pattern, &word, 8);
  for (uint32_t i = 0; i < len && i < 8; i++)
    buf[i] = pattern[(offset + i) & 7];
  for (uint32_t done = 8; done < len; done *= 2)
    memcpy (buf + done, buf, done < len - done ? done : len - done);
}

/* The object's whole data into 'dst' (slot_size bytes). */
static int
decompress_locked (struct device *dev, struct slot *s, uint32_t meta,
                   const struct zcomp_reader *reader, void *dst)
  REQUIRES_SHARED (s)
{
  uint64_t handle;
  const void *object = zs_pin (dev->store->pool, &s->cell, &handle);
  uint64_t start = time_sample_start ();
  int r = zcomp_reader_decompress (reader, object, slot_meta_size (meta), dst,
                                   dev->store->config.slot_size);

  time_sample_end (&dev->store->decompress_time, start);
  zs_unpin (dev->store->pool, handle);
  return r;
}

static void
read_raw_locked (struct device *dev, struct slot *s, void *buf, uint32_t offset,
                 uint32_t len) REQUIRES_SHARED (s)
{
  uint64_t handle;
  const char *object = zs_pin (dev->store->pool, &s->cell, &handle);

  memcpy (buf, object + offset, len);
  zs_unpin (dev->store->pool, handle);
}

/* Straight into the caller's buffer. */
static int
read_whole_locked (struct device *dev, struct slot *s, uint32_t meta, void *buf)
  REQUIRES_SHARED (s)
{
  struct zcomp_reader reader;
  int r;

  if (zcomp_reader_get (dev->store->zcomp, slot_meta_format (meta), &reader))
    return -1;
  r = decompress_locked (dev, s, meta, &reader, buf);
  zcomp_reader_put (&reader);
  return r;
}

/* All of the slot into the stream's scratch; NULL if that fails. */
static char *
read_to_scratch_locked (struct device *dev, struct slot *s, uint32_t meta,
                        struct zcomp_stream *stream) REQUIRES_SHARED (s)
{
  char *scratch = zcomp_stream_scratch (stream);
  struct zcomp_reader reader;
  int r;

  if (zcomp_stream_reader (stream, slot_meta_format (meta), &reader))
    return NULL;
  r = decompress_locked (dev, s, meta, &reader, scratch);
  zcomp_reader_put (&reader);
  return r ? NULL : scratch;
}

static int
read_object_locked (struct device *dev, struct slot *s, uint32_t meta,
                    void *buf, uint32_t offset, uint32_t len)
  REQUIRES_SHARED (s)
{
  struct zcomp_stream *stream;
  const char *whole;

  if (slot_meta_format (meta) == CODEC_RAW) {
    read_raw_locked (dev, s, buf, offset, len);
    return 0;
  }
  if (len == dev->store->config.slot_size)
    return read_whole_locked (dev, s, meta, buf);

  stream = zcomp_stream_get (dev->store->zcomp);
  whole = read_to_scratch_locked (dev, s, meta, stream);
  if (whole)
    memcpy (buf, whole + offset, len);
  zcomp_stream_put (stream);
  return whole ? 0 : -1;
}

static int
read_locked (struct device *dev, struct slot *s, void *buf, uint32_t offset,
             uint32_t len) REQUIRES_SHARED (s)
{
  uint32_t meta = slot_load_meta (s);

  if (slot_meta_state (meta) == SLOT_OBJECT)
    return read_object_locked (dev, s, meta, buf, offset, len);
  /* An EMPTY slot's cell is 0. */
  fill_words (buf, offset, len, slot_load_cell (s));
  return 0;
}

int
slot_read (struct device *dev, uint64_t index, void *buf, uint32_t offset,
           uint32_t len, uint32_t now) NO_THREAD_SAFETY_ANALYSIS
{
  struct slot *s = slot_table_read_lock (&dev->table, index, now);

  if (!s) {
    memset (buf, 0, len);
    return 0;
  }
  int r = read_locked (dev, s, buf, offset, len);
  slot_read_unlock (s);
  return r;
}

int
slot_read_unnoticed (struct device *dev, uint64_t index, void *buf)
  NO_THREAD_SAFETY_ANALYSIS
{
  struct slot *s = slot_table_try_read_lock (&dev->table, index);
  int r = -1;

  errno = EAGAIN;
  if (!s)
    return -1;
  if (slot_meta_state (slot_load_meta (s)) == SLOT_EMPTY)
    errno = ENOENT;
  else
    r = read_locked (dev, s, buf, 0, dev->store->config.slot_size);
  slot_read_unlock (s);
  return r;
}

/* -- writing ------------------------------------------------------------ */

static void
unlock_written (struct slot *s, uint32_t now) RELEASE (s)
  NO_THREAD_SAFETY_ANALYSIS
{
  rwword_set_owner (&s->lock, SLOT_STAMP_MASK, now & SLOT_AGE_MASK);
  slot_write_unlock (s);
}

/* No room for the new object beside the old one: compress again with the
 * slot locked, and see whether it fits in the old one's place.
 */
static int
write_at_limit (struct device *dev, uint64_t index, const void *buf,
                uint32_t now) NO_THREAD_SAFETY_ANALYSIS
{
  struct slot *s = slot_table_write_lock (&dev->table, index);

  if (!s) {
    errno = ENOSPC;
    return -1;
  }
  struct zcomp_stream *stream = zcomp_stream_get (dev->store->zcomp);
  int r = store_data_locked (dev, s, stream, buf);
  zcomp_stream_put (stream);
  unlock_written (s, now);
  return r;
}

int
slot_write (struct device *dev, uint64_t index, const void *buf, uint32_t now)
  NO_THREAD_SAFETY_ANALYSIS
{
  struct content new = { .state = SLOT_SAME, .size = 1 };
  struct slot *s;

  if (!slot_same_filled (buf, dev->store->config.slot_size, &new.cell)) {
    struct zcomp_stream *stream = zcomp_stream_get (dev->store->zcomp);
    int r = pack_object (dev, stream, buf, &new);

    zcomp_stream_put (stream);
    if (r == -1)
      return errno == ENOSPC ? write_at_limit (dev, index, buf, now) : -1;
  }
  s = slot_table_write_lock_new (&dev->table, index);
  if (!s) {
    content_drop (dev, &new);
    return -1;
  }
  content_set_locked (dev, s, &new);
  unlock_written (s, now);
  return 0;
}

/* The slot's present data with the part merged in, in the stream's scratch;
 * NULL if the old data cannot be read.
 */
static const char *
merge_locked (struct device *dev, struct slot *s, struct zcomp_stream *stream,
              const void *buf, uint32_t offset, uint32_t len) REQUIRES (s)
{
  uint32_t meta = slot_load_meta (s);
  char *data = zcomp_stream_scratch (stream);

  if (slot_meta_state (meta) != SLOT_OBJECT)
    fill_words (data, 0, dev->store->config.slot_size, slot_load_cell (s));
  else if (slot_meta_format (meta) == CODEC_RAW)
    read_raw_locked (dev, s, data, 0, dev->store->config.slot_size);
  else if (!read_to_scratch_locked (dev, s, meta, stream))
    return NULL;

  if (buf)
    memcpy (data + offset, buf, len);
  else
    memset (data + offset, 0, len);
  return data;
}

static int
write_part_locked (struct device *dev, struct slot *s, const void *buf,
                   uint32_t offset, uint32_t len) REQUIRES (s)
{
  struct zcomp_stream *stream = zcomp_stream_get (dev->store->zcomp);
  const char *data = merge_locked (dev, s, stream, buf, offset, len);
  int r;

  fault_pause ("slot.part.merged");
  r = data ? store_data_locked (dev, s, stream, data) : -1;
  zcomp_stream_put (stream);
  return r;
}

int
slot_write_part (struct device *dev, uint64_t index, const void *buf,
                 uint32_t offset, uint32_t len, uint32_t now)
  NO_THREAD_SAFETY_ANALYSIS
{
  struct slot *s = buf ? slot_table_write_lock_new (&dev->table, index)
                       : slot_table_write_lock (&dev->table, index);
  int r = 0;

  if (!s)
    return buf ? -1 : 0; /* zeroing a part of nothing */
  if (buf || slot_meta_state (slot_load_meta (s)) != SLOT_EMPTY)
    r = write_part_locked (dev, s, buf, offset, len);
  unlock_written (s, now);
  return r;
}

void
slot_discard (struct device *dev, uint64_t index) NO_THREAD_SAFETY_ANALYSIS
{
  static const struct content empty = { .state = SLOT_EMPTY };
  struct slot *s = slot_table_write_lock (&dev->table, index);

  if (!s)
    return;
  if (slot_meta_state (slot_load_meta (s)) != SLOT_EMPTY) {
    content_set_locked (dev, s, &empty);
    device_count (dev, DEV_SLOTS_FREED, 1);
  }
  slot_write_unlock (s);
}
