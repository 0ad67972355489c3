/* SPDX-License-Identifier: BSD-3-Clause */
/* Writeback by hand: one pass over the requested slots.
 * Contract: maint/writeback.h.
 */

#include <config.h>

#include <errno.h>
#include <string.h>

#include "base/clock.h"
#include "maint/writeback.h"
#include "store/slot_walk.h"
#include "store/query.h"

/* How many slots are looked at between two checks of 'cancel'. */
#define LOOKS 4096

void
writeback_init (struct writeback *wb, struct store *store)
{
  wb->store = store;
  mutex_init (&wb->control, RANK_WRITEBACK);
  wb->w = NULL;
  atomic_init (&wb->running, false);
  atomic_init (&wb->wished, 0);
}

void
writeback_destroy (struct writeback *wb)
{
  mutex_destroy (&wb->control);
}

bool
writeback_hold_patiently (struct writeback *wb, const struct patience *p)
  TRY_ACQUIRE (true, wb->control)
{
  if (!mutex_lock_patiently (&wb->control, &wb->wished, p))
    return false;
  if (!wb->w || batch_writer_drain_patiently (wb->w, p))
    return true;
  mutex_unlock (&wb->control);
  return false;
}

void
writeback_unhold (struct writeback *wb) RELEASE (wb->control)
{
  mutex_unlock (&wb->control);
}

/* -- one pass ----------------------------------------------------------- */

struct pass {
  struct writeback *wb;
  const struct writeback_request *request;
  struct batch_writer *w;
  struct pace *pace;
  struct pass_progress *progress;
  struct writeback_totals *totals;
  uint64_t done;
};

static bool
is_wanted (const struct pass *p, const struct slot *s, uint32_t meta)
{
  const struct writeback_request *q = p->request;

  return slot_meta_state (meta) == SLOT_OBJECT && slot_meta_claim (meta) == 0 &&
         (!q->idle || slot_is_idle (s)) &&
         (!q->huge || slot_meta_format (meta) == CODEC_RAW) &&
         (!q->incompressible || slot_meta_incompressible (meta));
}

static bool
goes_on (const struct pass *p)
{
  const struct writeback_totals *t = p->totals;

  return !atomic_load (&p->progress->cancel) && !t->error && !t->backing_full &&
         !t->limit_reached;
}

/* Called with the control lock held: a thread that holds up the pass swaps its
 * slots.
 */
static void
collect_totals (struct pass *p)
{
  struct batch_totals t = batch_writer_totals (p->w);
  struct batch_totals *sum = &p->totals->written;

  sum->slots += t.slots;
  sum->bytes += t.bytes;
  sum->lost += t.lost;
  sum->failed += t.failed;
  sum->backing_bytes += t.backing_bytes;
  /* Slots that failed stay in memory; further writes would fail again. */
  if (t.error && !p->totals->error)
    p->totals->error = sum->error = t.error;
}

static void
step (struct pass *p, const struct slot_walk *w)
{
  uint64_t start = clock_ns ();
  enum put_result r;
  int err;

  mutex_lock (&p->wb->control);
  r = batch_writer_put (p->w, w->disk, w->index, w->meta);
  err = errno;
  collect_totals (p);
  mutex_unlock (&p->wb->control);
  step_aside (&p->wb->wished);
  if (r == PUT_FULL)
    p->totals->backing_full = true;
  else if (r == PUT_LIMIT)
    p->totals->limit_reached = true;
  else if (r == PUT_FAILED)
    p->totals->error = err;
  else /* the slot that ends the pass does not count: nothing was done with it
        */
    p->done++;
  atomic_store (&p->progress->done, p->done);
  pace_step (p->pace, clock_ns () - start);
}

static unsigned
range_count (const struct pass *p)
{
  return p->request->ranges ? p->request->ranges_count : 1;
}

/* Begin at the i-th range; without ranges: the whole disk, or all disks. */
static void
begin_walk (const struct pass *p, unsigned i, struct slot_walk *w)
{
  const struct writeback_request *q = p->request;

  if (q->ranges)
    slot_walk_disk (w, q->disk, q->ranges[i].first, q->ranges[i].end);
  else
    slot_walk_of (w, p->wb->store, q->disk);
}

/* Call fn for each candidate of a range; fn NULL: only count them.  The looks
 * are hints: batch_writer_put takes a slot only if it still has the meta that
 * was seen.
 */
static uint64_t
walk (struct pass *p, unsigned range,
      void (*fn) (struct pass *, const struct slot_walk *))
{
  uint64_t n = 0, looks = 0;
  struct slot_walk w;

  begin_walk (p, range, &w);
  while (slot_walk_next (&w)) {
    bool wanted = is_wanted (p, w.slot, w.meta);

    n += wanted;
    if (wanted && fn)
      fn (p, &w);
    if ((wanted || ++looks % LOOKS == 0) && !goes_on (p))
      break;
  }
  slot_walk_end (&w);
  return n;
}

static void
run_pass (struct pass *p)
{
  uint64_t total = 0;

  for (unsigned i = 0; i < range_count (p); i++)
    total += walk (p, i, NULL);
  atomic_store (&p->progress->total, total);
  for (unsigned i = 0; i < range_count (p) && goes_on (p); i++) {
    walk (p, i, step);
    /* The next range may overlap this one. */
    mutex_lock (&p->wb->control);
    batch_writer_flush (p->w);
    mutex_unlock (&p->wb->control);
  }
  mutex_lock (&p->wb->control);
  batch_writer_drain (p->w);
  collect_totals (p);
  mutex_unlock (&p->wb->control);
}

static void
set_writer (struct writeback *wb, struct batch_writer *w)
{
  mutex_lock (&wb->control);
  wb->w = w;
  mutex_unlock (&wb->control);
}

int
writeback_run (struct writeback *wb, const struct writeback_request *request,
               struct pace *pace, struct pass_progress *progress,
               struct writeback_totals *totals)
{
  struct pass p = { .wb = wb,
                    .request = request,
                    .pace = pace,
                    .progress = progress,
                    .totals = totals };
  bool idle = false;

  check_always (request->disk || !request->ranges);
  memset (totals, 0, sizeof *totals);
  if (!wb->store->backed) {
    errno = ENODEV;
    return -1;
  }
  if (!atomic_compare_exchange_strong (&wb->running, &idle, true)) {
    errno = EBUSY;
    return -1;
  }
  p.w = batch_writer_create (wb->store);
  set_writer (wb, p.w);
  if (p.w)
    run_pass (&p);
  set_writer (wb, NULL);
  batch_writer_destroy (p.w);
  atomic_store (&wb->running, false);
  return p.w ? 0 : -1;
}
