/* SPDX-License-Identifier: BSD-3-Clause */
/* The store: its parts, its settings, and the gate for requests.
 * Contract: store/store.h.
 */

#include <config.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/keep_errno.h"
#include "base/rwword.h"
#include "store/store.h"

/* Addresses to reserve for objects: the disks' size, with room for waste and
 * for slots that moved, within the limits of a process.
 */
static uint64_t
pool_addresses (uint64_t disk_bytes)
{
#ifdef ZRAM_DEBUG
  const uint64_t most = UINT64_C (1) << 36; /* sanitizers shadow it */
#else
  const uint64_t most = UINT64_C (1) << 44;
#endif
  const uint64_t least = UINT64_C (1) << 30;

  return disk_bytes > (most - least) / 4 ? most : disk_bytes * 4 + least;
}

/* Addresses for the write buffer: it never needs more entries than the disks
 * have slots, except for those in transit.
 */
static uint64_t
buffer_addresses (uint64_t slots, uint32_t slot_size)
{
#ifdef ZRAM_DEBUG
  const uint64_t most = UINT64_C (1) << 30; /* sanitizers shadow it */
#else
  const uint64_t most = UINT64_C (1) << 36;
#endif
  const uint64_t transit = UINT64_C (16) << 20;

  return slots > (most - transit) / slot_size ? most
                                              : slots * slot_size + transit;
}

/* Slots, objects and leaves are given back to the system in pages of 4 KiB.
 * With larger pages, their neighbours in the page would be lost too.
 */
bool
store_can_run (struct reason *why)
{
  long page = sysconf (_SC_PAGESIZE);

  if (page == (long) MEM_PAGE)
    return true;
  reason_set (
    why,
    "this machine's memory pages are %ld bytes, and this version works "
    "with pages of %u bytes only",
    page, MEM_PAGE);
  return false;
}

struct store *
store_create (const struct store_config *config)
{
  struct reason why;
  struct store *store;

  if (!store_can_run (&why)) {
    errno = ENOTSUP;
    return NULL;
  }
  store = alloc_zeroed (CACHE_LINE, sizeof *store);
  if (!store)
    return NULL;
  store->config = *config;
  store->cpus = cpu_count ();
  store->slot_shift = (uint32_t) __builtin_ctz (config->slot_size);
  budget_init (&store->budget, config->mem_limit);
  mutex_init (&store->settings, RANK_SETTINGS);
  mutex_init (&store->disks_lock, RANK_DISKS);
  room_init (&store->room);
  buffer_init (&store->buffer, config->slot_size,
               buffer_addresses (config->disk_bytes / config->slot_size + 1,
                                 config->slot_size),
               &store->budget);
  mutex_init (&store->gate_lock, RANK_LEAF);
  cond_init (&store->gate_opened);
  store->disks = alloc_zeroed (0, DISKS_MAX * sizeof *store->disks);
  if (!store->disks ||
      counter_set_init (&store->requests, REQUEST_COUNTERS) == -1 ||
      counter_set_init (&store->formats, 2 * FORMATS) == -1 ||
      histogram_init (&store->compress_time) == -1 ||
      histogram_init (&store->decompress_time) == -1)
    goto fail;
  if (leaves_init (&store->leaves, config->disk_bytes / config->slot_size + 1,
                   &store->budget) == -1)
    goto fail;
  if (drain_init (&store->drain, config->slot_size) == -1)
    goto fail;
  (void) rwword_waits (); /* made now, so that no wait has to make it */
  store->pool = pool_create (
    config->allocator ? config->allocator : pool_allocator (0),
    config->slot_size, pool_addresses (config->disk_bytes), &store->budget);
  if (!store->pool)
    goto fail;
  pool_keep (store->pool, config->keep_ready);
  store->zcomp = zcomp_new (&config->primary, config->slot_size,
                            config->workers);
  if (!store->zcomp || (config->keep_ready && zcomp_keep_ready (store->zcomp)))
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
    KEEP_ERRNO;

    /* Going back to the smaller number cannot fail. */
    check_always (zcomp_set_workers (store->zcomp, store->config.workers) == 0);
    check_always (
      workpool_set_threads (store->workpool, store->config.workers) == 0);
    return -1;
  }
  store->config.workers = n;
  return 0;
}

int
store_set_primary (struct store *store, const struct zcomp_method *primary)
{
  return zcomp_set_primary (store->zcomp, primary);
}

void
store_set_backed (struct store *store, struct backed *backed)
{
  store->backed = backed;
  if (store->config.keep_ready)
    backed_keep_records (backed, store->config.slot_size);
}

void
store_set_mem_limit (struct store *store, uint64_t bytes)
{
  budget_set_limit (&store->budget, bytes);
}

void
store_reset_peak (struct store *store)
{
  atomic_store (&store->budget.peak, atomic_load (&store->budget.used));
}

/* -- the gate ----------------------------------------------------------- */

int
store_wait_at_gate (struct store *store)
{
  do {
    store_request_end (store);
    mutex_lock (&store->gate_lock);
    /* The thread that froze the store thaws it soon (store_freeze says how
     * soon).
     */
    while (atomic_load (&store->gate) == GATE_FROZEN)
      cond_wait (&store->gate_opened, &store->gate_lock);
    mutex_unlock (&store->gate_lock);
    if (atomic_load (&store->gate) == GATE_CLOSED) {
      errno = ESHUTDOWN;
      return -1;
    }
    counter_add_ordered (&store->requests, REQUESTS_BEGUN, 1);
  } while (atomic_load (&store->gate) != GATE_OPEN);
  return 0;
}

static void
set_gate (struct store *store, enum store_gate gate)
{
  mutex_lock (&store->gate_lock);
  atomic_store (&store->gate, gate);
  cond_broadcast (&store->gate_opened);
  mutex_unlock (&store->gate_lock);
}

static bool
wait_for_requests (struct store *store, unsigned timeout_ms)
{
  const struct timespec ms = { .tv_nsec = 1000000 };

  /* One look that sees 0 is enough: a request that is turned away at the shut
   * gate also counts for a moment.
   */
  while (store_requests (store) > 0) {
    if (timeout_ms-- == 0)
      return false;
    nanosleep (&ms, NULL);
  }
  return true;
}

bool
store_close (struct store *store, unsigned timeout_ms)
{
  set_gate (store, GATE_CLOSED);
  return wait_for_requests (store, timeout_ms);
}

bool
store_freeze (struct store *store, unsigned timeout_ms)
{
  int open = GATE_OPEN;

  if (!atomic_compare_exchange_strong (&store->gate, &open, GATE_FROZEN))
    return false;
  if (wait_for_requests (store, timeout_ms))
    return true;
  store_thaw (store);
  return false;
}

void
store_thaw (struct store *store)
{
  int frozen = GATE_FROZEN;

  mutex_lock (&store->gate_lock);
  /* Only if it was not closed meanwhile. */
  atomic_compare_exchange_strong (&store->gate, &frozen, GATE_OPEN);
  cond_broadcast (&store->gate_opened);
  mutex_unlock (&store->gate_lock);
}

void
store_destroy (struct store *store)
{
  KEEP_ERRNO;

  if (!store)
    return;
  workpool_destroy (store->workpool);
  backed_destroy (store->backed);
  drain_destroy (&store->drain);
  buffer_destroy (&store->buffer);
  room_destroy (&store->room);
  zcomp_free (store->zcomp);
  pool_destroy (store->pool);
  leaves_destroy (&store->leaves);
  histogram_destroy (&store->decompress_time);
  histogram_destroy (&store->compress_time);
  counter_set_destroy (&store->formats);
  counter_set_destroy (&store->requests);
  cond_destroy (&store->gate_opened);
  mutex_destroy (&store->gate_lock);
  for (unsigned id = 0; id < store->disks_top; id++)
    check_always (!store->disks[id]);
  free (store->disks);
  mutex_destroy (&store->disks_lock);
  mutex_destroy (&store->settings);
  free (store);
}
