/* SPDX-License-Identifier: BSD-3-Clause */
/* Verbs that start long work and stay with it to its end. */

#include <config.h>

#include "answer.h"
#include "client.h"
#include "progress.h"
#include "verbs.h"
#include "zram-protocol.h"

static int
run_job (struct ctl *ctl, const char *method, json_t *params)
{
  /* From before it starts: a Ctrl-C that comes in between cancels it too. */
  progress_catch_signals ();

  json_t *answer = client_call (ctl, method, params);
  int64_t id = answer_i64 (answer, "job");

  json_decref (answer);
  return progress_follow (ctl, id);
}

int
run_compact (struct ctl *ctl, const struct arguments *args)
{
  (void) args;
  return run_job (ctl, ZRAM_METHOD_COMPACT, NULL);
}

int
run_audit (struct ctl *ctl, const struct arguments *args)
{
  return run_job (ctl, ZRAM_METHOD_AUDIT,
                  json_pack ("{s:b}", "deep", args->flag));
}

int
run_reset (struct ctl *ctl, const struct arguments *args)
{
  return run_job (ctl, ZRAM_METHOD_RESET,
                  json_pack ("{s:b}", "force", args->flag));
}
