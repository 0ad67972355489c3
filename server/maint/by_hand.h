/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Passes by hand: what somebody asks for, done in the calling thread.
 *
 * What is done by hand is meant for all that was written: the passes over
 * objects empty the write buffer first.  Recompression by itself makes way for
 * one by hand, for an audit and for a reset.
 *
 * 'progress' says how far it is, and *cancel in it ends a pass after its step.
 * All of them may sleep; the caller holds no lock.  One at a time, but for a
 * test that knows what it does.
 */

#ifndef ZRAM_BY_HAND_H
#define ZRAM_BY_HAND_H

#include "maint/dictionary.h"
#include "maint/upkeep.h"
#include "store/audit.h"

/* As compactor_run_watched.  Who asks for it wants the memory now, so what the
 * pool keeps for reuse goes back too.
 */
bool by_hand_compact (struct upkeep *u, struct pass_progress *progress,
                      struct compactor_result *result);

/* As recompressor_run; but it waits for a pass that runs, so EBUSY tells that
 * it was cancelled meanwhile.
 */
int by_hand_recompress (struct upkeep *u,
                        const struct recompress_request *request,
                        struct pass_progress *progress,
                        struct recompress_totals *totals) MUST_USE;

/* As dictionary_train. */
int by_hand_train (struct upkeep *u, const struct train_request *request,
                   struct pass_progress *progress, struct train_result *result,
                   struct reason *why) MUST_USE;

/* As writeback_run. */
int by_hand_write_back (struct upkeep *u,
                        const struct writeback_request *request,
                        struct pass_progress *progress,
                        struct writeback_totals *totals) MUST_USE;

/* As store_audit_live, at the pace of background work.  patience_ms: for what
 * does not come to an end; 0: AUDIT_PATIENCE_MS.
 */
int by_hand_audit (struct upkeep *u, bool deep, unsigned patience_ms,
                   struct pass_progress *progress, struct reason *why) MUST_USE;

/* Discard all of a disk.  NULL, and *locked slots stay, which requests kept
 * locked until patience ended; or what did not come to an end, and nothing was
 * discarded.
 */
const char *by_hand_reset (struct upkeep *u, struct disk *disk,
                           const struct patience *p, uint64_t *locked) MUST_USE;

#endif /* ZRAM_BY_HAND_H */
