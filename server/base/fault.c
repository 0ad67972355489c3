/* SPDX-License-Identifier: BSD-3-Clause */
/* Fault points: what tests arm, and where threads are held.
 * Contract: base/fault.h.
 */

#include <config.h>

#include "base/fault.h"

#ifdef ZRAM_FAULTS

#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>
#include <string.h>

#include "base/check.h"

#define MAX_POINTS 32

struct point {
  const char *name; /* NULL: every point that has no entry of its own */
  bool used;
  bool fails, ever_after;
  uint64_t nth, reached;
  bool holds, first_only;
  unsigned waiting; /* threads that are held at the point */
};

/* Plain pthread locks, not ours: a fault point may be reached under any rank,
 * and a thread is held there with any locks, which the rank checker forbids.
 */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static struct point points[MAX_POINTS];
static atomic_uint armed; /* so that an unarmed point costs one load */

static struct point *
find_exact (const char *name)
{
  for (unsigned i = 0; i < MAX_POINTS; i++) {
    struct point *p = &points[i];

    if (p->used &&
        (name && p->name ? strcmp (p->name, name) == 0 : p->name == name))
      return p;
  }
  return NULL;
}

static struct point *
find_for_test (const char *name)
{
  struct point *p = find_exact (name);

  for (unsigned i = 0; !p && i < MAX_POINTS; i++)
    if (!points[i].used) {
      p = &points[i];
      memset (p, 0, sizeof *p);
      p->used = true;
      p->name = name;
      atomic_fetch_add (&armed, 1);
    }
  check_always (p);
  return p;
}

bool
fault_hit (const char *name)
{
  struct point *p;
  bool fail = false;

  if (atomic_load_explicit (&armed, memory_order_relaxed) == 0)
    return false;
  pthread_mutex_lock (&lock);
  p = find_exact (name);
  if (!p)
    p = find_exact (NULL);
  if (p && p->fails) {
    p->reached++;
    fail = p->reached == p->nth || (p->ever_after && p->reached > p->nth);
  }
  pthread_mutex_unlock (&lock);
  return fail;
}

void
fault_pause (const char *name)
{
  struct point *p;

  if (atomic_load_explicit (&armed, memory_order_relaxed) == 0)
    return;
  pthread_mutex_lock (&lock);
  p = find_exact (name);
  if (p && p->holds && !(p->first_only && p->waiting)) {
    p->waiting++;
    pthread_cond_broadcast (&changed);
    while (p->holds)
      pthread_cond_wait (&changed, &lock);
    p->waiting--;
    pthread_cond_broadcast (&changed);
  }
  pthread_mutex_unlock (&lock);
}

void
fault_fail_nth (const char *name, uint64_t nth, bool ever_after)
{
  pthread_mutex_lock (&lock);
  struct point *p = find_for_test (name);
  p->fails = true;
  p->ever_after = ever_after;
  p->nth = nth;
  p->reached = 0;
  pthread_mutex_unlock (&lock);
}

uint64_t
fault_reached (const char *name)
{
  pthread_mutex_lock (&lock);
  struct point *p = find_exact (name);
  uint64_t r = p ? p->reached : 0;
  pthread_mutex_unlock (&lock);
  return r;
}

static void
hold (const char *name, bool first_only)
{
  pthread_mutex_lock (&lock);
  struct point *p = find_for_test (name);
  p->holds = true;
  p->first_only = first_only;
  pthread_mutex_unlock (&lock);
}

void
fault_hold (const char *name)
{
  hold (name, false);
}

void
fault_hold_first (const char *name)
{
  hold (name, true);
}

void
fault_wait_held (const char *name)
{
  pthread_mutex_lock (&lock);
  struct point *p = find_for_test (name);
  while (p->waiting == 0)
    pthread_cond_wait (&changed, &lock);
  pthread_mutex_unlock (&lock);
}

void
fault_release (const char *name)
{
  pthread_mutex_lock (&lock);
  find_for_test (name)->holds = false;
  pthread_cond_broadcast (&changed);
  pthread_mutex_unlock (&lock);
}

void
fault_clear (void)
{
  pthread_mutex_lock (&lock);
  for (unsigned i = 0; i < MAX_POINTS; i++) {
    struct point *p = &points[i];

    p->fails = p->holds = false;
    pthread_cond_broadcast (&changed);
    while (p->waiting)
      pthread_cond_wait (&changed, &lock);
    p->used = false;
  }
  atomic_store (&armed, 0);
  pthread_mutex_unlock (&lock);
}

#else

/* An empty translation unit is not C. */
extern int zram_no_faults;

#endif
