/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Refill: keeps memory ready for writes that come while the system has none
 * left.  This happens when the disk is used for swap: the system writes here to
 * free memory.
 *
 *   writes ----take----> [ hot spans, leaves and descriptors ahead of use ]
 *                                          ^
 *                         thread ----refill+   may wait for the system
 *
 * store_config.keep_ready says how much; with 0 there is no thread.  The thread
 * looks often while the reserve is used, and ten times a second otherwise.
 *
 * When memory becomes free, the reserve must get its share before other waiting
 * processes take all of it; otherwise nothing is swapped out any more, and
 * nothing becomes free.  Below the watermark "min" (vm.min_free_kbytes) the
 * kernel gives memory only to real-time threads, and only down to a lower
 * bound.  So this thread is a real-time thread, if that is allowed.  If there
 * is no memory even for it, it sleeps: trying would search all memory again and
 * again, for memory for which this process must not wait.
 *
 * Locks: 'control' (rank REFILL) is held for a step: the memory of one span or
 * page, which is in no list meanwhile, so an auditor holds the lock.  A step
 * may wait for memory; no other thread waits for 'control' without patience.
 * Inside it takes the locks of the pool and the slot table for moments.
 */

#ifndef ZRAM_REFILL_H
#define ZRAM_REFILL_H

#include "base/mutex.h"
#include "base/patience.h"
#include "maint/ticker.h"
#include "store/slot_walk.h"

struct refill {
  struct store *store;
  struct ticker ticker;
  struct mutex control;
  atomic_uint wished; /* patience.h: a thread wants 'control' */
  /* The thread's own: */
  bool real_time;
  int meminfo, min_free; /* files in /proc; -1: missing */
};

void refill_init (struct refill *r, struct store *store);

/* Fills the reserve, then starts the thread.  0, or -1 with errno EAGAIN. */
int refill_start (struct refill *r) MUST_USE;
void refill_stop (struct refill *r);

/* No step runs between these two.  False, and nothing is held, if a step did
 * not end in time.
 */
bool refill_hold_patiently (struct refill *r, const struct patience *p)
  MUST_USE;
void refill_unhold (struct refill *r);

/* Stops the thread. */
void refill_destroy (struct refill *r);

#endif /* ZRAM_REFILL_H */
