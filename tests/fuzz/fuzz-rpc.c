/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Fuzz target: what a client of the control socket may say, from bytes to
 * answers, with a real engine behind it.  Built and run by
 * test-fuzz-rpc.sh; a crash is repeated by giving the program the file.
 *
 * Every answer must be one line of JSON with the members of an answer, and
 * whatever was asked the engine must be sound afterwards.
 */

#include <config.h>

#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "plugin/control/client.h"
#include "plugin/control/jobs.h"
#include "plugin/control/rpc.h"
#include "store/audit.h"
#include "store/range.h"

#define DISK (1u << 20)

/* Inputs from one audit to the next. */
#define AUDIT 256

int LLVMFuzzerTestOneInput (const uint8_t *data, size_t size);

static struct service service;
static const struct store_config config = {
  .slot_size = 4096,
  .primary = { 1, 1 }, /* lz4 */
  .workers = 2,
  .disk_bytes = DISK,
};
static const struct upkeep_config upkeep = { .compact_pause = 1,
                                             .auto_share = 50 };

static void
fill (void)
{
  static char buf[DISK / 2];

  /* Every other slot compresses, the others are one word.  None is huge: what
   * such a slot owns is known only to memory in which leaks are not looked
   * for.
   */
  for (size_t i = 0; i < sizeof buf; i++)
    if (i / 4096 % 2 == 0)
      buf[i] = (char) (i % 64);
  check_always (disk_write (service.disk, buf, sizeof buf, 4096) == 0);
}

static void
set_up (void)
{
  service.store = store_create (&config);
  check_always (service.store && store_start (service.store) == 0);
  service.disk = disk_create (service.store, DISK);
  check_always (service.disk);
  service.upkeep = upkeep_create (service.store, &upkeep);
  check_always (service.upkeep);
  service.started_ns = clock_ns ();
  json_object_seed (1);
  fill ();
}

/* Earlier requests must not matter. */
static void
start_afresh (void)
{
  struct zcomp_method primary = zcomp_primary (service.store->zcomp);

  if (zcomp_workers (service.store->zcomp) != config.workers)
    check_always (store_set_workers (service.store, config.workers) == 0);
  if (memcmp (&primary, &config.primary, sizeof primary) != 0)
    check_always (store_set_primary (service.store, &config.primary) == 0);
  recompressor_set_methods (service.upkeep->recompressor, NULL, 0);
  recompress_policy_set_age (&service.upkeep->policy, 0);
  store_set_mem_limit (service.store, 0);
  atomic_store (&service.clients, 0);
  jobs_destroy (service.jobs);
  service.jobs = jobs_create (&service);
  check_always (service.jobs);
  if (disk_sum (service.disk, DISK_SLOTS_STORED) == 0)
    fill (); /* there was a reset */
}

static void
check_answer (const char *answer, size_t len)
{
  json_t *json = json_loadb (answer, len, JSON_REJECT_DUPLICATES, NULL);
  json_t *error = json_object_get (json, "error");

  check_always (len > 0 && memchr (answer, '\n', len) == answer + len - 1);
  check_always (json_object_size (json) == 3);
  check_always (json_object_get (json, "id"));
  check_always (!json_object_get (json, "result") != !error);
  if (error) {
    check_always (json_is_integer (json_object_get (error, "code")));
    check_always (json_string_length (json_object_get (error, "message")));
  }
  json_decref (json);
}

static void
serve (const char *line, size_t len)
{
  struct rpc_request request;
  struct text answer = { 0 };

  rpc_parse (&request, line, len);
  rpc_run (&request, &service, &answer);
  rpc_request_free (&request);
  check_always (!answer.broken);
  if (text_size (&answer))
    check_answer (text_begin (&answer), text_size (&answer));
  text_free (&answer);
}

/* As control.c does it with a connection. */
static void
serve_all (const uint8_t *data, size_t size)
{
  struct client c = { .fd = -1 };
  const char *line;
  size_t len;

  text_add (&c.in, (const char *) data, size);
  c.eof = true;
  while (client_line (&c, &line, &len) == CLIENT_LINE) {
    serve (line, len);
    client_line_done (&c, len);
  }
  text_free (&c.in);
}

int
LLVMFuzzerTestOneInput (const uint8_t *data, size_t size)
{
  static unsigned n;
  struct reason why;

  if (!service.store)
    set_up ();
  start_afresh ();
  serve_all (data, size);
  jobs_run_current (service.jobs);
  if (++n % AUDIT == 0 && store_audit (service.disk->store, true, &why) == -1) {
    fprintf (stderr, "audit: %s\n", why.text);
    abort ();
  }
  return 0;
}
