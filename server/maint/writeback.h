/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Writeback by hand: a pass that takes the slots asked for to the backing
 * store, in the order in which they lie, and frees their memory.
 *
 * Locks: 'control' (rank WRITEBACK) is held for a step, which is one slot or
 * the swapping of what was written.  'running' lets one pass at a time in.
 */

#ifndef ZRAM_WRITEBACK_H
#define ZRAM_WRITEBACK_H

#include "base/mutex.h"
#include "maint/batch_writer.h"
#include "maint/pace.h"
#include "maint/progress.h"

struct writeback {
  struct store *store; /* not owned */
  struct mutex control;
  struct batch_writer *w GUARDED_BY (control); /* of the pass that runs */
  atomic_bool running;
  atomic_uint wished; /* patience.h: somebody wants 'control' */
};

void writeback_init (struct writeback *wb, struct store *store);
void writeback_destroy (struct writeback *wb);

struct slot_range {
  uint64_t first, end;
};

/* What to write: slots in one of the ranges that are all that is asked for. */
struct writeback_request {
  bool idle, huge, incompressible;
  struct disk *disk;               /* NULL: all disks, and no ranges */
  const struct slot_range *ranges; /* NULL: all of it */
  unsigned ranges_count;
};

struct writeback_totals {
  struct batch_totals written;
  bool store_full, limit_reached;
  int error; /* errno of what ended the pass early, or 0 */
};

/* A pass in the calling thread.  -1 with errno ENODEV (there is no backing
 * store), EBUSY (a pass is running) or ENOMEM; else 0, and *totals says what
 * was done, also when it was cancelled or stopped by an error.  Takes the
 * control lock.
 */
int writeback_run (struct writeback *wb,
                   const struct writeback_request *request, struct pace *pace,
                   struct pass_progress *progress,
                   struct writeback_totals *totals) MUST_USE;

/* Nothing is in flight and no step is taken between these two.  False, and
 * nothing is held, if the backing does not answer in time.
 */
bool writeback_hold_patiently (struct writeback *wb, const struct patience *p)
  MUST_USE;
void writeback_unhold (struct writeback *wb);

#endif /* ZRAM_WRITEBACK_H */
