/* SPDX-License-Identifier: BSD-3-Clause */

#include <config.h>

#include <errno.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "store/device.h"
#include "store/range.h"

struct device *
device_create (struct store *store, uint64_t size)
{
  struct device *dev = alloc_zeroed (CACHE_LINE, sizeof *dev);
  uint64_t slots = (size - 1) / store->config.slot_size + 1;

  if (!dev)
    return NULL;
  dev->store = store;
  dev->size = size;
  if (counter_set_init (&dev->counters, DEV_COUNTERS) == -1)
    goto fail_counters;
  if (slot_table_init (&dev->table, slots, &store->budget) == -1)
    goto fail_table;
  return dev;

fail_table:
  counter_set_destroy (&dev->counters);
fail_counters:
  free (dev);
  return NULL;
}

void
device_destroy (struct device *dev)
{
  if (!dev)
    return;
  device_discard_all (dev);
  slot_table_destroy (&dev->table);
  counter_set_destroy (&dev->counters);
  free (dev);
}

struct device_stats
device_stats (struct device *dev)
{
  struct counter_set *c = &dev->counters;
  struct counter_set *p = &dev->store->pool->counters;
  struct budget *b = &dev->store->budget;

  return (struct device_stats) {
    .orig_data_size = (uint64_t) counter_sum (c, DEV_SLOTS_STORED)
                      << dev->store->slot_shift,
    .compr_data_size = counter_sum (c, DEV_COMPR_BYTES),
    .mem_used_total = atomic_load_explicit (&b->used, memory_order_relaxed),
    .mem_used_max = atomic_load_explicit (&b->peak, memory_order_relaxed),
    .same_slots = counter_sum (c, DEV_SLOTS_SAME),
    .huge_slots = counter_sum (c, DEV_SLOTS_HUGE),
    .objects = counter_sum (c, DEV_OBJECTS),
    .pages_compacted = counter_sum (p, ZS_PAGES_COMPACTED),
    .objects_moved = counter_sum (p, ZS_OBJECTS_MOVED),
    .zspages_migrated = counter_sum (p, ZS_ZSPAGES_MIGRATED),
  };
}
