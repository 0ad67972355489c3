/* SPDX-License-Identifier: BSD-3-Clause */

#include <config.h>

#include <string.h>

#include "answer.h"
#include "args.h"
#include "client.h"
#include "out.h"
#include "screen.h"
#include "text.h"
#include "top.h"
#include "verbs.h"
#include "zram-protocol.h"

static void
remember_ratio (struct top *t)
{
  uint64_t orig = answer_u64 (t->now.stats, "mm.orig_data_size");
  uint64_t total = answer_u64 (t->now.stats, "mm.mem_used_total");

  if (t->nratio == HISTORY)
    memmove (t->ratio, t->ratio + 1, (HISTORY - 1) * sizeof t->ratio[0]);
  else
    t->nratio++;
  t->ratio[t->nratio - 1] = orig && total ? (double) orig / (double) total : 0;
}

static void
look (struct top *t)
{
  struct sample s = sample_take (t->ctl);

  sample_free (&t->before);
  t->since_start = !t->now.stats;
  t->before = t->since_start ? sample_of_start (&s) : t->now;
  t->now = s;
  remember_ratio (t);
}

static void
frame (void *ctx, struct canvas *c, bool fresh)
{
  struct top *t = ctx;

  if (fresh)
    look (t);
  top_draw (t, c);
}

static int
print_json (struct ctl *ctl)
{
  json_t *classes = client_call (ctl, ZRAM_VERB_CLASSES, NULL);
  json_t *all = json_object ();

  json_object_set_new (all, "stats", client_call (ctl, ZRAM_VERB_STATS, NULL));
  json_object_set_new (all, "latency",
                       client_call (ctl, ZRAM_VERB_LATENCY, NULL));
  json_object_update (all, classes);
  out_json_answer (all);
  json_decref (all);
  json_decref (classes);
  return STATUS_OK;
}

int
run_top (struct ctl *ctl, const struct arguments *args)
{
  double interval = args->n ? arg_seconds (args->verb, args->v[0]) : 1;
  static struct top t;
  int status;

  if (ctl->json)
    return print_json (ctl);
  t.ctl = ctl;
  if (args->flag || !screen_available ())
    status = screen_once (frame, &t);
  else
    status = screen_run (interval, frame, &t);
  sample_free (&t.before);
  sample_free (&t.now);
  return status;
}
