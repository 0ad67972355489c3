/* SPDX-License-Identifier: BSD-3-Clause */

#include <config.h>

#include <errno.h>
#include <stdlib.h>
#include <time.h>

#include "base/alloc.h"
#include "store/store.h"

/* Addresses to reserve for objects: the devices' size with room for waste
 * and for slots that moved, within what a process has.
 */
static uint64_t
pool_addresses (uint64_t device_bytes)
{
#ifdef ZRAM_DEBUG
  const uint64_t most = UINT64_C (1) << 36; /* sanitizers shadow it */
#else
  const uint64_t most = UINT64_C (1) << 44;
#endif
  const uint64_t least = UINT64_C (1) << 30;

  return device_bytes > (most - least) / 4 ? most : device_bytes * 4 + least;
}

struct store *
store_create (const struct store_config *config)
{
  struct store *store = alloc_zeroed (CACHE_LINE, sizeof *store);

  if (!store)
    return NULL;
  store->config = *config;
  store->slot_shift = (uint32_t) __builtin_ctz (config->slot_size);
  budget_init (&store->budget, config->mem_limit);
  if (counter_set_init (&store->inflight, 1) == -1)
    goto fail;
  store->pool = zs_create (config->slot_size,
                           pool_addresses (config->device_bytes),
                           &store->budget);
  if (!store->pool)
    goto fail;
  store->zcomp = zcomp_new (&config->primary, config->slot_size,
                            config->workers);
  if (!store->zcomp)
    goto fail;
  store->workpool = workpool_create ();
  if (!store->workpool)
    goto fail;
  return store;

fail:
  store_destroy (store);
  return NULL;
}

int
store_start (struct store *store)
{
  return workpool_set_threads (store->workpool, store->config.workers);
}

int
store_set_workers (struct store *store, unsigned n)
{
  if (zcomp_set_workers (store->zcomp, n) == -1)
    return -1;
  if (workpool_set_threads (store->workpool, n) == -1) {
    int err = errno;

    /* Going back down needs nothing that could fail. */
    check_always (zcomp_set_workers (store->zcomp, store->config.workers) ==
                  0);
    check_always (workpool_set_threads (store->workpool,
                                        store->config.workers) == 0);
    errno = err;
    return -1;
  }
  store->config.workers = n;
  return 0;
}

bool
store_close (struct store *store, unsigned timeout_ms)
{
  const struct timespec ms = { .tv_nsec = 1000000 };

  atomic_store (&store->closing, true);
  while (store_requests (store) > 0 && timeout_ms--)
    nanosleep (&ms, NULL);
  return store_requests (store) == 0;
}

void
store_destroy (struct store *store)
{
  int err = errno;

  if (!store)
    return;
  workpool_destroy (store->workpool);
  zcomp_free (store->zcomp);
  zs_destroy (store->pool);
  counter_set_destroy (&store->inflight);
  free (store);
  errno = err;
}
