/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Evictor: with mem_limit and a backing store, keeps memory between two marks
 * by taking the least recently used slots to the store, ahead of need.
 *
 *   0           low          high       limit
 *   |------------|------------|-----------|
 *      nothing      hysteresis   evicts down to low
 *
 * A clock over the table, with the slots' own ages in place of a list: its
 * hand takes whatever is at least as old as the revolution asks for.  Before
 * each revolution the ages of all slots are counted, and the age is chosen so
 * that those older make up what is needed; what does not compress, and what
 * is marked idle, counts as four times as old.  A sequential flood with all
 * ages equal is thus evicted in the order of the hand.
 *
 * Where the pool has an LRU of its own (z3fold), that decides: it is asked for
 * the least recently used page after page, and its objects are put into batches
 * as the hand would; an object that cannot go stays, and so does its page.
 *
 * Writers that find no room wait for it (store/room.h).  It tells them that
 * there is no hope when the store is full or down, writeback_limit is used
 * up, or nothing can be evicted.
 *
 * It also does the store's housekeeping: punching what is free.
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

/* low and high: percent of the store's limit, low <= high <= 100.  The disk,
 * which has a backing store, is not owned.  NULL with errno ENOMEM.
 */
struct evictor *evictor_create (struct store *store, unsigned low,
                                unsigned high) MUST_USE;

/* Start the thread (after the last fork).  0, or -1 with errno EAGAIN. */
int evictor_start (struct evictor *e) MUST_USE;

/* End the thread, after what is in flight; writers that wait give up. */
void evictor_stop (struct evictor *e);
void evictor_destroy (struct evictor *e); /* NULL is allowed */

/* The limit or the marks changed; low 0: keep the marks. */
void evictor_set_marks (struct evictor *e, unsigned low, unsigned high);
void evictor_get_marks (struct evictor *e, unsigned *low, unsigned *high);

struct evictor_stats {
  uint64_t slots, bytes; /* evicted, and the memory that they took */
  uint64_t rounds;       /* from high to low */
  uint64_t failed;       /* slots that could not be written */
  bool hopeless;         /* the last round could not do what was needed */
};

struct evictor_stats evictor_stats (struct evictor *e);

/* Nothing is in flight and no step is taken between these two.  evictor_hold
 * waits for the store; the other is false, and nothing is held, if that does
 * not answer in time.
 */
void evictor_hold (struct evictor *e);
bool evictor_hold_patiently (struct evictor *e, const struct patience *p)
  MUST_USE;
void evictor_unhold (struct evictor *e);

#endif /* ZRAM_EVICTOR_H */
