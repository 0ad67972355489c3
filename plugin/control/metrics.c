/* SPDX-License-Identifier: BSD-3-Clause */
/* Writes the metrics in Prometheus' text format.
 * Contract: plugin/control/metrics.h.
 */

#include <config.h>

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "plugin/control/figures.h"
#include "plugin/control/metrics.h"
#include "store/time_sample.h"
#include "zram-shown.h"

/* -- times -------------------------------------------------------------- */

void
times_of (struct service *s, struct times all[TIMES])
{
  const struct histogram *latency = s->disk->latency;
  const struct times times[TIMES] = {
    { "read", &latency[LATENCY_READ], 1 },
    { "write", &latency[LATENCY_WRITE], 1 },
    { "discard", &latency[LATENCY_DISCARD], 1 },
    { "flush", &latency[LATENCY_FLUSH], 1 },
    { "compress", &s->store->compress_time, TIME_SAMPLE },
    { "decompress", &s->store->decompress_time, TIME_SAMPLE },
    { "lock_wait", rwword_waits (), 1 },
  };

  memcpy (all, times, sizeof times);
}

void
times_read (const struct times *times, struct histogram_snapshot *s)
{
  memset (s, 0, sizeof *s);
  if (times->h)
    histogram_read (times->h, s);
}

/* -- one family --------------------------------------------------------- */

static void
head (struct text *out, const char *name, const char *type, const char *help)
{
  text_printf (out, "# HELP nbdzram_%s %s\n# TYPE nbdzram_%s %s\n", name, help,
               name, type);
}

/* A label's value, quoted: made harmless, then escaped for the format.  Every
 * string in the metrics goes through this.
 */
static void
label_value (struct text *out, const char *s)
{
  char *shown = shown_copy (s, SHOWN_VALUE);

  if (!shown) {
    out->broken = true;
    return;
  }
  text_puts (out, "\"");
  for (const char *p = shown; *p; p++) {
    if (*p == '"' || *p == '\\')
      text_puts (out, "\\");
    text_add (out, p, 1);
  }
  text_puts (out, "\"");
  free (shown);
}

/* Bounds of the buckets: powers of two, from about a microsecond to about 17
 * seconds.  Each is also a bound of our own buckets.
 */
#define LE_FIRST_LOG2 10
#define LE_LAST_LOG2 34

/* The labels behind a name; 'le' only for a bucket. */
static void
labels (struct text *out, const char *op, const char *le)
{
  if (!op && !le)
    return;
  text_puts (out, "{");
  if (op) {
    text_puts (out, "op=");
    label_value (out, op);
  }
  if (le) {
    text_puts (out, op ? ",le=" : "le=");
    label_value (out, le);
  }
  text_puts (out, "}");
}

static void
bucket (struct text *out, const char *name, const char *op, const char *le,
        uint64_t below)
{
  text_printf (out, "nbdzram_%s_bucket", name);
  labels (out, op, le);
  text_printf (out, " %" PRIu64 "\n", below);
}

/* op: NULL if the family has only one histogram. */
static void
histogram (struct text *out, const char *name, const char *op,
           const struct times *times)
{
  struct histogram_snapshot s;
  uint64_t below = 0;
  unsigned i = 0;
  char seconds[32];

  times_read (times, &s);
  for (unsigned log2 = LE_FIRST_LOG2; log2 <= LE_LAST_LOG2; log2++) {
    uint64_t le = UINT64_C (1) << log2;

    for (; i < HISTOGRAM_BUCKETS && histogram_upper_ns (i) <= le; i++)
      below += s.bucket[i];
    snprintf (seconds, sizeof seconds, "%.12g", (double) le / 1e9);
    bucket (out, name, op, seconds, below);
  }
  bucket (out, name, op, "+Inf", s.count);
  text_printf (out, "nbdzram_%s_sum", name);
  labels (out, op, NULL);
  text_printf (out, " %.9f\n", (double) s.sum_ns / 1e9);
  text_printf (out, "nbdzram_%s_count", name);
  labels (out, op, NULL);
  text_printf (out, " %" PRIu64 "\n", s.count);
}

/* -- groups of families ------------------------------------------------- */

/* Metrics that do not fit the table: string labels, a fraction. */
static void
add_setup (struct service *s, struct text *out)
{
  struct zcomp_method primary = zcomp_primary (s->store->zcomp);

  head (out, "build_info", "gauge", "Always 1; the version is a label.");
  text_puts (out, "nbdzram_build_info{version=");
  label_value (out, PACKAGE_VERSION);
  text_puts (out, "} 1\n");
  head (out, "algorithm_info", "gauge",
        "Always 1; what new data is compressed with.");
  text_puts (out, "nbdzram_algorithm_info{algorithm=");
  label_value (out, zcomp_format_name (s->store->zcomp, primary.format));
  text_printf (out, ",level=\"%d\"} 1\n", primary.level);
  head (out, "uptime_seconds", "gauge", "Time since the server started.");
  text_printf (out, "nbdzram_uptime_seconds %.3f\n",
               (double) (clock_ns () - s->started_ns) / 1e9);
}

static void
add_figure (struct text *out, const struct figure *f, uint64_t value)
{
  if (f->help)
    head (out, f->metric, f->kind == KIND_COUNTER ? "counter" : "gauge",
          f->help);
  text_printf (out, "nbdzram_%s", f->metric);
  if (f->label) {
    text_printf (out, "{%s=", f->label);
    label_value (out, f->is);
    text_puts (out, "}");
  }
  if (f->unit == UNIT_NANOSECONDS)
    text_printf (out, " %.9f\n", (double) value / 1e9);
  else
    text_printf (out, " %" PRIu64 "\n",
                 f->unit == UNIT_BLOCKS ? value * BACKING_BLOCK : value);
}

static void
add_figures (struct service *s, struct text *out)
{
  uint64_t values[FIGURES];

  figures_read (s, values);
  for (unsigned i = 0; i < FIGURES; i++)
    if (figures[i].metric)
      add_figure (out, &figures[i], values[i]);
}

/* The families of histograms, which do not fit the table either. */
static void
add_times (struct service *s, struct text *out)
{
  static const char requests[] = "request_duration_seconds";
  static const char codec[] = "codec_duration_seconds";
  static const char lock[] = "lock_wait_seconds";
  struct times all[TIMES];

  times_of (s, all);
  head (out, requests, "histogram", "Time that requests took.");
  for (unsigned i = 0; i < TIMES; i++) {
    /* The format wants each family in one piece. */
    if (strcmp (all[i].name, "compress") == 0)
      head (out, codec, "histogram",
            "Time to compress or decompress a slot, of one in 16.");
    if (strcmp (all[i].name, "lock_wait") == 0)
      head (out, lock, "histogram",
            "Time waited for locks, where there was a wait.");
    if (strcmp (all[i].name, "lock_wait") == 0)
      histogram (out, lock, NULL, &all[i]);
    else
      histogram (out, all[i].sampled > 1 ? codec : requests, all[i].name,
                 &all[i]);
  }
}

void
metrics_text (struct service *s, struct text *out)
{
  add_setup (s, out);
  add_figures (s, out);
  add_times (s, out);
}
