/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The auditor: recompute from the slot table and the pool everything that is
 * counted or linked elsewhere, and compare.
 *
 *   slots in state OBJECT = attached objects of the pool
 *   every such slot's cell names an object whose back pointer is that slot
 *   slots, same-filled, huge, objects, bytes = the device's counters
 *   pages of zspages and hot spans, leaves and nodes = what is charged
 *   slots in state BUFFERED = entries of the write buffer in use, each of which
 *   refers back to its slot; resident chunks = what is charged
 *   every zspage on the list of its fullness, every span in one state
 *   no slot locked, no zspage pinned, no stream held, no request in flight
 *   every object decompresses (with 'deep')
 */

#ifndef ZRAM_AUDIT_H
#define ZRAM_AUDIT_H

#include "store/device.h"

/* The device must be its store's only one, with no request running and no
 * pass.  0, or -1 and a description of what is wrong in 'why'.
 */
int device_audit (struct device *dev, bool deep, char *why, size_t why_size)
  MUST_USE;

/* Who waits for an audit: slots done are counted there, and it ends early when
 * 'cancel' is set.  The last part, which is the pool's, does neither.
 *
 * What requests may be waiting for (memory that a pass is about to free) must
 * go on until they have come to an end: 'hold' is called then, to stop it, and
 * 'unhold' before they are let go on.  Both may be NULL.
 */
struct audit_watch {
  _Atomic uint64_t *done;
  const atomic_bool *cancel;
  void (*hold) (void *ctx);
  void (*unhold) (void *ctx);
  void *ctx;
};

/* The same while clients are connected: holds their requests back until it is
 * done.  The caller sees to it that no pass runs but those that 'hold' stops.
 * Fails too, with a reason, if requests do not come to an end within some
 * seconds.  'watch' may be NULL; a cancelled audit fails with errno ECANCELED.
 */
int device_audit_live (struct device *dev, bool deep,
                       const struct audit_watch *watch, char *why,
                       size_t why_size) MUST_USE;

#endif /* ZRAM_AUDIT_H */
