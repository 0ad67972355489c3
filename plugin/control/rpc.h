/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One line in, one line out: a request is parsed and run here, without a
 * socket.
 *
 *   line --rpc_parse--> request --rpc_run--> answer line
 *                         |
 *                         method->slow: run it in a thread that may wait
 *
 * JSON-RPC 2.0 without batches; parameters by name only.  A request without
 * an id is run and not answered; one that is no request is answered with
 * the id null.
 */

#ifndef ZRAM_RPC_H
#define ZRAM_RPC_H

#include "plugin/control/engine.h"
#include "plugin/control/reply.h"

struct method {
  const char *name;
  const char *params; /* names, separated by blanks */
  bool slow;          /* may wait, or walk over the whole disk */
  void (*run) (struct engine *engine, const json_t *params, struct reply *r);
};

struct rpc_request {
  json_t *root;                /* owned: the line; NULL if it is not JSON */
  const json_t *id;            /* in root; NULL if there is none */
  const json_t *params;        /* in root; NULL if there are none */
  const struct method *method; /* NULL if there is an error already */
  int code;                    /* of that error */
  char message[REPLY_MESSAGE];
};

/* The line is without its \n.  Always succeeds, and must be freed. */
void rpc_parse (struct rpc_request *req, const char *line, size_t len);
void rpc_request_free (struct rpc_request *req);

/* May it take longer than others should wait? */
static inline bool
rpc_is_slow (const struct rpc_request *req)
{
  return req->method && req->method->slow;
}

/* Run it and add the answer, if there is to be one, with its \n. */
void rpc_run (struct rpc_request *req, struct engine *engine,
              struct text *answer);

/* An answer to nothing in particular. */
void rpc_add_error (struct text *answer, const json_t *id, int code,
                    const char *message);

#endif /* ZRAM_RPC_H */
