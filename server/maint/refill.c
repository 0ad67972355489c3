/* SPDX-License-Identifier: BSD-3-Clause */
/* Refill: the thread that keeps memory ready.
 * Contract: maint/refill.h.
 */

#include <config.h>

#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/keep_errno.h"
#include "maint/refill.h"

#define SHORTEST_PAUSE_NS 2000000
#define LONGEST_PAUSE_NS 100000000

void
refill_init (struct refill *r, struct store *store)
{
  r->store = store;
  r->real_time = false;
  r->meminfo = open ("/proc/meminfo", O_RDONLY | O_CLOEXEC);
  r->min_free = open ("/proc/sys/vm/min_free_kbytes", O_RDONLY | O_CLOEXEC);
  mutex_init (&r->control, RANK_REFILL);
  atomic_init (&r->wished, 0);
  ticker_init (&r->ticker);
}

/* The number after 'word' in the file; -1 if there is none. */
static long
read_number (int fd, const char *word)
{
  char text[512];
  ssize_t n = fd == -1 ? -1 : pread (fd, text, sizeof text - 1, 0);
  const char *at;

  if (n <= 0)
    return -1;
  text[n] = 0;
  at = strstr (text, word);
  return at ? strtol (at + strlen (word), NULL, 10) : -1;
}

/* Is there memory that this thread gets without a search for it?  Real-time
 * threads may use at least a quarter of the memory below "min"; half of that is
 * left to the others.
 */
static bool
system_has_memory (struct refill *r)
{
  long available = read_number (r->meminfo, "MemFree:");
  long min = read_number (r->min_free, "");

  if (available < 0 || min < 0)
    return true;
  return r->real_time ? available > min - min / 8 : available > min + min / 8;
}

/* One span or page.  True if it was missing. */
static bool
step (struct refill *r)
{
  bool missing;

  mutex_lock (&r->control);
  leaves_fill (&r->store->leaves);
  missing = pool_fill (r->store->pool);
  mutex_unlock (&r->control);
  step_aside (&r->wished);
  return missing;
}

/* Fill the reserve.  True if anything was missing. */
static bool
fill_up (struct refill *r)
{
  bool missing = false;

  while (!ticker_stopping (&r->ticker)) {
    if (!system_has_memory (r))
      return true;
    if (!step (r))
      return missing;
    missing = true;
  }
  return missing;
}

static void *
refill_thread (void *arg)
{
  const struct sched_param lowest = { .sched_priority = 1 };
  struct refill *r = arg;
  uint64_t pause = SHORTEST_PAUSE_NS;

  r->real_time = pthread_setschedparam (pthread_self (), SCHED_FIFO, &lowest) ==
                 0;
  while (ticker_sleep_ns (&r->ticker, pause)) {
    if (fill_up (r))
      pause = SHORTEST_PAUSE_NS;
    else if (pause < LONGEST_PAUSE_NS)
      pause *= 2;
  }
  return NULL;
}

int
refill_start (struct refill *r)
{
  if (!r->store->config.keep_ready)
    return 0;
  fill_up (r);
  return ticker_start (&r->ticker, refill_thread, r);
}

void
refill_stop (struct refill *r)
{
  ticker_stop (&r->ticker);
}

bool
refill_hold_patiently (struct refill *r, const struct patience *p)
  TRY_ACQUIRE (true, r->control)
{
  return mutex_lock_patiently (&r->control, &r->wished, p);
}

void
refill_unhold (struct refill *r) RELEASE (r->control)
{
  mutex_unlock (&r->control);
}

void
refill_destroy (struct refill *r)
{
  KEEP_ERRNO;

  ticker_destroy (&r->ticker);
  mutex_destroy (&r->control);
  if (r->meminfo != -1)
    close (r->meminfo);
  if (r->min_free != -1)
    close (r->min_free);
}
