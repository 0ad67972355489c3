/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Writeback by hand: a pass that writes the requested slots to the backing
 * store, in the order of their numbers, and frees their memory.
 *
 * Locks: 'control' (rank WRITEBACK) is held for a step, which is one slot, or
 * the swapping of slots that were written.  'running' allows one pass at a
 * time.
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
  struct batch_writer *w GUARDED_BY (control); /* of the running pass */
  atomic_bool running;
  atomic_uint wished; /* patience.h: a thread wants 'control' */
};

void writeback_init (struct writeback *wb, struct store *store);
void writeback_destroy (struct writeback *wb);

struct slot_range {
  uint64_t first, end;
};

/* Which slots to write: those in one of the ranges that have all the requested
 * properties.
 */
struct writeback_request {
  bool idle, huge, incompressible;
  struct disk *disk;               /* NULL: all disks, and no ranges */
  const struct slot_range *ranges; /* NULL: the whole disk */
  unsigned ranges_count;
};

struct writeback_totals {
  struct batch_totals written;
  bool backing_full, limit_reached;
  int error; /* errno of the error that ended the pass early, or 0 */
};

/* Run a pass in the calling thread.  -1 with errno ENODEV (there is no backing
 * store), EBUSY (a pass is running) or ENOMEM; else 0, and *totals says what
 * was done, also if it was cancelled or stopped by an error.  Takes the control
 * lock.
 */
int writeback_run (struct writeback *wb,
                   const struct writeback_request *request, struct pace *pace,
                   struct pass_progress *progress,
                   struct writeback_totals *totals) MUST_USE;

/* Between these two nothing is in flight and no step runs.  False, and nothing
 * is held, if the backing does not answer in time.
 */
bool writeback_hold_patiently (struct writeback *wb, const struct patience *p)
  MUST_USE;
void writeback_unhold (struct writeback *wb);

#endif /* ZRAM_WRITEBACK_H */
