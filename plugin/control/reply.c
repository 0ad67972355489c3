/* SPDX-License-Identifier: BSD-3-Clause */
/* Strings in JSON, answers, and parameters.
 * Contract: plugin/control/reply.h.
 */

#include <config.h>

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "plugin/control/reply.h"
#include "zram-shown.h"

/* A message shows at most this much of a value that a client sent. */
#define SHOWN_MAX 64

/* -- strings in JSON ----------------------------------------------------- */

static json_t *
json_shown (const char *s, unsigned how)
{
  char *shown = shown_copy (s, how);
  json_t *json = shown ? json_string (shown) : NULL;

  free (shown);
  return json;
}

json_t *
json_value (const char *bytes)
{
  return json_shown (bytes, SHOWN_VALUE);
}

json_t *
json_message (const char *sentence)
{
  return json_shown (sentence, SHOWN_MESSAGE);
}

json_t *
json_lines (struct text *lines)
{
  text_add (lines, "", 1); /* a \0 */
  return lines->broken ? NULL : json_shown (text_begin (lines), SHOWN_LINES);
}

void
text_json (struct text *t, const json_t *json)
{
  char *s = json ? json_dumps (json, JSON_COMPACT | JSON_ENCODE_ANY) : NULL;
  char *shown = s ? shown_json (s) : NULL;

  if (shown)
    text_puts (t, shown);
  else
    t->broken = true;
  free (shown);
  free (s);
}

void
text_value (struct text *t, const char *bytes)
{
  json_t *json = json_value (bytes);

  text_json (t, json);
  json_decref (json);
}

/* -- answers ------------------------------------------------------------ */

void
reply_json (struct reply *r, json_t *result)
{
  char *s = result
              ? json_dumps (result, JSON_COMPACT | JSON_REAL_PRECISION (12))
              : NULL;

  if (s)
    text_puts (r->result, s);
  else
    reply_error (r, ZRAM_ERROR_INTERNAL, "out of memory");
  free (s);
  json_decref (result);
}

void
reply_error (struct reply *r, int code, const char *format, ...)
{
  va_list args;

  r->code = code;
  va_start (args, format);
  vsnprintf (r->message, sizeof r->message, format, args);
  va_end (args);
}

void
reply_bad_param (struct reply *r, const char *name, const json_t *value,
                 const char *allowed)
{
  char *s = value ? json_dumps (value, JSON_ENCODE_ANY | JSON_COMPACT |
                                         JSON_ENSURE_ASCII)
                  : NULL;
  char shown[SHOWN_MAX];

  if (!value)
    reply_error (r, ZRAM_ERROR_PARAMS, "%s: missing; must be %s", name,
                 allowed);
  else
    reply_error (r, ZRAM_ERROR_PARAMS, "%s=%s: must be %s", name,
                 shown_cut (shown, sizeof shown, s ? s : "?", SHOWN_MESSAGE),
                 allowed);
  free (s);
}

/* -- parameters --------------------------------------------------------- */

static bool
is_among (const char *names, const char *name)
{
  size_t len = strlen (name);

  for (const char *p = names; *p; p += strcspn (p, " "), p += *p == ' ')
    if (strcspn (p, " ") == len && memcmp (p, name, len) == 0)
      return true;
  return false;
}

bool
params_known (struct reply *r, const json_t *params, const char *names)
{
  char shown[SHOWN_MAX];
  const char *name;
  json_t *value;

  json_object_foreach ((json_t *) params, name, value)
  {
    if (is_among (names, name))
      continue;
    reply_error (r, ZRAM_ERROR_PARAMS, "%s: unknown parameter; %s%s",
                 shown_cut (shown, sizeof shown, name, SHOWN_MESSAGE),
                 *names ? "known are: " : "there is none", names);
    return false;
  }
  return true;
}

bool
params_number (struct reply *r, const json_t *params, const char *name,
               uint64_t min, uint64_t max, uint64_t *n)
{
  const json_t *value = json_object_get (params, name);
  json_int_t i = json_integer_value (value);
  char allowed[80];

  if (json_is_integer (value) && i >= 0 && (uint64_t) i >= min &&
      (uint64_t) i <= max) {
    *n = (uint64_t) i;
    return true;
  }
  snprintf (allowed, sizeof allowed,
            "a whole number from %" PRIu64 " to %" PRIu64, min, max);
  reply_bad_param (r, name, value, allowed);
  return false;
}

bool
params_flag (struct reply *r, const json_t *params, const char *name,
             bool *flag)
{
  const json_t *value = json_object_get (params, name);

  *flag = json_is_true (value);
  if (!value || json_is_boolean (value))
    return true;
  reply_bad_param (r, name, value, "true or false");
  return false;
}

bool
params_string (struct reply *r, const json_t *params, const char *name,
               const char *allowed, const char **s)
{
  const json_t *value = json_object_get (params, name);

  *s = json_string_value (value);
  if (*s)
    return true;
  reply_bad_param (r, name, value, allowed);
  return false;
}
