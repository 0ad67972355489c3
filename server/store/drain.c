/* SPDX-License-Identifier: BSD-3-Clause */
/* Draining the write buffer: steps over its entries.
 * Contract: store/drain.h.
 */

#include <config.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/keep_errno.h"
#include "store/claim.h"
#include "store/drain.h"

/* Entries drained for a writer that needs room: those of a chunk, so that its
 * memory becomes free, and some more.
 */
#define ROOM_ENTRIES 32

/* After so many failures memory is really used up. */
#define MAX_FAILURES 4

/* The most threads that share a step. */
#define DRAIN_LANES 4

int
drain_init (struct drain *d, uint32_t slot_size)
{
  char *copies = alloc_zeroed (CACHE_LINE, (size_t) DRAIN_LANES * slot_size);

  if (!copies)
    return -1;
  mutex_init (&d->lock, RANK_DRAIN);
  d->copies = copies;
  return 0;
}

void
drain_destroy (struct drain *d)
{
  if (!d->copies)
    return;
  mutex_destroy (&d->lock);
  free (d->copies);
  d->copies = NULL;
}

/* -- one entry ----------------------------------------------------------- */

enum drain_result { DRAIN_SKIPPED, DRAIN_DONE, DRAIN_LOST, DRAIN_FAILED };

/* Claim the slot if it is in this entry, and copy its data. */
static bool
claim_entry (struct disk *disk, uint64_t index, uint32_t entry, unsigned claim,
             void *copy)
{
  struct slot *s = slot_table_try_read_lock (&disk->table, index);

  if (!slot_is_there_shared (s))
    return false;
  uint32_t meta = slot_load_meta (s);
  bool claimed = slot_meta_state (meta) == SLOT_BUFFERED &&
                 slot_load_cell (s) == entry &&
                 claim_put_locked (s, meta, claim);
  if (claimed)
    memcpy (copy, buffer_data (&disk->store->buffer, entry),
            disk->store->buffer.slot_size);
  slot_read_unlock (s);
  return claimed;
}

static int
pack_copy (struct disk *disk, const void *copy, struct content *new)
{
  struct zcomp_stream *stream = zcomp_stream_get (disk->store->zcomp);
  struct packed packed;
  int r = object_pack (disk->store, stream, copy, &packed);

  fault_pause ("drain.packed");
  budget_spare_begin (&disk->store->budget);
  if (r == 0)
    r = content_make (disk, &packed, new);
  budget_spare_end ();
  zcomp_stream_put (stream);
  return r;
}

static enum drain_result
drain_slot (struct disk *disk, uint64_t index, uint32_t entry, unsigned claim,
            void *copy)
{
  struct content new;

  if (!claim_entry (disk, index, entry, claim, copy))
    return DRAIN_SKIPPED;
  fault_pause ("drain.copied");
  if (pack_copy (disk, copy, &new) == -1) {
    (void) claim_end (disk, index, claim, 0);
    return DRAIN_FAILED;
  }
  fault_pause ("drain.made");
  return claim_replace (disk, index, claim, &new) ? DRAIN_DONE : DRAIN_LOST;
}

/* -- steps --------------------------------------------------------------- */

static bool
is_due (const struct buffer_entry *e, uint32_t now, uint32_t min_age_ms)
{
  uint32_t written = atomic_load_explicit (&e->written, memory_order_relaxed);
  int32_t age = (int32_t) (now - written);

  return atomic_load_explicit (&e->slot, memory_order_relaxed) !=
           BUFFER_NO_SLOT &&
         (age < 0 ? 0 : (uint32_t) age) >= min_age_ms;
}

static void
note (struct disk *disk, enum drain_result r, struct drain_totals *totals)
{
  totals->done += r == DRAIN_DONE;
  totals->lost += r == DRAIN_LOST;
  totals->failed += r == DRAIN_FAILED;
  if (r == DRAIN_DONE)
    disk_count (disk, DISK_DRAINED, 1);
  if (r == DRAIN_LOST)
    disk_count (disk, DISK_DRAIN_LOST, 1);
  if (r == DRAIN_FAILED)
    disk_count (disk, DISK_DRAIN_FAILED, 1);
}

/* The entry names its slot, but the disk may be gone, or the slot may have left
 * the buffer.
 */
static void
drain_entry (struct store *store, uint32_t entry, unsigned claim, void *copy,
             struct drain_totals *totals)
{
  uint64_t slot = atomic_load_explicit (
    &buffer_entry (&store->buffer, entry)->slot, memory_order_relaxed);
  struct disk *disk = slot == BUFFER_NO_SLOT
                        ? NULL
                        : store_disk (store, disk_id_of (slot));

  if (!disk)
    return;
  note (disk, drain_slot (disk, disk_index_of (slot), entry, claim, copy),
        totals);
  disk_put (disk);
}

/* The entries of a step, and the lanes that work on them in parallel.  Lane i
 * takes the entries i, i + lanes, i + 2 * lanes …, and has its own claim and
 * copy.
 */
struct batch {
  struct store *store;
  char *copies;
  unsigned lanes, n;
  uint32_t entries[DRAIN_BATCH];
  struct drain_totals totals[DRAIN_LANES];
};

static void
drain_lane (void *ctx, unsigned lane)
{
  struct batch *b = ctx;
  unsigned claim = claim_take (b->store);
  char *copy = b->copies + (size_t) lane * b->store->buffer.slot_size;

  if (!claim)
    return;
  for (unsigned i = lane; i < b->n; i += b->lanes)
    drain_entry (b->store, b->entries[i], claim, copy, &b->totals[lane]);
  claim_release (b->store, claim);
}

/* While requests run, the drain does not take their CPUs: then it has one lane,
 * for which the drainer's pace (maint/pace.h) is made.
 */
static unsigned
lanes_for (struct store *store, unsigned n)
{
  unsigned lanes = zcomp_workers (store->zcomp);

  if (n < 2 * DRAIN_LANES || store_requests (store) > 0)
    return 1;
  if (lanes > store->cpus)
    lanes = store->cpus;
  return lanes < DRAIN_LANES ? lanes : DRAIN_LANES;
}

static void
drain_batch (struct batch *b, struct drain_totals *totals)
{
  b->lanes = lanes_for (b->store, b->n);
  workpool_share (b->store->workpool, b->lanes, drain_lane, b);
  for (unsigned lane = 0; lane < b->lanes; lane++) {
    totals->done += b->totals[lane].done;
    totals->lost += b->totals[lane].lost;
    totals->failed += b->totals[lane].failed;
  }
}

uint32_t
drain_step_locked (struct store *store, uint32_t min_age_ms, uint32_t looks,
                   uint32_t most, struct drain_totals *totals)
{
  struct drain *d = &store->drain;
  struct batch b = { .store = store, .copies = d->copies };
  uint32_t entries = buffer_entries (&store->buffer);
  uint32_t now = clock_coarse_ms (), looked = 0;

  if (most > DRAIN_BATCH)
    most = DRAIN_BATCH;
  for (; looked < looks && looked < entries && b.n < most; looked++) {
    if (d->hand >= entries)
      d->hand = 0;
    if (is_due (buffer_entry (&store->buffer, d->hand), now, min_age_ms))
      b.entries[b.n++] = d->hand;
    d->hand++;
  }
  if (b.n)
    drain_batch (&b, totals);
  return looked;
}

/* -- for writers and audits ----------------------------------------------- */

static bool
make_room_locked (struct store *store) REQUIRES (store->drain.lock)
{
  uint32_t entries = buffer_entries (&store->buffer), looked = 0, n = 1;
  bool made = buffer_trim (&store->buffer) > 0;
  struct drain_totals totals = { 0 };

  while (!made && n > 0 && looked < entries && totals.done < ROOM_ENTRIES &&
         totals.failed < MAX_FAILURES && buffer_used (&store->buffer) > 0) {
    n = drain_step_locked (store, 0, entries - looked, 1, &totals);
    looked += n;
  }
  if (totals.done) {
    (void) buffer_trim (&store->buffer);
    made = true;
  }
  if (made)
    atomic_fetch_add (&store->drain.rounds, 1);
  return made;
}

bool
drain_for_room (struct store *store)
{
  KEEP_ERRNO;
  uint64_t rounds = atomic_load (&store->drain.rounds);
  bool made;

  if (buffer_memory (&store->buffer) == 0)
    return false;
  mutex_lock (&store->drain.lock);
  /* Another thread may have made room while this one waited for the lock. */
  made = atomic_load (&store->drain.rounds) != rounds ||
         make_room_locked (store);
  mutex_unlock (&store->drain.lock);
  return made;
}

void
drain_hold (struct store *store) ACQUIRE (store->drain.lock)
{
  mutex_lock (&store->drain.lock);
}

bool
drain_hold_patiently (struct store *store, const struct patience *p)
{
  return mutex_lock_patiently (&store->drain.lock, &store->drain.wished, p);
}

void
drain_unhold (struct store *store) RELEASE (store->drain.lock)
{
  mutex_unlock (&store->drain.lock);
}
