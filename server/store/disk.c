/* SPDX-License-Identifier: BSD-3-Clause */

#include <config.h>

#include <errno.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "base/keep_errno.h"
#include "store/disk.h"
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

struct disk *
disk_create (struct store *store, uint64_t size)
{
  struct disk *disk = alloc_zeroed (CACHE_LINE, sizeof *disk);
  uint64_t slots = (size - 1) / store->config.slot_size + 1;

  if (!disk)
    return NULL;
  disk->store = store;
  room_init (&disk->room);
  disk->size = size;
  if (counter_set_init (&disk->counters, DISK_COUNTERS) == -1)
    goto fail_counters;
  for (unsigned i = 0; i < LATENCY_KINDS; i++)
    if (histogram_init (&disk->latency[i]) == -1)
      goto fail_latency;
  if (slot_table_init (&disk->table, &store->leaves, 0, slots) == -1)
    goto fail_latency;
  buffer_init (&disk->buffer, store->config.slot_size,
               buffer_addresses (slots, store->config.slot_size),
               &store->budget);
  if (drain_init (&disk->drain, store->config.slot_size) == -1)
    goto fail_drain;
  return disk;

fail_drain:
  buffer_destroy (&disk->buffer);
  slot_table_destroy (&disk->table);
fail_latency:
  for (unsigned i = 0; i < LATENCY_KINDS; i++)
    histogram_destroy (&disk->latency[i]);
  counter_set_destroy (&disk->counters);
fail_counters:
  room_destroy (&disk->room);
  free (disk);
  return NULL;
}

void
disk_set_backed (struct disk *disk, struct backed *backed)
{
  disk->backed = backed;
  if (disk->store->config.keep_ready)
    backed_keep_records (backed, disk->store->config.slot_size);
}

void
disk_destroy (struct disk *disk)
{
  KEEP_ERRNO;

  if (!disk)
    return;
  disk_discard_all (disk);
  backed_destroy (disk->backed);
  drain_destroy (&disk->drain);
  buffer_destroy (&disk->buffer);
  room_destroy (&disk->room);
  slot_table_destroy (&disk->table);
  for (unsigned i = 0; i < LATENCY_KINDS; i++)
    histogram_destroy (&disk->latency[i]);
  counter_set_destroy (&disk->counters);
  free (disk);
}
