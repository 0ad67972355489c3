/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * All measurements, in Prometheus' text format (version 0.0.4).  Names are
 * nbdzram_*, in base units: _bytes, _seconds, counters _total.
 *
 * Takes only the locks of size classes, one after the other, so it answers at
 * once.
 */

#ifndef ZRAM_METRICS_H
#define ZRAM_METRICS_H

#include "base/histogram.h"
#include "plugin/control/service.h"
#include "plugin/control/text.h"

/* The measured times: reads, writes, discards, flushes, compressing,
 * decompressing, waits for locks.
 */
#define TIMES 7

struct times {
  const char *name;          /* in the result of "latency" */
  const struct histogram *h; /* NULL: nothing was measured yet */
  unsigned sampled;          /* one in so many is timed */
};

void times_of (struct service *service, struct times all[TIMES]);
void times_read (const struct times *times, struct histogram_snapshot *s);

/* Add all metrics to the text. */
void metrics_text (struct service *service, struct text *out);

#endif /* ZRAM_METRICS_H */
