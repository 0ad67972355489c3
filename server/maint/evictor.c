/* SPDX-License-Identifier: BSD-3-Clause */

#include <config.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/keep_errno.h"
#include "maint/evictor.h"
#include "store/slot_walk.h"
#include "store/query.h"

/* Without being woken it looks this often: the limit may have been changed,
 * and there may be something to punch.
 */
#define PAUSE_NS (UINT64_C (200) * 1000000)

/* After a round that could not do what was needed; and if a writer waits, who
 * would not believe that it is still so.
 */
#define RETRY_NS (UINT64_C (1000) * 1000000)
#define NEEDED_NS (UINT64_C (50) * 1000000)

/* While blocks are being punched there is nothing wrong with the store. */
#define PUNCHED_NS (UINT64_C (5) * 1000000)

/* How far below what is used a round goes when a writer waits. */
#define NEEDED_SHARE 32 /* of the limit */
#define NEEDED_LEAST (UINT64_C (256) * 1024)

/* Ages are counted in powers of two of seconds. */
#define AGE_BUCKETS 20

/* How much older, in buckets, counts what does not compress or is marked. */
#define COLDER 2

/* Slots whose ages are counted before a turn, some 30 ms of work. */
#define COUNT_SLOTS 1000000

/* Slots that the hand looks at in one step, with the control lock held. */
#define STEP_SLOTS 256

/* Pages that the pool is asked for in one step. */
#define STEP_PAGES 64

#define HAND_END UINT64_MAX /* as slot_walk_position says it */

struct evictor {
  struct store *store;
  struct mutex control;
  atomic_uint wished;    /* patience.h: somebody wants 'control' */
  atomic_uint low, high; /* percent */
  struct ticker ticker;
  struct batch_writer *w GUARDED_BY (control);
  uint64_t hand GUARDED_BY (control);   /* number of a slot, or HAND_END */
  unsigned bucket GUARDED_BY (control); /* evict from this age on */
  uint64_t wanted GUARDED_BY (control); /* bytes, of this turn */
  uint64_t taken GUARDED_BY (control);  /* bytes, put in batches so far */
  bool stuck, full, looked_again;       /* the thread's own */
  bool was_empty;                       /* likewise: at its last look */
  uint64_t failed_ns; /* when a round failed, or 0; the thread's own */
  _Atomic uint64_t slots, bytes, rounds, failed;
  atomic_bool hopeless;
};

/* -- marks -------------------------------------------------------------- */

static uint64_t
percent_of_limit (struct evictor *e, unsigned percent)
{
  return atomic_load (&e->store->budget.limit) / 100 * percent;
}

static uint64_t
used (struct evictor *e)
{
  return store_memory_to_evict (e->store);
}

static void
publish_marks (struct evictor *e)
{
  bool limited = atomic_load (&e->store->budget.limit) != 0;

  room_set_marks (
    &e->store->room,
    limited ? percent_of_limit (e, atomic_load (&e->low)) : UINT64_MAX,
    limited ? percent_of_limit (e, atomic_load (&e->high)) : UINT64_MAX);
}

void
evictor_set_marks (struct evictor *e, unsigned low, unsigned high)
{
  if (low) {
    atomic_store (&e->low, low);
    atomic_store (&e->high, high);
  }
  publish_marks (e);
  ticker_wake (&e->ticker);
}

void
evictor_get_marks (struct evictor *e, unsigned *low, unsigned *high)
{
  *low = atomic_load (&e->low);
  *high = atomic_load (&e->high);
}

/* -- choosing ----------------------------------------------------------- */

static unsigned
bucket_of (const struct slot *s, uint32_t meta, uint32_t now)
{
  uint32_t age = slot_age (s, now);
  unsigned bucket = age ? 32 - (unsigned) __builtin_clz (age) : 0;

  if (slot_is_idle (s) || slot_meta_format (meta) == CODEC_RAW)
    bucket += COLDER;
  return bucket < AGE_BUCKETS ? bucket : AGE_BUCKETS - 1;
}

/* A hint, as is the age: batch_writer_put locks the slot and takes it only with
 * this very meta.
 */
static bool
can_go (uint32_t meta)
{
  return slot_meta_state (meta) == SLOT_OBJECT && slot_meta_claim (meta) == 0;
}

/* Add up the sizes by age in the slots of one leaf. */
static void
count_leaf (struct disk *disk, uint64_t first, uint32_t now, uint64_t *bytes)
{
  uint64_t end = (first | (LEAF_SLOTS - 1)) + 1;

  for (uint64_t i = first; i < end && i < disk->table.slots; i++) {
    const struct slot *s = slot_table_peek (&disk->table, i);
    uint32_t meta = s ? slot_load_meta (s) : 0;

    if (s && can_go (meta))
      bytes[bucket_of (s, meta, now)] += slot_meta_size (meta);
  }
}

/* The oldest bucket such that it and those above hold 'need' bytes; sets
 * *found to whether there are any.  Of much data only every so many leaves are
 * counted.
 */
static unsigned
choose_bucket (struct evictor *e, uint64_t need, bool *found)
{
  uint64_t stored = (uint64_t) store_sum (e->store, DISK_SLOTS_STORED);
  uint64_t every = stored / COUNT_SLOTS + 1, leaves = 0, sum = 0;
  uint64_t bytes[AGE_BUCKETS] = { 0 };
  uint32_t now = clock_coarse_s ();
  unsigned b = AGE_BUCKETS;
  struct slot_walk w;

  slot_walk_all (&w, e->store);
  while (!ticker_stopping (&e->ticker) && slot_walk_next_present (&w)) {
    if (leaves++ % every == 0)
      count_leaf (w.disk, w.index, now, bytes);
    slot_walk_skip_leaf (&w);
  }
  slot_walk_end (&w);
  while (b > 0 && sum < need)
    sum += bytes[--b] * every;
  *found = sum > 0;
  return b;
}

/* -- evicting ----------------------------------------------------------- */

static void
note_totals (struct evictor *e) REQUIRES (e->control)
{
  struct batch_totals t = batch_writer_totals (e->w);

  atomic_fetch_add (&e->slots, t.slots);
  atomic_fetch_add (&e->bytes, t.bytes);
  atomic_fetch_add (&e->failed, t.failed);
  e->stuck |= t.error != 0;
  if (t.slots)
    room_made (&e->store->room);
}

/* Put the slot that the walk has found into a batch, if it is old enough. False
 * if no more can be put.
 */
static bool
put_locked (struct evictor *e, const struct slot_walk *w, uint32_t now)
  REQUIRES (e->control)
{
  enum put_result r;

  if (!can_go (w->meta) || bucket_of (w->slot, w->meta, now) < e->bucket)
    return true;
  r = batch_writer_put (e->w, w->disk, w->index, w->meta);
  e->full |= r == PUT_FULL || r == PUT_NO_RUN;
  if (r == PUT_FULL || r == PUT_LIMIT || r == PUT_FAILED) {
    e->stuck = true;
    return false;
  }
  if (r == PUT_DONE)
    e->taken += slot_meta_size (w->meta);
  return true;
}

/* The hand goes on by some slots; false at the end (HAND_END) or when no more
 * can or need be done.
 */
static bool
step_locked (struct evictor *e) REQUIRES (e->control)
{
  uint32_t now = clock_coarse_s ();
  struct slot_walk w;
  bool more = true;

  slot_walk_from (&w, e->store, e->hand);
  for (unsigned n = 0; n < STEP_SLOTS && more; n++)
    more = e->taken < e->wanted && slot_walk_next (&w) &&
           put_locked (e, &w, now);
  e->hand = slot_walk_position (&w);
  slot_walk_end (&w);
  return more;
}

/* Turn until enough is under way, once around at the most. */
static void
turn (struct evictor *e)
{
  uint64_t start;
  bool around = false, more = true;

  mutex_lock (&e->control);
  start = e->hand;
  mutex_unlock (&e->control);
  while (more && !e->stuck && !ticker_stopping (&e->ticker)) {
    mutex_lock (&e->control);
    more = step_locked (e);
    if (!more && e->hand == HAND_END) {
      /* A batch takes a slot once; the next round may find this one again. */
      batch_writer_flush (e->w);
      e->hand = 0;
      more = !around && start > 0;
      around = true;
    }
    if (around && e->hand >= start)
      more = false;
    (void) batch_writer_reap (e->w, false);
    note_totals (e);
    mutex_unlock (&e->control);
    step_aside (&e->wished);
  }
}

/* -- by the pool's own LRU ---------------------------------------------- */

/* The pool's least recently used object, as far as a slot still has it. */
static bool
put_cell (void *ctx, pool_cell *cell) NO_THREAD_SAFETY_ANALYSIS
{
  struct evictor *e = ctx;
  uint64_t slot = leaves_slot_of (&e->store->leaves, cell);
  struct disk *disk = slot == UINT64_MAX
                        ? NULL
                        : store_disk (e->store, disk_id_of (slot));
  enum put_result r = PUT_SKIPPED;

  if (disk) {
    uint64_t index = disk_index_of (slot);
    const struct slot *s = slot_table_peek (&disk->table, index);
    uint32_t meta = s ? slot_load_meta (s) : 0;

    if (s && &s->cell == cell && can_go (meta))
      r = batch_writer_put (e->w, disk, index, meta);
    disk_put (disk);
  }
  if (r != PUT_DONE && r != PUT_SKIPPED) {
    e->stuck = true;
    e->full = r == PUT_FULL;
  }
  /* Something went, though it may not be a page: see nothing_taken. */
  e->taken += r == PUT_DONE;
  return r == PUT_DONE;
}

/* Ask the pool for page after page until enough is under way, or each had its
 * turn.  Counted by pages, which are what the pool gives back.
 */
static void
turn_lru (struct evictor *e)
{
  struct store *store = e->store;
  uint64_t pages = pool_spread (store->pool).used;
  bool more = true;

  while (more && !e->stuck && !ticker_stopping (&e->ticker)) {
    mutex_lock (&e->control);
    for (unsigned n = 0; n < STEP_PAGES && more; n++) {
      enum pool_reclaimed r = pool_reclaim (store->pool, put_cell, e);

      if (r == POOL_GOING)
        e->taken += store->config.slot_size;
      more = r != POOL_NOTHING && --pages > 0 && e->taken < e->wanted &&
             !e->stuck;
    }
    (void) batch_writer_reap (e->w, false);
    note_totals (e);
    mutex_unlock (&e->control);
    step_aside (&e->wished);
  }
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

static void
finish_round (struct evictor *e)
{
  mutex_lock (&e->control);
  batch_writer_drain (e->w);
  note_totals (e);
  mutex_unlock (&e->control);
  step_aside (&e->wished);
}

/* All that could go was locked. */
static bool
nothing_taken (struct evictor *e)
{
  bool nothing;

  mutex_lock (&e->control);
  nothing = e->taken == 0;
  mutex_unlock (&e->control);
  return nothing;
}

/* Nothing to do: what is kept for the next round goes back. */
static void
idle (struct evictor *e)
{
  mutex_lock (&e->control);
  batch_writer_trim (e->w);
  mutex_unlock (&e->control);
}

/* The least that a turn takes: the last block of each write is partly wasted,
 * so a write should have many.  At the most a batch.
 */
static uint64_t
worthwhile (struct evictor *e)
{
  uint64_t part = atomic_load (&e->store->budget.limit) / 32;
  uint64_t batch = BATCH_BLOCKS * BACKING_BLOCK;

  return part < batch ? part : batch;
}

/* Down to so many bytes.  False if that cannot be done now. */
static bool
run_round (struct evictor *e, uint64_t target)
{
  bool found = true;

  e->stuck = e->full = false;
  atomic_fetch_add (&e->rounds, 1);
  while (used (e) > target && found && !e->stuck &&
         !ticker_stopping (&e->ticker)) {
    uint64_t over = used (e) - target, least = worthwhile (e);
    bool lru = pool_has_lru (e->store->pool);

    if (over < least)
      over = least;
    unsigned bucket = lru ? 0 : choose_bucket (e, over, &found);

    /* By what is taken, not by what is used: that falls later, when the holes
     * have become pages.
     */
    mutex_lock (&e->control);
    e->bucket = bucket;
    e->wanted = over;
    e->taken = 0;
    mutex_unlock (&e->control);
    if (lru)
      turn_lru (e);
    else if (found)
      turn (e);
    finish_round (e);
    give_pages_back (e, target);
    e->stuck |= nothing_taken (e);
  }
  return used (e) <= target;
}

/* What a writer needs that found no room may be more than is left between the
 * marks and the limit.
 */
static uint64_t
target_for (struct evictor *e, bool needed)
{
  uint64_t low = percent_of_limit (e, atomic_load (&e->low));
  uint64_t limit = atomic_load (&e->store->budget.limit), now = used (e);
  uint64_t more = limit / NEEDED_SHARE;

  if (!needed)
    return low;
  if (more < NEEDED_LEAST)
    more = NEEDED_LEAST;
  if (now < more)
    return 0;
  return now - more < low ? now - more : low;
}

/* A writer found no room though nothing is used.  What was may have gone since
 * it tried; if it is so again, the limit is less than a slot takes.
 */
static bool
has_room_after_all (struct evictor *e)
{
  bool again = e->was_empty;

  e->was_empty = true;
  if (!again)
    room_made (&e->store->room);
  return !again;
}

/* What has to be done now; false if it cannot. */
static bool
look (struct evictor *e)
{
  bool needed = room_answer (&e->store->room);
  uint64_t high = percent_of_limit (e, atomic_load (&e->high));
  bool limited = atomic_load (&e->store->budget.limit) != 0;

  publish_marks (e);
  e->full = false;
  if (limited && needed && used (e) == 0)
    return has_room_after_all (e);
  e->was_empty = false;
  if (limited && (needed || used (e) > high))
    return run_round (e, target_for (e, needed));
  if (needed) /* the limit is gone: try again */
    room_made (&e->store->room);
  idle (e);
  return !needed;
}

static bool
is_punching (struct evictor *e)
{
  uint64_t late = backed_late_punches (e->store->backed); /* for minutes */
  struct blocks_stats st;

  blocks_get_stats (e->store->backed->blocks, &st);
  return st.punching > late;
}

/* Nothing could be written because blocks were being punched, or because a
 * store that is thin waits for what they held.  The former may be over by now,
 * so there is a second look after the first failure.
 */
static bool
waits_for_punches (struct evictor *e)
{
  if (is_punching (e))
    return true;
  if (!e->full || e->looked_again)
    return false;
  e->looked_again = true;
  return true;
}

/* Being woken does not make a failed round worth repeating at once. */
static bool
sleep_after_failure (struct evictor *e)
{
  for (;;) {
    bool needed = room_is_needed (&e->store->room);
    uint64_t due = e->failed_ns + (needed ? NEEDED_NS : RETRY_NS);
    uint64_t now = clock_ns ();

    if (now >= due)
      return !ticker_stopping (&e->ticker);
    if (!ticker_sleep_ns (&e->ticker, due - now))
      return false;
  }
}

static bool
tidy (struct evictor *e)
{
  bool more;

  mutex_lock (&e->control);
  more = backed_tidy (e->store->backed);
  mutex_unlock (&e->control);
  return more;
}

static void *
evictor_thread (void *arg)
{
  struct evictor *e = arg;
  uint64_t pause = PAUSE_NS;

  while (e->failed_ns ? sleep_after_failure (e)
                      : ticker_sleep_ns (&e->ticker, pause)) {
    /* What is free is punched first, so that a round that begins when all of
     * that is over has the good of it.
     */
    bool more = tidy (e), punching = is_punching (e), ok = look (e);
    bool wait = !ok && (punching || waits_for_punches (e));

    if (ok)
      e->looked_again = false;
    atomic_store (&e->hopeless, !ok && !wait);
    room_hopeless (&e->store->room, !ok && !wait);
    e->failed_ns = ok || wait ? 0 : clock_ns ();
    pause = wait ? PUNCHED_NS : PAUSE_NS;
    if (more && !wait)
      pause = 0;
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
  atomic_init (&e->low, low);
  atomic_init (&e->high, high);
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
  publish_marks (e);
  return ticker_start (&e->ticker, evictor_thread, e);
}

void
evictor_stop (struct evictor *e)
{
  room_close (&e->store->room);
  ticker_stop (&e->ticker);
  room_close (&e->store->room); /* it may just have said otherwise */
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

void
evictor_hold (struct evictor *e) ACQUIRE (e->control) NO_THREAD_SAFETY_ANALYSIS
{
  mutex_lock (&e->control);
  batch_writer_drain (e->w);
  backing_drain (e->store->backed->io); /* what is being punched */
}

/* Writers that wait for room have it of what comes in meanwhile. */
static bool
drain_patiently (struct evictor *e, const struct patience *p)
  REQUIRES (e->control)
{
  bool all = batch_writer_drain_patiently (e->w, p);

  room_made (&e->store->room);
  while (all && is_punching (e))
    all = patience_nap (p);
  return all;
}

bool
evictor_hold_patiently (struct evictor *e, const struct patience *p)
  NO_THREAD_SAFETY_ANALYSIS
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
  NO_THREAD_SAFETY_ANALYSIS
{
  mutex_unlock (&e->control);
}
