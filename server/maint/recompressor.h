/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Recompressor: which slots are recompressed, when, and at what pace.
 *
 * A pass goes through the table once for each rank of candidates, the best
 * first, and tries them one by one (store/recompress.h):
 *
 *            idle:  >= 3/4 of a slot   >= 1/2   >= 1/4   the rest
 *        not idle:  >= 3/4 of a slot   >= 1/2   >= 1/4   the rest
 *
 * The table is 16 bytes a slot, so eight walks cost less than sorting would,
 * and need no memory.  By itself ('auto_age') it does so with all slots that
 * nobody has accessed for that long.  While clients ask for something a pass
 * by hand takes a quarter of a CPU, one by itself a quarter of its share.
 *
 * Locks: 'control' (rank RECOMPRESS) protects the methods, and is held for a
 * step only, which is one slot.  'running' lets one pass at a time in.
 */

#ifndef ZRAM_RECOMPRESSOR_H
#define ZRAM_RECOMPRESSOR_H

#include "maint/progress.h"
#include "store/query.h"
#include "store/recompress.h"

struct recompressor;

struct recompressor_config {
  struct zcomp_method methods[RECOMPRESS_METHODS]; /* by priority */
  unsigned methods_count;
  unsigned auto_age;   /* seconds, below SLOT_OLD; 0: not by itself */
  unsigned auto_share; /* percent of a CPU, 1 … 100 */
};

#define RECOMPRESSOR_SHARE 50 /* percent, the default */

/* The device is not owned and must outlive the recompressor.  NULL with
 * errno.
 */
struct recompressor *
recompressor_create (struct device *dev,
                     const struct recompressor_config *config) MUST_USE;

/* Start the thread (after the last fork).  0, or -1 with errno set. */
int recompressor_start (struct recompressor *r) MUST_USE;

/* End the thread, after the step at hand. */
void recompressor_stop (struct recompressor *r);
void recompressor_destroy (struct recompressor *r); /* NULL is allowed */

/* What to recompress. */
struct recompress_request {
  bool idle, huge;     /* only what is so */
  uint32_t threshold;  /* bytes: only objects of at least that; 0: all */
  uint64_t max_slots;  /* to try; 0: all */
  unsigned priority;   /* 1 … 3: only this method; 0: all, in order */
  uint64_t first, end; /* slots; end 0: to the last */
  uint32_t min_age;    /* seconds: only what is idle or that old; 0: all */
};

struct recompress_totals {
  uint64_t recompressed, bytes_won, vain, lost, failed;
  int error; /* errno of what ended the pass early, or 0 */
};

/* A pass in the calling thread.  -1 with errno EBUSY (a pass is running) or
 * EINVAL (there is no such method); else 0, and *totals says what was done,
 * also when it was cancelled.  'progress' may be NULL.  Takes the control
 * lock.
 */
int recompressor_run (struct recompressor *r,
                      const struct recompress_request *request,
                      struct pass_progress *progress,
                      struct recompress_totals *totals) MUST_USE;

bool recompressor_is_running (struct recompressor *r);

/* The methods as they are now; returns how many.  Takes the control lock. */
unsigned recompressor_methods (struct recompressor *r,
                               struct zcomp_method methods[RECOMPRESS_METHODS]);

/* Other methods from the next slot on; what was tried with the old ones counts
 * as tried.  Takes the control lock.
 */
void recompressor_set_methods (struct recompressor *r,
                               const struct zcomp_method *methods,
                               unsigned count);

/* Seconds of age, 0: not by itself. */
unsigned recompressor_auto_age (struct recompressor *r);
void recompressor_set_auto_age (struct recompressor *r, unsigned seconds);

/* No step is taken between these two. */
void recompressor_hold (struct recompressor *r);
void recompressor_unhold (struct recompressor *r);

#endif /* ZRAM_RECOMPRESSOR_H */
