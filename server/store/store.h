/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Store: what several devices could share: the pool that holds objects, the
 * compression streams, the workers, and the limit over all of it.
 *
 *   device (slot table, statistics) ──┐
 *   device …                          ├── store: pool, zcomp, workers, budget
 *                                     ┘
 */

#ifndef ZRAM_STORE_H
#define ZRAM_STORE_H

#include <errno.h>

#include "base/budget.h"
#include "base/counter.h"
#include "base/workpool.h"
#include "comp/zcomp.h"
#include "mem/zsmalloc.h"

struct store_config {
  uint32_t slot_size;    /* bytes, a power of two, 4 KiB to 64 KiB */
  struct zcomp_method primary;
  uint64_t mem_limit;    /* bytes, 0 = none */
  unsigned workers;      /* streams and threads, 1 … ZCOMP_MAX_STREAMS */
  uint64_t device_bytes; /* size of the devices: bounds what is reserved */
};

struct store {
  struct store_config config;
  uint32_t slot_shift;
  struct budget budget; /* pool and slot tables */
  struct zs_pool *pool;
  struct zcomp *zcomp;
  struct workpool *workpool;
  struct counter_set inflight; /* one counter: requests being served */
  atomic_bool closing;         /* no request may begin any more */
};

/* Everything but threads.  NULL with errno set. */
struct store *store_create (const struct store_config *config) MUST_USE;

/* Start the workers' threads (after the last fork).  0, or -1 with errno. */
int store_start (struct store *store) MUST_USE;

/* Change the number of streams and threads while requests run.  0, or -1
 * with errno set and the old number in place.  The caller makes sure that
 * only one thread does this at a time.
 */
int store_set_workers (struct store *store, unsigned n) MUST_USE;

/* Every request is between these two.  Begin fails with errno ESHUTDOWN once
 * the store closes.
 */
static inline int MUST_USE
store_request_begin (struct store *store)
{
  /* Announced before the flag is read, and store_close sets the flag before
   * it counts: one of the two sees the other.
   */
  counter_add_ordered (&store->inflight, 0, 1);
  if (likely (!atomic_load (&store->closing)))
    return 0;
  counter_add_ordered (&store->inflight, 0, -1);
  errno = ESHUTDOWN;
  return -1;
}

static inline void
store_request_end (struct store *store)
{
  counter_add_ordered (&store->inflight, 0, -1);
}

static inline int64_t
store_requests (struct store *store)
{
  return counter_sum (&store->inflight, 0);
}

/* Let no request begin any more and wait for those that run, for at most
 * timeout_ms.  False if some still run then.
 */
bool store_close (struct store *store, unsigned timeout_ms);

/* All devices must be gone. */
void store_destroy (struct store *store);

#endif /* ZRAM_STORE_H */
