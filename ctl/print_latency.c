/* SPDX-License-Identifier: BSD-3-Clause */
/* latency: since the server started, a line for each kind. */

#include <config.h>

#include <inttypes.h>
#include <stdio.h>

#include "answer.h"
#include "client.h"
#include "histogram.h"
#include "out.h"
#include "text.h"
#include "verbs.h"
#include "zram-protocol.h"

static const struct {
  const char *heading;
  double share;
} percentiles[] = {
  { "P50", 0.5 },     { "P90", 0.9 }, { "P99", 0.99 },
  { "P99.9", 0.999 }, { "MAX", 1 },
};
#define NPERCENTILES (sizeof percentiles / sizeof percentiles[0])

static void
print_kind (const char *name, const struct histogram *h)
{
  char buf[TEXT_MAX];

  out ("%-11s %12" PRIu64, name, h->count * h->sampled);
  out (" %8s", h->count ? text_ns (buf, h->sum_ns / h->count) : "-");
  for (size_t i = 0; i < NPERCENTILES; i++)
    out (" %8s",
         h->count
           ? text_ns (buf, histogram_percentile (h, percentiles[i].share))
           : "-");
  out_newline ();
}

int
run_latency (struct ctl *ctl, const struct arguments *args)
{
  json_t *answer = client_call (ctl, ZRAM_VERB_LATENCY, NULL);

  (void) args;
  if (ctl->json)
    out_json_answer (answer);
  else {
    out ("%-11s %12s %8s", "KIND", "COUNT", "MEAN");
    for (size_t i = 0; i < NPERCENTILES; i++)
      out (" %8s", percentiles[i].heading);
    out_newline ();
    for (const char *const *kind = latency_kinds; *kind; kind++) {
      struct histogram h = histogram_of (answer_member (answer, *kind));

      print_kind (*kind, &h);
      histogram_free (&h);
    }
  }
  json_decref (answer);
  return STATUS_OK;
}
