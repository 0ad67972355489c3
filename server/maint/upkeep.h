/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Upkeep: owns all background work of a store, whatever its disks are.
 *
 *   by itself, each with a thread            by hand (by_hand.h)
 *   compactor                                compaction
 *   recompress policy --> recompressor <---- recompression, training
 *   drainer                                  emptying the write buffer
 *   evictor (with a backing store)           writeback
 *   refill (where memory is kept ready)      audit, reset
 *
 * It alone knows in which order all that is made, started, held and ended:
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
 *              writeback, evictor, drain
 *            unhold goes backwards.
 *   destroy  backwards.
 *
 * Who holds takes the locks with patience, so a worker that waits for one of
 * them waits for a bounded time; a stop meanwhile ends after the unhold.
 *
 * The members are for those who ask questions and change settings: the
 * functions of each worker's own header that take no lock for long.
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
  const struct zcomp_method *methods;        /* of recompression; copied */
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

  /* An audit's, one at a time; NULL until a deep one needs it.  It stays:
   * perhaps in a read that nobody waits for any more.
   */
  struct deep_reader *reader;
};

/* All of it without threads.  If the store shall have a backing store, it has
 * it already.  NULL with errno ENOMEM.
 */
struct upkeep *upkeep_create (struct store *store,
                              const struct upkeep_config *config) MUST_USE;

/* Start the threads (after the last fork, and after store_start and
 * backing_start).  0, or -1 with errno EAGAIN (no more threads) and none of
 * them runs.
 */
int upkeep_start (struct upkeep *u) MUST_USE;

/* End the threads, each after its step, and the evictor after what it has in
 * flight.  Harmless if they never started.  The caller holds nothing.  Passes
 * by hand go on: their callers cancel them.
 */
void upkeep_stop (struct upkeep *u);

/* And free all of it.  No pass by hand runs.  May wait for the backing store if
 * an audit has left a read there.  NULL is allowed.
 */
void upkeep_destroy (struct upkeep *u);

/* -- standing still ------------------------------------------------------- */

enum upkeep_hold {
  /* Nobody changes workers, methods or dictionaries, no compaction takes a
   * step, and no recompression has copies of objects.  That is enough for a
   * reset: what is under way to the backing store or out of the write buffer
   * finds its slot discarded, and is dropped.
   */
  UPKEEP_PASSES,

  /* And nothing is in flight to the backing store or on its way out of the
   * write buffer: an audit compares what is counted there.
   */
  UPKEEP_ALL,
};

/* From here to upkeep_unhold all of that is so.  NULL; or what did not come to
 * an end before patience ended, and nothing is held.  The caller holds no lock,
 * and lets recompression by itself make way (below) from before this on: a pass
 * that begins again and again would never be seen to have ended.
 */
const char *upkeep_hold (struct upkeep *u, enum upkeep_hold what,
                         const struct patience *p) MUST_USE;
void upkeep_unhold (struct upkeep *u, enum upkeep_hold what);

/* From here to upkeep_resume recompression by itself makes way for a pass that
 * somebody wants now: the one that runs ends after its slot, and no other
 * begins.  Several may do so at once.  Does not wait.
 */
void upkeep_make_way (struct upkeep *u);
void upkeep_resume (struct upkeep *u);

#endif /* ZRAM_UPKEEP_H */
