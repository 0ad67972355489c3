/* SPDX-License-Identifier: BSD-3-Clause */
/* The server's histograms: [[upper_ns, count], ...] with upper_ns rising and
 * only those buckets that are not empty.
 *
 *   count = sum of the buckets' counts
 */

#ifndef NBDZRAMCTL_HISTOGRAM_H
#define NBDZRAMCTL_HISTOGRAM_H

#include <stddef.h>
#include <stdint.h>

#include <jansson.h>

struct histogram {
  uint64_t count, sum_ns;
  unsigned sampled; /* one in so many was measured */
  size_t n;
  struct {
    uint64_t upper_ns, count;
  } * bucket;
};

/* read, write ...: all kinds that the server measures.  Ends with NULL. */
#define NKINDS 7
extern const char *const latency_kinds[NKINDS + 1];

/* The server's histogram of one kind.  Free it with histogram_free. */
struct histogram histogram_of (json_t *kind);
void histogram_free (struct histogram *h);

/* Subtracts the counts of before, bucket by bucket.  If a count became smaller
 * (the server's counters were reset) it counts from 0.
 */
void histogram_subtract (struct histogram *h, const struct histogram *before);

/* The upper end of the bucket in which the share p (0 to 1) of all is reached;
 * 0 if the histogram is empty.
 */
uint64_t histogram_percentile (const struct histogram *h, double p);

#endif /* NBDZRAMCTL_HISTOGRAM_H */
