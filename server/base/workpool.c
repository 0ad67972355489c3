/* SPDX-License-Identifier: BSD-3-Clause */

#include <config.h>

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "base/keep_errno.h"
#include "base/mutex.h"
#include "base/workpool.h"

#define MAX_THREADS 256

/* On the caller's stack; on the pool's list while it has chunks to give. */
struct job {
  struct job *next;
  workpool_fn fn;
  void *ctx;
  unsigned chunks;
  atomic_uint taken;   /* chunks given out, or more */
  unsigned helpers;    /* workers inside; under the pool's lock */
  pthread_cond_t left; /* helpers became 0 */
};

struct workpool {
  struct mutex lock;   /* rank WORKPOOL: everything below */
  pthread_cond_t work; /* a job came, or the number of threads falls */
  struct job *jobs;
  unsigned wanted; /* threads numbered from here on shall end */
  unsigned running;
  atomic_uint idle; /* also read without the lock, as a hint */
  pthread_t thread[MAX_THREADS];
};

struct start {
  struct workpool *wp;
  unsigned number;
};

struct workpool *
workpool_create (void)
{
  struct workpool *wp = alloc_zeroed (CACHE_LINE, sizeof *wp);

  if (!wp)
    return NULL;
  mutex_init (&wp->lock, RANK_WORKPOOL);
  pthread_cond_init (&wp->work, NULL);
  return wp;
}

static void
run_chunks (struct job *job)
{
  unsigned chunk;

  while ((chunk = atomic_fetch_add_explicit (
            &job->taken, 1, memory_order_relaxed)) < job->chunks)
    job->fn (job->ctx, chunk);
}

static void
help_locked (struct workpool *wp, struct job *job) NO_THREAD_SAFETY_ANALYSIS
{
  job->helpers++;
  mutex_unlock (&wp->lock);
  run_chunks (job);
  mutex_lock (&wp->lock);
  /* The job is gone as soon as the lock is dropped with no helper left. */
  if (--job->helpers == 0)
    pthread_cond_signal (&job->left);
}

static struct job *
job_with_work_locked (struct workpool *wp)
{
  struct job *job = wp->jobs;

  while (job && atomic_load_explicit (&job->taken, memory_order_relaxed) >=
                  job->chunks)
    job = job->next;
  return job;
}

static void *
worker (void *arg)
{
  struct start *start = arg;
  struct workpool *wp = start->wp;
  unsigned number = start->number;

  free (start);
  mutex_lock (&wp->lock);
  while (number < wp->wanted) {
    struct job *job = job_with_work_locked (wp);

    if (job)
      help_locked (wp, job);
    else {
      atomic_fetch_add (&wp->idle, 1);
      pthread_cond_wait (&wp->work, &wp->lock.m);
      atomic_fetch_sub (&wp->idle, 1);
    }
  }
  mutex_unlock (&wp->lock);
  return NULL;
}

static int
start_thread (struct workpool *wp)
{
  struct start *start = alloc_zeroed (sizeof (void *), sizeof *start);
  int err;

  if (!start)
    return -1;
  start->wp = wp;
  start->number = wp->running;
  mutex_lock (&wp->lock);
  wp->wanted = wp->running + 1;
  mutex_unlock (&wp->lock);
  err = fault_hit ("workpool.thread")
          ? EAGAIN
          : pthread_create (&wp->thread[wp->running], NULL, worker, start);
  if (err) {
    mutex_lock (&wp->lock);
    wp->wanted = wp->running;
    mutex_unlock (&wp->lock);
    free (start);
    errno = err;
    return -1;
  }
  wp->running++;
  return 0;
}

int
workpool_set_threads (struct workpool *wp, unsigned n)
{
  check_always (n <= MAX_THREADS);
  while (wp->running < n)
    if (start_thread (wp) == -1)
      return -1;

  mutex_lock (&wp->lock);
  wp->wanted = n;
  pthread_cond_broadcast (&wp->work);
  mutex_unlock (&wp->lock);
  while (wp->running > n)
    pthread_join (wp->thread[--wp->running], NULL);
  return 0;
}

unsigned
workpool_threads (struct workpool *wp)
{
  return wp->running;
}

void
workpool_destroy (struct workpool *wp)
{
  KEEP_ERRNO;

  if (!wp)
    return;
  check_always (workpool_set_threads (wp, 0) == 0);
  pthread_cond_destroy (&wp->work);
  mutex_destroy (&wp->lock);
  free (wp);
}

static void
unlist_locked (struct workpool *wp, struct job *job)
{
  struct job **p = &wp->jobs;

  while (*p != job)
    p = &(*p)->next;
  *p = job->next;
}

void
workpool_share (struct workpool *wp, unsigned chunks, workpool_fn fn, void *ctx)
{
  struct job job = { .fn = fn, .ctx = ctx, .chunks = chunks };
  unsigned wake = atomic_load_explicit (&wp->idle, memory_order_relaxed);

  if (chunks < 2 || wake == 0) {
    run_chunks (&job);
    return;
  }
  pthread_cond_init (&job.left, NULL);
  mutex_lock (&wp->lock);
  job.next = wp->jobs;
  wp->jobs = &job;
  if (wake > chunks - 1)
    wake = chunks - 1;
  while (wake--)
    pthread_cond_signal (&wp->work);
  mutex_unlock (&wp->lock);

  run_chunks (&job);

  mutex_lock (&wp->lock);
  unlist_locked (wp, &job);
  while (job.helpers)
    pthread_cond_wait (&job.left, &wp->lock.m);
  mutex_unlock (&wp->lock);
  pthread_cond_destroy (&job.left);
}
