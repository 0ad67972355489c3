/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The auditor: recompute from the slot table and the pool everything that is
 * counted or linked elsewhere, and compare.
 *
 *   slots in state OBJECT = attached objects of the pool
 *   every such slot's cell names an object whose back pointer is that slot
 *   slots, same-filled, huge, objects, bytes = the disk's counters
 *   pages of zspages and hot spans, leaves and nodes = what is charged
 *   slots in state BUFFERED = entries of the write buffer in use, each of which
 *   refers back to its slot; resident chunks = what is charged
 *   every zspage on the list of its fullness, every span in one state
 *   no slot locked, no zspage pinned, no stream held, no request in flight
 *   every object decompresses (with 'deep')
 */

#ifndef ZRAM_AUDIT_H
#define ZRAM_AUDIT_H

#include "base/patience.h"
#include "base/reason.h"
#include "store/disk.h"

/* All of the store, with no request running and no pass.  0, or -1 and a
 * reason that says what is wrong.
 */
int store_audit (struct store *store, bool deep, struct reason *why) MUST_USE;

/* Milliseconds that a live audit waits for what does not come to an end. */
#define AUDIT_PATIENCE_MS 10000

/* Who waits for an audit, and what it asks of those who run passes and pay
 * attention to requests.  Everything may be NULL or 0.
 *
 *   done     counts the slots that are done
 *   cancel   when set, ends the audit
 *   hold     from now on no pass takes a step, and nothing is in flight: NULL;
 *            or what did not come to an end with so much patience, and nothing
 *            is held
 *   unhold   ends that
 *   read     the whole slot for a deep audit, as slot_read_unnoticed; also
 *            ETIMEDOUT or ECANCELED when patience ended
 *   rest     now and then where slots are looked at one by one: 'since' is when
 *            the last rest ended (clock_ns); returns when this one did
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
 *   gate open   what passes have in flight comes in: may take its time
 *   gate shut   requests inside come to an end: 10 to 160 ms, or once more
 * later passes are held: 100 ms, likewise all that is counted: 25 to 45 ms a
 * million slots gate open   slot by slot, under its lock, as it is by then:
 * does what it names name it; deep: can it be read
 *
 * So requests are held back only for what waits for nobody, and for those
 * milliseconds.  0, or -1 with a reason and errno: EBADMSG
 * (something is wrong), ECANCELED, ENOMEM, ESHUTDOWN, or ETIMEDOUT (what had to
 * come to an end did not, in patience_ms; or, of a deep audit, the store did
 * not answer, and it ends at that slot).
 */
int store_audit_live (struct store *store, bool deep,
                      const struct audit_watch *watch, struct reason *why)
  MUST_USE;

#endif /* ZRAM_AUDIT_H */
