/* SPDX-License-Identifier: BSD-3-Clause */
/* Drainer: the thread that drains the write buffer.
 * Contract: maint/drainer.h.
 */

#include <config.h>

#include <stdlib.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/keep_errno.h"
#include "maint/drainer.h"

/* Pauses between two rounds: with data in the buffer, and without. */
#define PAUSE_NS (UINT64_C (100) * 1000000)
#define EMPTY_PAUSE_NS (UINT64_C (1000) * 1000000)

/* Chunks that were not needed for so long go back: after at most twice this
 * time.
 */
#define TRIM_NS (UINT64_C (3000) * 1000000)

/* The entries that one step looks at. */
#define STEP_LOOKS 2048u

struct drainer {
  struct store *store;
  struct ticker ticker;
  uint64_t trimmed_ns; /* the thread's own: time of the last trim */
};

uint32_t
drainer_due (const struct buffer *b)
{
  uint64_t capacity = buffer_capacity (b), used = buffer_used (b);
  uint64_t full = capacity - capacity / 4;

  if (buffer_is_closed (b))
    return 0;
  if (used <= full)
    return DRAIN_AGE_MS;
  if (used >= capacity)
    return DRAIN_LEAST_AGE_MS;
  return DRAIN_AGE_MS - (uint32_t) ((DRAIN_AGE_MS - DRAIN_LEAST_AGE_MS) *
                                    (used - full) / (capacity - full));
}

/* Go once around, or until *cancel.  'all': drain data of any age. */
static void
go_around (struct store *store, struct pace *pace, const atomic_bool *cancel,
           bool all)
{
  uint32_t left = buffer_entries (&store->buffer), n = 1;
  struct drain_totals totals = { 0 };

  while (n > 0 && left > 0 && buffer_used (&store->buffer) > 0 &&
         !atomic_load (cancel)) {
    uint64_t start = clock_ns ();

    drain_hold (store);
    n = drain_step_locked (store, all ? 0 : drainer_due (&store->buffer),
                           left < STEP_LOOKS ? left : STEP_LOOKS, DRAIN_BATCH,
                           &totals);
    drain_unhold (store);
    step_aside (&store->drain.wished);
    left -= n;
    pace_step (pace, clock_ns () - start);
  }
}

void
drainer_empty (struct store *store, struct pace *pace,
               const atomic_bool *cancel)
{
  go_around (store, pace, cancel, true);
  drain_hold (store);
  (void) buffer_trim (&store->buffer);
  drain_unhold (store);
}

static void
give_back (struct drainer *d)
{
  struct buffer *b = &d->store->buffer;
  uint64_t now = clock_ns ();

  drain_hold (d->store); /* an audit checks the charged memory */
  if (buffer_is_closed (b))
    (void) buffer_trim (b);
  else if (now - d->trimmed_ns >= TRIM_NS) {
    (void) buffer_trim_unneeded (b);
    d->trimmed_ns = now;
  }
  drain_unhold (d->store);
}

static void *
drainer_thread (void *arg)
{
  struct drainer *d = arg;
  struct buffer *b = &d->store->buffer;
  struct pace pace;

  d->trimmed_ns = clock_ns ();
  pace_init (&pace, d->store, &d->ticker, 100, PACE_BUSY_PERCENT);
  while (
    ticker_sleep_ns (&d->ticker, buffer_used (b) ? PAUSE_NS : EMPTY_PAUSE_NS)) {
    if (buffer_used (b) > 0)
      go_around (d->store, &pace, &d->ticker.stop, false);
    give_back (d);
  }
  return NULL;
}

struct drainer *
drainer_create (struct store *store)
{
  struct drainer *d = alloc_zeroed (CACHE_LINE, sizeof *d);

  if (!d)
    return NULL;
  d->store = store;
  ticker_init (&d->ticker);
  return d;
}

int
drainer_start (struct drainer *d)
{
  return ticker_start (&d->ticker, drainer_thread, d);
}

void
drainer_stop (struct drainer *d)
{
  ticker_stop (&d->ticker);
}

void
drainer_destroy (struct drainer *d)
{
  KEEP_ERRNO;

  if (!d)
    return;
  ticker_destroy (&d->ticker);
  free (d);
}
