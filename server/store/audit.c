/* SPDX-License-Identifier: BSD-3-Clause */
/* The audit of a store that nothing uses, and of one that clients use.
 * Contract: store/audit.h.
 */

#include <config.h>

#include <errno.h>

#include "base/keep_errno.h"
#include "store/audit_internal.h"

int
store_audit (struct store *store, bool deep, struct reason *why)
{
  if (audit_still (store, NULL, true, why) == -1)
    return -1;
  return deep ? audit_slots (store, true, NULL, why) : 0;
}

/* -- while clients are connected ---------------------------------------- */

/* The gate is shut for at most so long, to see whether the requests inside come
 * to an end, and for twice as long at the next try.  Between two tries the gate
 * is open for a multiple of that time.
 */
#define FREEZE_FIRST_MS 10
#define FREEZE_MOST_MS 160
#define FREEZE_SHARE 5

/* The wait for the passes with the gate shut.  They were quiet just now. */
#define HOLD_MS 100

/* NULL, or the words for what did not come to an end. */
static const char *
hold (const struct audit_watch *watch, const struct patience *p)
{
  return watch && watch->hold ? watch->hold (watch->ctx, p) : NULL;
}

static void
unhold (const struct audit_watch *watch)
{
  if (watch && watch->unhold)
    watch->unhold (watch->ctx);
}

/* With the gate open, so it may take long: wait until all that passes have in
 * flight has come in.
 */
static const char *
drain_passes (const struct audit_watch *watch, const struct patience *all)
{
  const char *what = hold (watch, all);

  if (!what)
    unhold (watch);
  return what;
}

static const char *
what_is_inside (struct store *store)
{
  struct backing_stats io = { 0 };

  if (store->backed)
    backing_get_stats (store->backed->io, &io);
  return io.in_flight ? "the backing store does not answer"
                      : "requests do not come to an end";
}

/* Shut the gate, count, and open it.  First wait for the requests, while the
 * passes go on: a writer may be waiting for the room that a pass makes.  NULL
 * if the store was audited, and *r and errno say how; or the words for what did
 * not come to an end.
 */
static const char *
try_frozen (struct store *store, const struct audit_watch *watch, unsigned ms,
            int *r, struct reason *why)
{
  const char *what;

  if (!store_freeze (store, ms))
    return what_is_inside (store);
  const struct patience p = patience_ms (HOLD_MS, watch ? watch->cancel : NULL);
  what = hold (watch, &p);
  if (!what) {
    *r = audit_still (store, watch, false, why);
    KEEP_ERRNO;
    unhold (watch);
  }
  store_thaw (store);
  return what;
}

/* Leave the gate open for a while.  Without this a request that waits for
 * another one would wait at the gate, too.
 */
static bool
leave_open (unsigned ms, const struct patience *all)
{
  bool more = true;

  for (unsigned n = 0; n < ms * FREEZE_SHARE && more; n++)
    more = patience_nap (all);
  return more;
}

static int
audit_frozen (struct store *store, const struct audit_watch *watch,
              struct reason *why)
{
  const struct patience all = audit_patience (watch);
  unsigned ms = FREEZE_FIRST_MS;
  const char *what;
  int r = -1;

  do {
    what = drain_passes (watch, &all);
    if (what)
      break;
    what = try_frozen (store, watch, ms, &r, why);
    if (!what)
      return r;
    if (ms < FREEZE_MOST_MS)
      ms *= 2;
  } while (leave_open (ms, &all));
  if (patience_cancelled (&all)) {
    reason_set (why, "cancelled");
    errno = ECANCELED;
  }
  else {
    reason_set (why, "%s; nothing was audited", what);
    errno = ETIMEDOUT;
  }
  return -1;
}

int
store_audit_live (struct store *store, bool deep,
                  const struct audit_watch *watch, struct reason *why)
{
  if (audit_frozen (store, watch, why) == -1)
    return -1;
  return audit_slots (store, deep, watch, why);
}
