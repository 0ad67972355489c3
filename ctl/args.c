/* SPDX-License-Identifier: BSD-3-Clause */

#include <config.h>

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "args.h"
#include "ctl.h"

/* Digits at the start of s, a minus sign before them if may_be_negative. */
static bool
parse (const char *s, const char **end, int64_t *result, bool may_be_negative)
{
  char *e;

  if (!isdigit ((unsigned char) s[may_be_negative && *s == '-']))
    return false;
  errno = 0;
  *result = strtoll (s, &e, 10);
  *end = e;
  return errno == 0;
}

int64_t
arg_number (const char *verb, const char *arg, int64_t min, int64_t max)
{
  const char *end;
  int64_t n;

  if (!parse (arg, &end, &n, true) || *end || n < min || n > max) {
    if (max == INT64_MAX)
      die (STATUS_USAGE, "%s %s: expected a whole number from %lld on", verb,
           arg, (long long) min);
    die (STATUS_USAGE, "%s %s: expected a whole number from %lld to %lld", verb,
         arg, (long long) min, (long long) max);
  }
  return n;
}

json_t *
arg_string (const char *verb, const char *arg)
{
  json_t *s = json_string (arg);

  /* jansson reports this like a lack of memory, which is rarer. */
  if (!s)
    die (STATUS_USAGE, "%s %s: expected a word in UTF-8", verb, arg);
  return s;
}

void
arg_put (const char *verb, json_t *params, const char *key, json_t *value)
{
  if (json_object_get (params, key))
    die (STATUS_USAGE, "%s %s: given twice", verb, key);
  if (json_object_set_new (params, key, value) == -1)
    die (STATUS_REFUSED, "out of memory");
}

double
arg_seconds (const char *verb, const char *arg)
{
  char *end;
  double s = strtod (arg, &end);

  if (end == arg || *end || !isfinite (s) || s < 0.01 || s > 86400)
    die (STATUS_USAGE, "%s %s: expected 0.01 to 86400 seconds", verb, arg);
  return s;
}

int64_t
arg_size (const char *verb, const char *arg)
{
  static const char suffixes[] = "bkmgtpe";
  const char *end, *suffix;
  unsigned shift = 0;
  int64_t n;

  if (!parse (arg, &end, &n, false))
    goto wrong;
  if (*end) {
    suffix = strchr (suffixes, tolower ((unsigned char) *end));
    if (!suffix || end[1])
      goto wrong;
    shift = 10 * (unsigned) (suffix - suffixes);
  }
  if (n > INT64_MAX >> shift)
    goto wrong;
  return n << shift;

wrong:
  die (STATUS_USAGE, "%s %s: expected a size such as 4096, 512M or 2G", verb,
       arg);
}

void
arg_range (const char *verb, const char *arg, int64_t *start, int64_t *count)
{
  int64_t last = -1;
  const char *end;

  if (!parse (arg, &end, start, false))
    goto wrong;
  if (!*end)
    last = *start;
  else if (strcmp (end, "-") == 0)
    last = INT64_MAX - 1;
  else if (*end != '-' || !parse (end + 1, &end, &last, false) || *end)
    goto wrong;
  if (last < *start || last == INT64_MAX)
    goto wrong;
  *count = last - *start + 1;
  return;

wrong:
  die (STATUS_USAGE,
       "%s %s: expected a slot or a range of slots such as 5, "
       "5-9 or 5-",
       verb, arg);
}
