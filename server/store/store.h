/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Store: what several disks could share: the pool that holds objects, the
 * compression streams, the workers, and the limit over all of it.
 *
 *   disk (slot table, statistics) ──┐
 *   disk …                          ├── store: pool, zcomp, workers, budget
 *                                     ┘
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
  unsigned cpus;        /* that the process may run on */
  struct budget budget; /* pool and slot tables */
  struct pool *pool;
  struct mutex disks_lock;                     /* rank DISKS: a leaf */
  struct disk **disks GUARDED_BY (disks_lock); /* by id; DISKS_MAX, owned */
  unsigned disks_top GUARDED_BY (disks_lock);  /* ids ever used */
  struct leaves leaves;                        /* of all slot tables */
  struct backed *backed; /* owned; NULL: no backing store */
  struct writeback_limit writeback_limit;
  struct buffer buffer;    /* of writes; of size 0: off */
  struct drain drain;      /* of that */
  struct room room;        /* for writers when memory is used up */
  atomic_bool promote;     /* what is read back may stay in memory */
  _Atomic uint64_t claims; /* bits of those taken (claim.h) */
  struct zcomp *zcomp;
  struct workpool *workpool;
  struct counter_set requests; /* enum store_counter */
  struct counter_set formats;  /* see store_format_made */
  atomic_int gate;             /* enum store_gate */
  struct mutex gate_lock;      /* a leaf: for those who wait at the gate */
  struct cond gate_opened;
  struct histogram compress_time, decompress_time; /* one in TIME_SAMPLE */
};

enum store_gate { GATE_OPEN, GATE_FROZEN, GATE_CLOSED };

enum store_counter { REQUESTS_BEGUN, REQUESTS_ENDED, REQUEST_COUNTERS };

/* 'settings' (rank SETTINGS) is held by whoever changes the number of workers,
 * the primary method or the dictionaries, or must find them unchanged, as an
 * audit and a reset do.
 */

/* Can it run on this machine?  If not, with a reason. */
bool store_can_run (struct reason *why) MUST_USE;

/* Everything but threads.  NULL with errno ENOTSUP (see store_can_run), ENOMEM,
 * or EINVAL (there is no such allocator or method).
 */
struct store *store_create (const struct store_config *config) MUST_USE;

/* Start the workers' threads (after the last fork).  0, or -1 with errno ENOMEM
 * or EAGAIN (no more threads).
 */
int store_start (struct store *store) MUST_USE;

/* Change the number of streams and threads while requests run.  0, or -1
 * with errno EINVAL, ENOMEM or EAGAIN (no more threads) and the old number in
 * place.  The caller holds 'settings', if
 * there is anybody else.
 */
int store_set_workers (struct store *store, unsigned n) MUST_USE;

/* What new data are compressed with from now on; old data stay as they are.
 * 0, or -1 with errno (EINVAL, ENOMEM) and nothing changed.  The caller
 * holds 'settings', as above.
 */
int store_set_primary (struct store *store, const struct zcomp_method *primary)
  MUST_USE;

/* Give it a backing store, which it owns from now on.  Before any request.
 * Where the store keeps memory ready, so are buffers to read into.
 */
void store_set_backed (struct store *store, struct backed *backed);

/* What eviction has to keep below its marks: all that is used but the write
 * buffer, which takes care of itself.
 */
static inline uint64_t
store_memory_to_evict (struct store *store)
{
  uint64_t used = atomic_load_explicit (&store->budget.used,
                                        memory_order_relaxed);
  uint64_t buffered = buffer_memory (&store->buffer);

  return used > buffered ? used - buffered : 0;
}

/* 0 = none.  A limit below what is used stops writes until enough is freed. */
void store_set_mem_limit (struct store *store, uint64_t bytes);

/* mem_used_max starts again from what is used now. */
void store_reset_peak (struct store *store);

/* Where writes must find all that they need resident, a leaf that was needed
 * once stays, unless somebody asks for compaction.
 */
static inline bool
store_keeps_leaves (const struct store *store)
{
  return store->config.keep_ready != 0;
}

/* The slow half of store_request_begin: the gate is not open. */
int store_wait_at_gate (struct store *store) MUST_USE;

/* Every request is between these two.  Begin waits while the store is frozen,
 * and fails with errno ESHUTDOWN once it closes.
 */
static inline int MUST_USE
store_request_begin (struct store *store)
{
  /* Announced before the gate is read, and who shuts the gate does so before
   * it counts: one of the two sees the other.
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
 * one CPU and end on another while their shards are summed up; so what has
 * ended is counted first, and separately: whatever comes or goes meanwhile
 * can only add to the difference.
 */
static inline int64_t
store_requests (struct store *store)
{
  int64_t ended = counter_sum (&store->requests, REQUESTS_ENDED);

  return counter_sum (&store->requests, REQUESTS_BEGUN) - ended;
}

/* Let no request begin any more and wait for those that run, for at most
 * timeout_ms.  False if some still run then.
 */
bool store_close (struct store *store, unsigned timeout_ms);

/* Hold new requests back and wait for those that run, for at most timeout_ms;
 * false, and thawed again, if some still run then.  One at a time: false at
 * once if it is frozen already.  All who come meanwhile wait, for the time
 * limit and for what the caller does then; so both are milliseconds
 * (store/audit.c), and the caller waits for nobody while it is frozen.
 */
bool store_freeze (struct store *store, unsigned timeout_ms) MUST_USE;
void store_thaw (struct store *store);

/* Objects of a dictionary's format are counted, so that the dictionary goes
 * when nothing needs it any more.  An object counts from when it is made, in
 * transit already, to when it is freed; so once no stream makes them any more
 * (zcomp_set_primary has returned), 0 stays 0.  Made and freed are counted
 * apart, and freed is read first: what changes meanwhile can only make the
 * difference larger.
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

/* All disks must be gone.  NULL is allowed. */
void store_destroy (struct store *store);

#endif /* ZRAM_STORE_H */
