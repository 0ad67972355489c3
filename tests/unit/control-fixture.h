/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the tests of plugin/control/ share: a service with a small disk, and
 * requests that are served without a socket.
 */

#ifndef ZRAM_CONTROL_FIXTURE_H
#define ZRAM_CONTROL_FIXTURE_H

#include "store-fixture.h"

#include "plugin/control/jobs.h"
#include "plugin/control/verbs.h"
#include "plugin/control/rpc.h"

struct control_fixture {
  struct fixture f;
  struct service service;
};

/* Upkeep as it is by then: with an evictor if there is a backing store.
 * Nothing has a thread: passes are jobs.
 */
static inline void
control_fixture_renew_upkeep (struct control_fixture *c)
{
  static const struct upkeep_config config = {
    .compact_pause = 1, .auto_share = 50, .evict_low = 80, .evict_high = 90
  };

  upkeep_destroy (c->service.upkeep);
  c->service.upkeep = upkeep_create (c->f.store, &config);
  check_always (c->service.upkeep);
}

static inline void
control_fixture_open (struct control_fixture *c, uint64_t size)
{
  memset (c, 0, sizeof *c);
  fixture_open (&c->f, 4096, "lz4", 2, size);
  c->service.store = c->f.store;
  c->service.disk = c->f.disk;
  control_fixture_renew_upkeep (c);
  c->service.started_ns = clock_ns ();
}

static inline void
control_fixture_close (struct control_fixture *c)
{
  upkeep_destroy (c->service.upkeep);
  fixture_close (&c->f);
}

/* A line's answer, which the caller frees; "" if there is none. */
static inline char *
serve_bytes (struct control_fixture *c, const char *line, size_t len)
{
  struct text answer = { 0 };
  struct rpc_request req;
  char *copy;

  rpc_parse (&req, line, len);
  rpc_run (&req, &c->service, &answer);
  rpc_request_free (&req);
  check_always (!answer.broken);
  copy = must_alloc (text_size (&answer) + 1);
  memcpy (copy, text_begin (&answer), text_size (&answer));
  text_free (&answer);
  return copy;
}

static inline char *
serve (struct control_fixture *c, const char *line)
{
  return serve_bytes (c, line, strlen (line));
}

/* "method" and what is between the braces of "params", which may be "". */
static inline char *
ask (struct control_fixture *c, const char *method, const char *params)
{
  char line[512];

  snprintf (line, sizeof line,
            "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"%s\",\"params\":{%s}}",
            method, params);
  return serve (c, line);
}

/* The answer has these words in it. */
static inline void
must_answer (struct control_fixture *c, const char *method, const char *params,
             const char *words)
{
  char *answer = ask (c, method, params);

  if (!strstr (answer, words))
    fail_msg ("%s {%s} was answered with %.300s, without %s", method, params,
              answer, words);
  free (answer);
}

#endif /* ZRAM_CONTROL_FIXTURE_H */
