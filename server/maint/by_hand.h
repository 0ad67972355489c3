/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Passes by hand: a user asks for them, and they run in the calling thread.
 *
 * A pass by hand covers all data written so far: the passes over objects empty
 * the write buffer first.  Automatic recompression makes way for recompression
 * by hand, for an audit and for a reset.
 *
 * 'progress' shows how far the pass is; setting its 'cancel' ends the pass
 * after its step.  All of these may sleep; the caller holds no lock.  One pass
 * at a time, except in a test that knows what it does.
 */

#ifndef ZRAM_BY_HAND_H
#define ZRAM_BY_HAND_H

#include "maint/dictionary.h"
#include "maint/upkeep.h"
#include "store/audit.h"

/* As compactor_run_watched.  The user wants the memory now, so this also gives
 * back the memory that the pool keeps for reuse.
 */
bool by_hand_compact (struct upkeep *u, struct pass_progress *progress,
                      struct compactor_result *result);

/* As recompressor_run, but waits for a pass that runs.  So EBUSY means that it
 * was cancelled while it waited.
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

/* As store_audit_live, at the pace of background work.  patience_ms: how long
 * to wait for something that does not end; 0: AUDIT_PATIENCE_MS.
 */
int by_hand_audit (struct upkeep *u, bool deep, unsigned patience_ms,
                   struct pass_progress *progress, struct reason *why) MUST_USE;

/* Discard all data of a disk.  NULL: done; *locked slots stay, because requests
 * kept them locked until patience ended.  Otherwise nothing was discarded, and
 * the result names what did not end.
 */
const char *by_hand_reset (struct upkeep *u, struct disk *disk,
                           const struct patience *p, uint64_t *locked) MUST_USE;

#endif /* ZRAM_BY_HAND_H */
