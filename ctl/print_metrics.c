/* SPDX-License-Identifier: BSD-3-Clause */
/* metrics: the server's text for Prometheus, unchanged. */

#include <config.h>

#include <stdio.h>

#include "answer.h"
#include "client.h"
#include "out.h"
#include "text.h"
#include "verbs.h"
#include "zram-protocol.h"

int
run_metrics (struct ctl *ctl, const struct arguments *args)
{
  json_t *answer = client_call (ctl, ZRAM_VERB_METRICS, NULL);

  (void) args;
  if (ctl->json)
    out_json_answer (answer);
  else
    out_text (answer_string (answer, "text"));
  json_decref (answer);
  return STATUS_OK;
}
