/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a method is given to read its parameters and to answer with.
 *
 *   method                              answer
 *     reply_json (r, json)                "result": json
 *     text_printf (r->result, …)          "result": that text, which is JSON
 *     reply_error (r, code, …)            "error": …, whatever was written
 *
 * The params_ functions answer with an error that names the parameter, its
 * value and what is allowed, and return false then.
 */

#ifndef ZRAM_REPLY_H
#define ZRAM_REPLY_H

#include <stdbool.h>
#include <stdint.h>

#include <jansson.h>

#include "plugin/control/text.h"
#include "zram-protocol.h"

struct reply {
  struct text *result; /* not owned */
  int code;            /* 0 = no error */
  char message[320];
};

/* Takes over the reference; NULL: there was no memory. */
void reply_json (struct reply *r, json_t *result);

void reply_error (struct reply *r, int code, const char *format, ...)
  __attribute__ ((format (printf, 3, 4)));

/* "name=value: must be allowed" */
void reply_bad_param (struct reply *r, const char *name, const json_t *value,
                      const char *allowed);

/* -- parameters: NULL is no parameters ---------------------------------- */

/* Every parameter is one of 'names' (separated by blanks). */
bool params_known (struct reply *r, const json_t *params, const char *names)
  MUST_USE;

static inline bool
params_has (const json_t *params, const char *name)
{
  return json_object_get (params, name) != NULL;
}

/* A number in [min, max], INT64_MAX at most.  One that is missing is an
 * error.
 */
bool params_number (struct reply *r, const json_t *params, const char *name,
                    uint64_t min, uint64_t max, uint64_t *n) MUST_USE;

/* False where it is missing. */
bool params_flag (struct reply *r, const json_t *params, const char *name,
                  bool *flag) MUST_USE;

/* A string; one that is missing is an error that says what is allowed. */
bool params_string (struct reply *r, const json_t *params, const char *name,
                    const char *allowed, const char **s) MUST_USE;

#endif /* ZRAM_REPLY_H */
