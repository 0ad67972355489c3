/* SPDX-License-Identifier: BSD-3-Clause */
/* The data of top at one moment: three answers of the server. */

#ifndef NBDZRAMCTL_SAMPLE_H
#define NBDZRAMCTL_SAMPLE_H

#include <stdint.h>

#include <jansson.h>

#include "ctl.h"
#include "histogram.h"

struct sample {
  double at_s; /* monotonic */
  json_t *stats, *classes;
  struct histogram latency[NKINDS]; /* in the order of latency_kinds */
};

/* Asks the server now. */
struct sample sample_take (struct ctl *ctl);

/* The moment when the server started: all counters are 0. */
struct sample sample_of_start (const struct sample *first);

void sample_free (struct sample *s);

/* How much a counter of stats rose a second, from before to s.  A counter that
 * fell was reset, and counts from 0.
 */
double sample_rate (const struct sample *s, const struct sample *before,
                    const char *path);

/* The counts that were added to a kind's histogram. */
struct histogram sample_latency (const struct sample *s,
                                 const struct sample *before, int kind);

#endif /* NBDZRAMCTL_SAMPLE_H */
