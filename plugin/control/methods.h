/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The JSON-RPC methods of the control socket.
 *
 *   methods.c         the table: names, parameters, and which are slow
 *   methods_query.c   look, and change nothing
 *   methods_set.c     marks, limits, algorithm, workers
 *   methods_recomp.c  how and when slots are recompressed
 *   methods_store.c   the backing store: writeback, eviction
 *   methods_job.c     begin long work, look at it, cancel it
 *
 * To add one: write the function, and give it a line in the table, a constant
 * in zram-protocol.h and an example in docs/protocol.md (which a test runs).
 *
 * Methods that are not slow run in the event loop: they take no lock that is
 * ever held for long, and do not walk over the disk.
 */

#ifndef ZRAM_METHODS_H
#define ZRAM_METHODS_H

#include "plugin/control/rpc.h"

/* NULL if no method has that name. */
const struct method *method_find (const char *name);

/* The nth, from 0; NULL after the last. */
const struct method *method_at (unsigned n);

typedef void method_run (struct service *service, const json_t *params,
                         struct reply *r);

method_run run_version, run_stats, run_classes, run_block_state, run_map,
  run_latency, run_metrics;
method_run run_idle, run_mem_limit, run_mem_used_max, run_algorithm,
  run_write_buffer, run_workers, run_auto_recompress, run_recomp_algorithm;
method_run run_compact, run_audit, run_reset, run_recompress, run_train,
  run_job, run_job_cancel;
method_run run_writeback, run_writeback_limit, run_evict, run_promote;

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

#endif /* ZRAM_METHODS_H */
