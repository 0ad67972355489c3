/* SPDX-License-Identifier: BSD-3-Clause */
/* Pace: measures work, and sleeps for it.
 * Contract: maint/pace.h.
 */

#include <config.h>

#include <time.h>

#include "base/clock.h"
#include "maint/pace.h"

#define LEAST_SLEEP UINT64_C (1000000)
#define MOST_SLEEP UINT64_C (100000000)
#define BUSY_FOR UINT64_C (100000000)

void
pace_init (struct pace *pace, struct store *store, struct ticker *ticker,
           unsigned idle_share, unsigned busy_share)
{
  *pace = (struct pace){ .store = store,
                         .ticker = ticker,
                         .idle_share = idle_share,
                         .busy_share = busy_share,
                         .requests = counter_sum (&store->requests,
                                                  REQUESTS_ENDED) };
}

/* Have clients sent requests recently?  The time since the last step is too
 * short to tell: while this thread uses the CPU that requests need, none may
 * end.
 */
static bool
is_busy (struct pace *pace)
{
  int64_t before = pace->requests;
  uint64_t now = clock_ns ();

  pace->requests = counter_sum (&pace->store->requests, REQUESTS_ENDED);
  if (pace->requests != before || store_requests (pace->store) > 0)
    pace->busy_until = now + BUSY_FOR;
  return now < pace->busy_until;
}

void
pace_forgive (struct pace *pace, unsigned requests)
{
  pace->requests += requests;
}

void
pace_step (struct pace *pace, uint64_t spent_ns)
{
  unsigned share = is_busy (pace) ? pace->busy_share : pace->idle_share;

  pace->owed_ns += spent_ns * (100 - share) / share;
  if (pace->owed_ns < LEAST_SLEEP)
    return;
  /* If the step itself was delayed, the sleep must not become long. */
  if (pace->owed_ns > MOST_SLEEP)
    pace->owed_ns = MOST_SLEEP;
  if (pace->ticker)
    (void) ticker_sleep_ns (pace->ticker, pace->owed_ns);
  else {
    struct timespec ts = { .tv_nsec = (long) pace->owed_ns };

    nanosleep (&ts, NULL);
  }
  pace->owed_ns = 0;
}
