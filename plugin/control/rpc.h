/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One line in, one line out: a request is parsed and run here, without a
 * socket.
 *
 *   line --rpc_parse--> request --rpc_run--> answer line
 *                         |
 *                         verb->lane: which thread may run it
 *
 * JSON-RPC 2.0 without batches; parameters by name only.  A request without an
 * id is run and not answered.  A line that is not a request is answered with
 * the id null.
 */

#ifndef ZRAM_RPC_H
#define ZRAM_RPC_H

#include "plugin/control/service.h"
#include "plugin/control/reply.h"

/* The thread that runs a verb; other requests wait there behind it. */
enum rpc_lane {
  RPC_AT_ONCE, /* the event loop: it never waits */
  RPC_SLOW,    /* walks over the whole disk, or waits for streams */
  RPC_FILES,   /* with parameters it waits some seconds for a file that a client
                  names; without them it is like RPC_SLOW */
  RPC_LANES
};

struct verb {
  const char *name;
  const char *params; /* names, separated by blanks */
  enum rpc_lane lane;
  void (*run) (struct service *service, const json_t *params, struct reply *r);
};

struct rpc_request {
  json_t *root;            /* owned: the line; NULL if it is not JSON */
  const json_t *id;        /* in root; NULL if there is none */
  const json_t *params;    /* in root; NULL if there are none */
  const struct verb *verb; /* NULL if there is an error already */
  int code;                /* of that error */
  char message[REPLY_MESSAGE];
};

/* The line has no \n.  Always succeeds; the request must be freed. */
void rpc_parse (struct rpc_request *req, const char *line, size_t len);
void rpc_request_free (struct rpc_request *req);

static inline enum rpc_lane
rpc_lane (const struct rpc_request *req)
{
  if (!req->verb)
    return RPC_AT_ONCE;
  return req->verb->lane == RPC_FILES && json_object_size (req->params) == 0
           ? RPC_SLOW
           : req->verb->lane;
}

/* Run it and add the answer with its \n, if there must be one. */
void rpc_run (struct rpc_request *req, struct service *service,
              struct text *answer);

/* Add an error that answers no request. */
void rpc_add_error (struct text *answer, const json_t *id, int code,
                    const char *message);

#endif /* ZRAM_RPC_H */
