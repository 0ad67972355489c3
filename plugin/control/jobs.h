/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Jobs: long work that is begun by one request and looked at by others.
 *
 *            jobs_begin              job thread
 *   (none) ------------> RUNNING ----------------> DONE | FAILED | CANCELLED
 *                           |                            |
 *                        current                kept: the last 16
 *
 * One at a time.  Ids count from 1 and are never used again.
 *
 * Locks: 'lock' (a leaf) protects current, taken_up, kept, ids and stop.  The
 * fields of the current job that change while it runs are atomics of
 * 'progress'.
 */

#ifndef ZRAM_JOBS_H
#define ZRAM_JOBS_H

#include "plugin/control/engine.h"
#include "zram-protocol.h"

enum job_kind {
  JOB_COMPACT,
  JOB_AUDIT,
  JOB_RESET,
  JOB_RECOMPRESS,
  JOB_TRAIN,
  JOB_WRITEBACK,
  JOB_KINDS
};
enum job_state { JOB_RUNNING, JOB_DONE, JOB_FAILED, JOB_CANCELLED };

/* What is to be done. */
struct job_request {
  enum job_kind kind;
  bool deep;            /* JOB_AUDIT: decompress everything */
  unsigned patience_ms; /* JOB_AUDIT, JOB_RESET: what they wait for what does
                         * not come to an end; 0: AUDIT_PATIENCE_MS */
  struct recompress_request recompress; /* JOB_RECOMPRESS */
  struct train_request train;           /* JOB_TRAIN */
  struct writeback_request writeback;   /* JOB_WRITEBACK */
};

struct job {
  uint64_t id; /* 0: none */
  struct job_request request;
  enum job_state state;
  uint64_t done, total;
  uint64_t elapsed_ms;                   /* so far, or in all */
  char message[320];                     /* what it did, or why it failed */
  struct compactor_result compacted;     /* JOB_COMPACT */
  struct recompress_totals recompressed; /* JOB_RECOMPRESS */
  struct train_result trained;           /* JOB_TRAIN */
  struct writeback_totals written;       /* JOB_WRITEBACK */
  uint64_t slots; /* JOB_AUDIT, JOB_RESET: looked at, freed */
  bool unsound;   /* JOB_AUDIT: something is wrong, as the message says */
};

/* NULL with errno set. */
struct jobs *jobs_create (struct engine *engine) MUST_USE;

/* Start the thread (after the last fork).  0, or -1 with errno set. */
int jobs_start (struct jobs *jobs) MUST_USE;

/* Cancel what runs, wait until it ends, and begin nothing any more.  An audit
 * heeds that within its step, a reset too; what sleeps in the backing store
 * ends because requests to it fail once the server stops, and what does not end
 * even so ends with the process (plugin/ending.h).
 */
void jobs_stop (struct jobs *jobs);
void jobs_destroy (struct jobs *jobs);

/* Returns the id; 0 and a reason in 'why' if another job runs.  If it begins,
 * the job frees the ranges of a writeback.
 */
uint64_t jobs_begin (struct jobs *jobs, const struct job_request *request,
                     char *why, size_t why_size) MUST_USE;

/* False if there is no such job, or not any more. */
bool jobs_get (struct jobs *jobs, uint64_t id, struct job *job) MUST_USE;

/* Ask the job to end soon; *heeded tells whether it will: a reset that was
 * begun goes on, and what has ended stays as it is.  False if there is no such
 * job.
 */
bool jobs_cancel (struct jobs *jobs, uint64_t id, bool *heeded) MUST_USE;

/* What the thread does when a job was begun; for tests without the thread.
 * Does nothing if there is none.
 */
void jobs_run_current (struct jobs *jobs);

const char *job_kind_name (enum job_kind kind);
const char *job_unit (enum job_kind kind); /* of done and total */
const char *job_state_name (enum job_state state);

/* Why a writeback ended before its last slot; NULL: it did not, or it was
 * cancelled.
 */
const char *job_stopped_by (const struct writeback_totals *t);

#endif /* ZRAM_JOBS_H */
