/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a method is given to read its parameters and to answer with.
 *
 *   method                              answer
 *     reply_json (r, json)                "result": json
 *     text_printf (r->result, …)          "result": that text, which is JSON
 *                                         and has strings by text_value only
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

/* Bytes of an error's message.  Strings of others in it are cut (zram-shown.h),
 * so that what is said of them fits.
 */
#define REPLY_MESSAGE 640

struct reply {
  struct text *result; /* not owned */
  int code;            /* 0 = no error */
  char message[REPLY_MESSAGE];
};

/* -- strings in JSON ----------------------------------------------------- */

/* The ways for strings into an answer: jansson takes none that is not UTF-8,
 * and others believe what they get.  As zram-shown.h says; NULL: no memory.
 * The first is for what may have to be undone, the second for sentences.
 */
json_t *json_value (const char *bytes) MUST_USE;
json_t *json_message (const char *sentence) MUST_USE;

/* A text of lines, whose ends stay. */
json_t *json_lines (struct text *lines) MUST_USE;

/* A value, quoted, behind the text. */
void text_value (struct text *t, const char *bytes);

/* JSON that others made (an id), behind the text. */
void text_json (struct text *t, const json_t *json);

/* -- answers ------------------------------------------------------------ */

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
