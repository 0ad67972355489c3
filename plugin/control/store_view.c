/* SPDX-License-Identifier: BSD-3-Clause */

#include <config.h>

#include "plugin/control/store_view.h"

struct store_view
store_view (struct engine *e)
{
  struct disk *disk = e->disk;
  struct store_view v = { .present = disk->backed != NULL };

  if (!v.present)
    return v;
  v.size = backing_size (disk->backed->io);
  backing_get_stats (disk->backed->io, &v.io);
  blocks_get_stats (disk->backed->blocks, &v.blocks);
  if (e->evictor) {
    v.evicted = evictor_stats (e->evictor);
    evictor_get_marks (e->evictor, &v.low, &v.high);
  }
  v.limited = atomic_load (&disk->writeback_limit.on);
  v.limit = atomic_load (&disk->writeback_limit.left);
  return v;
}
