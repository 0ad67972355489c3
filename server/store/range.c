/* SPDX-License-Identifier: BSD-3-Clause */
/* Byte ranges of a disk: cut into slots, and shared with idle workers.
 * Contract: store/range.h.
 */

#include <config.h>

#include <errno.h>
#include <stdatomic.h>

#include "base/clock.h"
#include "store/range.h"
#include "store/slot_read.h"
#include "store/slot_write.h"

/* Bytes for which waking a worker pays: their work takes several times the 25
 * to 30 µs that waking costs.
 */
#define READ_CHUNK (128u * 1024)
#define WRITE_CHUNK (64u * 1024)
#define BUFFERED_CHUNK (512u * 1024) /* for data that are only copied */

struct transfer {
  struct disk *disk;
  char *read_to; /* one of these is NULL */
  const char *write_from;
  uint32_t count;
  uint64_t offset;
  uint32_t chunk; /* bytes; whole slots except at the edges */
  uint32_t now;
  atomic_int err;
};

static int
transfer_slot (struct transfer *t, uint64_t index, uint32_t at, uint32_t len,
               uint32_t done)
{
  if (t->read_to)
    return slot_read (t->disk, index, t->read_to + done, at, len, t->now);
  if (len == t->disk->store->config.slot_size)
    return slot_write (t->disk, index, t->write_from + done, t->now);
  return slot_write_part (t->disk, index, t->write_from + done, at, len,
                          t->now);
}

/* Bytes [from, to) of the transfer.  0, or an errno value. */
static int
transfer_bytes (struct transfer *t, uint32_t from, uint32_t to)
{
  uint32_t slot_size = t->disk->store->config.slot_size;

  while (from < to) {
    uint64_t byte = t->offset + from;
    uint32_t at = byte & (slot_size - 1);
    uint32_t len = slot_size - at < to - from ? slot_size - at : to - from;

    if (t->read_to && from + len < to)
      slot_prefetch (t->disk, (byte >> t->disk->store->slot_shift) + 1);
    if (transfer_slot (t, byte >> t->disk->store->slot_shift, at, len, from))
      return errno;
    from += len;
  }
  return 0;
}

/* Chunk boundaries are multiples of the chunk size on the disk, so they never
 * cut a slot.
 */
static void
transfer_chunk (void *ctx, unsigned chunk)
{
  struct transfer *t = ctx;
  uint64_t first = t->offset / t->chunk;
  uint64_t start = (first + chunk) * t->chunk, end = start + t->chunk;

  if (start < t->offset)
    start = t->offset;
  if (end > t->offset + t->count)
    end = t->offset + t->count;
  int err = transfer_bytes (t, start - t->offset, end - t->offset);
  if (err)
    atomic_store_explicit (&t->err, err, memory_order_relaxed);
}

/* Sharing pays while there are fewer requests than CPUs, and fewer than
 * streams.
 */
static bool
worth_sharing (struct transfer *t)
{
  struct store *store = t->disk->store;
  unsigned workers = zcomp_workers (store->zcomp);
  unsigned most = workers < store->cpus ? workers : store->cpus;

  return t->count >= 2 * t->chunk && store_requests (store) < (int64_t) most;
}

static int
run_transfer (struct transfer *t, enum latency_kind kind)
{
  uint64_t start = clock_ns ();
  int err;

  if (store_request_begin (t->disk->store) == -1)
    return -1;
  if (worth_sharing (t)) {
    uint64_t last = t->offset + t->count - 1;
    unsigned chunks = last / t->chunk - t->offset / t->chunk + 1;

    disk_count (t->disk, DISK_REQUESTS_SHARED, 1);
    workpool_share (t->disk->store->workpool, chunks, transfer_chunk, t);
    err = atomic_load_explicit (&t->err, memory_order_relaxed);
  }
  else
    err = transfer_bytes (t, 0, t->count);
  store_request_end (t->disk->store);
  histogram_add (&t->disk->latency[kind], clock_ns () - start);
  errno = err;
  return err ? -1 : 0;
}

int
disk_read (struct disk *disk, void *buf, uint32_t count, uint64_t offset)
{
  struct transfer t = { .disk = disk,
                        .read_to = buf,
                        .count = count,
                        .offset = offset,
                        .chunk = READ_CHUNK,
                        .now = clock_coarse_s () };

  disk_count (disk, DISK_READ_REQUESTS, 1);
  disk_count (disk, DISK_READ_BYTES, count);
  int r = run_transfer (&t, LATENCY_READ);
  if (r == -1)
    disk_count (disk, DISK_FAILED_READS, 1);
  return r;
}

/* Data that are only copied into the write buffer are less work. */
static uint32_t
write_chunk (struct disk *disk, uint32_t count)
{
  return buffer_has_room (&disk->store->buffer,
                          count >> disk->store->slot_shift)
           ? BUFFERED_CHUNK
           : WRITE_CHUNK;
}

int
disk_write (struct disk *disk, const void *buf, uint32_t count, uint64_t offset)
{
  struct transfer t = { .disk = disk,
                        .write_from = buf,
                        .count = count,
                        .offset = offset,
                        .chunk = write_chunk (disk, count),
                        .now = clock_coarse_s () };

  disk_count (disk, DISK_WRITE_REQUESTS, 1);
  disk_count (disk, DISK_WRITE_BYTES, count);
  int r = run_transfer (&t, LATENCY_WRITE);
  if (r == -1)
    disk_count (disk, DISK_FAILED_WRITES, 1);
  return r;
}

/* Discard whole slots [first, end), leaf by leaf; a gap without leaves is one
 * step.  With 'wait', discards all of them; else returns how many were locked.
 */
static uint64_t
discard_slots (struct disk *disk, uint64_t first, uint64_t end, bool wait)
{
  uint64_t i = slot_table_next_present (&disk->table, first, end), locked = 0;

  while (i < end) {
    uint64_t leaf_end = (i | (LEAF_SLOTS - 1)) + 1;
    uint64_t stop = leaf_end < end ? leaf_end : end, at;

    for (at = i; at < stop; at++)
      if (wait)
        slot_discard (disk, at);
      else
        locked += !slot_try_discard (disk, at);
    if (!store_keeps_leaves (disk->store) &&
        slot_table_leaf_is_empty (&disk->table, i) &&
        !slot_table_reclaim (&disk->table, i))
      disk_count (disk, DISK_RECLAIM_MISSES, 1);
    i = slot_table_next_present (&disk->table, stop, end);
  }
  return locked;
}

void
disk_discard_all (struct disk *disk)
{
  (void) discard_slots (disk, 0, disk->table.slots, true);
}

uint64_t
disk_discard_patiently (struct disk *disk, const struct patience *p)
{
  uint64_t locked;

  do
    locked = discard_slots (disk, 0, disk->table.slots, false);
  while (locked > 0 && patience_nap (p));
  return locked;
}

/* Zero the edges of the range, which do not fill a slot.  Each is tried.  If
 * the first one waited for room without success, the second does not wait, so a
 * request waits no longer than one slot does.
 */
static int
zero_edges (struct disk *disk, uint64_t offset, uint64_t end)
{
  uint32_t slot_size = disk->store->config.slot_size, now = clock_coarse_s ();
  uint64_t shift = disk->store->slot_shift;
  uint32_t head = offset & (slot_size - 1), tail = end & (slot_size - 1);
  int err = 0;

  if (offset >> shift == end >> shift)
    return slot_zero_part (disk, offset >> shift, head, tail - head, now, true);
  if (head && slot_zero_part (disk, offset >> shift, head, slot_size - head,
                              now, true) == -1)
    err = errno;
  if (tail && slot_zero_part (disk, end >> shift, 0, tail, now, !err) == -1 &&
      !err)
    err = errno;
  errno = err;
  return err ? -1 : 0;
}

static int
discard (struct disk *disk, uint64_t offset, uint64_t count, bool advice)
{
  uint32_t slot_size = disk->store->config.slot_size;
  uint64_t end = offset + count, shift = disk->store->slot_shift;
  uint64_t start = clock_ns ();
  int r = 0;

  /* The part of the last slot beyond the disk's end is always zero. */
  if (end == disk->size)
    end = disk->table.slots << shift;
  uint64_t first = (offset + slot_size - 1) >> shift, stop = end >> shift;

  if (store_request_begin (disk->store) == -1)
    return -1;
  disk_count (disk, DISK_DISCARD_REQUESTS, 1);
  disk_count (disk, DISK_DISCARD_BYTES, count);
  if (first < stop) /* first, because it makes room for the edges */
    (void) discard_slots (disk, first, stop, true);
  if (count)
    r = zero_edges (disk, offset, end);
  if (advice)
    r = 0;
  store_request_end (disk->store);
  histogram_add (&disk->latency[LATENCY_DISCARD], clock_ns () - start);
  if (r == -1)
    disk_count (disk, DISK_FAILED_WRITES, 1);
  return r;
}

int
disk_discard (struct disk *disk, uint64_t offset, uint64_t count)
{
  return discard (disk, offset, count, false);
}

int
disk_trim (struct disk *disk, uint64_t offset, uint64_t count)
{
  return discard (disk, offset, count, true);
}

void
disk_flush (struct disk *disk)
{
  uint64_t start = clock_ns ();

  disk_count (disk, DISK_FLUSH_REQUESTS, 1);
  histogram_add (&disk->latency[LATENCY_FLUSH], clock_ns () - start);
}
