/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The auditor recomputes, from the slot table and the pool, all that is counted
 * or linked elsewhere, and compares.  These must hold:
 *
 *   slots in state OBJECT = attached objects of the pool
 *   each such slot's cell names an object whose back pointer is that slot
 *   slots, same-filled, huge, objects, bytes = the disk's counters
 *   pages of zspages and hot spans, leaves and nodes = what is charged
 *   slots in state BUFFERED = entries of the write buffer in use
 *   each such entry names its slot; resident chunks = what is charged
 *   each zspage is on the list of its fullness, each span in one state
 *   no slot locked, no zspage pinned, no stream held, no request in flight
 *   each object decompresses (with 'deep')
 */

#ifndef ZRAM_AUDIT_H
#define ZRAM_AUDIT_H

#include "base/patience.h"
#include "base/reason.h"
#include "store/disk.h"

/* Audit all of the store.  No request and no pass may run.  0, or -1 with errno
 * (EBADMSG: something is wrong) and a reason that says what is wrong.
 */
int store_audit (struct store *store, bool deep, struct reason *why) MUST_USE;

/* For so many milliseconds a live audit waits for what does not end. */
#define AUDIT_PATIENCE_MS 10000

/* What an audit needs from its caller, which may run passes and may watch
 * requests.  Each field may be NULL or 0.
 *
 *   done     the audit adds 1 for each slot that it has looked at
 *   cancel   when it is set, the audit ends
 *   hold     returns NULL when no pass takes a step any more and nothing is in
 *            flight.  If that takes longer than the patience: the words for
 *            what did not end, and nothing is held
 *   unhold   undoes hold
 *   read     reads a whole slot for a deep audit, as slot_read_unnoticed does.
 *            When its patience ends: -1 with errno ETIMEDOUT or ECANCELED
 *   rest     called now and then while slots are looked at one by one.  'since'
 *            is when the last rest ended (clock_ns); returns when this one did
 */
struct audit_watch {
  _Atomic uint64_t *done;
  const atomic_bool *cancel;
  const char *(*hold) (void *ctx, const struct patience *p);
  void (*unhold) (void *ctx);
  int (*read) (void *ctx, struct disk *disk, uint64_t index, void *buf,
               const struct patience *p);
  uint64_t (*rest) (void *ctx, uint64_t since);
  void *ctx;
  unsigned patience_ms; /* 0: AUDIT_PATIENCE_MS */
};

/* The same while clients are connected.
 *
 *   gate open   wait for what passes have in flight; this may take long
 *   gate shut   wait for the requests inside: 10 to 160 ms.  If that is not
 *               enough: open the gate for a while, and try again
 *               hold the passes: 100 ms, likewise
 *               count everything: 25 to 45 ms a million slots
 *   gate open   look at each slot under its lock, as it is by then: does what
 *               it names name it?  With 'deep': can it be read?
 *
 * So requests wait only for those milliseconds, and only for work that waits
 * for no other thread.  0, or -1 with a reason and errno:
 *
 *   EBADMSG     something is wrong
 *   ETIMEDOUT   what had to end did not, within patience_ms; or in a deep audit
 *               the backing did not answer, and the audit ended at that slot
 *   ECANCELED, ENOMEM, ESHUTDOWN
 */
int store_audit_live (struct store *store, bool deep,
                      const struct audit_watch *watch, struct reason *why)
  MUST_USE;

#endif /* ZRAM_AUDIT_H */
