/* SPDX-License-Identifier: BSD-3-Clause */
/* Verbs that start long work and follow it to its end. */

#include <config.h>

#include <string.h>

#include "answer.h"
#include "args.h"
#include "client.h"
#include "progress.h"
#include "verbs.h"
#include "zram-protocol.h"

static int
run_job (struct ctl *ctl, const char *method, json_t *params)
{
  /* Catch signals before the job starts: a Ctrl-C that comes in between cancels
   * it too.
   */
  progress_catch_signals ();

  json_t *answer = client_call (ctl, method, params);
  int64_t id = answer_i64 (answer, "job");

  json_decref (answer);
  return progress_follow (ctl, id);
}

int
run_compact (struct ctl *ctl, const struct arguments *args)
{
  (void) args;
  return run_job (ctl, ZRAM_VERB_COMPACT, NULL);
}

/* -- KEY=VALUE ---------------------------------------------------------- */

static void
put_number (const char *verb, json_t *params, const char *key, int64_t n)
{
  arg_put (verb, params, key, json_integer (n));
}

static void
put_range (struct ctl *ctl, json_t *params, const char *value)
{
  int64_t start, count;

  arg_range ("recompress range", value, &start, &count);
  put_number ("recompress range", params, "start", start);
  put_number ("recompress range", params, "count",
              slots_up_to_end (ctl, start, count));
}

/* The value, if the word is KEY=VALUE; otherwise NULL. */
static const char *
value_of (const char *word, const char *key)
{
  size_t len = strlen (key);

  return strncmp (word, key, len) == 0 && word[len] == '=' ? word + len + 1
                                                           : NULL;
}

static void
put_recompress (struct ctl *ctl, json_t *params, const char *word)
{
  const char *v;

  if ((v = value_of (word, "type")) != NULL)
    arg_put ("recompress", params, "type", arg_string ("recompress type", v));
  else if ((v = value_of (word, "algorithm")) != NULL)
    arg_put ("recompress", params, "algorithm",
             arg_string ("recompress algorithm", v));
  else if ((v = value_of (word, "priority")) != NULL)
    put_number ("recompress", params, "priority",
                arg_number ("recompress priority", v, 1, INT64_MAX));
  else if ((v = value_of (word, "threshold")) != NULL)
    put_number ("recompress", params, "threshold",
                arg_size ("recompress threshold", v));
  else if ((v = value_of (word, "max_slots")) != NULL)
    put_number ("recompress", params, "max_slots",
                arg_number ("recompress max_slots", v, 0, INT64_MAX));
  else if ((v = value_of (word, "range")) != NULL)
    put_range (ctl, params, v);
  else
    die (STATUS_USAGE,
         "recompress %s: expected type=, threshold=, max_slots=, algorithm=, "
         "priority= or range=",
         word);
}

int
run_recompress (struct ctl *ctl, const struct arguments *args)
{
  json_t *params = json_object ();

  for (int i = 0; i < args->n; i++)
    put_recompress (ctl, params, args->v[i]);
  return run_job (ctl, ZRAM_VERB_RECOMPRESS, params);
}

int
run_train (struct ctl *ctl, const struct arguments *args)
{
  json_t *params = json_object ();
  const char *v;

  for (int i = 0; i < args->n; i++)
    if ((v = value_of (args->v[i], "samples")) != NULL)
      put_number ("train", params, "samples",
                  arg_number ("train samples", v, 1, INT64_MAX));
    else if ((v = value_of (args->v[i], "size")) != NULL)
      put_number ("train", params, "size", arg_size ("train size", v));
    else
      die (STATUS_USAGE, "train %s: expected samples= or size=", args->v[i]);
  return run_job (ctl, ZRAM_VERB_TRAIN, params);
}

/* -- writeback ---------------------------------------------------------- */

/* Adds to the list of that name. */
static void
append (json_t *params, const char *key, json_t *value)
{
  json_t *list = json_object_get (params, key);

  if (!list) {
    list = json_array ();
    json_object_set_new (params, key, list);
  }
  json_array_append_new (list, value);
}

static void
put_writeback (struct ctl *ctl, json_t *params, const char *word)
{
  int64_t start, count;
  const char *v;

  if ((v = value_of (word, "type")) != NULL)
    arg_put ("writeback", params, "type", arg_string ("writeback type", v));
  else if ((v = value_of (word, "page_index")) != NULL)
    append (
      params, "page_index",
      json_integer (arg_number ("writeback page_index", v, 0, INT64_MAX - 1)));
  else if ((v = value_of (word, "page_indexes")) != NULL) {
    arg_range ("writeback page_indexes", v, &start, &count);
    count = slots_up_to_end (ctl, start, count);
    append (params, "page_indexes",
            json_pack ("[I, I]", (json_int_t) start,
                       (json_int_t) (start + count - 1)));
  }
  else
    die (STATUS_USAGE,
         "writeback %s: expected type=, page_index= or page_indexes=", word);
}

int
run_writeback (struct ctl *ctl, const struct arguments *args)
{
  json_t *params = json_object ();

  if (!args->n)
    die (STATUS_USAGE, "writeback: what? (type=, page_index= or "
                       "page_indexes=)");
  for (int i = 0; i < args->n; i++)
    put_writeback (ctl, params, args->v[i]);
  return run_job (ctl, ZRAM_VERB_WRITEBACK, params);
}

/* ----------------------------------------------------------------------- */

int
run_audit (struct ctl *ctl, const struct arguments *args)
{
  return run_job (ctl, ZRAM_VERB_AUDIT,
                  json_pack ("{s:b}", "deep", args->flag));
}

int
run_reset (struct ctl *ctl, const struct arguments *args)
{
  return run_job (ctl, ZRAM_VERB_RESET,
                  json_pack ("{s:b}", "force", args->flag));
}
