/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Ticker: a thread that does something from time to time, and ends when told
 * to.
 *
 *   ticker_start --> fn:  while (ticker_sleep (t, seconds)) { … }
 *   ticker_stop  --> sleep returns false, ticker_stopping true; joined
 *
 * Locks: 'lock' is a leaf; no lock is taken inside.
 */

#ifndef ZRAM_TICKER_H
#define ZRAM_TICKER_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/compiler.h"
#include "base/mutex.h"

struct ticker {
  struct mutex lock;
  struct cond cond;
  atomic_bool stop; /* written under lock */
  bool woken;       /* under lock: ticker_wake was called */
  bool started;     /* the owner's alone */
  pthread_t thread;
};

void ticker_init (struct ticker *t);
void ticker_destroy (struct ticker *t); /* stops it */

/* 0, or -1 with errno EAGAIN: no more threads. */
int ticker_start (struct ticker *t, void *(*fn) (void *), void *arg) MUST_USE;

/* Stops the thread and waits for its end.  Harmless if it never started. */
void ticker_stop (struct ticker *t);

/* In the thread: sleep that long, or until it is woken.  False if the thread
 * must end.
 */
bool ticker_sleep_ns (struct ticker *t, uint64_t ns);

static inline bool
ticker_sleep (struct ticker *t, unsigned seconds)
{
  return ticker_sleep_ns (t, seconds * UINT64_C (1000000000));
}

/* From any thread: end the present sleep, or the next one. */
void ticker_wake (struct ticker *t);

static inline bool
ticker_stopping (struct ticker *t)
{
  return atomic_load (&t->stop);
}

#endif /* ZRAM_TICKER_H */
