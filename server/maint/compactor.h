/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Compactor: the policy that gives back the memory which frees and overwrites
 * have left in pieces.  The mechanisms belong to the pool and the table, and
 * work in steps:
 *
 *   compaction   pool_compact_step, class by class
 *   migration    pool_migrate_step, when the arena is mostly holes
 *   leaves       slot_table_reclaim of leaves that are all EMPTY
 *
 * A pass does them in that order.  Every 'pause' seconds the compactor checks
 * whether compaction could free more than 'threshold' percent of the memory in
 * use, or whether one of the other two pays; then it runs a pass.  Between two
 * steps it lets requests go first: while there are as many requests as workers
 * it sleeps a little, but it always makes progress.  If no request has come
 * since its last look, the memory kept for reuse goes back to the system too.
 *
 * Locks: 'control' (rank CONTROL) is held for a pass, automatic or by hand: one
 * pass at a time.  All locks below it are taken for a step only.
 */

#ifndef ZRAM_COMPACTOR_H
#define ZRAM_COMPACTOR_H

#include "base/patience.h"
#include "maint/progress.h"
#include "store/query.h"

#define COMPACTOR_THRESHOLD 2 /* percent, the default */
#define COMPACTOR_PAUSE 1     /* seconds, the default */

struct compactor;

/* threshold: percent, 0 = no automatic compaction.  pause: seconds, 0 = pass
 * after pass without regard to the threshold (for tests and benches).  The
 * store is not owned and must outlive the compactor.  NULL with errno ENOMEM.
 */
struct compactor *compactor_create (struct store *store, unsigned threshold,
                                    unsigned pause) MUST_USE;

/* Start the thread (after the last fork).  0, or -1 with errno EAGAIN. */
int compactor_start (struct compactor *c) MUST_USE;

/* End the thread, after its current step.  Harmless if it never started. */
void compactor_stop (struct compactor *c);
void compactor_destroy (struct compactor *c);

struct compactor_result {
  uint64_t pages_freed, objects_moved, zspages_migrated, leaves_freed;
};

/* Run one whole pass in the calling thread, without regard to the threshold.
 * Waits for a pass that runs.  Takes the control lock.
 */
struct compactor_result compactor_run (struct compactor *c);

/* As compactor_run, and keeps the progress up to date.  False if it was
 * cancelled; *result says what was done until then.
 */
bool compactor_run_watched (struct compactor *c, struct pass_progress *progress,
                            struct compactor_result *result);

/* No pass runs between these two.  An automatic pass ends after its step.
 * False, and nothing is held, if that took too long.
 */
bool compactor_hold_patiently (struct compactor *c, const struct patience *p)
  MUST_USE;
void compactor_unhold (struct compactor *c);

/* Is a pass running now? */
bool compactor_is_running (struct compactor *c);

/* How many automatic passes ran. */
uint64_t compactor_passes (struct compactor *c);

#endif /* ZRAM_COMPACTOR_H */
