/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A job: its request, its results, and the words for them.  maint/by_hand.h
 * does the work itself; jobs.h decides when it runs.
 */

#ifndef ZRAM_JOB_H
#define ZRAM_JOB_H

#include "maint/by_hand.h"
#include "plugin/control/service.h"

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

/* The work to be done. */
struct job_request {
  enum job_kind kind;
  bool deep;            /* JOB_AUDIT: decompress everything */
  unsigned patience_ms; /* JOB_AUDIT, JOB_RESET: how long they wait for
                         * work that does not end; 0: AUDIT_PATIENCE_MS */
  struct recompress_request recompress; /* JOB_RECOMPRESS */
  struct train_request train;           /* JOB_TRAIN */
  struct writeback_request writeback;   /* JOB_WRITEBACK */
};

struct job {
  uint64_t id; /* 0: none */
  struct job_request request;
  enum job_state state;
  uint64_t done, total;
  uint64_t elapsed_ms;                   /* so far, or in total */
  char message[sizeof (struct reason)];  /* its results, or why it failed */
  struct compactor_result compacted;     /* JOB_COMPACT */
  struct recompress_totals recompressed; /* JOB_RECOMPRESS */
  struct train_result trained;           /* JOB_TRAIN */
  struct writeback_totals written;       /* JOB_WRITEBACK */
  uint64_t slots; /* JOB_AUDIT: checked; JOB_RESET: freed */
  bool unsound;   /* JOB_AUDIT: the message says what is wrong */
};

/* Run the job in the calling thread: sets its state, its message and its
 * results.  'progress' is updated while it runs.  *stop is set when the server
 * ends; it also ends waits of jobs that cannot be cancelled.
 */
void job_run (struct job *job, struct service *service,
              struct pass_progress *progress, const atomic_bool *stop);

/* How much of 'total' is done, while job_run runs. */
uint64_t job_done (const struct job *job, struct service *service,
                   struct pass_progress *progress);

const char *job_kind_name (enum job_kind kind);
const char *job_unit (enum job_kind kind); /* of job_done and 'total' */
const char *job_state_name (enum job_state state);

/* Why a writeback ended before its last slot; NULL: it did not, or it was
 * cancelled.
 */
const char *job_stopped_by (const struct writeback_totals *t);

#endif /* ZRAM_JOB_H */
