/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Threads of the plugin block all signals: nbdkit's threads handle them.
 */

#ifndef ZRAM_THREAD_H
#define ZRAM_THREAD_H

#include <errno.h>
#include <pthread.h>
#include <signal.h>

#include "base/compiler.h"

/* 0, or -1 with errno set. */
static inline int MUST_USE
control_thread_start (pthread_t *thread, void *(*run) (void *), void *arg)
{
  sigset_t all, old;
  int err;

  sigfillset (&all);
  pthread_sigmask (SIG_SETMASK, &all, &old);
  err = pthread_create (thread, NULL, run, arg);
  pthread_sigmask (SIG_SETMASK, &old, NULL);
  errno = err;
  return err ? -1 : 0;
}

#endif /* ZRAM_THREAD_H */
