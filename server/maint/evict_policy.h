/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Policy of the evictor: when slots go to the backing store, how much of them,
 * and which.  It proposes; the evictor (maint/evictor.h) executes.
 *
 *   0           low          high       limit
 *   |------------|------------|-----------|
 *      nothing      hysteresis   evicts down to low
 *
 *   evict_policy_target   down to how many bytes memory has to go, if at all
 *   evict_policy_begin    a turn: so many bytes are to go
 *   evict_policy_propose  hands some slots to 'put', again and again
 *   evict_policy_put      how much went
 *
 * Which: what the clock finds old (maint/evict_clock.h), or where the pool has
 * an LRU of its own (z3fold), the objects of its least recently used page after
 * page; an object that cannot go stays, and so does its page.  A turn is over
 * when enough went, counted by what was put and not by what is used: that falls
 * later, when the holes have become pages.
 *
 * Locks: none.  The marks may be read and set by any thread; all else belongs
 * to the evictor's.
 */

#ifndef ZRAM_EVICT_POLICY_H
#define ZRAM_EVICT_POLICY_H

#include "maint/batch_writer.h"
#include "maint/evict_clock.h"

/* Take this slot, as batch_writer_put does. */
typedef enum put_result evict_put (void *ctx, struct disk *disk, uint64_t index,
                                   uint32_t meta);

struct evict_policy {
  struct store *store; /* not owned */
  evict_put *put;
  void *ctx;
  atomic_uint low, high; /* percent of the limit, low <= high <= 100 */

  /* A turn: */
  struct evict_clock clock;
  uint64_t pages;        /* of the pool that have not been proposed */
  uint64_t wanted, went; /* bytes */
  bool stopped;          /* 'put' can take no more */
};

/* 'put' is called with ctx. */
void evict_policy_init (struct evict_policy *p, struct store *store,
                        unsigned low, unsigned high, evict_put *put, void *ctx);

/* -- when --------------------------------------------------------------- */

/* low 0: the marks stay, but the limit changed.  Tells the writers. */
void evict_policy_set_marks (struct evict_policy *p, unsigned low,
                             unsigned high);
void evict_policy_get_marks (struct evict_policy *p, unsigned *low,
                             unsigned *high);

#define EVICT_NOTHING UINT64_MAX

/* Down to how many bytes memory has to go now, or EVICT_NOTHING.  'needed': a
 * writer found no room.
 */
uint64_t evict_policy_target (struct evict_policy *p, bool needed) MUST_USE;

/* -- what --------------------------------------------------------------- */

/* Begin a turn: so many bytes have to go, or some more where a write to the
 * store would not be worth it.  False if there is nothing to propose.  Looks at
 * all slots; cut short when 't' is told to stop.
 */
bool evict_policy_begin (struct evict_policy *p, uint64_t bytes,
                         struct ticker *t) MUST_USE;

/* What came of a step. */
enum evict_step {
  STEP_MORE,    /* the turn goes on */
  STEP_OVER,    /* enough went, or all was proposed once */
  STEP_STOPPED, /* no more can go now, whatever is proposed */
};

/* Propose some slots.  'put', which may sleep, is called with no lock taken
 * here.
 */
enum evict_step evict_policy_propose (struct evict_policy *p) MUST_USE;

/* Did anything go in this turn? */
static inline bool
evict_policy_has_put (const struct evict_policy *p)
{
  return p->went > 0;
}

#endif /* ZRAM_EVICT_POLICY_H */
