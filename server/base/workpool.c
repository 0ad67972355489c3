/* SPDX-License-Identifier: BSD-3-Clause */
/* Worker threads that help with large requests.
 * Contract: base/workpool.h.
 */

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
  atomic_uint taken; /* chunks given out, or more */
  unsigned helpers;  /* workers inside; under the pool's lock */
  struct cond left;  /* helpers became 0 */
};

/* A thread.  It leaves when there are too many and it has nothing to do.  It is
 * joined later.
 */
struct worker {
  struct worker *next;
  struct workpool *wp;
  bool left;
  pthread_t thread; /* used only by the caller that changes their number */
};

struct workpool {
  struct mutex lock; /* rank WORKPOOL: everything below */
  struct cond work;  /* a job came, or the number of threads falls */
  struct job *jobs;
  struct worker *workers; /* owned */
  unsigned wanted;        /* while more are here, one that is idle leaves */
  unsigned here;          /* workers that have not left */
  atomic_uint idle;       /* also read without the lock, as a hint */
};

struct workpool *
workpool_create (void)
{
  struct workpool *wp = alloc_zeroed (CACHE_LINE, sizeof *wp);

  if (!wp)
    return NULL;
  mutex_init (&wp->lock, RANK_WORKPOOL);
  cond_init (&wp->work);
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
help_locked (struct workpool *wp, struct job *job) REQUIRES (wp->lock)
{
  job->helpers++;
  mutex_unlock (&wp->lock);
  run_chunks (job);
  mutex_lock (&wp->lock);
  /* The job may vanish as soon as the lock is dropped with no helper left. */
  if (--job->helpers == 0)
    cond_signal (&job->left);
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
  struct worker *self = arg;
  struct workpool *wp = self->wp;

  mutex_lock (&wp->lock);
  while (wp->here <= wp->wanted) {
    struct job *job = job_with_work_locked (wp);

    if (job)
      help_locked (wp, job);
    else {
      atomic_fetch_add (&wp->idle, 1);
      cond_wait (&wp->work, &wp->lock);
      atomic_fetch_sub (&wp->idle, 1);
    }
  }
  wp->here--;
  self->left = true;
  mutex_unlock (&wp->lock);
  return NULL;
}

/* Take the first worker that has left off the list, or (any) the first of all.
 */
static struct worker *
take_worker (struct workpool *wp, bool any)
{
  struct worker **at = &wp->workers, *w;

  mutex_lock (&wp->lock);
  while (*at && !any && !(*at)->left)
    at = &(*at)->next;
  w = *at;
  if (w)
    *at = w->next;
  mutex_unlock (&wp->lock);
  return w;
}

static void
join_workers (struct workpool *wp, bool all)
{
  struct worker *w;

  while ((w = take_worker (wp, all)) != NULL) {
    pthread_join (w->thread, NULL);
    free (w);
  }
}

static int
start_thread (struct workpool *wp)
{
  struct worker *w = alloc_zeroed (sizeof (void *), sizeof *w);
  int err;

  if (!w)
    return -1;
  w->wp = wp;
  mutex_lock (&wp->lock);
  wp->here++;
  mutex_unlock (&wp->lock);
  err = fault_hit ("workpool.thread")
          ? EAGAIN
          : pthread_create (&w->thread, NULL, worker, w);
  mutex_lock (&wp->lock);
  if (err)
    wp->here--;
  else {
    w->next = wp->workers;
    wp->workers = w;
  }
  mutex_unlock (&wp->lock);
  if (!err)
    return 0;
  free (w);
  errno = err;
  return -1;
}

/* How many are missing.  Workers that should leave and have not left yet, stay.
 */
static unsigned
want (struct workpool *wp, unsigned n)
{
  unsigned missing;

  mutex_lock (&wp->lock);
  wp->wanted = n;
  missing = wp->here < n ? n - wp->here : 0;
  cond_broadcast (&wp->work);
  mutex_unlock (&wp->lock);
  return missing;
}

int
workpool_set_threads (struct workpool *wp, unsigned n)
{
  check_always (n <= MAX_THREADS);
  unsigned missing = want (wp, n);

  join_workers (wp, false); /* they are at their last instruction */
  for (; missing > 0; missing--)
    if (start_thread (wp) == -1) {
      KEEP_ERRNO;

      (void) want (wp, n - missing);
      return -1;
    }
  return 0;
}

unsigned
workpool_threads (struct workpool *wp)
{
  unsigned n;

  mutex_lock (&wp->lock);
  n = wp->wanted;
  mutex_unlock (&wp->lock);
  return n;
}

unsigned
workpool_leaving (struct workpool *wp)
{
  unsigned n;

  mutex_lock (&wp->lock);
  n = wp->here > wp->wanted ? wp->here - wp->wanted : 0;
  mutex_unlock (&wp->lock);
  return n;
}

/* No request is shared any more, so each worker has finished its part: at the
 * server's end a request that it slept in fails at once.
 */
void
workpool_destroy (struct workpool *wp)
{
  KEEP_ERRNO;

  if (!wp)
    return;
  (void) want (wp, 0);
  join_workers (wp, true);
  cond_destroy (&wp->work);
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
  cond_init (&job.left);
  mutex_lock (&wp->lock);
  job.next = wp->jobs;
  wp->jobs = &job;
  if (wake > chunks - 1)
    wake = chunks - 1;
  while (wake--)
    cond_signal (&wp->work);
  mutex_unlock (&wp->lock);

  run_chunks (&job);

  mutex_lock (&wp->lock);
  unlist_locked (wp, &job);
  while (job.helpers)
    cond_wait (&job.left, &wp->lock);
  mutex_unlock (&wp->lock);
  cond_destroy (&job.left);
}
