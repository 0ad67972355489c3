/* SPDX-License-Identifier: BSD-3-Clause */
/* Automatic recompression: its thread.
 * Contract: maint/recompress_policy.h.
 */

#include <config.h>

#include "maint/recompress_policy.h"

/* Often enough that slots are recompressed soon after they are old enough, and
 * seldom enough that the walks cost nothing.
 */
static unsigned
pause_for (unsigned age)
{
  unsigned seconds = age / 8;

  return seconds < 1 ? 1 : seconds > 60 ? 60 : seconds;
}

static void
recompress_old (struct recompress_policy *p, unsigned age)
{
  const struct recompress_request request = { .min_age = age };
  unsigned busy = p->share * PACE_BUSY_PERCENT / 100;
  struct recompress_totals totals;
  struct pace pace;

  /* In this order, so that no request to end the pass is lost:
   * recompress_policy_pause counts in 'pauses' first, and then sets 'cancel'.
   */
  atomic_store (&p->progress.cancel, false);
  if (atomic_load (&p->pauses))
    return;
  pace_init (&pace, p->store, &p->ticker, p->share, busy ? busy : 1);
  /* If there are no methods, there is nothing to do.  If a pass by hand is
   * running, try next time.
   */
  (void) !recompressor_run (p->r, &request, &pace, &p->progress, &totals);
}

static void *
policy_thread (void *arg)
{
  struct recompress_policy *p = arg;

  /* A wake-up for a new age may have ended a sleep of the pass instead.  So the
   * pause follows from the present age.
   */
  while (ticker_sleep (&p->ticker, pause_for (atomic_load (&p->age)))) {
    unsigned age = atomic_load (&p->age);

    if (age)
      recompress_old (p, age);
    (void) dictionary_sweep (p->store, p->r);
  }
  return NULL;
}

void
recompress_policy_init (struct recompress_policy *p, struct store *store,
                        struct recompressor *r, unsigned age, unsigned share)
{
  p->store = store;
  p->r = r;
  atomic_init (&p->age, age);
  atomic_init (&p->pauses, 0);
  p->share = share;
  ticker_init (&p->ticker);
  atomic_init (&p->progress.cancel, false);
}

int
recompress_policy_start (struct recompress_policy *p)
{
  return ticker_start (&p->ticker, policy_thread, p);
}

void
recompress_policy_stop (struct recompress_policy *p)
{
  recompress_policy_pause (p);
  ticker_stop (&p->ticker);
  recompress_policy_resume (p);
}

void
recompress_policy_pause (struct recompress_policy *p)
{
  atomic_fetch_add (&p->pauses, 1);
  atomic_store (&p->progress.cancel, true);
}

void
recompress_policy_resume (struct recompress_policy *p)
{
  atomic_fetch_sub (&p->pauses, 1);
}

void
recompress_policy_destroy (struct recompress_policy *p)
{
  recompress_policy_stop (p);
  ticker_destroy (&p->ticker);
}

void
recompress_policy_set_age (struct recompress_policy *p, unsigned seconds)
{
  atomic_store (&p->age, seconds);
  ticker_wake (&p->ticker);
}
