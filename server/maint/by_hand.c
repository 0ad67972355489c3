/* SPDX-License-Identifier: BSD-3-Clause */
/* Passes by hand: they empty the write buffer, and hold automatic work back.
 * Contract: maint/by_hand.h.
 */

#include <config.h>

#include <errno.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/keep_errno.h"
#include "maint/by_hand.h"
#include "store/reset.h"

static struct pace
pace_by_hand (struct upkeep *u)
{
  struct pace pace;

  pace_init (&pace, u->store, NULL, 100, PACE_BUSY_PERCENT);
  return pace;
}

static void
empty_buffer (struct upkeep *u, const atomic_bool *cancel)
{
  struct pace pace = pace_by_hand (u);

  drainer_empty (u->store, &pace, cancel);
}

/* -- passes --------------------------------------------------------------- */

bool
by_hand_compact (struct upkeep *u, struct pass_progress *progress,
                 struct compactor_result *result)
{
  bool whole;

  empty_buffer (u, &progress->cancel);
  whole = compactor_run_watched (u->compactor, progress, result);
  pool_give_back (u->store->pool);
  return whole;
}

/* An automatic pass makes way, so EBUSY lasts for one slot. */
static int
recompress (struct upkeep *u, const struct recompress_request *request,
            struct pass_progress *progress, struct recompress_totals *totals)
{
  for (;;) {
    struct pace pace = pace_by_hand (u);

    if (recompressor_run (u->recompressor, request, &pace, progress, totals) ==
        0)
      return 0;
    if (errno != EBUSY || atomic_load (&progress->cancel))
      return -1;
    usleep (1000);
  }
}

int
by_hand_recompress (struct upkeep *u, const struct recompress_request *request,
                    struct pass_progress *progress,
                    struct recompress_totals *totals)
{
  int r;

  empty_buffer (u, &progress->cancel);
  upkeep_make_way (u);
  r = recompress (u, request, progress, totals);
  KEEP_ERRNO;
  upkeep_resume (u);
  return r;
}

int
by_hand_train (struct upkeep *u, const struct train_request *request,
               struct pass_progress *progress, struct train_result *result,
               struct reason *why)
{
  empty_buffer (u, &progress->cancel);
  return dictionary_train (u->store, u->recompressor, request, progress, result,
                           why);
}

int
by_hand_write_back (struct upkeep *u, const struct writeback_request *request,
                    struct pass_progress *progress,
                    struct writeback_totals *totals)
{
  struct pace pace;

  empty_buffer (u, &progress->cancel);
  pace = pace_by_hand (u);
  return writeback_run (&u->writeback, request, &pace, progress, totals);
}

/* -- audit ---------------------------------------------------------------- */

struct audit {
  struct upkeep *u;
  struct pace pace;
  unsigned requests; /* made by the reader since the last rest */
};

static const char *
hold_all (void *ctx, const struct patience *p)
{
  return upkeep_hold (((struct audit *) ctx)->u, UPKEEP_ALL, p);
}

static void
unhold_all (void *ctx)
{
  upkeep_unhold (((struct audit *) ctx)->u, UPKEEP_ALL);
}

static int
read_slot (void *ctx, struct disk *disk, uint64_t index, void *buf,
           const struct patience *p)
{
  struct audit *a = ctx;
  struct upkeep *u = a->u;

  if (!u->reader)
    u->reader = deep_reader_create (u->store);
  if (!u->reader)
    return -1;
  return deep_reader_read (u->reader, disk, index, buf, p, &a->requests);
}

static uint64_t
rest (void *ctx, uint64_t since)
{
  struct audit *a = ctx;

  pace_forgive (&a->pace, a->requests);
  a->requests = 0;
  pace_step (&a->pace, clock_ns () - since);
  return clock_ns ();
}

int
by_hand_audit (struct upkeep *u, bool deep, unsigned patience_ms,
               struct pass_progress *progress, struct reason *why)
{
  struct audit a = { .u = u, .pace = pace_by_hand (u) };
  const struct audit_watch watch = { .done = &progress->done,
                                     .cancel = &progress->cancel,
                                     .hold = hold_all,
                                     .unhold = unhold_all,
                                     .read = read_slot,
                                     .rest = rest,
                                     .ctx = &a,
                                     .patience_ms = patience_ms };
  int r;

  upkeep_make_way (u);
  r = store_audit_live (u->store, deep, &watch, why);
  KEEP_ERRNO;
  upkeep_resume (u);
  return r;
}

/* -- reset ---------------------------------------------------------------- */

const char *
by_hand_reset (struct upkeep *u, struct disk *disk, const struct patience *p,
               uint64_t *locked)
{
  const char *what;

  upkeep_make_way (u);
  what = upkeep_hold (u, UPKEEP_PASSES, p);
  if (!what) {
    *locked = disk_reset_patiently (disk, p);
    upkeep_unhold (u, UPKEEP_PASSES);
  }
  upkeep_resume (u);
  return what;
}
