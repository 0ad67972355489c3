/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Shared by the files of the auditor.  The calls go:
 *
 *   audit.c          both audits, and the gate
 *     |   |
 *     |   +--> audit_still.c    count everything
 *     |          |
 *     +----------+--> audit_slots.c    look at one slot after the other
 */

#ifndef ZRAM_AUDIT_INTERNAL_H
#define ZRAM_AUDIT_INTERNAL_H

#include "store/audit.h"

static inline bool
audit_is_cancelled (const struct audit_watch *watch)
{
  return watch && watch->cancel && atomic_load (watch->cancel);
}

/* From now on. */
static inline struct patience
audit_patience (const struct audit_watch *watch)
{
  unsigned ms = watch && watch->patience_ms ? watch->patience_ms
                                            : AUDIT_PATIENCE_MS;

  return patience_ms (ms, watch ? watch->cancel : NULL);
}

/* audit_still.c.  Count all that is stored and compare it with the counters.
 * Nothing may run, or the gate is shut and the passes are held.  'links': call
 * audit_links for each slot, too.  0, or -1 with a reason and errno EBADMSG or
 * ECANCELED.
 */
int audit_still (struct store *store, const struct audit_watch *watch,
                 bool links, struct reason *why) MUST_USE;

/* audit_slots.c.  What the slot's cell names must name the slot.  If it does
 * not, false and a reason.  The slot is locked, shared or not, or nothing runs.
 */
bool audit_links (struct disk *disk, struct slot *s, uint64_t index,
                  struct reason *why) MUST_USE;

/* audit_slots.c.  Check each slot's links under its lock.  'deep': read its
 * data, too.  Takes the slots' locks in turn; may sleep in the backing.  0, or
 * -1 with a reason and errno: see store_audit_live.
 */
int audit_slots (struct store *store, bool deep,
                 const struct audit_watch *watch, struct reason *why) MUST_USE;

#endif /* ZRAM_AUDIT_INTERNAL_H */
