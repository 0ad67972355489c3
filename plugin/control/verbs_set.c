/* SPDX-License-Identifier: BSD-3-Clause */
/* Verbs that set marks, limits, the algorithm and workers.
 * Contract: plugin/control/verbs.h.
 */

#include <config.h>

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error_text.h"
#include "plugin/control/verbs.h"
#include "plugin/keys.h"

/* Requests that change settings run in several threads.  Each holds the lock
 * for a moment; another one tries for so long.
 */
#define SETTINGS_TRIES 50
#define SETTINGS_PAUSE_US 2000

/* A change of the number of workers or of the algorithm does not wait for a job
 * that needs them unchanged: other requests wait behind it.
 */
bool
settings_trylock (struct service *s, struct reply *r)
{
  for (int i = 0; i < SETTINGS_TRIES; i++) {
    if (i)
      usleep (SETTINGS_PAUSE_US);
    if (mutex_trylock (&s->store->settings))
      return true;
  }
  reply_error (r, ZRAM_ERROR_REFUSED,
               "a job is running that needs the settings to stay as they are");
  return false;
}

/* -- idle --------------------------------------------------------------- */

struct idle_range {
  uint64_t first, end, seconds;
};

static bool
idle_mode (const struct service *s, const json_t *params, struct reply *r,
           struct idle_range *range)
{
  static const char modes[] = "all, age or range";
  uint64_t slots = s->disk->table.slots, count;
  const char *mode;

  if (!params_string (r, params, "mode", modes, &mode))
    return false;
  *range = (struct idle_range){ .end = slots };
  if (strcmp (mode, "all") == 0)
    return true;
  if (strcmp (mode, "age") == 0)
    return params_number (r, params, "seconds", 0, SLOT_OLD, &range->seconds);
  if (strcmp (mode, "range") == 0) {
    if (!params_number (r, params, "start", 0, slots - 1, &range->first) ||
        !params_number (r, params, "count", 1, slots - range->first, &count))
      return false;
    range->end = range->first + count;
    return true;
  }
  reply_bad_param (r, "mode", json_object_get (params, "mode"), modes);
  return false;
}

void
run_idle (struct service *s, const json_t *params, struct reply *r)
{
  struct idle_range range;
  uint64_t marked;

  if (!idle_mode (s, params, r, &range))
    return;
  marked = disk_mark_idle (s->disk, range.first, range.end,
                           (uint32_t) range.seconds, clock_coarse_s ());
  text_printf (r->result, "{\"marked\":%" PRIu64 "}", marked);
}

/* -- memory ------------------------------------------------------------- */

void
run_mem_limit (struct service *s, const json_t *params, struct reply *r)
{
  const json_t *set = json_object_get (params, "set");
  json_int_t bytes = json_integer_value (set);

  if (set) {
    if (!json_is_integer (set) || bytes < 0 ||
        (bytes > 0 && bytes < MEM_LIMIT_MIN)) {
      reply_bad_param (r, "set", set,
                       "a number of bytes of at least 1048576, or 0 for no "
                       "limit");
      return;
    }
    store_set_mem_limit (s->store, (uint64_t) bytes);
    if (s->upkeep->evictor)
      evictor_set_marks (s->upkeep->evictor, 0, 0); /* percents of it */
  }
  text_printf (r->result, "{\"mem_limit\":%" PRIu64 "}",
               atomic_load (&s->store->budget.limit));
}

void
run_mem_used_max (struct service *s, const json_t *params, struct reply *r)
{
  bool reset;

  if (!params_flag (r, params, "reset", &reset))
    return;
  if (reset)
    store_reset_peak (s->store);
  text_printf (r->result, "{\"mem_used_max\":%" PRIu64 "}",
               atomic_load (&s->store->budget.peak));
}

void
run_write_buffer (struct service *s, const json_t *params, struct reply *r)
{
  struct buffer *b = &s->store->buffer;
  const json_t *set = json_object_get (params, "set");
  json_int_t bytes = json_integer_value (set);

  if (set) {
    if (!json_is_integer (set) || !write_buffer_is_valid (bytes)) {
      reply_bad_param (r, "set", set,
                       "a number of bytes from 1048576 to 1099511627776, or 0 "
                       "for none");
      return;
    }
    if (bytes && s->swap) {
      reply_error (r, ZRAM_ERROR_REFUSED,
                   "there can be no write buffer with swap=true");
      return;
    }
    if (buffer_set_size (b, (uint64_t) bytes) == -1) {
      reply_error (r, ZRAM_ERROR_INTERNAL, "cannot change the write buffer: %s",
                   error_text (errno));
      return;
    }
  }
  text_printf (r->result, "{\"write_buffer\":%" PRIu64 "}",
               atomic_load (&b->size));
}

/* -- algorithm ---------------------------------------------------------- */

/* Both forms of the list: ["lz4", …]; and for a message "lz4, …". */
static json_t *
available (char *names, size_t size)
{
  json_t *list = json_array ();
  size_t len = 0;

  names[0] = '\0';
  for (unsigned id = 1; id < CODEC_IDS; id++) {
    const struct codec *codec = codec_by_id (id);

    if (!codec || !list)
      continue;
    json_array_append_new (list, json_value (codec->name));
    if (len < size)
      len += (size_t) snprintf (names + len, size - len, "%s%s",
                                len ? ", " : "", codec->name);
  }
  return list;
}

static bool
method_from (const json_t *params, const char *names, struct reply *r,
             struct zcomp_method *method)
{
  const json_t *level = json_object_get (params, "level");
  const struct codec *codec;
  const char *name;
  json_int_t n = json_integer_value (level);
  char allowed[160];

  snprintf (allowed, sizeof allowed, "one of: %s", names);
  if (!params_string (r, params, "set", allowed, &name))
    return false;
  codec = codec_find (name);
  if (!codec) {
    reply_bad_param (r, "set", json_object_get (params, "set"), allowed);
    return false;
  }
  if (level && (!json_is_integer (level) || n < codec->level_min ||
                n > codec->level_max)) {
    snprintf (allowed, sizeof allowed,
              "a whole number from %d to %d for algorithm %s", codec->level_min,
              codec->level_max, codec->name);
    reply_bad_param (r, "level", level, allowed);
    return false;
  }
  method->format = codec_id (codec);
  method->level = level ? (int) n : codec->level_default;
  return true;
}

static bool
set_algorithm (struct service *s, const json_t *params, const char *names,
               struct reply *r)
{
  struct zcomp_method method;
  int err = 0;

  if (!method_from (params, names, r, &method) || !settings_trylock (s, r))
    return false;
  if (store_set_primary (s->store, &method) == -1)
    err = errno;
  mutex_unlock (&s->store->settings);
  if (err)
    reply_error (r, ZRAM_ERROR_INTERNAL, "cannot change the algorithm: %s",
                 error_text (err));
  return !err;
}

void
run_algorithm (struct service *s, const json_t *params, struct reply *r)
{
  char names[128];
  json_t *list = available (names, sizeof names);
  struct zcomp_method primary;

  if ((params_has (params, "set") || params_has (params, "level")) &&
      !set_algorithm (s, params, names, r)) {
    json_decref (list);
    return;
  }
  primary = zcomp_primary (s->store->zcomp);
  reply_json (r, json_pack ("{s:o, s:i, s:o}", "algorithm",
                            json_value (zcomp_format_name (s->store->zcomp,
                                                           primary.format)),
                            "level", primary.level, "available", list));
}

/* -- workers ------------------------------------------------------------ */

void
run_workers (struct service *s, const json_t *params, struct reply *r)
{
  uint64_t n;
  int err = 0;

  if (params_has (params, "set")) {
    if (!params_number (r, params, "set", 1, ZCOMP_MAX_STREAMS, &n) ||
        !settings_trylock (s, r))
      return;
    if (store_set_workers (s->store, (unsigned) n) == -1)
      err = errno;
    mutex_unlock (&s->store->settings);
    if (err) {
      reply_error (r, ZRAM_ERROR_INTERNAL,
                   "cannot change the number of workers: %s", error_text (err));
      return;
    }
  }
  text_printf (r->result, "{\"workers\":%u}", zcomp_workers (s->store->zcomp));
}
