/* SPDX-License-Identifier: BSD-3-Clause */

#include <config.h>

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/error_text.h"
#include "base/clock.h"
#include "base/keep_errno.h"
#include "base/mutex.h"
#include "maint/deep_reader.h"
#include "plugin/control/jobs.h"
#include "plugin/control/thread.h"
#include "store/audit.h"
#include "store/reset.h"

struct jobs {
  struct engine *engine; /* not owned */
  struct mutex lock;
  struct cond begun;
  struct job current;              /* while its state is RUNNING */
  bool taken_up;                   /* current: the thread is at it */
  struct pass_progress progress;   /* of current */
  uint64_t started_ns;             /* current */
  struct job kept[ZRAM_JOBS_KEPT]; /* job n at n % ZRAM_JOBS_KEPT */
  uint64_t last_id;
  atomic_bool stop;           /* written under lock */
  struct deep_reader *reader; /* the thread's own; NULL until it is needed */
  bool started;
  pthread_t thread;
};

const char *
job_kind_name (enum job_kind kind)
{
  static const char *const names[] = {
    [JOB_COMPACT] = "compact", [JOB_AUDIT] = "audit",
    [JOB_RESET] = "reset",     [JOB_RECOMPRESS] = "recompress",
    [JOB_TRAIN] = "train",     [JOB_WRITEBACK] = "writeback",
  };

  return names[kind];
}

const char *
job_unit (enum job_kind kind)
{
  return kind == JOB_COMPACT ? "pages" : "slots";
}

const char *
job_state_name (enum job_state state)
{
  static const char *const names[] = { ZRAM_JOB_RUNNING, ZRAM_JOB_DONE,
                                       ZRAM_JOB_FAILED, ZRAM_JOB_CANCELLED };

  return names[state];
}

/* -- the work, without the lock ----------------------------------------- */

/* What is done by hand is meant for all that was written. */
static void
empty_buffer (struct jobs *jobs)
{
  struct pace pace;

  pace_init (&pace, jobs->engine->store, NULL, 100, PACE_BUSY_PERCENT);
  drainer_empty (jobs->engine->store, &pace, &jobs->progress.cancel);
}

/* Who asks for it wants the memory now, so what the pool keeps for reuse goes
 * too.
 */
static void
run_compact (struct jobs *jobs, struct job *job)
{
  struct compactor_result *r = &job->compacted;
  bool whole;

  empty_buffer (jobs);
  whole = compactor_run_watched (jobs->engine->compactor, &jobs->progress, r);
  pool_give_back (jobs->engine->store->pool);
  job->state = whole ? JOB_DONE : JOB_CANCELLED;
  snprintf (job->message, sizeof job->message,
            "%" PRIu64 " pages freed, %" PRIu64 " objects and %" PRIu64
            " zspages moved",
            r->pages_freed, r->objects_moved, r->zspages_migrated);
}

/* -- holding passes ------------------------------------------------------ */

/* From here to resume a recompression by itself comes to an end, and no other
 * begins.
 */
static void
pause_policy (struct jobs *jobs)
{
  recompress_policy_pause (&jobs->engine->recompress_policy);
}

static void
resume_policy (struct jobs *jobs)
{
  recompress_policy_resume (&jobs->engine->recompress_policy);
}

static bool
recompression_ended (struct engine *e, const struct patience *p)
{
  while (recompressor_is_running (e->recompressor))
    if (!patience_nap (p))
      return false;
  return true;
}

static void
unhold_passes (struct engine *e) NO_THREAD_SAFETY_ANALYSIS
{
  recompressor_unhold (e->recompressor);
  compactor_unhold (e->compactor);
  mutex_unlock (&e->store->settings);
}

/* Nothing is changed meanwhile that the auditor compares, and no pass holds
 * copies of objects; but for what takes slots to the store, which see.  NULL,
 * or what did not come to an end, and nothing is held.  The policy is paused.
 */
static const char *
hold_passes (struct engine *e, const struct patience *p)
  NO_THREAD_SAFETY_ANALYSIS
{
  if (!recompression_ended (e, p))
    return "a recompression does not come to an end";
  if (!mutex_lock_patiently (&e->store->settings, NULL, p))
    return "a change of the settings does not come to an end";
  if (!compactor_hold_patiently (e->compactor, p)) {
    mutex_unlock (&e->store->settings);
    return "a compaction does not come to an end";
  }
  if (!recompressor_hold_patiently (e->recompressor, p)) {
    compactor_unhold (e->compactor);
    mutex_unlock (&e->store->settings);
    return "a recompression does not come to an end";
  }
  return NULL;
}

static void
unhold_store (struct engine *e) NO_THREAD_SAFETY_ANALYSIS
{
  if (!e->store->backed)
    return;
  if (e->evictor)
    evictor_unhold (e->evictor);
  writeback_unhold (&e->writeback);
}

static const char *
hold_store (struct engine *e, const struct patience *p)
  NO_THREAD_SAFETY_ANALYSIS
{
  static const char silent[] = "the backing store does not answer";

  if (!e->store->backed)
    return NULL;
  if (!writeback_hold_patiently (&e->writeback, p))
    return silent;
  if (!e->evictor || evictor_hold_patiently (e->evictor, p))
    return NULL;
  writeback_unhold (&e->writeback);
  return silent;
}

/* -- audit --------------------------------------------------------------- */

struct audit {
  struct jobs *jobs;
  struct pace pace;
  unsigned requests; /* that the reader made since the last rest */
};

static void
unhold_all (void *ctx)
{
  struct engine *e = ((struct audit *) ctx)->jobs->engine;

  drain_unhold (e->store);
  unhold_store (e);
  unhold_passes (e);
}

/* A reset needs less: what is under way to the store is found to be of no use
 * any more.
 */
static const char *
hold_all (void *ctx, const struct patience *p)
{
  struct engine *e = ((struct audit *) ctx)->jobs->engine;
  const char *what = hold_passes (e, p);

  if (what)
    return what;
  what = hold_store (e, p);
  if (!what) {
    if (drain_hold_patiently (e->store, p))
      return NULL;
    what = "the write buffer's draining does not come to an end";
    unhold_store (e);
  }
  unhold_passes (e);
  return what;
}

/* There is none before a deep audit; it stays, perhaps in a read that nobody
 * waits for any more.
 */
static int
read_slot (void *ctx, struct disk *disk, uint64_t index, void *buf,
           const struct patience *p)
{
  struct audit *a = ctx;
  struct jobs *jobs = a->jobs;

  if (!jobs->reader)
    jobs->reader = deep_reader_create (jobs->engine->store);
  if (!jobs->reader)
    return -1;
  return deep_reader_read (jobs->reader, disk, index, buf, p, &a->requests);
}

static uint64_t
rest (void *ctx, uint64_t since)
{
  struct audit *a = ctx;

  pace_forgive (&a->pace, a->requests);
  a->requests = 0;
  pace_step (&a->pace, clock_ns () - since);
  return clock_ns ();
}

static void
describe_audit (struct jobs *jobs, struct job *job)
{
  uint64_t done = atomic_load (&jobs->progress.done);

  if (job->state == JOB_CANCELLED)
    snprintf (job->message, sizeof job->message,
              "nothing wrong in %" PRIu64 " slots", done);
  if (job->state != JOB_DONE)
    return;
  /* Some may have been freed by requests that it waited for. */
  job->slots = done;
  atomic_store (&jobs->progress.total, done);
  snprintf (job->message, sizeof job->message,
            "%" PRIu64 " slots: everything fits together", done);
}

static void
run_audit (struct jobs *jobs, struct job *job)
{
  struct disk *disk = jobs->engine->disk;
  struct audit a = { .jobs = jobs };
  const struct audit_watch watch = { .done = &jobs->progress.done,
                                     .cancel = &jobs->progress.cancel,
                                     .hold = hold_all,
                                     .unhold = unhold_all,
                                     .read = read_slot,
                                     .rest = rest,
                                     .ctx = &a,
                                     .patience_ms = job->request.patience_ms };
  int r;

  pace_init (&a.pace, jobs->engine->store, NULL, 100, PACE_BUSY_PERCENT);
  job->slots = disk_sum (disk, DISK_SLOTS_STORED);
  atomic_store (&jobs->progress.total, job->slots);
  pause_policy (jobs);
  r = store_audit_live (disk->store, job->request.deep, &watch, job->message,
                        sizeof job->message);
  int err = errno;
  resume_policy (jobs);
  if (r == 0)
    job->state = JOB_DONE;
  else
    job->state = err == ECANCELED ? JOB_CANCELLED : JOB_FAILED;
  job->unsound = r == -1 && err == EBADMSG;
  describe_audit (jobs, job);
}

/* -- reset --------------------------------------------------------------- */

/* What a reset that runs has discarded: seen in what is left, which clients
 * may add to meanwhile.
 */
static uint64_t
discarded (struct jobs *jobs, uint64_t total)
{
  int64_t left = counter_sum (&jobs->engine->disk->counters, DISK_SLOTS_STORED);

  return left < 0 ? total : (uint64_t) left < total ? total - left : 0;
}

static void
reset (struct jobs *jobs, struct job *job, const struct patience *p)
{
  struct engine *e = jobs->engine;
  const char *what = hold_passes (e, p);
  uint64_t locked;

  if (what) {
    job->state = JOB_FAILED;
    snprintf (job->message, sizeof job->message, "%s; nothing was discarded",
              what);
    return;
  }
  locked = disk_reset_patiently (e->disk, p);
  unhold_passes (e);
  if (!locked) {
    atomic_store (&jobs->progress.done, job->slots);
    job->state = JOB_DONE;
    snprintf (job->message, sizeof job->message, "%" PRIu64 " slots discarded",
              job->slots);
    return;
  }
  job->slots = discarded (jobs, job->slots);
  atomic_store (&jobs->progress.done, job->slots);
  job->state = JOB_FAILED;
  snprintf (job->message, sizeof job->message,
            "%" PRIu64 " slots are in use by requests that do not come to an "
            "end and were not discarded; all others were",
            locked);
}

/* Once begun it is not cancelled, but it does not wait for ever: what it would
 * wait for is a request that sleeps in the backing store with a slot locked.
 */
static void
run_reset (struct jobs *jobs, struct job *job)
{
  unsigned ms = job->request.patience_ms;
  const struct patience p = patience_ms (ms ? ms : AUDIT_PATIENCE_MS,
                                         &jobs->stop);

  job->slots = disk_sum (jobs->engine->disk, DISK_SLOTS_STORED);
  atomic_store (&jobs->progress.total, job->slots);
  pause_policy (jobs);
  reset (jobs, job, &p);
  resume_policy (jobs);
}

/* -- recompression, training, writeback ---------------------------------- */

/* A pass that runs by itself makes way. */
static int
recompress (struct jobs *jobs, struct job *job)
{
  struct engine *e = jobs->engine;
  struct pace pace;
  int r;

  recompress_policy_pause (&e->recompress_policy);
  for (;;) {
    pace_init (&pace, e->store, NULL, 100, PACE_BUSY_PERCENT);
    r = recompressor_run (e->recompressor, &job->request.recompress, &pace,
                          &jobs->progress, &job->recompressed);
    if (r == 0 || errno != EBUSY || atomic_load (&jobs->progress.cancel))
      break;
    usleep (1000);
  }
  KEEP_ERRNO;
  recompress_policy_resume (&e->recompress_policy);
  return r;
}

static void
run_recompress (struct jobs *jobs, struct job *job)
{
  const struct recompress_totals *t = &job->recompressed;

  empty_buffer (jobs);
  int r = recompress (jobs, job), err = r == -1 ? errno : t->error;

  if (atomic_load (&jobs->progress.cancel))
    job->state = JOB_CANCELLED;
  else
    job->state = err ? JOB_FAILED : JOB_DONE;
  if (job->state == JOB_FAILED)
    snprintf (job->message, sizeof job->message,
              "%s (%" PRIu64 " slots recompressed until then)",
              err == EINVAL ? "there is no such method any more"
                            : error_text (err),
              t->recompressed);
  else
    snprintf (job->message, sizeof job->message,
              "%" PRIu64 " slots recompressed, %" PRIu64 " bytes won; %" PRIu64
              " in vain, %" PRIu64 " changed meanwhile, %" PRIu64 " failed",
              t->recompressed, t->bytes_won, t->vain, t->lost, t->failed);
}

/* "zstd: 12.1 % less, saves … bytes: installed; lz4: …" */
static void
describe_training (const struct train_result *t, char *buf, size_t size)
{
  size_t len = 0;

  buf[0] = '\0';
  for (unsigned i = 0; i < t->n && len < size; i++) {
    const struct train_gain *g = &t->gains[i];
    double less = g->before ? 100 * (1 - (double) g->after / (double) g->before)
                            : 0;

    len += (size_t) snprintf (
      buf + len, size - len,
      "%s%s: %.1f %% less, saves %" PRIu64 " and costs %" PRIu64 " bytes: %s",
      i ? "; " : "", g->codec->name, less, g->saves, g->costs,
      g->installed ? "installed" : "does not pay");
  }
}

static void
run_train (struct jobs *jobs, struct job *job)
{
  struct engine *e = jobs->engine;

  empty_buffer (jobs);
  int r = dictionary_train (e->store, e->recompressor, &job->request.train,
                            &jobs->progress, &job->trained, job->message,
                            sizeof job->message);

  if (atomic_load (&jobs->progress.cancel))
    job->state = JOB_CANCELLED;
  else
    job->state = r == -1 ? JOB_FAILED : JOB_DONE;
  if (job->state != JOB_FAILED)
    describe_training (&job->trained, job->message, sizeof job->message);
}

const char *
job_stopped_by (const struct writeback_totals *t)
{
  if (t->error)
    return error_text (t->error);
  if (t->limit_reached)
    return "writeback_limit is used up";
  return t->store_full ? "the backing store is full" : NULL;
}

/* An errno is all that a pass has; the store may know more. */
static void
describe_stop (struct engine *e, const struct writeback_totals *t, char *buf,
               size_t size)
{
  struct backing_stats io = { .down = false };

  if (t->error && e->store->backed)
    backing_get_stats (e->store->backed->io, &io);
  if (io.down)
    snprintf (buf, size, "%s: the backing store cannot be reached: %s",
              job_stopped_by (t), io.trouble[BACKING_TROUBLE_LOST].why);
  else
    snprintf (buf, size, "%s", job_stopped_by (t));
}

static void
run_writeback (struct jobs *jobs, struct job *job)
{
  struct engine *e = jobs->engine;
  struct writeback_totals *t = &job->written;
  char why[240];
  struct pace pace;

  empty_buffer (jobs);
  pace_init (&pace, e->store, NULL, 100, PACE_BUSY_PERCENT);
  if (writeback_run (&e->writeback, &job->request.writeback, &pace,
                     &jobs->progress, t) == -1)
    t->error = errno;
  if (atomic_load (&jobs->progress.cancel))
    job->state = JOB_CANCELLED;
  else
    job->state = job_stopped_by (t) ? JOB_FAILED : JOB_DONE;
  if (job->state == JOB_FAILED) {
    describe_stop (e, t, why, sizeof why);
    snprintf (job->message, sizeof job->message,
              "%s (%" PRIu64 " slots written back until then)", why,
              t->written.slots);
  }
  else
    snprintf (job->message, sizeof job->message,
              "%" PRIu64 " slots written back, %" PRIu64
              " bytes of objects in %" PRIu64 " bytes of the store; %" PRIu64
              " changed meanwhile, %" PRIu64 " failed",
              t->written.slots, t->written.bytes, t->written.store_bytes,
              t->written.lost, t->written.failed);
}

/* -- the current job ---------------------------------------------------- */

static void
look_at_progress (struct jobs *jobs, struct job *job)
{
  job->total = atomic_load (&jobs->progress.total);
  if (job->request.kind == JOB_RESET && job->state == JOB_RUNNING)
    job->done = discarded (jobs, job->total);
  else
    job->done = atomic_load (&jobs->progress.done);
  if (job->done > job->total) /* more came while it went on */
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
  static void (*const run[]) (struct jobs *, struct job *) = {
    [JOB_COMPACT] = run_compact, [JOB_AUDIT] = run_audit,
    [JOB_RESET] = run_reset,     [JOB_RECOMPRESS] = run_recompress,
    [JOB_TRAIN] = run_train,     [JOB_WRITEBACK] = run_writeback,
  };
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
    run[job.request.kind](jobs, &job);
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
jobs_begin (struct jobs *jobs, const struct job_request *request, char *why,
            size_t why_size)
{
  uint64_t id = 0;

  mutex_lock (&jobs->lock);
  if (jobs->stop)
    snprintf (why, why_size, "the server is about to end");
  else if (jobs->current.id)
    snprintf (why, why_size, "job %" PRIu64 " (%s) is running",
              jobs->current.id, job_kind_name (jobs->current.request.kind));
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
jobs_create (struct engine *engine)
{
  struct jobs *jobs = calloc (1, sizeof *jobs);

  if (!jobs)
    return NULL;
  jobs->engine = engine;
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
  deep_reader_destroy (jobs->reader);
  jobs->reader = NULL;
}

void
jobs_destroy (struct jobs *jobs)
{
  if (!jobs)
    return;
  jobs_stop (jobs);
  free_ranges (&jobs->current.request); /* it was never taken up */
  cond_destroy (&jobs->begun);
  mutex_destroy (&jobs->lock);
  free (jobs);
}
