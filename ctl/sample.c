/* SPDX-License-Identifier: BSD-3-Clause */

#include <config.h>

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "answer.h"
#include "client.h"
#include "sample.h"
#include "zram-protocol.h"

struct sample
sample_take (struct ctl *ctl)
{
  struct sample s = { .stats = client_call (ctl, ZRAM_VERB_STATS, NULL) };
  struct timespec ts;

  clock_gettime (CLOCK_MONOTONIC, &ts);
  s.at_s = (double) ts.tv_sec + (double) ts.tv_nsec / 1e9;

  json_t *latency = client_call (ctl, ZRAM_VERB_LATENCY, NULL);

  for (int k = 0; k < NKINDS; k++)
    s.latency[k] = histogram_of (answer_member (latency, latency_kinds[k]));
  json_decref (latency);
  s.classes = client_call (ctl, ZRAM_VERB_CLASSES, NULL);
  return s;
}

struct sample
sample_of_start (const struct sample *first)
{
  return (struct sample){
    .at_s = first->at_s - answer_real (first->stats, "uptime_s"),
  };
}

void
sample_free (struct sample *s)
{
  json_decref (s->stats);
  json_decref (s->classes);
  for (int k = 0; k < NKINDS; k++)
    histogram_free (&s->latency[k]);
  *s = (struct sample){ .at_s = 0 };
}

double
sample_rate (const struct sample *s, const struct sample *before,
             const char *path)
{
  uint64_t now = answer_u64 (s->stats, path);
  uint64_t then = before->stats ? answer_u64 (before->stats, path) : 0;
  double seconds = s->at_s - before->at_s;

  if (then > now)
    then = 0;
  /* A server that has just started reports 0 seconds. */
  return (double) (now - then) / (seconds > 0.01 ? seconds : 1);
}

struct histogram
sample_latency (const struct sample *s, const struct sample *before, int kind)
{
  struct histogram h = s->latency[kind];

  h.bucket = calloc (h.n + 1, sizeof h.bucket[0]);
  if (!h.bucket)
    die (STATUS_REFUSED, "out of memory");
  memcpy (h.bucket, s->latency[kind].bucket, h.n * sizeof h.bucket[0]);
  histogram_subtract (&h, &before->latency[kind]);
  return h;
}
