/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A job: what is asked for, what it found, and how that is said.  The work
 * itself is the upkeep's (maint/by_hand.h); when it is done is jobs.h's.
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
  char message[sizeof (struct reason)];  /* what it did, or why it failed */
  struct compactor_result compacted;     /* JOB_COMPACT */
  struct recompress_totals recompressed; /* JOB_RECOMPRESS */
  struct train_result trained;           /* JOB_TRAIN */
  struct writeback_totals written;       /* JOB_WRITEBACK */
  uint64_t slots; /* JOB_AUDIT, JOB_RESET: looked at, freed */
  bool unsound;   /* JOB_AUDIT: something is wrong, as the message says */
};

/* Do it, in the calling thread: sets its state, its message and its results.
 * 'progress' says how far it is; *stop, when the server ends, also ends the
 * patience of what is not cancelled.
 */
void job_run (struct job *job, struct service *service,
              struct pass_progress *progress, const atomic_bool *stop);

/* How far it is, of 'total', while job_run is at it. */
uint64_t job_done (const struct job *job, struct service *service,
                   struct pass_progress *progress);

const char *job_kind_name (enum job_kind kind);
const char *job_unit (enum job_kind kind); /* of done and total */
const char *job_state_name (enum job_state state);

/* Why a writeback ended before its last slot; NULL: it did not, or it was
 * cancelled.
 */
const char *job_stopped_by (const struct writeback_totals *t);

#endif /* ZRAM_JOB_H */
