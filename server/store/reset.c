/* SPDX-License-Identifier: BSD-3-Clause */
/* Reset: empties a disk, and resets its counters.
 * Contract: store/reset.h.
 */

#include <config.h>

#include "base/keep_errno.h"
#include "store/range.h"
#include "store/reset.h"

static void
reset_counters (struct disk *disk)
{
  for (unsigned id = DISK_READ_REQUESTS; id < DISK_COUNTERS; id++)
    counter_reset (&disk->counters, id);
  for (unsigned i = 0; i < LATENCY_KINDS; i++)
    for (unsigned b = 0; b <= HISTOGRAM_BUCKETS; b++)
      counter_reset (&disk->latency[i].counters, b);
  /* The kernel's reset makes a new pool, so the pool's counters start again
   * there too.
   */
  for (unsigned id = 0; id < POOL_COUNTERS; id++)
    counter_reset (&disk->store->pool->counters, id);
  store_reset_peak (disk->store);
}

uint64_t
disk_reset_patiently (struct disk *disk, const struct patience *p)
{
  uint64_t locked = disk_discard_patiently (disk, p);

  if (locked == 0)
    reset_counters (disk);
  return locked;
}

void
disk_destroy (struct disk *disk)
{
  KEEP_ERRNO;

  if (!disk)
    return;
  disk_hide (disk);
  disk_discard_all (disk);
  disk_put (disk);
}
