/* SPDX-License-Identifier: BSD-3-Clause */
/* Runs each kind of job, and describes its result.
 * Contract: plugin/control/job.h.
 */

#include <config.h>

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "base/error_text.h"
#include "plugin/control/job.h"
#include "zram-protocol.h"

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

/* Exists while a job runs. */
struct run {
  struct job *job;
  struct service *service;
  struct pass_progress *progress;
  const atomic_bool *stop;
};

static void
run_compact (struct run *run)
{
  struct job *job = run->job;
  struct compactor_result *r = &job->compacted;
  bool whole = by_hand_compact (run->service->upkeep, run->progress, r);

  job->state = whole ? JOB_DONE : JOB_CANCELLED;
  snprintf (job->message, sizeof job->message,
            "%" PRIu64 " pages freed, %" PRIu64 " objects and %" PRIu64
            " zspages moved",
            r->pages_freed, r->objects_moved, r->zspages_migrated);
}

/* -- audit --------------------------------------------------------------- */

static void
describe_audit (struct job *job, struct pass_progress *progress)
{
  uint64_t done = atomic_load (&progress->done);

  if (job->state == JOB_CANCELLED)
    snprintf (job->message, sizeof job->message,
              "nothing wrong in %" PRIu64 " slots", done);
  if (job->state != JOB_DONE)
    return;
  /* Requests that the audit waited for may have freed slots. */
  job->slots = done;
  atomic_store (&progress->total, done);
  snprintf (job->message, sizeof job->message,
            "%" PRIu64 " slots: everything fits together", done);
}

static void
run_audit (struct run *run)
{
  struct job *job = run->job;
  struct reason why = { "" };
  int r, err;

  job->slots = disk_sum (run->service->disk, DISK_SLOTS_STORED);
  atomic_store (&run->progress->total, job->slots);
  r = by_hand_audit (run->service->upkeep, job->request.deep,
                     job->request.patience_ms, run->progress, &why);
  err = errno;
  if (r == -1)
    snprintf (job->message, sizeof job->message, "%s", why.text);
  if (r == 0)
    job->state = JOB_DONE;
  else
    job->state = err == ECANCELED ? JOB_CANCELLED : JOB_FAILED;
  job->unsound = r == -1 && err == EBADMSG;
  describe_audit (job, run->progress);
}

/* -- reset --------------------------------------------------------------- */

/* How many slots a running reset has discarded so far.  Computed from the slots
 * that are left; clients may add to these meanwhile.
 */
static uint64_t
discarded (struct service *service, uint64_t total)
{
  int64_t left = counter_sum (&service->disk->counters, DISK_SLOTS_STORED);

  return left < 0 ? total : (uint64_t) left < total ? total - left : 0;
}

/* 'what' and 'locked': see by_hand_reset. */
static void
describe_reset (struct job *job, const char *what, uint64_t locked)
{
  if (what)
    snprintf (job->message, sizeof job->message, "%s; nothing was discarded",
              what);
  else if (locked)
    snprintf (job->message, sizeof job->message,
              "%" PRIu64 " slots are in use by requests that do not come to an "
              "end and were not discarded; all others were",
              locked);
  else
    snprintf (job->message, sizeof job->message, "%" PRIu64 " slots discarded",
              job->slots);
}

/* A reset that has begun is not cancelled, but it does not wait for ever: it
 * only waits for requests that sleep in the backing store with a slot locked.
 */
static void
run_reset (struct run *run)
{
  struct job *job = run->job;
  unsigned ms = job->request.patience_ms;
  const struct patience p = patience_ms (ms ? ms : AUDIT_PATIENCE_MS,
                                         run->stop);
  uint64_t locked = 0;
  const char *what;

  job->slots = disk_sum (run->service->disk, DISK_SLOTS_STORED);
  atomic_store (&run->progress->total, job->slots);
  what = by_hand_reset (run->service->upkeep, run->service->disk, &p, &locked);
  job->state = what || locked ? JOB_FAILED : JOB_DONE;
  if (locked)
    job->slots = discarded (run->service, job->slots);
  if (!what)
    atomic_store (&run->progress->done, job->slots);
  describe_reset (job, what, locked);
}

uint64_t
job_done (const struct job *job, struct service *service,
          struct pass_progress *progress)
{
  if (job->request.kind == JOB_RESET && job->state == JOB_RUNNING)
    return discarded (service, atomic_load (&progress->total));
  return atomic_load (&progress->done);
}

/* -- recompression and training ------------------------------------------ */

/* The state of a job that has ended; 'failed': with an error. */
static enum job_state
state_of (const struct run *run, bool failed)
{
  if (atomic_load (&run->progress->cancel))
    return JOB_CANCELLED;
  return failed ? JOB_FAILED : JOB_DONE;
}

static void
run_recompress (struct run *run)
{
  struct job *job = run->job;
  const struct recompress_totals *t = &job->recompressed;
  int r = by_hand_recompress (run->service->upkeep, &job->request.recompress,
                              run->progress, &job->recompressed);
  int err = r == -1 ? errno : t->error;

  job->state = state_of (run, err != 0);
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
run_train (struct run *run)
{
  struct job *job = run->job;
  struct reason why = { "" };
  int r = by_hand_train (run->service->upkeep, &job->request.train,
                         run->progress, &job->trained, &why);

  job->state = state_of (run, r == -1);
  if (r == -1)
    snprintf (job->message, sizeof job->message, "%s", why.text);
  if (job->state != JOB_FAILED)
    describe_training (&job->trained, job->message, sizeof job->message);
}

/* -- writeback ----------------------------------------------------------- */

const char *
job_stopped_by (const struct writeback_totals *t)
{
  if (t->error)
    return error_text (t->error);
  if (t->limit_reached)
    return "writeback_limit is used up";
  return t->backing_full ? "the backing store is full" : NULL;
}

/* A pass has only an errno; the backing store may know more. */
static void
describe_stop (struct store *store, const struct writeback_totals *t,
               struct reason *why)
{
  struct backing_stats io = { .down = false };

  if (t->error && store->backed)
    backing_get_stats (store->backed->io, &io);
  if (io.down)
    reason_set (why, "%s: the backing store cannot be reached: %s",
                job_stopped_by (t), io.trouble[BACKING_TROUBLE_LOST].why);
  else
    reason_set (why, "%s", job_stopped_by (t));
}

static void
run_writeback (struct run *run)
{
  struct job *job = run->job;
  struct writeback_totals *t = &job->written;
  struct reason why;

  if (by_hand_write_back (run->service->upkeep, &job->request.writeback,
                          run->progress, t) == -1)
    t->error = errno;
  job->state = state_of (run, job_stopped_by (t) != NULL);
  if (job->state == JOB_FAILED) {
    describe_stop (run->service->store, t, &why);
    snprintf (job->message, sizeof job->message,
              "%.320s (%" PRIu64 " slots written back until then)", why.text,
              t->written.slots);
  }
  else
    snprintf (job->message, sizeof job->message,
              "%" PRIu64 " slots written back, %" PRIu64
              " bytes of objects in %" PRIu64 " bytes of the store; %" PRIu64
              " changed meanwhile, %" PRIu64 " failed",
              t->written.slots, t->written.bytes, t->written.backing_bytes,
              t->written.lost, t->written.failed);
}

/* -- any job ------------------------------------------------------------ */

void
job_run (struct job *job, struct service *service,
         struct pass_progress *progress, const atomic_bool *stop)
{
  static void (*const work[]) (struct run *) = {
    [JOB_COMPACT] = run_compact, [JOB_AUDIT] = run_audit,
    [JOB_RESET] = run_reset,     [JOB_RECOMPRESS] = run_recompress,
    [JOB_TRAIN] = run_train,     [JOB_WRITEBACK] = run_writeback,
  };
  struct run run = { job, service, progress, stop };

  work[job->request.kind](&run);
}
