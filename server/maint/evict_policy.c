/* SPDX-License-Identifier: BSD-3-Clause */
/* Evict policy: marks, and the order in which slots go.
 * Contract: maint/evict_policy.h.
 */

#include <config.h>

#include "maint/evict_policy.h"
#include "store/query.h"

/* How far below its present use memory must shrink when a writer waits. */
#define NEEDED_SHARE 32 /* of the limit */
#define NEEDED_LEAST (UINT64_C (256) * 1024)

/* How many pages the pool proposes in one step. */
#define STEP_PAGES 64

void
evict_policy_init (struct evict_policy *p, struct store *store, unsigned low,
                   unsigned high, evict_put *put, void *ctx)
{
  *p = (struct evict_policy){ .store = store, .put = put, .ctx = ctx };
  atomic_init (&p->low, low);
  atomic_init (&p->high, high);
  evict_clock_init (&p->clock, store);
}

/* -- when --------------------------------------------------------------- */

static uint64_t
limit (struct evict_policy *p)
{
  return atomic_load (&p->store->budget.limit);
}

static uint64_t
percent_of_limit (struct evict_policy *p, unsigned percent)
{
  return limit (p) / 100 * percent;
}

void
evict_policy_set_marks (struct evict_policy *p, unsigned low, unsigned high)
{
  bool limited = limit (p) != 0;

  if (low) {
    atomic_store (&p->low, low);
    atomic_store (&p->high, high);
  }
  room_set_marks (
    &p->store->room,
    limited ? percent_of_limit (p, atomic_load (&p->low)) : UINT64_MAX,
    limited ? percent_of_limit (p, atomic_load (&p->high)) : UINT64_MAX);
}

void
evict_policy_get_marks (struct evict_policy *p, unsigned *low, unsigned *high)
{
  *low = atomic_load (&p->low);
  *high = atomic_load (&p->high);
}

/* A writer that found no room may need more than the space between the marks
 * and the limit.
 */
static uint64_t
target_when_needed (struct evict_policy *p, uint64_t used, uint64_t low)
{
  uint64_t more = limit (p) / NEEDED_SHARE;

  if (more < NEEDED_LEAST)
    more = NEEDED_LEAST;
  if (used < more)
    return 0;
  return used - more < low ? used - more : low;
}

uint64_t
evict_policy_target (struct evict_policy *p, bool needed)
{
  uint64_t used = store_memory_to_evict (p->store);
  uint64_t low = percent_of_limit (p, atomic_load (&p->low));
  uint64_t high = percent_of_limit (p, atomic_load (&p->high));

  if (limit (p) == 0)
    return EVICT_NOTHING;
  if (needed)
    return target_when_needed (p, used, low);
  return used > high ? low : EVICT_NOTHING;
}

/* -- which: the oldest by the clock ------------------------------------- */

static enum evict_step
propose_old (struct evict_policy *p)
{
  bool more;

  evict_clock_step_begin (&p->clock);
  while (p->went < p->wanted && !p->stopped && evict_clock_next (&p->clock)) {
    const struct slot_walk *w = &p->clock.walk;
    enum put_result r = p->put (p->ctx, w->disk, w->index, w->meta);

    if (r == PUT_DONE)
      p->went += slot_meta_size (w->meta);
    /* After PUT_NO_RUN a smaller one may still fit. */
    p->stopped = r == PUT_FULL || r == PUT_LIMIT || r == PUT_FAILED;
  }
  more = evict_clock_step_end (&p->clock);
  if (p->stopped)
    return STEP_STOPPED;
  return more && p->went < p->wanted ? STEP_MORE : STEP_OVER;
}

/* -- which: by the pool's own LRU --------------------------------------- */

/* Put one of the pool's least recently used objects, if a slot still has it. */
static bool
put_cell (void *ctx, pool_cell *cell)
{
  struct evict_policy *p = ctx;
  uint64_t slot = leaves_slot_of (&p->store->leaves, cell);
  struct disk *disk = slot == UINT64_MAX
                        ? NULL
                        : store_disk (p->store, disk_id_of (slot));
  enum put_result r = PUT_SKIPPED;

  if (disk) {
    uint64_t index = disk_index_of (slot);
    const struct slot *s = slot_table_peek (&disk->table, index);
    uint32_t meta = s ? slot_load_meta (s) : 0;

    if (s && &s->cell == cell && evict_can_go (meta))
      r = p->put (p->ctx, disk, index, meta);
    disk_put (disk);
  }
  p->stopped |= r != PUT_DONE && r != PUT_SKIPPED;
  /* An object went, even if its page stays: evict_policy_has_put needs this. */
  p->went += r == PUT_DONE;
  return r == PUT_DONE;
}

/* Page after page, until enough went or each page had its turn.  Counted in
 * pages, because the pool gives back whole pages.
 */
static enum evict_step
propose_least_used (struct evict_policy *p)
{
  bool more = true;

  for (unsigned n = 0; n < STEP_PAGES && more; n++) {
    enum pool_reclaimed r = pool_reclaim (p->store->pool, put_cell, p);

    if (r == POOL_GOING)
      p->went += p->store->config.slot_size;
    more = r != POOL_NOTHING && --p->pages > 0 && p->went < p->wanted &&
           !p->stopped;
  }
  if (p->stopped)
    return STEP_STOPPED;
  return more ? STEP_MORE : STEP_OVER;
}

/* -- which -------------------------------------------------------------- */

/* The least bytes of a turn: the last block of each write is partly wasted, so
 * a write should have many blocks.  At most a batch.
 */
static uint64_t
worthwhile (struct evict_policy *p)
{
  uint64_t part = limit (p) / 32, batch = BATCH_BLOCKS * BACKING_BLOCK;

  return part < batch ? part : batch;
}

bool
evict_policy_begin (struct evict_policy *p, uint64_t bytes, struct ticker *t)
{
  uint64_t least = worthwhile (p);

  p->wanted = bytes > least ? bytes : least;
  p->went = 0;
  p->stopped = false;
  if (!pool_has_lru (p->store->pool))
    return evict_clock_begin (&p->clock, p->wanted, t);
  p->pages = pool_spread (p->store->pool).used;
  return true;
}

enum evict_step
evict_policy_propose (struct evict_policy *p)
{
  return pool_has_lru (p->store->pool) ? propose_least_used (p)
                                       : propose_old (p);
}
