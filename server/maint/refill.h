/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Keeps memory ready for writes that come while the system has none to give,
 * as when what is written here is what the system wants to be rid of (swap).
 *
 *   writes ----take----> [ hot spans, leaves and descriptors ahead of use ]
 *                                          ^
 *                         thread ----refill+   may wait for the system
 *
 * How much is store_config.keep_ready; with 0 there is no thread.  It looks
 * often while the reserve is used, and ten times a second otherwise.
 *
 * Of what becomes free the reserve must get its share before those who are
 * waiting for memory take all of it, or nothing is swapped out any more and
 * nothing becomes free.  The kernel lets nobody below the watermark "min"
 * (vm.min_free_kbytes) but real-time threads, some way: so this is one, if it
 * may.  Where there is nothing to be had even so, it sleeps; to try would be to
 * search all memory again and again for what this process may not wait for.
 *
 * Locks: takes those of pool and slot table, for moments; holds none while it
 * waits for memory.
 */

#ifndef ZRAM_REFILL_H
#define ZRAM_REFILL_H

#include "maint/ticker.h"
#include "store/slot_walk.h"

struct refill {
  struct store *store;
  struct ticker ticker;
  /* The thread's own: */
  bool real_time;
  int meminfo, min_free; /* files of /proc, -1: not there */
};

void refill_init (struct refill *r, struct store *store);

/* Fills up, then starts the thread.  0, or -1 with errno EAGAIN. */
int refill_start (struct refill *r) MUST_USE;
void refill_stop (struct refill *r);

/* Stops it. */
void refill_destroy (struct refill *r);

#endif /* ZRAM_REFILL_H */
