/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What there is to say of the backing store, for statistics and metrics:
 * asked of its parts one after the other, so the numbers are not all of the
 * same moment.  Without a store all of it is 0.
 */

#ifndef ZRAM_STORE_VIEW_H
#define ZRAM_STORE_VIEW_H

#include "plugin/control/engine.h"

struct store_view {
  bool present;
  uint64_t size; /* bytes */
  struct backing_stats io;
  struct blocks_stats blocks;
  struct evictor_stats evicted;
  unsigned low, high; /* marks of eviction, percent */
  bool limited;       /* writeback_limit */
  uint64_t limit;     /* units of 4 KiB that are left of it */
};

struct store_view store_view (struct engine *e);

#endif /* ZRAM_STORE_VIEW_H */
