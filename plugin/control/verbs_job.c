/* SPDX-License-Identifier: BSD-3-Clause */
/* Verbs that begin, show and cancel long work.
 * Contract: plugin/control/verbs.h.
 */

#include <config.h>

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "comp/dict.h"
#include "comp/train.h"
#include "plugin/control/jobs.h"
#include "plugin/control/verbs.h"
#include "plugin/method_key.h"

bool
begin_job (struct service *s, const struct job_request *request,
           struct reply *r)
{
  struct reason why;
  uint64_t id = jobs_begin (s->jobs, request, &why);

  if (id)
    text_printf (r->result, "{\"job\":%" PRIu64 "}", id);
  else
    reply_error (r, ZRAM_ERROR_REFUSED, "%s", why.text);
  return id != 0;
}

void
run_compact (struct service *s, const json_t *params, struct reply *r)
{
  const struct job_request request = { .kind = JOB_COMPACT };

  (void) params;
  begin_job (s, &request, r);
}

void
run_audit (struct service *s, const json_t *params, struct reply *r)
{
  struct job_request request = { .kind = JOB_AUDIT };

  if (params_flag (r, params, "deep", &request.deep))
    begin_job (s, &request, r);
}

void
run_reset (struct service *s, const json_t *params, struct reply *r)
{
  const struct job_request request = { .kind = JOB_RESET };
  unsigned clients = atomic_load (&s->clients);
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
    begin_job (s, &request, r);
}

/* -- recompression ------------------------------------------------------ */

static bool
recompress_type (const json_t *params, struct reply *r,
                 struct recompress_request *q)
{
  static const char types[] = "idle, huge or huge_idle";
  const char *type;

  if (!params_has (params, "type"))
    return true;
  if (!params_string (r, params, "type", types, &type))
    return false;
  q->huge = strcmp (type, "huge") == 0 || strcmp (type, "huge_idle") == 0;
  q->idle = strcmp (type, "idle") == 0 || strcmp (type, "huge_idle") == 0;
  if (q->huge || q->idle)
    return true;
  reply_bad_param (r, "type", json_object_get (params, "type"), types);
  return false;
}

/* "one of: …": the secondary methods; all codecs, if there are none. */
static void
method_names (struct service *s, const struct zcomp_method *methods, unsigned n,
              char *buf, size_t size)
{
  size_t len = (size_t) snprintf (buf, size, "one of: ");

  if (n == 0)
    method_key_names (", ", buf + len, size - len);
  for (unsigned i = 0; i < n && len < size; i++)
    len += (size_t) snprintf (
      buf + len, size - len, "%s%s", i ? ", " : "",
      zcomp_format_name (s->store->zcomp, methods[i].format));
}

/* By number, or by the name of its codec.  If there is no secondary method,
 * only values that can never be right are refused here.
 */
static bool
recompress_priority (struct service *s, const json_t *params, struct reply *r,
                     struct recompress_request *q)
{
  struct zcomp_method methods[RECOMPRESS_METHODS];
  unsigned n = recompressor_peek (s->upkeep->recompressor, methods);
  uint64_t priority;
  const char *name;
  char names[160];

  if (params_has (params, "priority")) {
    if (!params_number (r, params, "priority", 1, n ? n : RECOMPRESS_METHODS,
                        &priority))
      return false;
    q->priority = (unsigned) priority;
  }
  if (!params_has (params, "algorithm"))
    return true;
  method_names (s, methods, n, names, sizeof names);
  if (q->priority || !params_string (r, params, "algorithm", names, &name)) {
    if (q->priority)
      reply_error (r, ZRAM_ERROR_PARAMS,
                   "priority and algorithm: only one of them");
    return false;
  }
  for (unsigned i = n; i > 0; i--)
    if (strcmp (zcomp_format_name (s->store->zcomp, methods[i - 1].format),
                name) == 0)
      q->priority = i;
  if (n == 0 && codec_find (name))
    return true;
  if (!q->priority)
    reply_bad_param (r, "algorithm", json_object_get (params, "algorithm"),
                     names);
  return q->priority != 0;
}

/* An optional number; 0 if it is missing. */
static bool
optional (const json_t *params, const char *name, uint64_t min, uint64_t max,
          struct reply *r, uint64_t *n)
{
  *n = 0;
  return !params_has (params, name) ||
         params_number (r, params, name, min, max, n);
}

static bool
recompress_range (struct service *s, const json_t *params, struct reply *r,
                  struct recompress_request *q)
{
  uint64_t slots = s->disk->table.slots, count = 0;

  if (!optional (params, "start", 0, slots - 1, r, &q->first) ||
      !optional (params, "count", 1, slots - q->first, r, &count))
    return false;
  q->disk = s->disk;
  q->end = count ? q->first + count : 0;
  return true;
}

void
run_recompress (struct service *s, const json_t *params, struct reply *r)
{
  struct job_request request = { .kind = JOB_RECOMPRESS };
  struct recompress_request *q = &request.recompress;
  struct zcomp_method methods[RECOMPRESS_METHODS];
  uint64_t threshold;

  if (!recompress_type (params, r, q) ||
      !recompress_priority (s, params, r, q) ||
      !optional (params, "threshold", 0, s->store->config.slot_size, r,
                 &threshold) ||
      !optional (params, "max_slots", 0, INT64_MAX, r, &q->max_slots) ||
      !recompress_range (s, params, r, q))
    return;
  if (recompressor_peek (s->upkeep->recompressor, methods) == 0) {
    reply_error (r, ZRAM_ERROR_REFUSED,
                 "there is no secondary algorithm: start the server with "
                 "recompress=, or set recomp_algorithm");
    return;
  }
  q->threshold = (uint32_t) threshold;
  begin_job (s, &request, r);
}

void
run_train (struct service *s, const json_t *params, struct reply *r)
{
  struct job_request request = { .kind = JOB_TRAIN };
  uint64_t most = TRAIN_BYTES_MAX / s->store->config.slot_size, size;

  if (!optional (params, "samples", TRAIN_SAMPLES_MIN, most, r,
                 &request.train.samples) ||
      !optional (params, "size", DICT_TRAIN_MIN, DICT_MAX, r, &size))
    return;
  request.train.size = size;
  begin_job (s, &request, r);
}

/* -- job: one job's state ----------------------------------------------- */

/* clang-format off: one name and value on each line */
static json_t *
gains_of (const struct train_result *t)
{
  json_t *list = json_array ();

  for (unsigned i = 0; i < t->n && list; i++) {
    const struct train_gain *g = &t->gains[i];

    json_array_append_new (
      list,
      json_pack ("{s:o, s:I, s:I, s:I, s:I, s:I, s:I, s:b}", "algorithm",
                 json_value (g->codec->name), "size", (json_int_t) g->size,
                 "methods", (json_int_t) g->methods, "before",
                 (json_int_t) g->before, "after", (json_int_t) g->after,
                 "saves", (json_int_t) g->saves, "costs", (json_int_t) g->costs,
                 "installed", g->installed));
  }
  return list;
}

static json_t *
written_of (const struct writeback_totals *t)
{
  const struct batch_totals *w = &t->written;
  const char *stopped = job_stopped_by (t);

  return json_pack (
    "{s:I, s:I, s:I, s:I, s:I, s:o}", "slots", (json_int_t) w->slots, "bytes",
    (json_int_t) w->bytes, "lost", (json_int_t) w->lost, "failed",
    (json_int_t) w->failed, "store_bytes", (json_int_t) w->backing_bytes,
    "stopped_by", stopped ? json_message (stopped) : json_null ());
}

static json_t *
result_of (const struct job *job)
{
  const struct compactor_result *c = &job->compacted;

  const struct recompress_totals *t = &job->recompressed;

  if (job->state == JOB_RUNNING)
    return json_null ();
  if (job->request.kind == JOB_RECOMPRESS)
    return json_pack (
      "{s:I, s:I, s:I, s:I, s:I}", "recompressed", (json_int_t) t->recompressed,
      "bytes_won", (json_int_t) t->bytes_won, "vain", (json_int_t) t->vain,
      "lost", (json_int_t) t->lost, "failed", (json_int_t) t->failed);
  if (job->request.kind == JOB_TRAIN)
    return json_pack ("{s:I, s:I, s:o}", "samples",
                      (json_int_t) job->trained.samples, "held_out",
                      (json_int_t) job->trained.held_out, "codecs",
                      gains_of (&job->trained));
  if (job->request.kind == JOB_WRITEBACK)
    return written_of (&job->written);
  if (job->request.kind == JOB_COMPACT)
    return json_pack ("{s:I, s:I, s:I, s:I}", "pages_freed",
                      (json_int_t) c->pages_freed, "objects_moved",
                      (json_int_t) c->objects_moved, "zspages_migrated",
                      (json_int_t) c->zspages_migrated, "leaves_freed",
                      (json_int_t) c->leaves_freed);
  if (job->request.kind == JOB_AUDIT)
    return json_pack (
      "{s:o, s:b, s:I}", "sound",
      job->state == JOB_DONE || job->unsound ? json_boolean (!job->unsound)
                                             : json_null (),
      "deep", job->request.deep, "slots", (json_int_t) job->slots);
  return json_pack ("{s:I}", "slots", (json_int_t) job->slots);
}

static json_t *
json_of (const struct job *job)
{
  return json_pack ("{s:I, s:o, s:o, s:I, s:I, s:o, s:I, s:o, s:o}", "id",
                    (json_int_t) job->id, "kind",
                    json_value (job_kind_name (job->request.kind)), "state",
                    json_value (job_state_name (job->state)), "done",
                    (json_int_t) job->done, "total", (json_int_t) job->total,
                    "unit", json_value (job_unit (job->request.kind)),
                    "elapsed_ms", (json_int_t) job->elapsed_ms, "message",
                    json_message (job->message), "result", result_of (job));
}

/* clang-format on */

void
run_job (struct service *s, const json_t *params, struct reply *r)
{
  struct job job;
  uint64_t id;

  if (!params_number (r, params, "id", 1, INT64_MAX, &id))
    return;
  if (!jobs_get (s->jobs, id, &job)) {
    reply_bad_param (r, "id", json_object_get (params, "id"),
                     "that of the running job or one of the last 16");
    return;
  }
  reply_json (r, json_of (&job));
}

void
run_job_cancel (struct service *s, const json_t *params, struct reply *r)
{
  uint64_t id;
  bool heeded;

  if (!params_number (r, params, "id", 1, INT64_MAX, &id))
    return;
  if (jobs_cancel (s->jobs, id, &heeded))
    text_printf (r->result, "{\"heeded\":%s}", heeded ? "true" : "false");
  else
    reply_bad_param (r, "id", json_object_get (params, "id"),
                     "that of the running job or one of the last 16");
}
