/* SPDX-License-Identifier: BSD-3-Clause */
/* Parses requests, runs them, and writes the answers.
 * Contract: plugin/control/rpc.h.
 */

#include <config.h>

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "plugin/control/verbs.h"
#include "plugin/control/rpc.h"
#include "zram-shown.h"

static void set_error (struct rpc_request *req, int code, const char *format,
                       ...) __attribute__ ((format (printf, 3, 4)));

static void
set_error (struct rpc_request *req, int code, const char *format, ...)
{
  va_list args;

  req->verb = NULL;
  req->code = code;
  va_start (args, format);
  vsnprintf (req->message, sizeof req->message, format, args);
  va_end (args);
}

/* -- parsing ------------------------------------------------------------ */

static bool
is_id (const json_t *id)
{
  return json_is_string (id) || json_is_number (id) || json_is_null (id);
}

/* Reads the members of a request.  False if it is not a request. */
static bool
parse_members (struct rpc_request *req)
{
  const char *version = json_string_value (
    json_object_get (req->root, "jsonrpc"));
  const char *name = json_string_value (json_object_get (req->root, "method"));
  const json_t *id = json_object_get (req->root, "id");
  char shown[64];

  if (id && !is_id (id)) {
    set_error (req, ZRAM_ERROR_REQUEST,
               "id: must be a string, a number or null");
    return false;
  }
  req->id = id;
  if (!version || strcmp (version, "2.0") != 0)
    set_error (req, ZRAM_ERROR_REQUEST, "jsonrpc: must be \"2.0\"");
  else if (!name)
    set_error (req, ZRAM_ERROR_REQUEST, "method: must be a string");
  else if (!(req->verb = verb_find (name)))
    set_error (req, ZRAM_ERROR_METHOD, "%s: no such method",
               shown_cut (shown, sizeof shown, name, SHOWN_MESSAGE));
  else
    return true;
  return false;
}

void
rpc_parse (struct rpc_request *req, const char *line, size_t len)
{
  json_error_t why;

  memset (req, 0, sizeof *req);
  req->root = json_loadb (line, len, JSON_REJECT_DUPLICATES, &why);
  if (!req->root) {
    /* jansson could allow a \0, but C strings end there. */
    if (json_error_code (&why) == json_error_null_character ||
        json_error_code (&why) == json_error_null_byte_in_key)
      set_error (req, ZRAM_ERROR_PARSE,
                 "column %d: a string must not have \\u0000 in it", why.column);
    else
      set_error (req, ZRAM_ERROR_PARSE, "not JSON: column %d: %s", why.column,
                 why.text);
    return;
  }
  if (!json_is_object (req->root)) {
    set_error (req, ZRAM_ERROR_REQUEST,
               "a request is one object (there are no batches)");
    return;
  }
  if (!parse_members (req))
    return;
  req->params = json_object_get (req->root, "params");
  if (req->params && !json_is_object (req->params))
    set_error (req, ZRAM_ERROR_PARAMS,
               "params: must be an object, with parameters by name");
}

void
rpc_request_free (struct rpc_request *req)
{
  json_decref (req->root);
  req->root = NULL;
}

/* -- answering ---------------------------------------------------------- */

static void
add_head (struct text *answer, const json_t *id)
{
  text_puts (answer, "{\"jsonrpc\":\"2.0\",\"id\":");
  if (id)
    text_json (answer, id);
  else
    text_puts (answer, "null");
}

void
rpc_add_error (struct text *answer, const json_t *id, int code,
               const char *message)
{
  json_t *error = json_pack ("{s:i, s:o}", "code", code, "message",
                             json_message (message));

  add_head (answer, id);
  text_puts (answer, ",\"error\":");
  text_json (answer, error);
  text_puts (answer, "}\n");
  json_decref (error);
}

/* An error of the request itself is answered even without an id: the client
 * may have meant to send one.
 */
static bool
wants_answer (const struct rpc_request *req)
{
  return req->id || (!req->verb && (req->code == ZRAM_ERROR_PARSE ||
                                    req->code == ZRAM_ERROR_REQUEST));
}

void
rpc_run (struct rpc_request *req, struct service *service, struct text *answer)
{
  struct text result = { 0 };
  struct reply r = { .result = &result };

  if (req->verb) {
    if (params_known (&r, req->params, req->verb->params))
      req->verb->run (service, req->params, &r);
    if (result.broken)
      reply_error (&r, ZRAM_ERROR_INTERNAL, "out of memory");
  }
  else {
    r.code = req->code;
    memcpy (r.message, req->message, sizeof r.message);
  }

  if (wants_answer (req)) {
    if (r.code)
      rpc_add_error (answer, req->id, r.code, r.message);
    else {
      add_head (answer, req->id);
      text_puts (answer, ",\"result\":");
      text_add (answer, text_begin (&result), text_size (&result));
      text_puts (answer, "}\n");
    }
  }
  text_free (&result);
}
