/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Recompressor: decides which slots are recompressed, and in which order.
 *
 * A pass goes through the table once for each rank of candidates, the best
 * first, and tries them one by one (store/recompress.h):
 *
 *            idle:  >= 3/4 of a slot   >= 1/2   >= 1/4   the rest
 *        not idle:  >= 3/4 of a slot   >= 1/2   >= 1/4   the rest
 *
 * The table is 16 bytes a slot, so eight walks cost less than sorting would,
 * and need no memory.  The caller decides when a pass runs, and at what pace:
 * recompress_policy.h, or a user of the control socket.
 *
 * Locks: 'control' (rank RECOMPRESS) protects the methods, and is held for a
 * step only, which is one slot.  'running' allows one pass at a time.
 */

#ifndef ZRAM_RECOMPRESSOR_H
#define ZRAM_RECOMPRESSOR_H

#include "maint/pace.h"
#include "maint/progress.h"
#include "store/query.h"
#include "store/recompress.h"

struct recompressor;

/* The store is not owned and must outlive the recompressor.  NULL with errno
 * ENOMEM.
 */
struct recompressor *recompressor_create (struct store *store,
                                          const struct zcomp_method *methods,
                                          unsigned count) MUST_USE;
void recompressor_destroy (struct recompressor *r); /* NULL is allowed */

/* What to recompress. */
struct recompress_request {
  bool idle, huge;     /* only such slots */
  uint32_t threshold;  /* bytes: only objects of this size or more; 0: all */
  uint64_t max_slots;  /* to try; 0: all */
  unsigned priority;   /* 1 … 3: only this method; 0: all, in order */
  struct disk *disk;   /* NULL: all of them */
  uint64_t first, end; /* its slots; end 0: to the last */
  uint32_t min_age;    /* seconds: only idle or so old slots; 0: all */
};

struct recompress_totals {
  uint64_t recompressed, bytes_won, vain, lost, failed;
  int error; /* errno of the error that ended the pass early, or 0 */
};

/* Run a pass in the calling thread.  -1 with errno EBUSY (a pass is running),
 * EINVAL (there is no such method) or ENOMEM; else 0, and *totals says what was
 * done, also if it was cancelled.  Takes the control lock.
 */
int recompressor_run (struct recompressor *r,
                      const struct recompress_request *request,
                      struct pace *pace, struct pass_progress *progress,
                      struct recompress_totals *totals) MUST_USE;

bool recompressor_is_running (struct recompressor *r);

/* The present methods; returns how many.  Takes the control lock. */
unsigned recompressor_methods (struct recompressor *r,
                               struct zcomp_method methods[RECOMPRESS_METHODS]);

/* The same without the control lock, so it never waits.  Each method is valid
 * now or was a moment ago.
 */
unsigned recompressor_peek (struct recompressor *r,
                            struct zcomp_method methods[RECOMPRESS_METHODS]);

/* Use other methods from the next slot on.  Slots that were tried with the old
 * methods count as tried until claim_clear_marks.  Takes the control lock.
 */
void recompressor_set_methods (struct recompressor *r,
                               const struct zcomp_method *methods,
                               unsigned count);

/* No step runs between hold and unhold.  The patient one returns false if a
 * step took too long.
 */
void recompressor_hold (struct recompressor *r);
bool recompressor_hold_patiently (struct recompressor *r,
                                  const struct patience *p) MUST_USE;
void recompressor_unhold (struct recompressor *r);

#endif /* ZRAM_RECOMPRESSOR_H */
