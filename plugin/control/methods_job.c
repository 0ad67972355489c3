/* SPDX-License-Identifier: BSD-3-Clause */

#include <config.h>

#include <inttypes.h>

#include "plugin/control/jobs.h"
#include "plugin/control/methods.h"

static void
begin (struct engine *e, enum job_kind kind, bool deep, struct reply *r)
{
  char why[120];
  uint64_t id = jobs_begin (e->jobs, kind, deep, why, sizeof why);

  if (id)
    text_printf (r->result, "{\"job\":%" PRIu64 "}", id);
  else
    reply_error (r, ZRAM_ERROR_REFUSED, "%s", why);
}

void
run_compact (struct engine *e, const json_t *params, struct reply *r)
{
  (void) params;
  begin (e, JOB_COMPACT, false, r);
}

void
run_audit (struct engine *e, const json_t *params, struct reply *r)
{
  bool deep;

  if (params_flag (r, params, "deep", &deep))
    begin (e, JOB_AUDIT, deep, r);
}

void
run_reset (struct engine *e, const json_t *params, struct reply *r)
{
  unsigned clients = atomic_load (&e->clients);
  bool force;

  if (!params_flag (r, params, "force", &force))
    return;
  if (clients && !force)
    reply_error (r, ZRAM_ERROR_REFUSED,
                 "%u NBD client%s connected and would lose %s data (force: "
                 "reset all the same)",
                 clients, clients == 1 ? " is" : "s are",
                 clients == 1 ? "its" : "their");
  else
    begin (e, JOB_RESET, false, r);
}

/* -- looking at one ----------------------------------------------------- */

/* clang-format off: a name and its value a line */
static json_t *
result_of (const struct job *job)
{
  const struct compactor_result *c = &job->compacted;

  if (job->state == JOB_RUNNING)
    return json_null ();
  if (job->kind == JOB_COMPACT)
    return json_pack ("{s:I, s:I, s:I, s:I}", "pages_freed",
                      (json_int_t) c->pages_freed, "objects_moved",
                      (json_int_t) c->objects_moved, "zspages_migrated",
                      (json_int_t) c->zspages_migrated, "leaves_freed",
                      (json_int_t) c->leaves_freed);
  if (job->kind == JOB_AUDIT)
    return json_pack ("{s:b, s:b, s:I}", "sound", job->state == JOB_DONE,
                      "deep", job->deep, "slots", (json_int_t) job->slots);
  return json_pack ("{s:I}", "slots", (json_int_t) job->slots);
}

static json_t *
json_of (const struct job *job)
{
  json_t *total = job->total_known ? json_integer ((json_int_t) job->total)
                                   : json_null ();

  return json_pack (
    "{s:I, s:s, s:s, s:I, s:o, s:s, s:I, s:s, s:o}", "id", (json_int_t) job->id,
    "kind", job_kind_name (job->kind), "state", job_state_name (job->state),
    "done", (json_int_t) job->done, "total", total, "unit",
    job_unit (job->kind), "elapsed_ms", (json_int_t) job->elapsed_ms, "message",
    job->message, "result", result_of (job));
}

/* clang-format on */

void
run_job (struct engine *e, const json_t *params, struct reply *r)
{
  struct job job;
  uint64_t id;

  if (!params_number (r, params, "id", 1, INT64_MAX, &id))
    return;
  if (!jobs_get (e->jobs, id, &job)) {
    reply_bad_param (r, "id", json_object_get (params, "id"),
                     "that of the running job or one of the last 16");
    return;
  }
  reply_json (r, json_of (&job));
}

void
run_job_cancel (struct engine *e, const json_t *params, struct reply *r)
{
  uint64_t id;
  bool heeded;

  if (!params_number (r, params, "id", 1, INT64_MAX, &id))
    return;
  if (jobs_cancel (e->jobs, id, &heeded))
    text_printf (r->result, "{\"heeded\":%s}", heeded ? "true" : "false");
  else
    reply_bad_param (r, "id", json_object_get (params, "id"),
                     "that of the running job or one of the last 16");
}
