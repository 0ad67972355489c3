/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The verbs of the control socket, which JSON-RPC calls methods.
 *
 *   verbs.c             the table: names, parameters, and which are slow
 *   verbs_query.c       look, and change nothing
 *   verbs_set.c         marks, limits, algorithm, workers
 *   verbs_recompress.c  how and when slots are recompressed
 *   verbs_backing.c     the backing store: writeback, eviction
 *   verbs_job.c         begin long work, look at it, cancel it
 *
 * To add one: write the function, and give it a line in the table, a constant
 * in zram-protocol.h and an example in docs/protocol.md (which a test runs).
 *
 * Verbs that are not slow run in the event loop: they take no lock that is
 * ever held for long, and do not walk over the disk.
 */

#ifndef ZRAM_VERBS_H
#define ZRAM_VERBS_H

#include "plugin/control/rpc.h"

/* NULL if no verb has that name. */
const struct verb *verb_find (const char *name);

/* The nth, from 0; NULL after the last. */
const struct verb *verb_at (unsigned n);

typedef void verb_run (struct service *service, const json_t *params,
                       struct reply *r);

verb_run run_version, run_stats, run_classes, run_block_state, run_map,
  run_latency, run_metrics;
verb_run run_idle, run_mem_limit, run_mem_used_max, run_algorithm,
  run_write_buffer, run_workers, run_auto_recompress, run_recomp_algorithm;
verb_run run_compact, run_audit, run_reset, run_recompress, run_train, run_job,
  run_job_cancel;
verb_run run_writeback, run_writeback_limit, run_evict, run_promote;

/* The secondary compression methods, for answers.  Takes no lock that is held
 * for long.
 */
json_t *recomp_methods (struct service *s);

/* Answers with the job's number; false, and an error in the answer, if another
 * job runs.
 */
struct job_request;
bool begin_job (struct service *s, const struct job_request *request,
                struct reply *r);

/* Takes store->settings; false, and an error in the answer, if a job holds it.
 */
bool settings_trylock (struct service *s, struct reply *r)
  TRY_ACQUIRE (true, s->store->settings) MUST_USE;

#endif /* ZRAM_VERBS_H */
