/* SPDX-License-Identifier: BSD-3-Clause */

#include <config.h>

#include "plugin/control/store_view.h"

struct store_view
store_view (struct engine *e)
{
  struct device *dev = e->dev;
  struct store_view v = { .present = dev->backed != NULL };

  if (!v.present)
    return v;
  v.size = backing_size (dev->backed->io);
  backing_get_stats (dev->backed->io, &v.io);
  blocks_get_stats (dev->backed->blocks, &v.blocks);
  if (e->evictor) {
    v.evicted = evictor_stats (e->evictor);
    evictor_get_marks (e->evictor, &v.low, &v.high);
  }
  v.limited = atomic_load (&dev->writeback_limit.on);
  v.limit = atomic_load (&dev->writeback_limit.left);
  return v;
}
