/* SPDX-License-Identifier: BSD-3-Clause */

#include <config.h>

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "plugin/control/reply.h"

/* Of a value that somebody sent us, so much goes back in a message. */
#define SHOWN_MAX 60

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
  char *shown = value ? json_dumps (value, JSON_ENCODE_ANY | JSON_COMPACT |
                                             JSON_ENSURE_ASCII)
                      : NULL;

  if (!value)
    reply_error (r, ZRAM_ERROR_PARAMS, "%s: missing; must be %s", name,
                 allowed);
  else
    reply_error (r, ZRAM_ERROR_PARAMS, "%s=%.*s%s: must be %s", name, SHOWN_MAX,
                 shown ? shown : "?",
                 shown && strlen (shown) > SHOWN_MAX ? "..." : "", allowed);
  free (shown);
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
  const char *name;
  json_t *value;

  json_object_foreach ((json_t *) params, name, value)
  {
    if (is_among (names, name))
      continue;
    reply_error (r, ZRAM_ERROR_PARAMS, "%.*s: unknown parameter; %s%s",
                 SHOWN_MAX, name, *names ? "known are: " : "there is none",
                 names);
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
