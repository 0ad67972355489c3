/* SPDX-License-Identifier: BSD-3-Clause */
/* The values of the table of counters and gauges.
 * Contract: plugin/control/figures.h.
 */

#include <config.h>

#include <string.h>

#include "plugin/control/figures.h"

const struct figure figures[FIGURES] = {
#define FIGURE(of, kind, unit, json, metric, label, is, help, value) \
  { OF_##of, KIND_##kind, UNIT_##unit, json, metric, label, is, help },
#include "plugin/control/figures.def"
};

/* Were all numbers taken at the same moment? */
static bool
is_exact (struct service *s)
{
  return store_requests (s->store) == 0 &&
         !compactor_is_running (s->upkeep->compactor) &&
         !recompressor_is_running (s->upkeep->recompressor) &&
         !atomic_load (&s->upkeep->writeback.running) &&
         buffer_used (&s->store->buffer) == 0; /* it drains by itself */
}

#define RELAXED(x) atomic_load_explicit (&(x), memory_order_relaxed)
#define on_disk(id) disk_sum (disk, id)
#define in_pool(id) counter_sum (&store->pool->counters, id)

void
figures_read (struct service *s, uint64_t values[FIGURES])
{
  struct store *store = s->store;
  struct disk *disk = s->disk;
  struct budget *budget = &store->budget;
  struct backing *backing = store->backed ? store->backed->io : NULL;
  struct dictionary_usage dictionaries = dictionary_usage (store->zcomp);
  struct backing_stats io = { 0 };
  struct blocks_stats blocks = { 0 };
  struct evictor_stats evicted = { 0 };
  unsigned low = 0, high = 0; /* eviction's marks */

  if (backing) {
    backing_get_stats (backing, &io);
    blocks_get_stats (store->backed->blocks, &blocks);
  }
  if (s->upkeep->evictor) {
    evicted = evictor_stats (s->upkeep->evictor);
    evictor_get_marks (s->upkeep->evictor, &low, &high);
  }

  const uint64_t now[FIGURES] = {
#define FIGURE(of, kind, unit, json, metric, label, is, help, value) \
  (uint64_t) (value),
#include "plugin/control/figures.def"
  };
  memcpy (values, now, sizeof now);
}
