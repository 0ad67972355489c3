/* SPDX-License-Identifier: BSD-3-Clause */

#include <config.h>

#include <stdlib.h>

#include "answer.h"
#include "ctl.h"
#include "histogram.h"

const char *const latency_kinds[NKINDS + 1] = {
  "read",     "write",      "discard",   "flush",
  "compress", "decompress", "lock_wait", NULL,
};

struct histogram
histogram_of (json_t *kind)
{
  json_t *buckets = answer_array (kind, "buckets"), *pair;
  json_t *sampled = json_object_get (kind, "sampled");
  struct histogram h = { .sampled = 1 };
  size_t i;

  h.sum_ns = answer_u64 (kind, "sum_ns");
  if (json_integer_value (sampled) > 1)
    h.sampled = (unsigned) json_integer_value (sampled);
  h.n = json_array_size (buckets);
  h.bucket = calloc (h.n + 1, sizeof h.bucket[0]);
  if (!h.bucket)
    die (STATUS_REFUSED, "out of memory");
  json_array_foreach (buckets, i, pair)
  {
    h.bucket[i].upper_ns = answer_u64_at (pair, 0);
    h.bucket[i].count = answer_u64_at (pair, 1);
    h.count += h.bucket[i].count;
  }
  return h;
}

void
histogram_free (struct histogram *h)
{
  free (h->bucket);
  *h = (struct histogram){ .n = 0 };
}

void
histogram_subtract (struct histogram *h, const struct histogram *before)
{
  if (before->count > h->count || before->sum_ns > h->sum_ns)
    return;
  h->count = 0;
  h->sum_ns -= before->sum_ns;
  for (size_t i = 0, j = 0; i < h->n; i++) {
    while (j < before->n && before->bucket[j].upper_ns < h->bucket[i].upper_ns)
      j++;
    if (j < before->n && before->bucket[j].upper_ns == h->bucket[i].upper_ns &&
        before->bucket[j].count <= h->bucket[i].count)
      h->bucket[i].count -= before->bucket[j].count;
    h->count += h->bucket[i].count;
  }
}

uint64_t
histogram_percentile (const struct histogram *h, double p)
{
  uint64_t below = 0, upper = 0;

  for (size_t i = 0; i < h->n; i++) {
    if (h->bucket[i].count == 0)
      continue;
    upper = h->bucket[i].upper_ns;
    below += h->bucket[i].count;
    if ((double) below >= p * (double) h->count)
      break;
  }
  return upper;
}
