/* SPDX-License-Identifier: BSD-3-Clause */
/* Evictor: the thread that carries out the proposals of the policy.
 * Contract: maint/evictor.h.
 */

#include <config.h>

#include <stdlib.h>

#include "base/alloc.h"
#include "base/keep_errno.h"
#include "maint/evict_policy.h"
#include "maint/evict_space.h"
#include "maint/evictor.h"

struct evictor {
  struct store *store;
  struct mutex control;
  atomic_uint wished; /* patience.h: a thread wants 'control' */
  struct ticker ticker;
  struct batch_writer *w GUARDED_BY (control);
  _Atomic uint64_t slots, bytes, rounds, failed;
  atomic_bool hopeless;

  /* The thread's own, except the policy's marks: */
  struct evict_policy policy;
  struct evict_space space;
  enum evict_outcome last;    /* of the last look */
  enum evict_outcome failure; /* result of a round, if it fails */
};

static uint64_t
used (struct evictor *e)
{
  return store_memory_to_evict (e->store);
}

/* -- a turn ------------------------------------------------------------- */

/* Put a slot that the policy proposes into a batch. */
static enum put_result
put (void *ctx, struct disk *disk, uint64_t index, uint32_t meta)
  NO_THREAD_SAFETY_ANALYSIS
{
  struct evictor *e = ctx;
  enum put_result r = batch_writer_put (e->w, disk, index, meta);

  if (r == PUT_FULL || r == PUT_NO_RUN)
    e->failure = EVICT_FULL;
  return r;
}

/* False if a write failed: further writes would fail again. */
static bool
note_totals (struct evictor *e) REQUIRES (e->control)
{
  struct batch_totals t = batch_writer_totals (e->w);

  atomic_fetch_add (&e->slots, t.slots);
  atomic_fetch_add (&e->bytes, t.bytes);
  atomic_fetch_add (&e->failed, t.failed);
  if (t.slots)
    room_made (&e->store->room);
  return t.error == 0;
}

static enum evict_step
step (struct evictor *e)
{
  enum evict_step r;

  mutex_lock (&e->control);
  r = evict_policy_propose (&e->policy);
  (void) batch_writer_reap (e->w, false);
  if (!note_totals (e))
    r = STEP_STOPPED;
  mutex_unlock (&e->control);
  step_aside (&e->wished);
  return r;
}

/* Wait for all that is in flight; false as note_totals. */
static bool
finish_turn (struct evictor *e)
{
  bool written;

  mutex_lock (&e->control);
  batch_writer_drain (e->w);
  written = note_totals (e);
  mutex_unlock (&e->control);
  step_aside (&e->wished);
  return written;
}

/* Freed objects leave holes; only whole pages count. */
static void
give_pages_back (struct evictor *e, uint64_t target)
{
  struct pool *pool = e->store->pool;
  uint64_t before = used (e);
  struct pool_cursor at = { 0 };
  bool more = true;

  while (more && used (e) > target && !ticker_stopping (&e->ticker)) {
    mutex_lock (&e->control);
    more = pool_compact_step (pool, &at);
    mutex_unlock (&e->control);
    step_aside (&e->wished);
  }
  mutex_lock (&e->control);
  pool_give_back (pool);
  mutex_unlock (&e->control);
  if (used (e) < before)
    room_made (&e->store->room);
}

/* Evict so many bytes, and give back the memory that this frees.  False if
 * another turn makes no sense: no slot went (all that could go were locked), or
 * no more can.
 */
static bool
turn (struct evictor *e, uint64_t bytes, uint64_t target)
{
  bool found = evict_policy_begin (&e->policy, bytes, &e->ticker), written;
  enum evict_step r = found ? STEP_MORE : STEP_OVER;

  while (r == STEP_MORE && !ticker_stopping (&e->ticker))
    r = step (e);
  written = finish_turn (e);
  give_pages_back (e, target);
  return written && r != STEP_STOPPED && evict_policy_has_put (&e->policy);
}

/* -- a look ------------------------------------------------------------- */

/* Turns, until memory is down to 'target' bytes. */
static enum evict_outcome
run_round (struct evictor *e, uint64_t target)
{
  uint64_t now = used (e);
  bool more = true;

  e->failure = EVICT_STUCK;
  atomic_fetch_add (&e->rounds, 1);
  while (now > target && more && !ticker_stopping (&e->ticker)) {
    more = turn (e, now - target, target);
    now = used (e);
  }
  return now <= target ? EVICT_DONE : e->failure;
}

/* A writer found no room although no memory is used.  Memory may have been
 * freed since it tried.  If the next look finds the same, the limit is smaller
 * than one slot.
 */
static enum evict_outcome
nothing_is_used (struct evictor *e)
{
  if (e->last == EVICT_EMPTY || e->last == EVICT_TOO_SMALL)
    return EVICT_TOO_SMALL;
  room_made (&e->store->room);
  return EVICT_EMPTY;
}

/* Nothing to do: give back the memory that is kept for the next round. */
static void
rest (struct evictor *e)
{
  mutex_lock (&e->control);
  batch_writer_trim (e->w);
  mutex_unlock (&e->control);
}

/* Do what is necessary now. */
static enum evict_outcome
look (struct evictor *e)
{
  bool needed = room_answer (&e->store->room);
  bool limited = atomic_load (&e->store->budget.limit) != 0;
  uint64_t target;

  evict_policy_set_marks (&e->policy, 0, 0); /* the limit may have changed */
  if (limited && needed && used (e) == 0)
    return nothing_is_used (e);
  target = evict_policy_target (&e->policy, needed);
  if (target != EVICT_NOTHING)
    return run_round (e, target);
  rest (e);
  if (!needed)
    return EVICT_RESTED;
  room_made (&e->store->room); /* the limit is gone: writers try again */
  return EVICT_NO_LIMIT;
}

static void *
evictor_thread (void *arg)
{
  struct evictor *e = arg;

  while (evict_space_sleep (&e->space, &e->ticker)) {
    mutex_lock (&e->control);
    evict_space_begin (&e->space);
    mutex_unlock (&e->control);
    e->last = look (e);
    atomic_store (&e->hopeless, evict_space_end (&e->space, e->last));
  }
  return NULL;
}

/* -- life --------------------------------------------------------------- */

static void
wake (void *ctx)
{
  struct evictor *e = ctx;

  ticker_wake (&e->ticker);
}

struct evictor *
evictor_create (struct store *store, unsigned low, unsigned high)
{
  struct evictor *e = alloc_zeroed (CACHE_LINE, sizeof *e);

  if (!e)
    return NULL;
  e->store = store;
  e->w = batch_writer_create (store);
  if (!e->w) {
    free (e);
    return NULL;
  }
  mutex_init (&e->control, RANK_EVICT);
  evict_policy_init (&e->policy, store, low, high, put, e);
  evict_space_init (&e->space, store);
  ticker_init (&e->ticker);
  return e;
}

void
evictor_destroy (struct evictor *e)
{
  KEEP_ERRNO;

  if (!e)
    return;
  ticker_destroy (&e->ticker);
  batch_writer_destroy (e->w);
  mutex_destroy (&e->control);
  free (e);
}

int
evictor_start (struct evictor *e)
{
  room_open (&e->store->room, wake, e);
  evict_policy_set_marks (&e->policy, 0, 0);
  return ticker_start (&e->ticker, evictor_thread, e);
}

void
evictor_stop (struct evictor *e)
{
  room_close (&e->store->room);
  ticker_stop (&e->ticker);
  room_close (&e->store->room); /* the thread may have set the marks again */
}

void
evictor_set_marks (struct evictor *e, unsigned low, unsigned high)
{
  evict_policy_set_marks (&e->policy, low, high);
  ticker_wake (&e->ticker);
}

void
evictor_get_marks (struct evictor *e, unsigned *low, unsigned *high)
{
  evict_policy_get_marks (&e->policy, low, high);
}

struct evictor_stats
evictor_stats (struct evictor *e)
{
  return (struct evictor_stats){ .slots = atomic_load (&e->slots),
                                 .bytes = atomic_load (&e->bytes),
                                 .rounds = atomic_load (&e->rounds),
                                 .failed = atomic_load (&e->failed),
                                 .hopeless = atomic_load (&e->hopeless) };
}

/* Writers that wait for room get the room that is made meanwhile. */
static bool
drain_patiently (struct evictor *e, const struct patience *p)
  REQUIRES (e->control)
{
  bool all = batch_writer_drain_patiently (e->w, p);

  room_made (&e->store->room);
  while (all && evict_space_is_punching (&e->space))
    all = patience_nap (p);
  return all;
}

bool
evictor_hold_patiently (struct evictor *e, const struct patience *p)
  TRY_ACQUIRE (true, e->control)
{
  if (!mutex_lock_patiently (&e->control, &e->wished, p))
    return false;
  if (drain_patiently (e, p))
    return true;
  mutex_unlock (&e->control);
  return false;
}

void
evictor_unhold (struct evictor *e) RELEASE (e->control)
{
  mutex_unlock (&e->control);
}
