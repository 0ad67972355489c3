/* SPDX-License-Identifier: BSD-3-Clause */
/* Verbs for the backing store: writeback, eviction, settings.
 * Contract: plugin/control/verbs.h.
 */

#include <config.h>

#include <stdlib.h>
#include <string.h>

#include "plugin/control/jobs.h"
#include "plugin/control/verbs.h"

/* Counts in JSON are signed. */
#define N(x) ((json_int_t) (x))

/* None of these methods is of use without a backing store.  Checked last: a
 * wrong value is reported as such with or without one.
 */
static bool
has_backing (struct service *s, struct reply *r)
{
  if (s->store->backed)
    return true;
  reply_error (r, ZRAM_ERROR_REFUSED,
               "there is no backing store: start the server with backing=");
  return false;
}

/* -- writeback ---------------------------------------------------------- */

static bool
writeback_type (const json_t *params, struct reply *r,
                struct writeback_request *q)
{
  static const char types[] = "idle, huge, huge_idle or incompressible";
  const char *type;

  if (!params_string (r, params, "type", types, &type))
    return false;
  q->huge = strcmp (type, "huge") == 0 || strcmp (type, "huge_idle") == 0;
  q->idle = strcmp (type, "idle") == 0 || strcmp (type, "huge_idle") == 0;
  q->incompressible = strcmp (type, "incompressible") == 0;
  if (q->huge || q->idle || q->incompressible)
    return true;
  reply_bad_param (r, "type", json_object_get (params, "type"), types);
  return false;
}

static bool
is_slot (const struct service *s, const json_t *n)
{
  return json_is_integer (n) && json_integer_value (n) >= 0 &&
         (uint64_t) json_integer_value (n) < s->disk->table.slots;
}

/* A member of page_index, N, or of page_indexes, [A, B]. */
static bool
range_of (const struct service *s, const json_t *value, bool pair,
          struct slot_range *range)
{
  const json_t *first = pair ? json_array_get (value, 0) : value;
  const json_t *last = pair ? json_array_get (value, 1) : value;

  if ((pair && json_array_size (value) != 2) || !is_slot (s, first) ||
      !is_slot (s, last) ||
      json_integer_value (first) > json_integer_value (last))
    return false;
  range->first = (uint64_t) json_integer_value (first);
  range->end = (uint64_t) json_integer_value (last) + 1;
  return true;
}

static bool
ranges_from (struct service *s, const json_t *params, const char *name,
             bool pair, struct reply *r, struct slot_range *ranges, unsigned *n)
{
  const json_t *list = json_object_get (params, name), *value;
  char allowed[120];
  size_t i;

  if (!list)
    return true;
  snprintf (allowed, sizeof allowed,
            pair ? "a list of pairs of slots from 0 to %llu, [first, last]"
                 : "a list of slots from 0 to %llu",
            (unsigned long long) s->disk->table.slots - 1);
  if (json_array_size (list) == 0) {
    reply_bad_param (r, name, list, allowed);
    return false;
  }
  json_array_foreach (list, i,
                      value) if (!range_of (s, value, pair, &ranges[(*n)++]))
  {
    reply_bad_param (r, name, value, allowed);
    return false;
  }
  return true;
}

/* The caller frees q->ranges, even on failure. */
static bool
writeback_ranges (struct service *s, const json_t *params, struct reply *r,
                  struct writeback_request *q)
{
  size_t most = json_array_size (json_object_get (params, "page_index")) +
                json_array_size (json_object_get (params, "page_indexes"));
  struct slot_range *ranges = calloc (most + 1, sizeof *ranges);

  q->disk = s->disk;
  q->ranges = ranges;
  if (!ranges) {
    reply_error (r, ZRAM_ERROR_INTERNAL, "out of memory");
    return false;
  }
  return ranges_from (s, params, "page_index", false, r, ranges,
                      &q->ranges_count) &&
         ranges_from (s, params, "page_indexes", true, r, ranges,
                      &q->ranges_count);
}

void
run_writeback (struct service *s, const json_t *params, struct reply *r)
{
  struct job_request request = { .kind = JOB_WRITEBACK };
  struct writeback_request *q = &request.writeback;
  bool type = params_has (params, "type");
  bool index = params_has (params, "page_index") ||
               params_has (params, "page_indexes"),
       ok;

  if (type == index) {
    reply_error (r, ZRAM_ERROR_PARAMS,
                 type ? "type: not together with page_index or page_indexes"
                      : "type, page_index, page_indexes: one is needed");
    return;
  }
  ok = type ? writeback_type (params, r, q)
            : writeback_ranges (s, params, r, q);
  if (!ok || !has_backing (s, r) || !begin_job (s, &request, r))
    free ((void *) (uintptr_t) q->ranges);
}

/* -- settings ----------------------------------------------------------- */

void
run_writeback_limit (struct service *s, const json_t *params, struct reply *r)
{
  struct writeback_limit *limit = &s->store->writeback_limit;
  const json_t *set = json_object_get (params, "set");
  const char *word = json_string_value (set);
  bool off = word && strcmp (word, "off") == 0;

  if (set && !off && (!json_is_integer (set) || json_integer_value (set) < 0)) {
    reply_bad_param (r, "set", set,
                     "a number of units of 4 KiB, or \"off\" for no limit");
    return;
  }
  if (!has_backing (s, r))
    return;
  if (set)
    writeback_limit_set (limit, !off, (uint64_t) json_integer_value (set));
  reply_json (r, json_pack ("{s:o}", "writeback_limit",
                            atomic_load (&limit->on)
                              ? json_integer (N (atomic_load (&limit->left)))
                              : json_null ()));
}

void
run_evict (struct service *s, const json_t *params, struct reply *r)
{
  unsigned low = EVICT_LOW, high = EVICT_HIGH;
  uint64_t n;

  if (s->upkeep->evictor)
    evictor_get_marks (s->upkeep->evictor, &low, &high);
  if (params_has (params, "low")) {
    if (!params_number (r, params, "low", 1, 100, &n))
      return;
    low = (unsigned) n;
  }
  if (params_has (params, "high")) {
    if (!params_number (r, params, "high", 1, 100, &n))
      return;
    high = (unsigned) n;
  }
  if (low > high) {
    reply_error (r, ZRAM_ERROR_PARAMS, "low=%u: must not be over high=%u", low,
                 high);
    return;
  }
  if (!has_backing (s, r))
    return;
  if (!s->upkeep->evictor) { /* in tests */
    reply_error (r, ZRAM_ERROR_REFUSED, "nothing evicts here");
    return;
  }
  if (params_has (params, "low") || params_has (params, "high"))
    evictor_set_marks (s->upkeep->evictor, low, high);
  text_printf (r->result, "{\"low\":%u,\"high\":%u}", low, high);
}

void
run_promote (struct service *s, const json_t *params, struct reply *r)
{
  bool on;

  if (!params_flag (r, params, "set", &on) || !has_backing (s, r))
    return;
  if (params_has (params, "set"))
    atomic_store (&s->store->promote, on);
  text_printf (r->result, "{\"promote\":%s}",
               atomic_load (&s->store->promote) ? "true" : "false");
}
