/* SPDX-License-Identifier: BSD-3-Clause */
/* Verbs that read or set one value.  Both print the value afterwards: a number
 * in bytes or units, alone on its line, as the kernel's files do.
 */

#include <config.h>

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "answer.h"
#include "args.h"
#include "client.h"
#include "out.h"
#include "text.h"
#include "verbs.h"
#include "zram-protocol.h"

/* Calls, and prints the one number of the answer. */
static int
number (struct ctl *ctl, const char *method, json_t *params)
{
  json_t *answer = client_call (ctl, method, params);

  if (ctl->json)
    out_json_answer (answer);
  else
    out_line ("%" PRIu64, answer_u64 (answer, method));
  json_decref (answer);
  return STATUS_OK;
}

/* The same, but first sets the size if one is given. */
static int
size (struct ctl *ctl, const struct arguments *args, const char *method)
{
  json_t *params = NULL;

  if (args->n)
    params = json_pack ("{s:I}", "set",
                        (json_int_t) arg_size (args->verb, args->v[0]));
  return number (ctl, method, params);
}

int
run_mem_limit (struct ctl *ctl, const struct arguments *args)
{
  return size (ctl, args, ZRAM_VERB_MEM_LIMIT);
}

int
run_write_buffer (struct ctl *ctl, const struct arguments *args)
{
  return size (ctl, args, ZRAM_VERB_WRITE_BUFFER);
}

int
run_mem_used_max (struct ctl *ctl, const struct arguments *args)
{
  if (args->n && strcmp (args->v[0], "reset") != 0)
    die (STATUS_USAGE, "mem_used_max %s: expected reset, or nothing",
         args->v[0]);
  return number (ctl, ZRAM_VERB_MEM_USED_MAX,
                 args->n ? json_pack ("{s:b}", "reset", 1) : NULL);
}

int
run_workers (struct ctl *ctl, const struct arguments *args)
{
  json_t *params = NULL;

  if (args->n)
    params = json_pack (
      "{s:I}", "set",
      (json_int_t) arg_number (args->verb, args->v[0], 1, INT64_MAX));
  return number (ctl, ZRAM_VERB_WORKERS, params);
}

/* "[lz4] lz4hc zstd deflate", as the kernel's comp_algorithm. */
static void
print_algorithms (json_t *answer)
{
  const char *current = answer_string (answer, "algorithm");
  json_t *name;
  size_t i;

  json_array_foreach (answer_array (answer, "available"), i, name)
  {
    const char *s = json_string_value (name) ? json_string_value (name) : "?";

    out (strcmp (s, current) == 0 ? "%s[%s]" : "%s%s", i ? " " : "", s);
  }
  out_newline ();
  out_line ("level: %" PRId64, answer_i64 (answer, "level"));
}

int
run_algorithm (struct ctl *ctl, const struct arguments *args)
{
  json_t *params = NULL, *answer;

  if (args->n)
    params = json_pack ("{s:o}", "set", arg_string (args->verb, args->v[0]));
  if (args->n == 2)
    json_object_set_new (
      params, "level",
      json_integer (arg_number (args->verb, args->v[1], INT32_MIN, INT32_MAX)));
  answer = client_call (ctl, ZRAM_VERB_ALGORITHM, params);
  if (ctl->json)
    out_json_answer (answer);
  else
    print_algorithms (answer);
  json_decref (answer);
  return STATUS_OK;
}

int
run_auto_recompress (struct ctl *ctl, const struct arguments *args)
{
  json_t *params = NULL;

  if (args->n)
    params = json_pack (
      "{s:I}", "set",
      (json_int_t) arg_number (args->verb, args->v[0], 0, INT64_MAX));
  return number (ctl, ZRAM_VERB_AUTO_RECOMPRESS, params);
}

/* "1: zstd, level 9, dictionary 0123456789abcdef of 65536 bytes" */
static void
print_method (json_t *method)
{
  json_t *dictionary = answer_member (method, "dictionary");

  out ("%" PRId64 ": %s, level %" PRId64, answer_i64 (method, "priority"),
       answer_string (method, "algorithm"), answer_i64 (method, "level"));
  if (!json_is_null (dictionary))
    out (", dictionary %s of %" PRIu64 " bytes",
         answer_string (dictionary, "id"), answer_u64 (dictionary, "size"));
  out_newline ();
}

int
run_recomp_algorithm (struct ctl *ctl, const struct arguments *args)
{
  json_t *params = args->n ? json_pack ("{s:o}", "set",
                                        arg_string (args->verb, args->v[0]))
                           : NULL;
  json_t *answer = client_call (ctl, ZRAM_VERB_RECOMP_ALGORITHM, params);
  json_t *method;
  size_t i;

  if (ctl->json)
    out_json_answer (answer);
  else
    json_array_foreach (answer_array (answer, "methods"), i, method)
      print_method (method);
  json_decref (answer);
  return STATUS_OK;
}

/* -- the backing store --------------------------------------------------- */

int
run_writeback_limit (struct ctl *ctl, const struct arguments *args)
{
  json_t *params = NULL, *answer, *left;

  if (args->n && strcmp (args->v[0], "off") == 0)
    params = json_pack ("{s:o}", "set", arg_string (args->verb, "off"));
  else if (args->n)
    params = json_pack (
      "{s:I}", "set",
      (json_int_t) arg_number (args->verb, args->v[0], 0, INT64_MAX));
  answer = client_call (ctl, ZRAM_VERB_WRITEBACK_LIMIT, params);
  left = answer_member (answer, "writeback_limit");
  if (ctl->json)
    out_json_answer (answer);
  else if (json_is_null (left))
    out_line ("off");
  else
    out_line ("%" PRIu64, answer_u64 (answer, "writeback_limit"));
  json_decref (answer);
  return STATUS_OK;
}

int
run_evict (struct ctl *ctl, const struct arguments *args)
{
  json_t *params = json_object (), *answer;

  for (int i = 0; i < args->n; i++) {
    const char *word = args->v[i];
    bool low = strncmp (word, "low=", 4) == 0;

    if (!low && strncmp (word, "high=", 5) != 0)
      die (STATUS_USAGE, "evict %s: expected low=N or high=N", word);
    arg_put ("evict", params, low ? "low" : "high",
             json_integer (arg_number (low ? "evict low" : "evict high",
                                       word + (low ? 4 : 5), 1, 100)));
  }
  answer = client_call (ctl, ZRAM_VERB_EVICT, params);
  if (ctl->json)
    out_json_answer (answer);
  else
    out_line ("low=%" PRIu64 " high=%" PRIu64, answer_u64 (answer, "low"),
              answer_u64 (answer, "high"));
  json_decref (answer);
  return STATUS_OK;
}

int
run_promote (struct ctl *ctl, const struct arguments *args)
{
  const char *word = args->n ? args->v[0] : NULL;
  json_t *answer;

  if (word && strcmp (word, "on") != 0 && strcmp (word, "off") != 0)
    die (STATUS_USAGE, "promote %s: expected on or off, or nothing", word);
  answer = client_call (
    ctl, ZRAM_VERB_PROMOTE,
    word ? json_pack ("{s:b}", "set", strcmp (word, "on") == 0) : NULL);
  if (ctl->json)
    out_json_answer (answer);
  else
    out_line (answer_bool (answer, "promote") ? "on" : "off");
  json_decref (answer);
  return STATUS_OK;
}

/* ----------------------------------------------------------------------- */

int64_t
slots_up_to_end (struct ctl *ctl, int64_t start, int64_t count)
{
  if (start + count < INT64_MAX)
    return count;

  json_t *stats = client_call (ctl, ZRAM_VERB_STATS, NULL);
  int64_t slots = answer_i64 (stats, "slots");

  json_decref (stats);
  return start < slots ? slots - start : 1;
}

static json_t *
idle_params (struct ctl *ctl, const struct arguments *args)
{
  const char *what = args->n ? args->v[0] : NULL;
  int64_t start, count;

  if (!what)
    die (STATUS_USAGE, "idle: expected all, an age in seconds, or range and "
                       "slots");
  if (strcmp (what, "range") == 0) {
    if (args->n < 2)
      die (STATUS_USAGE, "idle range: which slots? (such as 5, 5-9 or 5-)");
    arg_range ("idle range", args->v[1], &start, &count);
    count = slots_up_to_end (ctl, start, count);
    return json_pack ("{s:o, s:I, s:I}", "mode", arg_string ("idle", "range"),
                      "start", (json_int_t) start, "count", (json_int_t) count);
  }
  if (args->n > 1)
    die (STATUS_USAGE, "idle %s %s: unexpected argument %s", what, args->v[1],
         args->v[1]);
  if (strcmp (what, "all") == 0)
    return json_pack ("{s:o}", "mode", arg_string ("idle", "all"));
  return json_pack ("{s:o, s:I}", "mode", arg_string ("idle", "age"), "seconds",
                    (json_int_t) arg_number ("idle", what, 0, INT32_MAX));
}

int
run_idle (struct ctl *ctl, const struct arguments *args)
{
  json_t *answer = client_call (ctl, ZRAM_VERB_IDLE, idle_params (ctl, args));

  if (ctl->json)
    out_json_answer (answer);
  else
    out_line ("%" PRIu64 " slots marked idle", answer_u64 (answer, "marked"));
  json_decref (answer);
  return STATUS_OK;
}
