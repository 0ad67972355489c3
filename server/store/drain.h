/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Draining the write buffer: uncompressed data there become objects.
 *
 *   the entry's slot, a hint
 *     slot lock, shared, if free at once: is it BUFFERED, in this entry?
 *     put a claim there, copy the data, unlock
 *   compress, make an object        only the stream is locked
 *     slot lock, exclusive: is the claim still there?
 *     set the object, which frees the entry, unlock
 *
 * So no request waits for a compression.  Readers go on reading the entry.  A
 * write changes it in place and takes the claim away; so does a discard, and
 * everything else that changes a slot (claim.h says why a claim is enough).
 * The object is then dropped.  The data are in the entry until the object is in
 * the slot, so a failure loses nothing: the data stay, and a later step tries
 * again.
 *
 * A hand goes round over the entries.  An empty buffer is filled in order, and
 * new data go into the entries that the hand has freed, behind it.  So the hand
 * meets the data roughly in the order in which they were written.
 *
 * At the limit.  Compressing makes room, but first it takes some.  So only the
 * drain may use the last bytes below the limit (budget.h: spare).  A writer
 * that finds no room drains first and tries again (drain_for_room): no write is
 * refused while the buffer has data that could be made smaller.
 *
 * Idle workers share a step's entries, but only while no request runs.
 *
 * Locks: 'lock' (rank DRAIN) is held for a step.  There is one step at a time:
 * the drainer's (maint/drainer.h), one of a writer that needs room, or one of a
 * pass that empties the buffer.  The holder waits for the workers that help.
 * They do not take this lock, and work only inside the step.
 */

#ifndef ZRAM_DRAIN_H
#define ZRAM_DRAIN_H

#include <stdbool.h>
#include <stdint.h>

#include "base/patience.h"

struct store;

struct drain {
  struct mutex lock;
  char *copies GUARDED_BY (lock);  /* one slot for each lane, owned */
  uint32_t hand GUARDED_BY (lock); /* entry */
  _Atomic uint64_t rounds;         /* in which drain_for_room made room */
  atomic_uint wished;              /* patience.h: a thread wants 'lock' */
};

/* The most entries of a step: some 100 µs of work. */
#define DRAIN_BATCH 16u

struct drain_totals {
  uint32_t done, lost, failed;
};

/* 0, or -1 with errno ENOMEM. */
int drain_init (struct drain *d, uint32_t slot_size) MUST_USE;
void drain_destroy (struct drain *d);

/* Move the hand by at most 'looks' entries, until it has tried 'most' entries
 * that were written min_age_ms ago or earlier.  Adds to *totals; returns how
 * many entries it looked at.  Takes slot locks and a stream.
 */
uint32_t drain_step_locked (struct store *store, uint32_t min_age_ms,
                            uint32_t looks, uint32_t most,
                            struct drain_totals *totals);

/* Memory is used up: compress entries to make room.  False if the buffer cannot
 * make any.  Keeps errno.  The caller holds no lock of rank DRAIN or above; may
 * sleep.
 */
bool drain_for_room (struct store *store) MUST_USE;

/* No step runs between hold and unhold.  The patient one is false if a step
 * took too long.
 */
void drain_hold (struct store *store);
bool drain_hold_patiently (struct store *store, const struct patience *p)
  MUST_USE;
void drain_unhold (struct store *store);

#endif /* ZRAM_DRAIN_H */
