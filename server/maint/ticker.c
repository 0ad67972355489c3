/* SPDX-License-Identifier: BSD-3-Clause */

#include <config.h>

#include <errno.h>
#include <time.h>

#include "base/keep_errno.h"
#include "maint/ticker.h"

void
ticker_init (struct ticker *t)
{
  pthread_condattr_t attr;

  pthread_mutex_init (&t->lock, NULL);
  pthread_condattr_init (&attr);
  pthread_condattr_setclock (&attr, CLOCK_MONOTONIC);
  pthread_cond_init (&t->cond, &attr);
  pthread_condattr_destroy (&attr);
  atomic_init (&t->stop, false);
  t->started = t->woken = false;
}

void
ticker_destroy (struct ticker *t)
{
  KEEP_ERRNO;

  ticker_stop (t);
  pthread_cond_destroy (&t->cond);
  pthread_mutex_destroy (&t->lock);
}

int
ticker_start (struct ticker *t, void *(*fn) (void *), void *arg)
{
  int err = pthread_create (&t->thread, NULL, fn, arg);

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
  pthread_mutex_lock (&t->lock);
  atomic_store (&t->stop, true);
  pthread_cond_signal (&t->cond);
  pthread_mutex_unlock (&t->lock);
  pthread_join (t->thread, NULL);
  atomic_store (&t->stop, false);
  t->started = false;
}

bool
ticker_sleep_ns (struct ticker *t, uint64_t ns)
{
  struct timespec due;

  clock_gettime (CLOCK_MONOTONIC, &due);
  due.tv_sec += (time_t) (ns / 1000000000);
  due.tv_nsec += (long) (ns % 1000000000);
  if (due.tv_nsec >= 1000000000) {
    due.tv_sec++;
    due.tv_nsec -= 1000000000;
  }
  pthread_mutex_lock (&t->lock);
  while (!atomic_load (&t->stop) && !t->woken &&
         pthread_cond_timedwait (&t->cond, &t->lock, &due) != ETIMEDOUT)
    ;
  t->woken = false;
  pthread_mutex_unlock (&t->lock);
  return !atomic_load (&t->stop);
}

void
ticker_wake (struct ticker *t)
{
  pthread_mutex_lock (&t->lock);
  t->woken = true;
  pthread_cond_signal (&t->cond);
  pthread_mutex_unlock (&t->lock);
}
