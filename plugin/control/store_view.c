/* SPDX-License-Identifier: BSD-3-Clause */

#include <config.h>

#include "plugin/control/store_view.h"

struct store_view
store_view (struct engine *e)
{
  struct disk *disk = e->disk;
  struct store_view v = { .present = disk->store->backed != NULL };

  if (!v.present)
    return v;
  v.size = backing_size (disk->store->backed->io);
  backing_get_stats (disk->store->backed->io, &v.io);
  blocks_get_stats (disk->store->backed->blocks, &v.blocks);
  if (e->evictor) {
    v.evicted = evictor_stats (e->evictor);
    evictor_get_marks (e->evictor, &v.low, &v.high);
  }
  v.limited = atomic_load (&disk->store->writeback_limit.on);
  v.limit = atomic_load (&disk->store->writeback_limit.left);
  return v;
}
