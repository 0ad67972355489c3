/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * How background work changes a slot: it copies the slot out, works on the copy
 * unlocked, and replaces the slot if that has not changed.
 *
 *   claim_copy ......... the work, no lock held ......... claim_replace
 *     lock shared, if free at once                          lock exclusive
 *     meta as expected? put the claim there                 claim still there?
 *     copy the object, unlock                               set, unlock
 *                                            or  claim_end: take it back
 *
 * Writes, part-writes and discards in between take the claim away and win;
 * reads do not disturb it.  None of this counts as an access: the slot keeps
 * its age and mark.  slot.h says why a claim is as good as a generation number.
 *
 * Invariant: a claim that is not taken is in no slot's meta.  The work that
 * took a claim ends or replaces each slot that it claimed before it releases
 * the claim.
 */

#ifndef ZRAM_CLAIM_H
#define ZRAM_CLAIM_H

#include "store/content.h"

/* A number for one piece of work; 0 if all 63 are taken. */
unsigned claim_take (struct store *store) MUST_USE;
void claim_release (struct store *store, unsigned claim);

/* Put the claim into the meta of a slot that has this meta.  The caller holds
 * the slot's lock.  False if the slot has another claim already.
 */
bool claim_put_locked (struct slot *s, uint32_t meta, unsigned claim)
  REQUIRES_SHARED (s) MUST_USE;

/* If the slot is an object with exactly this meta, not claimed and not locked
 * exclusively: claim it and copy the object (slot_meta_size (meta) bytes) into
 * buf.  Otherwise change nothing and return false.  Takes the slot lock
 * (trying) and pins the object.
 */
bool claim_copy (struct disk *disk, uint64_t index, uint32_t meta,
                 unsigned claim, void *buf) MUST_USE;

/* Let the slot hold 'new' if the claim is still there.  Otherwise free 'new'
 * and return false.  Takes the slot lock; may sleep.
 */
bool claim_replace (struct disk *disk, uint64_t index, unsigned claim,
                    const struct content *new) MUST_USE;

/* Keep the content, remove the claim, and put 'marks' (by, incompressible) in
 * place of those in the meta.  False if the claim was gone.  Takes the slot
 * lock; may sleep.
 */
bool claim_end (struct disk *disk, uint64_t index, unsigned claim,
                uint32_t marks);

/* Forget in all slots what recompression has tried: for use when there are new
 * methods.  Slots that are locked or claimed right now keep their marks.  The
 * caller holds store->settings, so no audit finds a slot locked by this.
 */
void claim_clear_marks (struct store *store);

#endif /* ZRAM_CLAIM_H */
