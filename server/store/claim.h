/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A slot as background work sees it: copied out, worked on unlocked, and
 * replaced if it still is what it was.
 *
 *   claim_copy ......... the work, no lock held ......... claim_replace
 *     lock shared, if free at once                          lock exclusive
 *     meta as expected? put the claim there                 claim still there?
 *     copy the object, unlock                               set, unlock
 *                                            or  claim_end: take it back
 *
 * Writes, part-writes and discards in between take the claim away and win;
 * reads do not mind.  No access is noted: the slot keeps its age and mark.
 * Why a claim is as good as a generation: slot.h.
 *
 * Invariant: a claim that is not taken is in no slot's meta.  Whoever took it
 * ends or replaces each slot that it claimed before releasing it.
 */

#ifndef ZRAM_CLAIM_H
#define ZRAM_CLAIM_H

#include "store/content.h"

/* A number for one piece of work; 0 if all 63 are taken. */
unsigned claim_take (struct store *store) MUST_USE;
void claim_release (struct store *store, unsigned claim);

/* Put the claim to a slot with that meta whose lock the caller holds; false if
 * there is another already.
 */
bool claim_put_locked (struct slot *s, uint32_t meta, unsigned claim)
  REQUIRES_SHARED (s) MUST_USE;

/* Claim the slot, if it is an object with just that meta and nobody else has
 * claimed it or locked it exclusively, and copy the object (slot_meta_size
 * (meta) bytes) into buf.  False, and nothing changed, if not.  Takes the
 * slot lock (trying) and pins the object.
 */
bool claim_copy (struct disk *disk, uint64_t index, uint32_t meta,
                 unsigned claim, void *buf) MUST_USE;

/* Let the slot hold 'new' if the claim is still there.  Else free 'new', and
 * false.  Takes the slot lock; may sleep.
 */
bool claim_replace (struct disk *disk, uint64_t index, unsigned claim,
                    const struct content *new) MUST_USE;

/* The content stays; the claim goes, and 'marks' (by, incompressible) take
 * the place of those in the meta.  False if the claim was gone.  Takes the slot
 * lock; may sleep.
 */
bool claim_end (struct disk *disk, uint64_t index, unsigned claim,
                uint32_t marks);

/* Forget what recompression has tried, in all slots: for when there are new
 * methods.  Slots that are locked or claimed right now keep their marks.  The
 * caller holds store->settings, so no audit meets the locks that it takes.
 */
void claim_clear_marks (struct store *store);

#endif /* ZRAM_CLAIM_H */
