/* SPDX-License-Identifier: BSD-3-Clause */

#include <config.h>

#include <errno.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "base/keep_errno.h"
#include "store/disk.h"
#include "store/range.h"

struct disk *
disk_create (struct store *store, uint64_t size)
{
  struct disk *disk = alloc_zeroed (CACHE_LINE, sizeof *disk);
  uint64_t slots = (size - 1) / store->config.slot_size + 1;

  if (!disk)
    return NULL;
  disk->store = store;
  disk->size = size;
  if (counter_set_init (&disk->counters, DISK_COUNTERS) == -1)
    goto fail_counters;
  for (unsigned i = 0; i < LATENCY_KINDS; i++)
    if (histogram_init (&disk->latency[i]) == -1)
      goto fail_latency;
  if (slot_table_init (&disk->table, &store->leaves, 0, slots) == -1)
    goto fail_latency;
  return disk;

fail_latency:
  for (unsigned i = 0; i < LATENCY_KINDS; i++)
    histogram_destroy (&disk->latency[i]);
  counter_set_destroy (&disk->counters);
fail_counters:
  free (disk);
  return NULL;
}

void
disk_destroy (struct disk *disk)
{
  KEEP_ERRNO;

  if (!disk)
    return;
  disk_discard_all (disk);
  slot_table_destroy (&disk->table);
  for (unsigned i = 0; i < LATENCY_KINDS; i++)
    histogram_destroy (&disk->latency[i]);
  counter_set_destroy (&disk->counters);
  free (disk);
}
