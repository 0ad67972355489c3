/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Device: one disk: its slot table and statistics, over a store.
 */

#ifndef ZRAM_DEVICE_H
#define ZRAM_DEVICE_H

#include "base/counter.h"
#include "store/backed.h"
#include "store/buffer.h"
#include "store/drain.h"
#include "store/room.h"
#include "store/slot_table.h"
#include "store/store.h"
#include "store/writeback_limit.h"

/* The first group are levels, changed with the slot lock held; exact when
 * nothing runs (store/audit.h).  The others only grow.
 */
enum device_counter {
  DEV_SLOTS_STORED, /* not EMPTY */
  DEV_SLOTS_SAME,
  DEV_SLOTS_HUGE,
  DEV_OBJECTS,
  DEV_COMPR_BYTES,    /* sum of the objects' sizes */
  DEV_SLOTS_BACKED,   /* in the backing store */
  DEV_BACKED_BYTES,   /* sum of their objects' sizes */
  DEV_SLOTS_BUFFERED, /* in the write buffer */

  DEV_READ_REQUESTS,
  DEV_READ_BYTES,
  DEV_WRITE_REQUESTS,
  DEV_WRITE_BYTES,
  DEV_DISCARD_REQUESTS,
  DEV_DISCARD_BYTES,
  DEV_FAILED_READS,
  DEV_FAILED_WRITES,
  DEV_FLUSH_REQUESTS,
  DEV_SLOTS_FREED,       /* by discard (the kernel's notify_free) */
  DEV_RECLAIM_MISSES,    /* empty leaves not given back: a slot was locked */
  DEV_REQUESTS_SHARED,   /* with workers */
  DEV_HUGE_SINCE,        /* slots stored raw, ever */
  DEV_RECOMPRESSED,      /* slots that a secondary codec made smaller */
  DEV_RECOMPRESS_WON,    /* bytes by which it did */
  DEV_RECOMPRESS_VAIN,   /* slots that no secondary codec made smaller */
  DEV_RECOMPRESS_LOST,   /* slots that were changed meanwhile */
  DEV_RECOMPRESS_FAILED, /* slots left alone for want of memory, or damaged */
  DEV_RECOMPRESS_NS,     /* time spent on all of them */
  DEV_BD_READS,          /* slots read from the backing store */
  DEV_BD_WRITES,         /* slots written to it */
  DEV_BD_READ_ERRORS,    /* slots that could not be read from it */
  DEV_BD_WRITE_ERRORS,   /* slots that could not be written to it, and stay */
  DEV_BD_DAMAGED,        /* records that were not what was written */
  DEV_PROMOTED,          /* slots that were read from it and stay in memory */
  DEV_WRITE_STALLS,      /* writes that waited for room */
  DEV_BUFFER_WRITES,     /* slots that were written to the write buffer anew */
  DEV_BUFFER_HITS,       /* … and again before they were compressed */
  DEV_BUFFER_PASSED,     /* slots that found no room there */
  DEV_DRAINED,           /* slots that were compressed out of it */
  DEV_DRAIN_LOST,        /* slots that changed meanwhile */
  DEV_DRAIN_FAILED,      /* slots left there for want of memory */
  DEV_COUNTERS
};

enum latency_kind {
  LATENCY_READ,
  LATENCY_WRITE,
  LATENCY_DISCARD,
  LATENCY_FLUSH,
  LATENCY_KINDS
};

struct device {
  struct store *store; /* not owned */
  uint64_t size;       /* bytes */
  struct slot_table table;
  struct backed *backed; /* owned; NULL: no backing store */
  struct writeback_limit writeback_limit;
  struct buffer buffer;    /* of size 0: off */
  struct drain drain;      /* of that */
  struct room room;        /* for writers when memory is used up */
  atomic_bool promote;     /* what is read from the store may stay in memory */
  _Atomic uint64_t claims; /* bits of those taken (claim.h) */
  struct counter_set counters;
  struct histogram latency[LATENCY_KINDS]; /* of whole requests */
};

/* size: 1 to 2^63 - 1 bytes.  NULL with errno ENOMEM. */
struct device *device_create (struct store *store, uint64_t size) MUST_USE;

/* Give it a backing store, which it owns from now on.  Before any request.
 * Where the store keeps memory ready, so are buffers to read into.
 */
void device_set_backed (struct device *dev, struct backed *backed);

/* Frees every object.  No request may be running. */
void device_destroy (struct device *dev);

static inline void
device_count (struct device *dev, enum device_counter id, int64_t delta)
{
  counter_add (&dev->counters, id, delta);
}

/* What eviction has to keep below its marks: all that is used but the write
 * buffer, which takes care of itself.
 */
static inline uint64_t
device_memory_to_evict (struct device *dev)
{
  uint64_t used = atomic_load_explicit (&dev->store->budget.used,
                                        memory_order_relaxed);
  uint64_t buffered = buffer_memory (&dev->buffer);

  return used > buffered ? used - buffered : 0;
}

#endif /* ZRAM_DEVICE_H */
