/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * How a verb reads its parameters and answers.
 *
 *   verb                                answer
 *     reply_json (r, json)                "result": json
 *     text_printf (r->result, …)          "result": that text, which must be
 *                                         JSON; strings only by text_value
 *     reply_error (r, code, …)            "error": …, even if a result was
 *                                         written
 *
 * When a params_ function returns false, it has answered with an error that
 * names the parameter, its value and the allowed values.
 */

#ifndef ZRAM_REPLY_H
#define ZRAM_REPLY_H

#include <stdbool.h>
#include <stdint.h>

#include <jansson.h>

#include "plugin/control/text.h"
#include "zram-protocol.h"

/* Bytes of an error's message.  Strings from outside are cut (zram-shown.h), so
 * that the text about them fits.
 */
#define REPLY_MESSAGE 640

struct reply {
  struct text *result; /* not owned */
  int code;            /* 0 = no error */
  char message[REPLY_MESSAGE];
};

/* -- strings in JSON ----------------------------------------------------- */

/* All strings in an answer go through these.  jansson refuses strings that are
 * not UTF-8, and other writers do not check them.  They change the string as
 * zram-shown.h says; NULL: no memory.  json_value is for values that a client
 * may have to decode, json_message for sentences.
 */
json_t *json_value (const char *bytes) MUST_USE;
json_t *json_message (const char *sentence) MUST_USE;

/* A text of several lines; the line ends stay. */
json_t *json_lines (struct text *lines) MUST_USE;

/* Append a quoted value to the text. */
void text_value (struct text *t, const char *bytes);

/* Append JSON from outside (an id) to the text. */
void text_json (struct text *t, const json_t *json);

/* -- answers ------------------------------------------------------------ */

/* Takes over the reference; NULL: there was no memory. */
void reply_json (struct reply *r, json_t *result);

void reply_error (struct reply *r, int code, const char *format, ...)
  __attribute__ ((format (printf, 3, 4)));

/* "name=value: must be allowed" */
void reply_bad_param (struct reply *r, const char *name, const json_t *value,
                      const char *allowed);

/* -- parameters; params may be NULL: there are none --------------------- */

/* True if every parameter is one of 'names' (separated by blanks). */
bool params_known (struct reply *r, const json_t *params, const char *names)
  MUST_USE;

static inline bool
params_has (const json_t *params, const char *name)
{
  return json_object_get (params, name) != NULL;
}

/* A number in [min, max], where max is at most INT64_MAX.  A missing one is an
 * error.
 */
bool params_number (struct reply *r, const json_t *params, const char *name,
                    uint64_t min, uint64_t max, uint64_t *n) MUST_USE;

/* A missing flag is false. */
bool params_flag (struct reply *r, const json_t *params, const char *name,
                  bool *flag) MUST_USE;

/* A string; a missing one is an error that names the allowed values. */
bool params_string (struct reply *r, const json_t *params, const char *name,
                    const char *allowed, const char **s) MUST_USE;

#endif /* ZRAM_REPLY_H */
