/* SPDX-License-Identifier: BSD-3-Clause */
/* Ticker: a thread that sleeps, wakes and ends.
 * Contract: maint/ticker.h.
 */

#include <config.h>

#include <errno.h>

#include "base/clock.h"
#include "base/fault.h"
#include "base/keep_errno.h"
#include "maint/ticker.h"

void
ticker_init (struct ticker *t)
{
  mutex_init (&t->lock, RANK_LEAF);
  cond_init (&t->cond);
  atomic_init (&t->stop, false);
  t->started = t->woken = false;
}

void
ticker_destroy (struct ticker *t)
{
  KEEP_ERRNO;

  ticker_stop (t);
  cond_destroy (&t->cond);
  mutex_destroy (&t->lock);
}

int
ticker_start (struct ticker *t, void *(*fn) (void *), void *arg)
{
  int err = fault_hit ("ticker.thread")
              ? EAGAIN
              : pthread_create (&t->thread, NULL, fn, arg);

  if (err) {
    errno = err;
    return -1;
  }
  t->started = true;
  return 0;
}

void
ticker_stop (struct ticker *t)
{
  KEEP_ERRNO;

  if (!t->started)
    return;
  mutex_lock (&t->lock);
  atomic_store (&t->stop, true);
  cond_signal (&t->cond);
  mutex_unlock (&t->lock);
  pthread_join (t->thread, NULL);
  atomic_store (&t->stop, false);
  t->started = false;
}

bool
ticker_sleep_ns (struct ticker *t, uint64_t ns)
{
  uint64_t due = clock_ns () + ns;

  mutex_lock (&t->lock);
  while (!atomic_load (&t->stop) && !t->woken &&
         cond_wait_until (&t->cond, &t->lock, due))
    ;
  t->woken = false;
  mutex_unlock (&t->lock);
  return !atomic_load (&t->stop);
}

void
ticker_wake (struct ticker *t)
{
  mutex_lock (&t->lock);
  t->woken = true;
  cond_signal (&t->cond);
  mutex_unlock (&t->lock);
}
