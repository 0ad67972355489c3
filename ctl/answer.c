/* SPDX-License-Identifier: BSD-3-Clause */

#include <config.h>

#include <stdio.h>
#include <string.h>

#include "answer.h"
#include "ctl.h"

static void __attribute__ ((noreturn))
die_of (const char *path, const char *wanted)
{
  die (STATUS_NO_SERVER, "the server's answer has no %s that is %s", path,
       wanted);
}

static json_t *
find (json_t *object, const char *path)
{
  char name[64];

  for (;;) {
    size_t n = strcspn (path, ".");

    snprintf (name, sizeof name, "%.*s", (int) n, path);
    object = json_object_get (object, name);
    if (!object || !path[n])
      return object;
    path += n + 1;
  }
}

json_t *
answer_member (json_t *object, const char *path)
{
  json_t *v = find (object, path);

  if (!v)
    die_of (path, "anything");
  return v;
}

json_t *
answer_array (json_t *object, const char *path)
{
  json_t *v = find (object, path);

  if (!json_is_array (v))
    die_of (path, "an array");
  return v;
}

const char *
answer_string (json_t *object, const char *path)
{
  json_t *v = find (object, path);

  if (!json_is_string (v))
    die_of (path, "a string");
  return json_string_value (v);
}

int64_t
answer_i64 (json_t *object, const char *path)
{
  json_t *v = find (object, path);

  if (!json_is_integer (v))
    die_of (path, "a whole number");
  return json_integer_value (v);
}

uint64_t
answer_u64 (json_t *object, const char *path)
{
  int64_t n = answer_i64 (object, path);

  if (n < 0)
    die_of (path, "a number from 0 on");
  return (uint64_t) n;
}

double
answer_real (json_t *object, const char *path)
{
  json_t *v = find (object, path);

  if (!json_is_number (v))
    die_of (path, "a number");
  return json_number_value (v);
}

bool
answer_bool (json_t *object, const char *path)
{
  json_t *v = find (object, path);

  if (!json_is_boolean (v))
    die_of (path, "true or false");
  return json_is_true (v);
}

uint64_t
answer_u64_at (json_t *array, size_t i)
{
  json_t *v = json_array_get (array, i);

  if (!json_is_integer (v) || json_integer_value (v) < 0)
    die_of ("list", "of numbers");
  return (uint64_t) json_integer_value (v);
}
