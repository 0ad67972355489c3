/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Evictor: with mem_limit and a backing store, keeps memory between two marks.
 * It writes slots to the backing store before memory is used up.
 *
 *   policy  --propose-->  evictor  --put-->  batch writer  -->  backing store
 *   when, how much,       batches, pages,
 *   which (the clock)     holds and counts   <--punch--  space
 *
 * maint/evict_policy.h says which slots go, maint/evict_clock.h which are old,
 * and maint/evict_space.h what a failed look means.
 *
 * Writers that find no room wait for it (store/room.h).  They are told that
 * there is no hope if the backing store is full or down, writeback_limit is
 * used up, or nothing can be evicted.
 *
 * It also does the backing store's housekeeping: it punches free blocks.
 *
 * Locks: 'control' (rank EVICT) is held for a step, as in writeback.h.
 */

#ifndef ZRAM_EVICTOR_H
#define ZRAM_EVICTOR_H

#include "base/mutex.h"
#include "maint/batch_writer.h"
#include "maint/ticker.h"

#define EVICT_HIGH 90 /* percent of mem_limit, the defaults */
#define EVICT_LOW 85

struct evictor;

/* low and high: percent of the store's limit, low <= high <= 100.  The store,
 * which has a backing store, is not owned.  NULL with errno ENOMEM.
 */
struct evictor *evictor_create (struct store *store, unsigned low,
                                unsigned high) MUST_USE;

/* Start the thread (after the last fork).  0, or -1 with errno EAGAIN. */
int evictor_start (struct evictor *e) MUST_USE;

/* End the thread, when nothing is in flight any more; writers that wait give
 * up.
 */
void evictor_stop (struct evictor *e);
void evictor_destroy (struct evictor *e); /* NULL is allowed */

/* The limit or the marks changed; low 0: keep the marks. */
void evictor_set_marks (struct evictor *e, unsigned low, unsigned high);
void evictor_get_marks (struct evictor *e, unsigned *low, unsigned *high);

struct evictor_stats {
  uint64_t slots, bytes; /* evicted, and the memory that they took */
  uint64_t rounds;       /* from high to low */
  uint64_t failed;       /* slots whose write failed */
  bool hopeless;         /* the last round could not free enough */
};

struct evictor_stats evictor_stats (struct evictor *e);

/* Between these two nothing is in flight and no step runs.  False, and nothing
 * is held, if the backing does not answer in time.
 */
bool evictor_hold_patiently (struct evictor *e, const struct patience *p)
  MUST_USE;
void evictor_unhold (struct evictor *e);

#endif /* ZRAM_EVICTOR_H */
