/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Disk: a slot table and statistics, over a store.
 */

#ifndef ZRAM_DISK_H
#define ZRAM_DISK_H

#include "base/counter.h"
#include "store/slot_table.h"
#include "store/store.h"

/* The first group are levels.  They change with the slot lock held, and are
 * exact when nothing runs (store/audit.h).  The others only grow.
 * plugin/control/figures.def says which of them clients see, and under which
 * names.
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
  DISK_RECOMPRESSED,      /* slots that a secondary method made smaller */
  DISK_RECOMPRESS_WON,    /* bytes saved by that */
  DISK_RECOMPRESS_VAIN,   /* slots that no secondary method made smaller */
  DISK_RECOMPRESS_LOST,   /* slots that changed meanwhile */
  DISK_RECOMPRESS_FAILED, /* slots left as they were: no memory, or damaged */
  DISK_RECOMPRESS_NS,     /* time spent on all of them */
  DISK_BD_READS,          /* slots read from the backing store */
  DISK_BD_WRITES,         /* slots written to it */
  DISK_BD_READ_ERRORS,    /* slots that could not be read from it */
  DISK_BD_WRITE_ERRORS,   /* slots that could not be written, and stay */
  DISK_BD_DAMAGED,        /* records that differ from what was written */
  DISK_PROMOTED,          /* slots read from it that stay in memory now */
  DISK_WRITE_STALLS,      /* writes that waited for room */
  DISK_BUFFER_WRITES,     /* slots that entered the write buffer */
  DISK_BUFFER_HITS,       /* slots written there again before compression */
  DISK_BUFFER_PASSED,     /* slots for which it had no room */
  DISK_DRAINED,           /* slots compressed and moved out of it */
  DISK_DRAIN_LOST,        /* slots that changed meanwhile */
  DISK_DRAIN_FAILED,      /* slots left there: no memory */
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

  /* One for the maker of the disk, and one for each walk in it and each lookup
   * by number.  Dropping the last one frees the disk.
   */
  atomic_uint refs;
  bool removed; /* under disks_lock: no lookup finds it */
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
 * NULL with errno ENOMEM, or ENFILE: DISKS_MAX disks exist already.
 */
struct disk *disk_create (struct store *store, uint64_t size) MUST_USE;

/* From here on no lookup by number and no walk finds it (store/reset.h:
 * disk_destroy).
 */
void disk_hide (struct disk *disk);

/* Add a reference (the caller already has one), and drop one. */
void disk_get (struct disk *disk);
void disk_put (struct disk *disk);

/* The disk with that id, or the first one from that id on, with a reference for
 * the caller.  NULL: there is none.  Both take the lock of the list for a
 * moment.
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
