/* SPDX-License-Identifier: BSD-3-Clause */

#include <config.h>

#include <errno.h>
#include <string.h>

#include "base/clock.h"
#include "base/fault.h"
#include "store/slot_io.h"

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

/* -- what a slot is going to hold --------------------------------------- */

struct content {
  enum slot_state state; /* SLOT_SAME or SLOT_OBJECT */
  unsigned codec;
  uint32_t size;
  uint64_t cell; /* the word, or the handle of an object in transit */
};

/* What a slot's data became: bytes of the data itself or of a stream. */
struct packed {
  unsigned codec;
  uint32_t size;
  const void *bytes;
};

/* Is this call of a codec one of those that are timed?  Then what time it is,
 * else 0.
 */
static uint64_t
sample_start (void)
{
  static _Thread_local unsigned calls;

  return calls++ % TIME_SAMPLE ? 0 : clock_ns ();
}

static void
sample_end (struct histogram *h, uint64_t start)
{
  if (start)
    histogram_add (h, clock_ns () - start);
}

/* Compress a slot's data, once. */
static int
pack (struct device *dev, struct zcomp_stream *stream, const void *data,
      struct packed *packed)
{
  struct store *store = dev->store;
  const struct zcomp_method method = zcomp_stream_primary (stream);
  uint64_t start = sample_start ();
  ssize_t n = zcomp_compress (stream, &method, data, store->config.slot_size,
                              size_class_largest (&store->pool->classes),
                              &packed->bytes);

  sample_end (&store->compress_time, start);
  if (n < 0)
    return -1;
  if (n > 0) {
    packed->codec = method.format;
    packed->size = (uint32_t) n;
  }
  else
    *packed = (struct packed){ .codec = CODEC_RAW,
                               .size = store->config.slot_size,
                               .bytes = data };
  return 0;
}

/* Put the bytes into a new object. */
static int
make_object (struct device *dev, const struct packed *packed,
             struct content *new)
{
  void *mem;
  uint64_t handle = zs_alloc (dev->store->pool, packed->size, &mem);

  if (!handle)
    return -1;
  memcpy (mem, packed->bytes, packed->size);
  *new = (struct content){ .state = SLOT_OBJECT,
                           .codec = packed->codec,
                           .size = packed->size,
                           .cell = handle };
  return 0;
}

/* Compress a slot's data into a new object. */
static int
pack_object (struct device *dev, struct zcomp_stream *stream, const void *data,
             struct content *new)
{
  struct packed packed;

  return pack (dev, stream, data, &packed) == 0
           ? make_object (dev, &packed, new)
           : -1;
}

/* -- swapping it in; the caller holds the slot lock --------------------- */

static void
count_content (struct device *dev, enum slot_state state, unsigned codec,
               uint32_t size, int sign)
{
  if (state == SLOT_EMPTY)
    return;
  device_count (dev, DEV_SLOTS_STORED, sign);
  if (state == SLOT_SAME)
    device_count (dev, DEV_SLOTS_SAME, sign);
  if (state == SLOT_OBJECT) {
    device_count (dev, DEV_OBJECTS, sign);
    device_count (dev, DEV_COMPR_BYTES, sign * (int64_t) size);
    if (codec == CODEC_RAW) {
      device_count (dev, DEV_SLOTS_HUGE, sign);
      if (sign > 0)
        device_count (dev, DEV_HUGE_SINCE, 1);
    }
  }
}

static void
set_content_locked (struct device *dev, struct slot *s,
                    const struct content *new) REQUIRES (s)
{
  uint32_t old = slot_load_meta (s);
  uint32_t meta = new->state == SLOT_EMPTY
                    ? 0
                    : slot_meta (new->state, new->codec, new->size);

  if (slot_meta_state (old) == SLOT_OBJECT)
    zs_replace (dev->store->pool, &s->cell, new->cell);
  else
    atomic_store_explicit (&s->cell, new->cell, memory_order_relaxed);
  atomic_store_explicit (&s->meta, meta, memory_order_relaxed);
  if (new->state == SLOT_OBJECT)
    zs_attach (dev->store->pool, new->cell, &s->cell);

  count_content (dev, slot_meta_state (old), slot_meta_codec (old),
                 slot_meta_size (old), -1);
  count_content (dev, new->state, new->codec, new->size, 1);
  int live = (new->state != SLOT_EMPTY) - (slot_meta_state (old) != SLOT_EMPTY);
  if (live)
    slot_table_count_live (&dev->table, s, live);
}

/* At the memory limit there may be no room for a second object, though the
 * new one would fit where the old one is: what shrinks always does, so that
 * trimming a part of a slot works when memory is out.  Nothing can fail any
 * more here, so the old data need not be kept until the new are safe.
 */
static bool
overwrite_object_locked (struct device *dev, struct slot *s,
                         const struct packed *packed) REQUIRES (s)
{
  const struct size_classes *classes = &dev->store->pool->classes;
  uint32_t old = slot_load_meta (s);
  uint64_t handle = slot_load_cell (s); /* it may move, but keeps its class */

  if (slot_meta_state (old) != SLOT_OBJECT ||
      packed->size > classes->g[zs_handle_class (handle)].size)
    return false;
  memcpy (zs_pin (dev->store->pool, &s->cell, &handle), packed->bytes,
          packed->size);
  zs_unpin (dev->store->pool, handle);
  atomic_store_explicit (&s->meta,
                         slot_meta (SLOT_OBJECT, packed->codec, packed->size),
                         memory_order_relaxed);
  count_content (dev, SLOT_OBJECT, slot_meta_codec (old), slot_meta_size (old),
                 -1);
  count_content (dev, SLOT_OBJECT, packed->codec, packed->size, 1);
  return true;
}

/* Compress the data and let the slot hold them. */
static int
store_data_locked (struct device *dev, struct slot *s,
                   struct zcomp_stream *stream, const void *data) REQUIRES (s)
{
  struct content new = { .state = SLOT_SAME, .size = 1 };
  struct packed packed;

  if (!slot_same_filled (data, dev->store->config.slot_size, &new.cell)) {
    if (pack (dev, stream, data, &packed) == -1)
      return -1;
    if (make_object (dev, &packed, &new) == -1)
      return errno == ENOSPC && overwrite_object_locked (dev, s, &packed) ? 0
                                                                          : -1;
  }
  set_content_locked (dev, s, &new);
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
  uint64_t start = sample_start ();
  int r = zcomp_reader_decompress (reader, object, slot_meta_size (meta), dst,
                                   dev->store->config.slot_size);

  sample_end (&dev->store->decompress_time, start);
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

  if (zcomp_reader_get (dev->store->zcomp, slot_meta_codec (meta), &reader))
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

  if (zcomp_stream_reader (stream, slot_meta_codec (meta), &reader))
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

  if (slot_meta_codec (meta) == CODEC_RAW) {
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
    if (new.state == SLOT_OBJECT)
      zs_drop (dev->store->pool, new.cell);
    return -1;
  }
  set_content_locked (dev, s, &new);
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
  else if (slot_meta_codec (meta) == CODEC_RAW)
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
    set_content_locked (dev, s, &empty);
    device_count (dev, DEV_SLOTS_FREED, 1);
  }
  slot_write_unlock (s);
}
