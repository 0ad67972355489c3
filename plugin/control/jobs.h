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

#include "plugin/control/job.h"
#include "zram-protocol.h"

/* NULL with errno set. */
struct jobs *jobs_create (struct service *service) MUST_USE;

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
                     struct reason *why) MUST_USE;

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

#endif /* ZRAM_JOBS_H */
