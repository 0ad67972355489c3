/* SPDX-License-Identifier: BSD-3-Clause */
/* Recompressor: passes over the slots that are worth recompressing.
 * Contract: maint/recompressor.h.
 */

#include <config.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/keep_errno.h"
#include "maint/pace.h"
#include "maint/recompressor.h"
#include "store/slot_walk.h"
#include "store/claim.h"

/* After so many failures in a row a pass gives up: memory is out. */
#define MAX_FAILURES 32

/* How many slots are looked at between two checks of 'cancel'. */
#define LOOKS 4096

struct recompressor {
  struct store *store;
  struct mutex control;
  struct zcomp_method methods[RECOMPRESS_METHODS] GUARDED_BY (control);
  unsigned count GUARDED_BY (control);

  /* The same for recompressor_peek: 0, or 1 + format, and level. */
  _Atomic uint64_t shown[RECOMPRESS_METHODS];
  atomic_bool running;
  atomic_uint wished; /* patience.h: a thread wants 'control' */
};

struct recompressor *
recompressor_create (struct store *store, const struct zcomp_method *methods,
                     unsigned count)
{
  struct recompressor *r = alloc_zeroed (CACHE_LINE, sizeof *r);

  if (!r)
    return NULL;
  r->store = store;
  mutex_init (&r->control, RANK_RECOMPRESS);
  recompressor_set_methods (r, methods, count);
  return r;
}

void
recompressor_destroy (struct recompressor *r)
{
  KEEP_ERRNO;

  if (!r)
    return;
  mutex_destroy (&r->control);
  free (r);
}

unsigned
recompressor_methods (struct recompressor *r,
                      struct zcomp_method methods[RECOMPRESS_METHODS])
{
  unsigned count;

  mutex_lock (&r->control);
  count = r->count;
  memcpy (methods, r->methods, sizeof r->methods);
  mutex_unlock (&r->control);
  return count;
}

void
recompressor_set_methods (struct recompressor *r,
                          const struct zcomp_method *methods, unsigned count)
{
  check_always (count <= RECOMPRESS_METHODS);
  mutex_lock (&r->control);
  for (unsigned i = 0; i < count; i++)
    r->methods[i] = methods[i];
  r->count = count;
  for (unsigned i = 0; i < RECOMPRESS_METHODS; i++)
    atomic_store (&r->shown[i], i < count
                                  ? (methods[i].format + UINT64_C (1)) << 32 |
                                      (uint32_t) methods[i].level
                                  : 0);
  mutex_unlock (&r->control);
}

unsigned
recompressor_peek (struct recompressor *r,
                   struct zcomp_method methods[RECOMPRESS_METHODS])
{
  unsigned n = 0;

  for (unsigned i = 0; i < RECOMPRESS_METHODS; i++) {
    uint64_t shown = atomic_load (&r->shown[i]);

    if (!shown)
      break;
    methods[n].format = (unsigned) (shown >> 32) - 1;
    methods[n++].level = (int) (uint32_t) shown;
  }
  return n;
}

void
recompressor_hold (struct recompressor *r) ACQUIRE (r->control)
{
  mutex_lock (&r->control);
}

bool
recompressor_hold_patiently (struct recompressor *r, const struct patience *p)
  TRY_ACQUIRE (true, r->control)
{
  return mutex_lock_patiently (&r->control, &r->wished, p);
}

void
recompressor_unhold (struct recompressor *r) RELEASE (r->control)
{
  mutex_unlock (&r->control);
}

bool
recompressor_is_running (struct recompressor *r)
{
  return atomic_load (&r->running);
}

/* -- one pass ----------------------------------------------------------- */

enum { TIERS = 4 }; /* by size, the largest first */

struct pass {
  struct recompressor *r;
  const struct recompress_request *request;
  struct pass_progress *progress;
  struct recompress_totals *totals;
  struct pace *pace;
  uint64_t tried;
  unsigned claim, failures;
  uint32_t now;
  void *buf;
};

static struct recompress_plan
plan_locked (struct recompressor *r, const struct recompress_request *request)
  REQUIRES (r->control)
{
  struct recompress_plan plan = { .count = r->count,
                                  .first = request->priority,
                                  .last = request->priority <= r->count
                                            ? request->priority
                                            : 0, /* no such method any more */
                                  .threshold = request->threshold };

  memcpy (plan.methods, r->methods, sizeof plan.methods);
  if (!request->priority) {
    plan.first = 1;
    plan.last = r->count;
  }
  return plan;
}

/* The plan for a walk, which only looks; each step makes its own. */
static struct recompress_plan
plan_now (struct pass *p)
{
  struct recompress_plan plan;

  mutex_lock (&p->r->control);
  plan = plan_locked (p->r, p->request);
  mutex_unlock (&p->r->control);
  p->now = clock_coarse_s ();
  return plan;
}

static unsigned
tier_of (uint32_t size, uint32_t slot_size)
{
  unsigned quarter = (unsigned) ((uint64_t) size * TIERS / slot_size);

  return quarter >= TIERS ? 0 : TIERS - 1 - quarter;
}

static bool
is_idle (const struct pass *p, const struct slot *s)
{
  return slot_is_idle (s) ||
         (p->request->min_age && slot_age (s, p->now) >= p->request->min_age);
}

/* Is this slot a candidate of any rank? */
static bool
is_wanted (const struct pass *p, const struct recompress_plan *plan,
           const struct slot *s, uint32_t meta)
{
  const struct recompress_request *q = p->request;

  return recompress_wants (plan, meta) &&
         (!q->huge || slot_meta_format (meta) == CODEC_RAW) &&
         (!(q->idle || q->min_age) || is_idle (p, s));
}

static bool
goes_on (const struct pass *p)
{
  return !atomic_load (&p->progress->cancel) && !p->totals->error &&
         (!p->request->max_slots || p->tried < p->request->max_slots);
}

static void
note (struct pass *p, enum recompress_result result, int err)
{
  struct recompress_totals *t = p->totals;

  if (result == RECOMPRESS_SKIPPED)
    return;
  p->tried++;
  atomic_store (&p->progress->done, p->tried);
  t->recompressed += result == RECOMPRESS_DONE;
  t->vain += result == RECOMPRESS_VAIN;
  t->lost += result == RECOMPRESS_LOST;
  t->failed += result == RECOMPRESS_FAILED;
  /* A damaged object says nothing about the next one. */
  p->failures = result == RECOMPRESS_FAILED && err != EIO ? p->failures + 1 : 0;
}

static void
step (struct pass *p, const struct slot_walk *w)
{
  struct recompressor *r = p->r;
  uint64_t start = clock_ns ();
  enum recompress_result result;
  int err;

  mutex_lock (&r->control);
  struct recompress_plan plan = plan_locked (r, p->request);
  result = slot_recompress (w->disk, w->index, w->meta, &plan, p->claim,
                            p->buf);
  err = errno;
  mutex_unlock (&r->control);

  step_aside (&r->wished);
  note (p, result, err);
  if (p->failures >= MAX_FAILURES)
    p->totals->error = err;
  pace_step (p->pace, clock_ns () - start);
}

static void
begin_walk (const struct pass *p, struct slot_walk *w)
{
  const struct recompress_request *q = p->request;

  if (q->disk)
    slot_walk_disk (w, q->disk, q->first, q->end ? q->end : UINT64_MAX);
  else
    slot_walk_all (w, p->r->store);
}

/* One walk: visit every candidate of that rank.  The looks are hints:
 * slot_recompress takes a slot only if it still has the meta that was seen.
 */
static void
walk (struct pass *p, bool by_idle, bool idle, unsigned tier)
{
  const struct recompress_plan plan = plan_now (p);
  uint32_t slot_size = p->r->store->config.slot_size;
  uint64_t looks = 0;
  struct slot_walk w;

  begin_walk (p, &w);
  while (slot_walk_next (&w)) {
    bool mine = is_wanted (p, &plan, w.slot, w.meta) &&
                tier_of (slot_meta_size (w.meta), slot_size) == tier &&
                (!by_idle || slot_is_idle (w.slot) == idle);

    if (mine)
      step (p, &w);
    if ((mine || ++looks % LOOKS == 0) && !goes_on (p))
      break;
  }
  slot_walk_end (&w);
}

static uint64_t
count_candidates (struct pass *p)
{
  const struct recompress_plan plan = plan_now (p);
  uint64_t n = 0, looks = 0;
  struct slot_walk w;

  begin_walk (p, &w);
  while (slot_walk_next (&w)) {
    n += is_wanted (p, &plan, w.slot, w.meta);
    if (++looks % LOOKS == 0 && !goes_on (p))
      break;
  }
  slot_walk_end (&w);
  return p->request->max_slots && n > p->request->max_slots
           ? p->request->max_slots
           : n;
}

static void
run_pass (struct pass *p)
{
  /* If only idle or old slots are wanted, they need not be sorted by idle. */
  bool by_idle = !p->request->idle && !p->request->min_age;

  atomic_store (&p->progress->total, count_candidates (p));
  for (unsigned idle = by_idle ? 2 : 1; idle-- > 0;)
    for (unsigned tier = 0; tier < TIERS && goes_on (p); tier++)
      walk (p, by_idle, idle, tier);
}

/* There is one pass at a time, so the disks' counters tell what the pass won.
 */
static uint64_t
bytes_won (struct store *store)
{
  return (uint64_t) store_sum (store, DISK_RECOMPRESS_WON);
}

static int
run (struct pass *p)
{
  struct store *store = p->r->store;
  uint64_t before = bytes_won (store), after;
  int rc = -1;

  p->buf = alloc_zeroed (CACHE_LINE, store->config.slot_size);
  p->claim = claim_take (store);
  atomic_store (&p->progress->done, 0);
  if (p->buf && p->claim) {
    run_pass (p);
    after = bytes_won (store); /* a reset sets it to 0 */
    p->totals->bytes_won = after >= before ? after - before : after;
    rc = 0;
  }
  else
    errno = p->buf ? EBUSY : ENOMEM;
  if (p->claim)
    claim_release (store, p->claim);
  free (p->buf);
  return rc;
}

int
recompressor_run (struct recompressor *r,
                  const struct recompress_request *request, struct pace *pace,
                  struct pass_progress *progress,
                  struct recompress_totals *totals)
{
  struct zcomp_method methods[RECOMPRESS_METHODS];
  unsigned count = recompressor_peek (r, methods); /* never waits */
  struct pass p = { .r = r,
                    .request = request,
                    .pace = pace,
                    .progress = progress,
                    .totals = totals };
  bool idle = false;
  int rc;

  memset (totals, 0, sizeof *totals);
  if (count == 0 || request->priority > count) {
    errno = EINVAL;
    return -1;
  }
  if (!atomic_compare_exchange_strong (&r->running, &idle, true)) {
    errno = EBUSY;
    return -1;
  }
  rc = run (&p);
  atomic_store (&r->running, false);
  return rc;
}
