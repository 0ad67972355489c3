/* SPDX-License-Identifier: BSD-3-Clause */
/* Compactor: passes of compaction, migration and reclaim of leaves.
 * Contract: maint/compactor.h.
 */

#include <config.h>

#include <stdlib.h>
#ifdef __GLIBC__
#include <malloc.h>
#endif
#include <time.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/keep_errno.h"
#include "maint/compactor.h"
#include "store/slot_walk.h"
#include "maint/ticker.h"

/* So many empty leaves (a page each) are worth a walk through the table. */
#define EMPTY_LEAVES 16

/* Seconds from one sweep for old slots to the next.  The sum of SLOT_OLD and
 * this is less than the 18 hours that an age can count.
 */
#define SWEEP_PAUSE 3600

/* The pause between two steps while requests are waiting. */
#define BUSY_PAUSE_NS 500000

struct compactor {
  struct store *store;
  unsigned threshold, pause;
  struct mutex control;                                /* held for a pass */
  struct pass_progress *progress GUARDED_BY (control); /* or NULL */
  uint64_t start_pages GUARDED_BY (control);           /* compacted before it */
  atomic_uint wished; /* patience.h: a thread wants 'control' */
  atomic_bool running;
  _Atomic uint64_t passes;
  int64_t seen_requests; /* the thread's own: count at its last look */
  bool rested;           /* the thread's own: no request since it rested */
  uint32_t swept;        /* the thread's own: second of the last sweep */
  struct ticker ticker;
};

struct compactor *
compactor_create (struct store *store, unsigned threshold, unsigned pause)
{
  struct compactor *c = alloc_zeroed (CACHE_LINE, sizeof *c);

  if (!c)
    return NULL;
  c->store = store;
  c->threshold = threshold;
  c->pause = pause;
  mutex_init (&c->control, RANK_CONTROL);
  ticker_init (&c->ticker);
  return c;
}

void
compactor_destroy (struct compactor *c)
{
  KEEP_ERRNO;

  if (!c)
    return;
  ticker_destroy (&c->ticker);
  mutex_destroy (&c->control);
  free (c);
}

/* -- one pass ----------------------------------------------------------- */

static uint64_t
pages_compacted (struct compactor *c)
{
  return (uint64_t) counter_sum (&c->store->pool->counters,
                                 POOL_PAGES_COMPACTED);
}

/* Called between two steps.  False if the pass must end. */
static bool
let_requests_go_first (struct compactor *c) REQUIRES (c->control)
{
  struct store *store = c->store;
  struct pass_progress *p = c->progress;

  if (store_requests (store) >= (int64_t) zcomp_workers (store->zcomp)) {
    struct timespec ts = { .tv_nsec = BUSY_PAUSE_NS };

    nanosleep (&ts, NULL);
  }
  if (p)
    atomic_store (&p->done, pages_compacted (c) - c->start_pages);
  if (p)
    return !ticker_stopping (&c->ticker) && !atomic_load (&p->cancel);
  /* An automatic pass makes way: there will be another one. */
  return !ticker_stopping (&c->ticker) && atomic_load (&c->wished) == 0;
}

static uint64_t
reclaim_leaves (struct compactor *c) REQUIRES (c->control)
{
  uint64_t freed = 0;
  unsigned looked_at = 0;
  struct slot_walk w;

  slot_walk_all (&w, c->store);
  while (leaves_empty (&c->store->leaves) > 0 && slot_walk_next_present (&w)) {
    if (slot_table_leaf_is_empty (&w.disk->table, w.index))
      freed += slot_table_reclaim (&w.disk->table, w.index);
    slot_walk_skip_leaf (&w);
    if (++looked_at % 64 == 0 && !let_requests_go_first (c))
      break;
  }
  slot_walk_end (&w);
  return freed;
}

/* The pool's counters so far. */
static struct compactor_result
counted (struct pool *pool)
{
  struct counter_set *c = &pool->counters;

  return (struct compactor_result){
    .pages_freed = (uint64_t) counter_sum (c, POOL_PAGES_COMPACTED),
    .objects_moved = (uint64_t) counter_sum (c, POOL_OBJECTS_MOVED),
    .zspages_migrated = (uint64_t) counter_sum (c, POOL_ZSPAGES_MIGRATED),
  };
}

static struct compactor_result
pass_locked (struct compactor *c, bool compact) REQUIRES (c->control)
{
  struct pool *pool = c->store->pool;
  const struct compactor_result before = counted (pool);
  struct pool_cursor at = { 0 };
  struct compactor_result result = { 0 };
  bool go_on = true;

  while (compact && go_on && pool_compact_step (pool, &at))
    go_on = let_requests_go_first (c);
  while (go_on && pool_migration_pays (pool)) {
    uint64_t used = pool_spread (pool).used;

    at = (struct pool_cursor){ 0 };
    while (go_on && pool_migrate_step (pool, &at))
      go_on = let_requests_go_first (c);
    if (pool_spread (pool).top > 2 * used)
      break; /* the others are in use right now */
  }
  if (go_on && (c->progress || !store_keeps_leaves (c->store)))
    result.leaves_freed = reclaim_leaves (c);

  const struct compactor_result after = counted (pool);
  result.pages_freed = after.pages_freed - before.pages_freed;
  result.objects_moved = after.objects_moved - before.objects_moved;
  result.zspages_migrated = after.zspages_migrated - before.zspages_migrated;
  return result;
}

static struct compactor_result
run (struct compactor *c, bool compact, struct pass_progress *progress)
{
  struct compactor_result result;

  mutex_lock (&c->control);
  c->progress = progress;
  c->start_pages = pages_compacted (c);
  if (progress)
    atomic_store (&progress->total, pool_freeable_pages (c->store->pool));
  atomic_store (&c->running, true);
  result = pass_locked (c, compact);
  atomic_store (&c->running, false);
  c->progress = NULL;
  mutex_unlock (&c->control);
  return result;
}

struct compactor_result
compactor_run (struct compactor *c)
{
  return run (c, true, NULL);
}

bool
compactor_run_watched (struct compactor *c, struct pass_progress *progress,
                       struct compactor_result *result)
{
  *result = run (c, true, progress);
  return !atomic_load (&progress->cancel);
}

bool
compactor_hold_patiently (struct compactor *c, const struct patience *p)
  TRY_ACQUIRE (true, c->control)
{
  return mutex_lock_patiently (&c->control, &c->wished, p);
}

void
compactor_unhold (struct compactor *c) RELEASE (c->control)
{
  mutex_unlock (&c->control);
}

bool
compactor_is_running (struct compactor *c)
{
  return atomic_load (&c->running);
}

/* -- automatic passes --------------------------------------------------- */

static bool
pays (struct compactor *c)
{
  struct store *store = c->store;
  uint64_t used = atomic_load_explicit (&store->budget.used,
                                        memory_order_relaxed);
  uint64_t freeable = pool_freeable_pages (store->pool) * MEM_PAGE;

  return (c->threshold && freeable && freeable * 100 >= used * c->threshold) ||
         pool_migration_pays (store->pool) ||
         (!store_keeps_leaves (store) &&
          leaves_empty (&store->leaves) >= EMPTY_LEAVES);
}

/* No request has come since the last look: give back the memory that is kept
 * for reuse.  Does so once, until requests come again.
 */
static void
rest (struct compactor *c)
{
  int64_t requests = store_sum (c->store, DISK_READ_REQUESTS) +
                     store_sum (c->store, DISK_WRITE_REQUESTS) +
                     store_sum (c->store, DISK_DISCARD_REQUESTS);

  if (requests != c->seen_requests) {
    c->seen_requests = requests;
    c->rested = false;
    return;
  }
  if (c->rested)
    return;
  pool_give_back (c->store->pool);
#ifdef __GLIBC__
  if (!c->store->config.keep_ready)
    malloc_trim (0);
#endif
  c->rested = true;
}

/* Mark slots idle before their age wraps. */
static void
sweep_old_slots (struct compactor *c)
{
  uint32_t now = clock_coarse_s ();

  if (now - c->swept < SWEEP_PAUSE)
    return;
  store_mark_idle (c->store, SLOT_OLD, now);
  c->swept = now;
}

static void *
compactor_thread (void *arg)
{
  struct compactor *c = arg;

  c->swept = clock_coarse_s ();
  while (ticker_sleep (&c->ticker, c->pause)) {
    step_aside (&c->wished);
    if (c->pause == 0 || pays (c)) {
      (void) run (c, c->threshold > 0, NULL);
      atomic_fetch_add (&c->passes, 1);
    }
    rest (c);
    sweep_old_slots (c);
  }
  return NULL;
}

int
compactor_start (struct compactor *c)
{
  return ticker_start (&c->ticker, compactor_thread, c);
}

void
compactor_stop (struct compactor *c)
{
  ticker_stop (&c->ticker);
}

uint64_t
compactor_passes (struct compactor *c)
{
  return atomic_load (&c->passes);
}
