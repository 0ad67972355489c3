/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Policy of the evictor: when slots go to the backing store, how many bytes,
 * and which slots.  It proposes; the evictor (maint/evictor.h) executes.
 *
 *   0           low          high       limit
 *   |------------|------------|-----------|
 *      nothing      hysteresis   evicts down to low
 *
 *   evict_policy_target   to how many bytes memory must shrink, if at all
 *   evict_policy_begin    begins a turn, for so many bytes
 *   evict_policy_propose  hands some slots to 'put', again and again
 *   evict_policy_has_put  has any slot gone in this turn?
 *
 * Which slots: those that the clock finds old (maint/evict_clock.h).  If the
 * pool has its own LRU (z3fold): the objects of its pages, least recently used
 * first; if an object cannot go, it stays, and so does its page.  A turn is
 * over when enough bytes went.  They are counted as they are put, not by the
 * memory in use, which falls later, when the holes have become pages.
 *
 * Locks: none.  Any thread may read and set the marks.  All else belongs to the
 * evictor's thread.
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
  uint64_t pages;        /* of the pool that were not proposed yet */
  uint64_t wanted, went; /* bytes */
  bool stopped;          /* 'put' can take no more */
};

/* 'put' is called with ctx. */
void evict_policy_init (struct evict_policy *p, struct store *store,
                        unsigned low, unsigned high, evict_put *put, void *ctx);

/* -- when --------------------------------------------------------------- */

/* low 0: the limit changed, but the marks stay.  Tells the writers. */
void evict_policy_set_marks (struct evict_policy *p, unsigned low,
                             unsigned high);
void evict_policy_get_marks (struct evict_policy *p, unsigned *low,
                             unsigned *high);

#define EVICT_NOTHING UINT64_MAX

/* To how many bytes memory must shrink now, or EVICT_NOTHING.  'needed': a
 * writer found no room.
 */
uint64_t evict_policy_target (struct evict_policy *p, bool needed) MUST_USE;

/* -- which -------------------------------------------------------------- */

/* Begin a turn: so many bytes must go, or more if so few are not worth a write
 * to the backing store.  False if there is nothing to propose.  Looks at all
 * slots; ends early if 't' is told to stop.
 */
bool evict_policy_begin (struct evict_policy *p, uint64_t bytes,
                         struct ticker *t) MUST_USE;

/* The result of a step. */
enum evict_step {
  STEP_MORE,    /* the turn goes on */
  STEP_OVER,    /* enough went, or all was proposed once */
  STEP_STOPPED, /* nothing more can go now */
};

/* Propose some slots.  Calls 'put', which may sleep, with no lock taken here.
 */
enum evict_step evict_policy_propose (struct evict_policy *p) MUST_USE;

/* Has any slot gone in this turn? */
static inline bool
evict_policy_has_put (const struct evict_policy *p)
{
  return p->went > 0;
}

#endif /* ZRAM_EVICT_POLICY_H */
