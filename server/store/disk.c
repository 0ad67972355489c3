/* SPDX-License-Identifier: BSD-3-Clause */
/* Disks: the store's list of them, and their references.
 * Contract: store/disk.h.
 */

#include <config.h>

#include <errno.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "base/keep_errno.h"
#include "store/disk.h"

/* -- the list ----------------------------------------------------------- */

/* Give the disk a free id.  No lookup finds it yet. */
static bool
take_id (struct store *store, struct disk *disk)
{
  unsigned id = 0;
  bool ok;

  disk->removed = true;
  mutex_lock (&store->disks_lock);
  while (id < DISKS_MAX && store->disks[id])
    id++;
  ok = id < DISKS_MAX;
  if (ok)
    store->disks[id] = disk;
  if (ok && id == store->disks_top)
    store->disks_top++;
  disk->id = id;
  mutex_unlock (&store->disks_lock);
  if (!ok)
    errno = ENFILE;
  return ok;
}

/* The id becomes free only when nothing of the disk is left: before that, its
 * slots' numbers must not lead to another disk.
 */
static void
give_id_back (struct disk *disk)
{
  mutex_lock (&disk->store->disks_lock);
  disk->store->disks[disk->id] = NULL;
  mutex_unlock (&disk->store->disks_lock);
}

static void
show (struct disk *disk, bool shown)
{
  mutex_lock (&disk->store->disks_lock);
  disk->removed = !shown;
  mutex_unlock (&disk->store->disks_lock);
}

void
disk_hide (struct disk *disk)
{
  show (disk, false);
}

struct disk *
store_disk_from (struct store *store, unsigned id)
{
  struct disk *disk = NULL;

  mutex_lock (&store->disks_lock);
  for (; id < store->disks_top && !disk; id++)
    if (store->disks[id] && !store->disks[id]->removed)
      disk = store->disks[id];
  if (disk)
    disk_get (disk);
  mutex_unlock (&store->disks_lock);
  return disk;
}

struct disk *
store_disk (struct store *store, unsigned id)
{
  struct disk *disk = store_disk_from (store, id);

  if (disk && disk->id != id) {
    disk_put (disk);
    disk = NULL;
  }
  return disk;
}

int64_t
store_sum (struct store *store, enum disk_counter counter)
{
  int64_t sum = 0;

  mutex_lock (&store->disks_lock);
  for (unsigned id = 0; id < store->disks_top; id++)
    if (store->disks[id])
      sum += counter_sum (&store->disks[id]->counters, counter);
  mutex_unlock (&store->disks_lock);
  return sum;
}

/* -- life --------------------------------------------------------------- */

void
disk_get (struct disk *disk)
{
  atomic_fetch_add_explicit (&disk->refs, 1, memory_order_relaxed);
}

static void
free_counters (struct disk *disk)
{
  for (unsigned i = 0; i < LATENCY_KINDS; i++)
    histogram_destroy (&disk->latency[i]);
  counter_set_destroy (&disk->counters);
}

void
disk_put (struct disk *disk)
{
  KEEP_ERRNO;

  /* Acquire and release: all that other threads did with the disk comes before.
   */
  if (atomic_fetch_sub_explicit (&disk->refs, 1, memory_order_acq_rel) != 1)
    return;
  slot_table_destroy (&disk->table);
  give_id_back (disk);
  free_counters (disk);
  free (disk);
}

static int
init_counters (struct disk *disk)
{
  if (counter_set_init (&disk->counters, DISK_COUNTERS) == -1)
    return -1;
  for (unsigned i = 0; i < LATENCY_KINDS; i++)
    if (histogram_init (&disk->latency[i]) == -1)
      return -1;
  return 0;
}

struct disk *
disk_create (struct store *store, uint64_t size)
{
  struct disk *disk = alloc_zeroed (CACHE_LINE, sizeof *disk);
  uint64_t slots = (size - 1) / store->config.slot_size + 1;

  if (!disk)
    return NULL;
  disk->store = store;
  disk->size = size;
  atomic_init (&disk->refs, 1);
  if (init_counters (disk) == -1 || !take_id (store, disk))
    goto fail;
  if (slot_table_init (&disk->table, &store->leaves,
                       (uint64_t) disk->id << DISK_INDEX_BITS, slots) == -1)
    goto fail_table;
  show (disk, true);
  return disk;

fail_table:
  give_id_back (disk);
fail:
  free_counters (disk);
  free (disk);
  return NULL;
}
