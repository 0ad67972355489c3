/* SPDX-License-Identifier: BSD-3-Clause */
/* Notices and gives up a backing store that does not answer.
 * Contract: plugin/stuck.h.
 */

#include <config.h>

#include <stdatomic.h>

#include "base/clock.h"
#include "base/mutex.h"
#include "plugin/stuck.h"

static struct mutex lock = MUTEX_INIT (RANK_WATCHED);
static struct store *watched; /* under lock; NULL: nothing to watch */
static atomic_bool given_up;

void
stuck_watch (struct store *store)
{
  mutex_lock (&lock);
  watched = store && store->backed ? store : NULL;
  mutex_unlock (&lock);
}

static bool
completes_nothing (struct backing *io)
{
  static uint64_t completed, since_ns; /* used by one thread only */
  struct backing_stats s;
  uint64_t n, now = clock_ns ();

  backing_get_stats (io, &s);
  n = s.reads + s.writes + s.punches + s.read_errors + s.write_errors +
      s.punch_errors;
  if (s.in_flight == 0 || n != completed || since_ns == 0) {
    completed = n;
    since_ns = now;
  }
  return now - since_ns >= STUCK_NS;
}

bool
stuck_look (void)
{
  bool stuck;

  mutex_lock (&lock);
  stuck = watched && completes_nothing (watched->backed->io);
  if (stuck) {
    atomic_store (&given_up, true);
    backing_shut (watched->backed->io);
    room_close (&watched->room);
  }
  mutex_unlock (&lock);
  return stuck;
}

bool
stuck_given_up (void)
{
  return atomic_load (&given_up);
}
