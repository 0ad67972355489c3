/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Device: one disk: its slot table and statistics, over a store.
 */

#ifndef ZRAM_DISK_H
#define ZRAM_DISK_H

#include "base/counter.h"
#include "store/slot_table.h"
#include "store/store.h"

/* The first group are levels, changed with the slot lock held; exact when
 * nothing runs (store/audit.h).  The others only grow.  What clients see of
 * them, and under which names: plugin/control/figures.def.
 */
enum disk_counter {
  DISK_SLOTS_STORED, /* not EMPTY */
  DISK_SLOTS_SAME,
  DISK_SLOTS_HUGE,
  DISK_OBJECTS,
  DISK_COMPR_BYTES,    /* sum of the objects' sizes */
  DISK_SLOTS_BACKED,   /* in the backing store */
  DISK_BACKED_BYTES,   /* sum of their objects' sizes */
  DISK_SLOTS_BUFFERED, /* in the write buffer */

  DISK_READ_REQUESTS,
  DISK_READ_BYTES,
  DISK_WRITE_REQUESTS,
  DISK_WRITE_BYTES,
  DISK_DISCARD_REQUESTS,
  DISK_DISCARD_BYTES,
  DISK_FAILED_READS,
  DISK_FAILED_WRITES,
  DISK_FLUSH_REQUESTS,
  DISK_SLOTS_FREED,       /* by discard (the kernel's notify_free) */
  DISK_RECLAIM_MISSES,    /* empty leaves not given back: a slot was locked */
  DISK_REQUESTS_SHARED,   /* with workers */
  DISK_HUGE_SINCE,        /* slots stored raw, ever */
  DISK_RECOMPRESSED,      /* slots that a secondary codec made smaller */
  DISK_RECOMPRESS_WON,    /* bytes by which it did */
  DISK_RECOMPRESS_VAIN,   /* slots that no secondary codec made smaller */
  DISK_RECOMPRESS_LOST,   /* slots that were changed meanwhile */
  DISK_RECOMPRESS_FAILED, /* slots left alone for want of memory, or damaged */
  DISK_RECOMPRESS_NS,     /* time spent on all of them */
  DISK_BD_READS,          /* slots read from the backing store */
  DISK_BD_WRITES,         /* slots written to it */
  DISK_BD_READ_ERRORS,    /* slots that could not be read from it */
  DISK_BD_WRITE_ERRORS,   /* slots that could not be written to it, and stay */
  DISK_BD_DAMAGED,        /* records that were not what was written */
  DISK_PROMOTED,          /* slots that were read from it and stay in memory */
  DISK_WRITE_STALLS,      /* writes that waited for room */
  DISK_BUFFER_WRITES,     /* slots that were written to the write buffer anew */
  DISK_BUFFER_HITS,       /* … and again before they were compressed */
  DISK_BUFFER_PASSED,     /* slots that found no room there */
  DISK_DRAINED,           /* slots that were compressed out of it */
  DISK_DRAIN_LOST,        /* slots that changed meanwhile */
  DISK_DRAIN_FAILED,      /* slots left there for want of memory */
  DISK_COUNTERS
};

enum latency_kind {
  LATENCY_READ,
  LATENCY_WRITE,
  LATENCY_DISCARD,
  LATENCY_FLUSH,
  LATENCY_KINDS
};

struct disk {
  struct store *store; /* not owned */
  unsigned id;         /* its place in the store's list */
  uint64_t size;       /* bytes */
  struct slot_table table;
  struct counter_set counters;
  struct histogram latency[LATENCY_KINDS]; /* of whole requests */

  /* Its maker's, and one for each walk that is in it or lookup by number.  Who
   * drops the last frees the disk.
   */
  atomic_uint refs;
  bool
    removed; /* guarded by the store's disks_lock: nobody finds it any more */
};

/* A slot's number in the store: the disk's id above the index in the disk. */
#define DISK_INDEX_BITS 51

static inline unsigned
disk_id_of (uint64_t slot)
{
  return (unsigned) (slot >> DISK_INDEX_BITS);
}

static inline uint64_t
disk_index_of (uint64_t slot)
{
  return slot & ((UINT64_C (1) << DISK_INDEX_BITS) - 1);
}

static inline uint64_t
disk_slot (const struct disk *disk, uint64_t index)
{
  return disk->table.first + index;
}

/* A disk of the store, with the caller's reference.  size: 1 to 2^63 - 1 bytes.
 * NULL with errno ENOMEM, or ENFILE: there are DISKS_MAX.
 */
struct disk *disk_create (struct store *store, uint64_t size) MUST_USE;

/* From here on nobody finds it by its number or in a walk (store/reset.h:
 * disk_destroy).
 */
void disk_hide (struct disk *disk);

/* One reference more, for who has one, and one less. */
void disk_get (struct disk *disk);
void disk_put (struct disk *disk);

/* The disk with that id, or the first from that id on; with a reference.  NULL:
 * there is none.  Take the lock of the list for a moment.
 */
struct disk *store_disk (struct store *store, unsigned id) MUST_USE;
struct disk *store_disk_from (struct store *store, unsigned id) MUST_USE;

/* A counter of all disks together. */
int64_t store_sum (struct store *store, enum disk_counter id);

static inline void
disk_count (struct disk *disk, enum disk_counter id, int64_t delta)
{
  counter_add (&disk->counters, id, delta);
}

static inline uint64_t
disk_sum (const struct disk *disk, enum disk_counter id)
{
  return (uint64_t) counter_sum (&disk->counters, id);
}

#endif /* ZRAM_DISK_H */
