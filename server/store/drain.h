/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Draining the write buffer: data that lie there as they are become objects.
 *
 *   the entry's slot, a hint
 *     slot lock, shared, if free at once: it is BUFFERED, and in this entry?
 *     put a claim there, copy the data, unlock
 *   compress, make an object        nothing locked but the stream
 *     slot lock, exclusive: the claim is still there?
 *     set the object, which frees the entry, unlock
 *
 * So nobody waits for a compression: readers go on reading the entry, and a
 * write changes it in place and takes the claim away, as do a discard and all
 * else that changes a slot (claim.h says why a claim is enough).  The object is
 * dropped then.  The data are in the entry until the object is in the slot, so
 * what fails loses nothing: they stay, and another time comes.
 *
 * A hand goes round over the entries.  What was written into an empty buffer
 * lies in its order, and what the hand has freed is written anew behind it; so
 * it meets them about in the order in which they were written.
 *
 * At the limit.  Compressing makes room, but only after it has taken some.  So
 * the last bytes below the limit are the drain's alone (budget.h: spare), and
 * whoever finds no room drains first and tries again (drain_for_room): nothing
 * is refused while the buffer has something that could be made smaller.
 *
 * A step's entries are shared with idle workers, but only while no request
 * runs.
 *
 * Locks: 'lock' (rank DRAIN) is held for a step: there is one at a time,
 * whether the drainer's (maint/drainer.h), a writer's that needs room, or
 * somebody's who wants the buffer empty.  Who holds it waits for the workers
 * that help: they have no need of it, and are inside the step alone.
 */

#ifndef ZRAM_DRAIN_H
#define ZRAM_DRAIN_H

#include <stdbool.h>
#include <stdint.h>

#include "base/patience.h"

struct store;

struct drain {
  struct mutex lock;
  char *copies GUARDED_BY (lock);  /* a slot for each lane, owned */
  uint32_t hand GUARDED_BY (lock); /* entry */
  _Atomic uint64_t rounds;         /* drain_for_room has made some */
  atomic_uint wished;              /* patience.h: somebody wants 'lock' */
};

/* Entries of a step at the most: some 100 µs of work. */
#define DRAIN_BATCH 16u

struct drain_totals {
  uint32_t done, lost, failed;
};

/* 0, or -1 with errno ENOMEM. */
int drain_init (struct drain *d, uint32_t slot_size) MUST_USE;
void drain_destroy (struct drain *d);

/* The hand goes on by 'looks' entries at the most, and until it has tried
 * 'most' of those that were written min_age_ms ago or earlier.  Adds to
 * *totals; returns how many entries it looked at.  Takes slot locks and a
 * stream.
 */
uint32_t drain_step_locked (struct store *store, uint32_t min_age_ms,
                            uint32_t looks, uint32_t most,
                            struct drain_totals *totals);

/* Memory is used up: make room of what the buffer has.  False if there is
 * nothing to be had.  errno stays.  The caller holds no lock of rank DRAIN or
 * above; may sleep.
 */
bool drain_for_room (struct store *store) MUST_USE;

/* No step is taken between these two.  The patient one is false if a step took
 * too long.
 */
void drain_hold (struct store *store);
bool drain_hold_patiently (struct store *store, const struct patience *p)
  MUST_USE;
void drain_unhold (struct store *store);

#endif /* ZRAM_DRAIN_H */
