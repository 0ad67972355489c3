/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Store: all disks together, and what they share: the pool that holds objects,
 * the compression streams, the workers, and the limit over all of it.
 *
 *   disk (slot table, statistics) ──┐
 *   disk …                        ──┴── store: pool, zcomp, workers, budget
 */

#ifndef ZRAM_STORE_H
#define ZRAM_STORE_H

#include <errno.h>

#include "base/budget.h"
#include "base/counter.h"
#include "base/histogram.h"
#include "base/mutex.h"
#include "base/reason.h"
#include "base/workpool.h"
#include "comp/dict.h"
#include "comp/zcomp.h"
#include "mem/pool.h"
#include "store/backed.h"
#include "store/buffer.h"
#include "store/drain.h"
#include "store/leaves.h"
#include "store/room.h"
#include "store/writeback_limit.h"

struct store_config {
  uint32_t slot_size;    /* bytes, a power of two, 4 KiB to 64 KiB */
  const char *allocator; /* pool_allocator; NULL: the default */
  struct zcomp_method primary;
  uint64_t mem_limit;  /* bytes, 0 = none */
  unsigned workers;    /* streams and threads, 1 … ZCOMP_MAX_STREAMS */
  uint64_t disk_bytes; /* size of the disks: bounds what is reserved */
  uint64_t keep_ready; /* bytes of resident free memory to keep (refill.h) */
};

#define DISKS_MAX (1u << 12)

struct store {
  struct store_config config;
  struct mutex settings; /* see below */
  uint32_t slot_shift;
  unsigned cpus;        /* on which the process may run */
  struct budget budget; /* pool and slot tables */
  struct pool *pool;
  struct mutex disks_lock;                     /* rank DISKS: a leaf */
  struct disk **disks GUARDED_BY (disks_lock); /* by id; DISKS_MAX, owned */
  unsigned disks_top GUARDED_BY (disks_lock);  /* ids ever used */
  struct leaves leaves;                        /* of all slot tables */
  struct backed *backed; /* owned; NULL: no backing store */
  struct writeback_limit writeback_limit;
  struct buffer buffer;    /* for writes; size 0: off */
  struct drain drain;      /* of the write buffer */
  struct room room;        /* for writers when memory is used up */
  atomic_bool promote;     /* slots that are read back may stay in memory */
  _Atomic uint64_t claims; /* a bit for each claim that is taken (claim.h) */
  struct zcomp *zcomp;
  struct workpool *workpool;
  struct counter_set requests; /* enum store_counter */
  struct counter_set formats;  /* see store_format_made */
  atomic_int gate;             /* enum store_gate */
  struct mutex gate_lock;      /* a leaf: for requests that wait at the gate */
  struct cond gate_opened;
  struct histogram compress_time, decompress_time; /* one in TIME_SAMPLE */
};

enum store_gate { GATE_OPEN, GATE_FROZEN, GATE_CLOSED };

enum store_counter { REQUESTS_BEGUN, REQUESTS_ENDED, REQUEST_COUNTERS };

/* 'settings' (rank SETTINGS): hold it to change the number of workers, the
 * primary method or the dictionaries, or to keep them unchanged, as an audit
 * and a reset do.
 */

/* Can a store run on this machine?  If not, *why says why. */
bool store_can_run (struct reason *why) MUST_USE;

/* Makes everything except the threads.  NULL with errno ENOTSUP (see
 * store_can_run), ENOMEM, or EINVAL (there is no such allocator or method).
 */
struct store *store_create (const struct store_config *config) MUST_USE;

/* Start the workers' threads (after the last fork).  0, or -1 with errno ENOMEM
 * or EAGAIN (no more threads).
 */
int store_start (struct store *store) MUST_USE;

/* Change the number of streams and threads while requests run.  0, or -1 with
 * errno EINVAL, ENOMEM or EAGAIN (no more threads) and the old number in place.
 * The caller holds 'settings', unless no other thread runs yet.
 */
int store_set_workers (struct store *store, unsigned n) MUST_USE;

/* Set the method that compresses new data from now on.  Old data stay
 * unchanged.  0, or -1 with errno (EINVAL, ENOMEM) and nothing changed.  The
 * caller holds 'settings', as above.
 */
int store_set_primary (struct store *store, const struct zcomp_method *primary)
  MUST_USE;

/* Give the store a backing store, which it owns from now on.  Before any
 * request.  If the store keeps memory ready (keep_ready), it also keeps buffers
 * for reads from the backing store.
 */
void store_set_backed (struct store *store, struct backed *backed);

/* The memory that eviction keeps below its marks: all used memory except the
 * write buffer, which limits itself.
 */
static inline uint64_t
store_memory_to_evict (struct store *store)
{
  uint64_t used = atomic_load_explicit (&store->budget.used,
                                        memory_order_relaxed);
  uint64_t buffered = buffer_memory (&store->buffer);

  return used > buffered ? used - buffered : 0;
}

/* 0 = none.  A limit below the memory in use stops writes until enough is
 * freed.
 */
void store_set_mem_limit (struct store *store, uint64_t bytes);

/* mem_used_max starts again at the memory in use now. */
void store_reset_peak (struct store *store);

/* If writes must find all their memory resident (keep_ready), a leaf stays once
 * it was used, until a compaction by hand.
 */
static inline bool
store_keeps_leaves (const struct store *store)
{
  return store->config.keep_ready != 0;
}

/* The slow half of store_request_begin, for when the gate is not open. */
int store_wait_at_gate (struct store *store) MUST_USE;

/* Every request runs between these two calls.  Begin waits while the store is
 * frozen, and fails with errno ESHUTDOWN once it closes.
 */
static inline int MUST_USE
store_request_begin (struct store *store)
{
  /* The request counts itself before it reads the gate.  A thread that shuts
   * the gate does so before it counts the requests.  So at least one of the two
   * sees the other.
   */
  counter_add_ordered (&store->requests, REQUESTS_BEGUN, 1);
  if (likely (atomic_load (&store->gate) == GATE_OPEN))
    return 0;
  return store_wait_at_gate (store);
}

static inline void
store_request_end (struct store *store)
{
  counter_add_ordered (&store->requests, REQUESTS_ENDED, 1);
}

/* Requests being served, never fewer than there are.  A request may begin on
 * one CPU and end on another while the shards are summed up.  So the ended
 * requests are counted first, and separately: requests that begin or end
 * meanwhile can only make the difference larger.
 */
static inline int64_t
store_requests (struct store *store)
{
  int64_t ended = counter_sum (&store->requests, REQUESTS_ENDED);

  return counter_sum (&store->requests, REQUESTS_BEGUN) - ended;
}

/* Let no more requests begin, and wait up to timeout_ms for those that run.
 * False if some still run then.
 */
bool store_close (struct store *store, unsigned timeout_ms);

/* Hold back new requests, and wait up to timeout_ms for those that run.  If
 * some still run then, thaw and return false.  One freeze at a time: false at
 * once if the store is already frozen.  All new requests wait, for the time
 * limit and for the caller's work after it.  So both last milliseconds
 * (store/audit.c), and the caller waits for nothing while the store is frozen.
 */
bool store_freeze (struct store *store, unsigned timeout_ms) MUST_USE;
void store_thaw (struct store *store);

/* Objects of a dictionary's format are counted, so that the dictionary can be
 * freed when no object needs it any more.  An object counts from when it is
 * made, while it is still in transit, until it is freed.  So once no stream
 * makes such objects any more (zcomp_set_primary has returned), 0 stays 0.
 * Made and freed objects are counted separately, and the freed ones are read
 * first: changes meanwhile can only make the difference larger.
 */
static inline void
store_format_made (struct store *store, unsigned format)
{
  if (unlikely (format_is_dict (format)))
    counter_add (&store->formats, format, 1);
}

static inline void
store_format_freed (struct store *store, unsigned format)
{
  if (unlikely (format_is_dict (format)))
    counter_add_ordered (&store->formats, FORMATS + format, 1);
}

static inline int64_t
store_format_objects (struct store *store, unsigned format)
{
  int64_t freed = counter_sum (&store->formats, FORMATS + format);

  return counter_sum (&store->formats, format) - freed;
}

/* All disks must have been destroyed.  NULL is allowed. */
void store_destroy (struct store *store);

#endif /* ZRAM_STORE_H */
