/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Jobs: long work that one request begins and other requests look at.
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

#include "plugin/control/job.h"
#include "zram-protocol.h"

/* NULL with errno set. */
struct jobs *jobs_create (struct service *service) MUST_USE;

/* Start the thread; call it after the last fork.  0, or -1 with errno set. */
int jobs_start (struct jobs *jobs) MUST_USE;

/* Cancel the running job, wait until it ends, and begin no more.  An audit or a
 * reset ends within its current step.  A job that sleeps in the backing store
 * ends because its requests fail once the server stops.  A job that does not
 * end even then ends with the process (plugin/ending.h).
 */
void jobs_stop (struct jobs *jobs);
void jobs_destroy (struct jobs *jobs);

/* Returns the id; 0 and a reason in 'why' if another job runs.  A job that
 * begins takes over the ranges of a writeback and frees them.
 */
uint64_t jobs_begin (struct jobs *jobs, const struct job_request *request,
                     struct reason *why) MUST_USE;

/* False if there is no such job, or it is no longer kept. */
bool jobs_get (struct jobs *jobs, uint64_t id, struct job *job) MUST_USE;

/* Ask the job to end soon.  *heeded tells whether it will: a reset that has
 * begun goes on, and a job that has ended does not change.  False if there is
 * no such job.
 */
bool jobs_cancel (struct jobs *jobs, uint64_t id, bool *heeded) MUST_USE;

/* The thread calls this for each job that was begun; tests call it without the
 * thread.  Does nothing if there is no job.
 */
void jobs_run_current (struct jobs *jobs);

#endif /* ZRAM_JOBS_H */
