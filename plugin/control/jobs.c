/* SPDX-License-Identifier: BSD-3-Clause */
/* The job thread, the current job, and the jobs that ended.
 * Contract: plugin/control/jobs.h.
 */

#include <config.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/mutex.h"
#include "plugin/control/jobs.h"
#include "plugin/control/thread.h"

struct jobs {
  struct service *service; /* not owned */
  struct mutex lock;
  struct cond begun;
  struct job current;              /* its state is RUNNING, or there is none */
  bool taken_up;                   /* current: the thread has begun it */
  struct pass_progress progress;   /* of current */
  uint64_t started_ns;             /* current */
  struct job kept[ZRAM_JOBS_KEPT]; /* job n at n % ZRAM_JOBS_KEPT */
  uint64_t last_id;
  atomic_bool stop; /* written under lock */
  bool started;
  pthread_t thread;
};

/* -- the current job ---------------------------------------------------- */

static void
look_at_progress (struct jobs *jobs, struct job *job)
{
  job->total = atomic_load (&jobs->progress.total);
  job->done = job_done (job, jobs->service, &jobs->progress);
  if (job->done > job->total) /* clients added slots meanwhile */
    job->total = job->done;
  job->elapsed_ms = (clock_ns () - jobs->started_ns) / 1000000;
}

static void
free_ranges (struct job_request *request)
{
  free ((void *) (uintptr_t) request->writeback.ranges);
  request->writeback.ranges = NULL;
  request->writeback.ranges_count = 0;
}

void
jobs_run_current (struct jobs *jobs)
{
  struct job job;
  bool cancelled;

  mutex_lock (&jobs->lock);
  job = jobs->current;
  jobs->taken_up = true;
  cancelled = atomic_load (&jobs->progress.cancel);
  mutex_unlock (&jobs->lock);
  if (!job.id)
    return;

  if (cancelled) {
    job.state = JOB_CANCELLED;
    snprintf (job.message, sizeof job.message, "nothing done");
  }
  else
    job_run (&job, jobs->service, &jobs->progress, &jobs->stop);
  free_ranges (&job.request);

  mutex_lock (&jobs->lock);
  look_at_progress (jobs, &job);
  jobs->kept[job.id % ZRAM_JOBS_KEPT] = job;
  jobs->current = (struct job){ .id = 0 };
  mutex_unlock (&jobs->lock);
}

static void *
job_thread (void *arg)
{
  struct jobs *jobs = arg;

  mutex_lock (&jobs->lock);
  while (!jobs->stop) {
    if (jobs->current.id) {
      mutex_unlock (&jobs->lock);
      jobs_run_current (jobs);
      mutex_lock (&jobs->lock);
    }
    else
      cond_wait (&jobs->begun, &jobs->lock);
  }
  mutex_unlock (&jobs->lock);
  return NULL;
}

uint64_t
jobs_begin (struct jobs *jobs, const struct job_request *request,
            struct reason *why)
{
  uint64_t id = 0;

  mutex_lock (&jobs->lock);
  if (jobs->stop)
    reason_set (why, "the server is about to end");
  else if (jobs->current.id)
    reason_set (why, "job %" PRIu64 " (%s) is running", jobs->current.id,
                job_kind_name (jobs->current.request.kind));
  else {
    id = ++jobs->last_id;
    jobs->current = (struct job){ .id = id, .request = *request };
    jobs->taken_up = false;
    jobs->started_ns = clock_ns ();
    atomic_store (&jobs->progress.done, 0);
    atomic_store (&jobs->progress.total, 0);
    atomic_store (&jobs->progress.cancel, false);
    cond_signal (&jobs->begun);
  }
  mutex_unlock (&jobs->lock);
  return id;
}

bool
jobs_get (struct jobs *jobs, uint64_t id, struct job *job)
{
  bool found = id != 0;

  mutex_lock (&jobs->lock);
  if (found && jobs->current.id == id) {
    *job = jobs->current;
    look_at_progress (jobs, job);
  }
  else if (found && jobs->kept[id % ZRAM_JOBS_KEPT].id == id)
    *job = jobs->kept[id % ZRAM_JOBS_KEPT];
  else
    found = false;
  mutex_unlock (&jobs->lock);
  return found;
}

bool
jobs_cancel (struct jobs *jobs, uint64_t id, bool *heeded)
{
  bool found = id != 0;

  *heeded = false;
  mutex_lock (&jobs->lock);
  if (found && jobs->current.id == id) {
    atomic_store (&jobs->progress.cancel, true);
    *heeded = !jobs->taken_up || jobs->current.request.kind != JOB_RESET;
  }
  else
    found = found && jobs->kept[id % ZRAM_JOBS_KEPT].id == id;
  mutex_unlock (&jobs->lock);
  return found;
}

/* -- life --------------------------------------------------------------- */

struct jobs *
jobs_create (struct service *service)
{
  struct jobs *jobs = calloc (1, sizeof *jobs);

  if (!jobs)
    return NULL;
  jobs->service = service;
  mutex_init (&jobs->lock, RANK_LEAF);
  cond_init (&jobs->begun);
  return jobs;
}

int
jobs_start (struct jobs *jobs)
{
  if (control_thread_start (&jobs->thread, job_thread, jobs) == -1)
    return -1;
  jobs->started = true;
  return 0;
}

void
jobs_stop (struct jobs *jobs)
{
  mutex_lock (&jobs->lock);
  atomic_store (&jobs->stop, true);
  atomic_store (&jobs->progress.cancel, true);
  cond_signal (&jobs->begun);
  mutex_unlock (&jobs->lock);
  if (jobs->started)
    pthread_join (jobs->thread, NULL);
  jobs->started = false;
}

void
jobs_destroy (struct jobs *jobs)
{
  if (!jobs)
    return;
  jobs_stop (jobs);
  free_ranges (&jobs->current.request); /* the thread had not begun it */
  cond_destroy (&jobs->begun);
  mutex_destroy (&jobs->lock);
  free (jobs);
}
