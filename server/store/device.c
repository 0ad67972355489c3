/* SPDX-License-Identifier: BSD-3-Clause */

#include <config.h>

#include <errno.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "base/keep_errno.h"
#include "store/device.h"
#include "store/range.h"

/* Addresses for the write buffer: it never needs more than the disk has slots,
 * but for what is in transit.
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

struct device *
device_create (struct store *store, uint64_t size)
{
  struct device *dev = alloc_zeroed (CACHE_LINE, sizeof *dev);
  uint64_t slots = (size - 1) / store->config.slot_size + 1;

  if (!dev)
    return NULL;
  dev->store = store;
  room_init (&dev->room);
  dev->size = size;
  if (counter_set_init (&dev->counters, DEV_COUNTERS) == -1)
    goto fail_counters;
  for (unsigned i = 0; i < LATENCY_KINDS; i++)
    if (histogram_init (&dev->latency[i]) == -1)
      goto fail_latency;
  if (slot_table_init (&dev->table, &store->leaves, 0, slots) == -1)
    goto fail_latency;
  buffer_init (&dev->buffer, store->config.slot_size,
               buffer_addresses (slots, store->config.slot_size),
               &store->budget);
  if (drain_init (&dev->drain, store->config.slot_size) == -1)
    goto fail_drain;
  return dev;

fail_drain:
  buffer_destroy (&dev->buffer);
  slot_table_destroy (&dev->table);
fail_latency:
  for (unsigned i = 0; i < LATENCY_KINDS; i++)
    histogram_destroy (&dev->latency[i]);
  counter_set_destroy (&dev->counters);
fail_counters:
  room_destroy (&dev->room);
  free (dev);
  return NULL;
}

void
device_set_backed (struct device *dev, struct backed *backed)
{
  dev->backed = backed;
  if (dev->store->config.keep_ready)
    backed_keep_records (backed, dev->store->config.slot_size);
}

void
device_destroy (struct device *dev)
{
  KEEP_ERRNO;

  if (!dev)
    return;
  device_discard_all (dev);
  backed_destroy (dev->backed);
  drain_destroy (&dev->drain);
  buffer_destroy (&dev->buffer);
  room_destroy (&dev->room);
  slot_table_destroy (&dev->table);
  for (unsigned i = 0; i < LATENCY_KINDS; i++)
    histogram_destroy (&dev->latency[i]);
  counter_set_destroy (&dev->counters);
  free (dev);
}
