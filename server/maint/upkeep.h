/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Upkeep: owns all background work of a store with all its disks.
 *
 *   automatic, each with a thread            by hand (by_hand.h)
 *   compactor                                compaction
 *   recompress policy --> recompressor <---- recompression, training
 *   drainer                                  emptying the write buffer
 *   evictor (with a backing store)           writeback
 *   refill (where memory is kept ready)      audit, reset
 *
 * Only this file knows in which order they are made, started, held and stopped:
 *
 *   make     recompressor before its policy, which keeps a pointer to it; the
 *            others do not know each other.
 *   start    in any order: each of them works on the store alone.
 *   stop     1. room: writers that wait for memory are told that there is none,
 *               so none of them waits for an evictor that has ended.
 *            2. compactor, drainer, refill, policy: each ends after its step,
 *               and no step waits for the backing store.
 *            3. evictor: it waits until the backing store has answered.  If
 *               that hangs, all others have ended.
 *   hold     by the ranks of the locks (base/rank.h), which is also from the
 *            longest wait in normal use to the shortest:
 *              recompression has ended, settings, compactor, recompressor,
 *              writeback, evictor, drain, refill
 *            unhold goes backwards.
 *   destroy  backwards.
 *
 * A hold takes the locks with patience, so a worker waits for one of them only
 * for a bounded time.  A stop meanwhile ends after the unhold.
 *
 * The members of the struct are for queries and for changes of settings: for
 * those functions in each worker's header that do not hold a lock for long.
 */

#ifndef ZRAM_UPKEEP_H
#define ZRAM_UPKEEP_H

#include "maint/compactor.h"
#include "maint/deep_reader.h"
#include "maint/drainer.h"
#include "maint/evictor.h"
#include "maint/recompress_policy.h"
#include "maint/refill.h"
#include "maint/writeback.h"

struct upkeep_config {
  unsigned compact_threshold, compact_pause; /* compactor.h */
  const struct zcomp_method *methods;        /* for recompression; copied */
  unsigned methods_count;
  unsigned auto_age, auto_share;  /* recompress_policy.h */
  unsigned evict_low, evict_high; /* evictor.h */
};

struct upkeep {
  struct store *store; /* not owned */
  struct compactor *compactor;
  struct recompressor *recompressor;
  struct recompress_policy policy;
  struct drainer *drainer;
  struct refill refill;
  struct writeback writeback;
  struct evictor *evictor; /* NULL without a backing store */

  /* For audits, one at a time; NULL until the first deep audit.  It stays,
   * because it may be in a read for which no audit waits any more.
   */
  struct deep_reader *reader;
};

/* Makes everything except the threads.  The store already has its backing
 * store, if it is to have one.  NULL with errno ENOMEM.
 */
struct upkeep *upkeep_create (struct store *store,
                              const struct upkeep_config *config) MUST_USE;

/* Start the threads (after the last fork, and after store_start and
 * backing_start).  0, or -1 with errno EAGAIN (no more threads); then none of
 * them runs.
 */
int upkeep_start (struct upkeep *u) MUST_USE;

/* End the threads, each after its step; the evictor also when nothing is in
 * flight any more.  Harmless if they never started.  The caller holds nothing.
 * Passes by hand go on: their callers cancel them.
 */
void upkeep_stop (struct upkeep *u);

/* Stop and free everything.  No pass by hand may run.  May wait for the backing
 * store if an audit has left a read there.  NULL is allowed.
 */
void upkeep_destroy (struct upkeep *u);

/* -- standing still ------------------------------------------------------- */

enum upkeep_hold {
  /* Workers, methods and dictionaries do not change, no compaction takes a
   * step, and no recompression has copies of objects.  That is enough for a
   * reset: data on their way to the backing store or out of the write buffer
   * find their slot discarded, and are dropped.
   */
  UPKEEP_PASSES,

  /* In addition, no data are on their way to the backing store or out of the
   * write buffer: an audit checks the counters there.
   */
  UPKEEP_ALL,
};

/* From here to upkeep_unhold, all of that holds.  NULL; or the name of what did
 * not end before patience ended, and then nothing is held.  The caller holds no
 * lock.  It calls upkeep_make_way (below) before this: otherwise passes could
 * begin again and again, and this would never see that they have ended.
 */
const char *upkeep_hold (struct upkeep *u, enum upkeep_hold what,
                         const struct patience *p) MUST_USE;
void upkeep_unhold (struct upkeep *u, enum upkeep_hold what);

/* From here to upkeep_resume, automatic recompression makes way for another
 * pass: a running pass ends after its slot, and no new one begins.  Several
 * threads may do so at once.  Does not wait.
 */
void upkeep_make_way (struct upkeep *u);
void upkeep_resume (struct upkeep *u);

#endif /* ZRAM_UPKEEP_H */
