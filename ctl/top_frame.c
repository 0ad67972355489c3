/* SPDX-License-Identifier: BSD-3-Clause */
/* top's picture:
 *
 *   which server, which disk
 *
 *   a line for each kind of request and codec work: rates, latencies
 *
 *   Memory, Data, Ratio, Streams, Passes; Store, if there is one
 *
 *   the classes with the most pages, as many as fit keys
 *
 * If there is too little room for that, the most important comes first: Memory,
 * Data, Store, then the rest.  With few columns a line says less, down to how
 * many tenths of the memory are used.
 */

#include <config.h>

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "answer.h"
#include "text.h"
#include "top.h"

#define LABEL 10 /* columns in front of the figures */
#define BAR 24

/* With fewer columns lines have no bars, only figures. */
#define WIDE 60

/* Whatever a server sends. */
static uint64_t
seconds_of (double s)
{
  return s > 0 && s < 1e15 ? (uint64_t) s : 0;
}

static void
draw_title (const struct top *t, struct canvas *c, int row)
{
  json_t *stats = t->now.stats;
  char size[TEXT_MAX], up[TEXT_MAX], right[200];
  uint64_t clients = answer_u64 (stats, "clients");

  snprintf (right, sizeof right,
            "%s, %s level %" PRId64 ", up %s, %" PRIu64 " %s",
            text_size (size, answer_u64 (stats, "disksize")),
            answer_string (stats, "algorithm"), answer_i64 (stats, "level"),
            text_duration (up, seconds_of (answer_real (stats, "uptime_s"))),
            clients, clients == 1 ? "client" : "clients");

  int from = c->columns - (int) strlen (right);

  canvas_tail (c, row, 0, from - 2, TONE_HEADING, t->ctl->socket);
  canvas_print (c, row, from > 0 ? from : 0, TONE_PLAIN, "%s", right);
}

/* -- rates and latencies ------------------------------------------------ */

static const struct {
  const char *name;
  const char *requests, *bytes; /* of stats, NULL where it has none */
} kinds[NKINDS] = {
  { "read", "ops.read.requests", "ops.read.bytes" },
  { "write", "ops.write.requests", "ops.write.bytes" },
  { "discard", "ops.discard.requests", "ops.discard.bytes" },
  { "flush", "ops.flush.requests", NULL },
  { "compress", NULL, NULL },
  { "decompress", NULL, NULL },
  { "lock wait", NULL, NULL },
};

static void
draw_kind (const struct top *t, struct canvas *c, int row, int k)
{
  static const double shares[] = { 0.5, 0.95, 0.99, 1 };
  struct histogram h = sample_latency (&t->now, &t->before, k);
  double seconds = t->now.at_s - t->before.at_s;
  char buf[TEXT_MAX];
  double rate;

  if (kinds[k].requests)
    rate = sample_rate (&t->now, &t->before, kinds[k].requests);
  else
    rate = (double) (h.count * h.sampled) / (seconds > 0.01 ? seconds : 1);
  if (c->columns < LABEL + 10) {
    canvas_print (c, row, 0, TONE_PLAIN, "%s %s", text_count (buf, rate),
                  kinds[k].name);
    histogram_free (&h);
    return;
  }
  canvas_print (c, row, 0, TONE_HEADING, "%s", kinds[k].name);
  canvas_print (c, row, LABEL, TONE_PLAIN, "%10s", text_count (buf, rate));
  if (kinds[k].bytes) {
    rate = sample_rate (&t->now, &t->before, kinds[k].bytes);
    canvas_print (c, row, LABEL + 11, TONE_PLAIN, "%9s",
                  text_size (buf, (uint64_t) rate));
  }
  for (int i = 0; i < 4; i++)
    canvas_print (c, row, LABEL + 22 + 10 * i, TONE_PLAIN, "%9s",
                  h.count ? text_ns (buf, histogram_percentile (&h, shares[i]))
                          : "-");
  histogram_free (&h);
}

static int
draw_kinds (const struct top *t, struct canvas *c, int row)
{
  double seconds = t->now.at_s - t->before.at_s;

  if (t->since_start)
    canvas_print (c, row, 0, TONE_DIM, "on average");
  else
    canvas_print (c, row, 0, TONE_DIM, "last %.1fs", seconds);
  canvas_print (c, row++, LABEL, TONE_HEADING, "%10s %9s  %9s %9s %9s %9s",
                "ops/s", "bytes/s", "p50", "p95", "p99", "max");
  for (int k = 0; k < NKINDS; k++)
    draw_kind (t, c, row++, k);
  return row;
}

/* -- what it holds ------------------------------------------------------ */

static enum tone
tone_of_share (double share)
{
  return share >= 0.9 ? TONE_BAD : share >= 0.8 ? TONE_WARN : TONE_GOOD;
}

/* "1.2M of 16M (8%)" and shorter. */
static void
draw_memory_narrow (struct canvas *c, int row, uint64_t used, uint64_t limit)
{
  double percent = limit ? 100 * (double) used / (double) limit : 0;
  char a[TEXT_MAX], b[TEXT_MAX], texts[6][CANVAS_TEXT];
  enum tone tone = limit ? tone_of_share (percent / 100) : TONE_PLAIN;

  text_size (a, used);
  text_size (b, limit);
  if (!limit) {
    snprintf (texts[0], CANVAS_TEXT, "Memory %s, no limit", a);
    snprintf (texts[1], CANVAS_TEXT, "Memory %s", a);
    snprintf (texts[2], CANVAS_TEXT, "%s", a);
    snprintf (texts[3], CANVAS_TEXT, "%s", a + strlen (a) - 1); /* the unit */
    canvas_fit (c, row, tone, 4, texts);
    return;
  }
  snprintf (texts[0], CANVAS_TEXT, "Memory %s of %s (%.0f%%)", a, b, percent);
  snprintf (texts[1], CANVAS_TEXT, "Memory %s of %s", a, b);
  snprintf (texts[2], CANVAS_TEXT, "Memory %s %.0f%%", a, percent);
  snprintf (texts[3], CANVAS_TEXT, "%s %.0f%%", a, percent);
  snprintf (texts[4], CANVAS_TEXT, "%.0f%%", percent);
  snprintf (texts[5], CANVAS_TEXT, "%d",
            percent < 90 ? (int) (percent / 10) : 9); /* tenths */
  canvas_fit (c, row, tone, 6, texts);
}

static void
draw_memory (const struct top *t, struct canvas *c, int row)
{
  uint64_t used = answer_u64 (t->now.stats, "mm.mem_used_total");
  uint64_t limit = answer_u64 (t->now.stats, "mm.mem_limit");
  uint64_t peak = answer_u64 (t->now.stats, "mm.mem_used_max");
  char a[TEXT_MAX], b[TEXT_MAX], d[TEXT_MAX];
  int at = LABEL;

  if (c->columns < WIDE) {
    draw_memory_narrow (c, row, used, limit);
    return;
  }
  canvas_print (c, row, 0, TONE_HEADING, "Memory");
  if (limit) {
    double share = (double) used / (double) limit;

    at = canvas_bar (c, row, at, BAR, tone_of_share (share), share) + 1;
    canvas_print (c, row, at, TONE_PLAIN,
                  "%s of %s (%.0f%%), at most %s so far", text_size (a, used),
                  text_size (b, limit), 100 * share, text_size (d, peak));
  }
  else
    canvas_print (c, row, at, TONE_PLAIN, "%s, no limit, at most %s so far",
                  text_size (a, used), text_size (d, peak));
}

static void
draw_data (const struct top *t, struct canvas *c, int row)
{
  uint64_t orig = answer_u64 (t->now.stats, "mm.orig_data_size");
  uint64_t compr = answer_u64 (t->now.stats, "mm.compr_data_size");
  char a[TEXT_MAX], b[TEXT_MAX], texts[3][CANVAS_TEXT];

  if (c->columns < WIDE) {
    text_size (a, orig);
    text_size (b, compr);
    snprintf (texts[0], CANVAS_TEXT, "Data %s compressed to %s", a, b);
    snprintf (texts[1], CANVAS_TEXT, "Data %s to %s", a, b);
    snprintf (texts[2], CANVAS_TEXT, "%s to %s", a, b);
    canvas_fit (c, row, TONE_PLAIN, 3, texts);
    return;
  }
  canvas_print (c, row, 0, TONE_HEADING, "Data");
  canvas_print (c, row, LABEL, TONE_PLAIN,
                "%s compressed to %s; pages: %" PRIu64 " same, %" PRIu64
                " huge",
                text_size (a, orig), text_size (b, compr),
                answer_u64 (t->now.stats, "mm.same_pages"),
                answer_u64 (t->now.stats, "mm.huge_pages"));
}

/* Heights from 0 to the highest, in steps; the newest at the right. */
static void
draw_ratio (const struct top *t, struct canvas *c, int row)
{
  static const wchar_t fine[] =
    L"\u2581\u2582\u2583\u2584\u2585\u2586\u2587\u2588";
  static const wchar_t coarse[] = L"_.-:=+*#";
  int at = LABEL + 7, room = c->columns - at, from = t->nratio - room;
  double top = 0;

  canvas_print (c, row, 0, TONE_HEADING, "Ratio");
  if (t->ratio[t->nratio - 1] > 0)
    canvas_print (c, row, LABEL, TONE_PLAIN, "%6.2f", t->ratio[t->nratio - 1]);
  else
    canvas_print (c, row, LABEL, TONE_PLAIN, "%6s", "-");
  from = from < 0 ? 0 : from;
  for (int i = from; i < t->nratio; i++)
    top = t->ratio[i] > top ? t->ratio[i] : top;
  for (int i = from; i < t->nratio; i++) {
    int step = top > 0 ? (int) (t->ratio[i] / top * 7 + 0.5) : 0;

    canvas_put (c, row, at + i - from, TONE_GOOD,
                c->unicode ? fine[step] : coarse[step]);
  }
}

static void
draw_streams (const struct top *t, struct canvas *c, int row)
{
  uint64_t busy = answer_u64 (t->now.stats, "streams_busy");
  uint64_t all = answer_u64 (t->now.stats, "workers");
  double share = all ? (double) busy / (double) all : 0;
  int at;

  canvas_print (c, row, 0, TONE_HEADING, "Streams");
  at = canvas_bar (c, row, LABEL, BAR, TONE_GOOD, share) + 1;
  canvas_print (c, row, at, TONE_PLAIN, "%" PRIu64 " of %" PRIu64 " busy", busy,
                all);
}

static void
draw_passes (const struct top *t, struct canvas *c, int row)
{
  json_t *p = answer_member (t->now.stats, "compaction");
  bool running = answer_bool (p, "running");
  int at;

  canvas_print (c, row, 0, TONE_HEADING, "Passes");
  at = canvas_print (c, row, LABEL, running ? TONE_WARN : TONE_PLAIN,
                     "compaction %s", running ? "running" : "idle");
  canvas_print (c, row, at, TONE_PLAIN,
                ": %" PRIu64 " passes, %" PRIu64 " pages freed, %" PRIu64
                " to be had",
                answer_u64 (p, "passes"), answer_u64 (p, "pages_compacted"),
                answer_u64 (p, "freeable_pages"));
}

static void
draw_buffer (const struct top *t, struct canvas *c, int row)
{
  json_t *b = answer_member (t->now.stats, "write_buffer");
  uint64_t used = answer_u64 (b, "slots"), all = answer_u64 (b, "capacity");
  double share = all ? (double) used / (double) all : 0;
  char in[TEXT_MAX], again[TEXT_MAX], out[TEXT_MAX];
  int at;

  canvas_print (c, row, 0, TONE_HEADING, "Buffer");
  at = canvas_bar (c, row, LABEL, BAR, TONE_GOOD, share) + 1;
  canvas_print (
    c, row, at, TONE_PLAIN,
    "%" PRIu64 " of %" PRIu64 " slots; a second: %s in, %s again, %s out", used,
    all,
    text_count (in, sample_rate (&t->now, &t->before, "write_buffer.written")),
    text_count (again,
                sample_rate (&t->now, &t->before, "write_buffer.overwritten")),
    text_count (out,
                sample_rate (&t->now, &t->before, "write_buffer.drained")));
}

static const char *
state_of_store (json_t *store, enum tone *tone)
{
  *tone = TONE_BAD;
  if (answer_bool (store, "io.down"))
    return "down";
  if (answer_bool (store, "eviction.hopeless"))
    return "no room";
  *tone = TONE_PLAIN;
  return "up";
}

static void
draw_store (const struct top *t, struct canvas *c, int row)
{
  json_t *store = answer_member (t->now.stats, "backing");
  uint64_t used = answer_u64 (store, "used_blocks");
  uint64_t all = answer_u64 (store, "blocks");
  double share = all ? (double) used / (double) all : 0;
  char a[TEXT_MAX], b[TEXT_MAX], d[TEXT_MAX], e[TEXT_MAX];
  const char *state;
  enum tone tone;
  int at;

  state = state_of_store (store, &tone);
  if (c->columns < WIDE) {
    char texts[3][CANVAS_TEXT];

    text_size (a, used * 4096);
    text_size (b, all * 4096);
    snprintf (texts[0], CANVAS_TEXT, "Store %s: %s of %s", state, a, b);
    snprintf (texts[1], CANVAS_TEXT, "Store %s", state);
    snprintf (texts[2], CANVAS_TEXT, "%s", state);
    canvas_fit (c, row, tone, 3, texts);
    return;
  }
  canvas_print (c, row, 0, TONE_HEADING, "Store");
  at = canvas_bar (c, row, LABEL, BAR, tone_of_share (share), share) + 1;
  at = canvas_print (c, row, at, tone, "%s", state);
  canvas_print (c, row, at, TONE_PLAIN, ": %s of %s, %s/s in, %s/s out",
                text_size (a, used * 4096), text_size (b, all * 4096),
                text_size (d, (uint64_t) sample_rate (
                                &t->now, &t->before, "backing.io.write_bytes")),
                text_size (e, (uint64_t) sample_rate (
                                &t->now, &t->before, "backing.io.read_bytes")));
}

/* -- classes ------------------------------------------------------------ */

static int
by_pages (const void *a, const void *b)
{
  json_t *x = *(json_t *const *) a, *y = *(json_t *const *) b;
  uint64_t p = answer_u64 (x, "pages_used"), q = answer_u64 (y, "pages_used");

  if (p != q)
    return p > q ? -1 : 1;
  p = answer_u64 (x, "size");
  q = answer_u64 (y, "size");
  return p < q ? -1 : p > q;
}

#define CLASS_WIDTH 40

/* " 3072    1234 [########--------]  52%" */
static void
draw_class (struct canvas *c, int row, int column, json_t *class)
{
  uint64_t all = answer_u64 (class, "obj_allocated");
  uint64_t used = answer_u64 (class, "obj_used");
  double share = all ? (double) used / (double) all : 0;
  char pages[TEXT_MAX];

  column = canvas_print (
    c, row, column, TONE_PLAIN, "%5" PRIu64 " %6s ", answer_u64 (class, "size"),
    text_count (pages, (double) answer_u64 (class, "pages_used")));
  column = canvas_bar (c, row, column, 17,
                       share >= 0.75  ? TONE_GOOD
                       : share >= 0.5 ? TONE_WARN
                                      : TONE_BAD,
                       share);
  canvas_print (c, row, column, TONE_PLAIN, " %3.0f%%", 100 * share);
}

static void
draw_classes (const struct top *t, struct canvas *c, int row, int end)
{
  json_t *classes = answer_array (t->now.classes, "classes"), *class;
  int across = c->columns / CLASS_WIDTH > 0 ? c->columns / CLASS_WIDTH : 1;
  json_t **sorted = calloc (json_array_size (classes) + 1, sizeof *sorted);
  size_t n = 0, i;

  if (!sorted)
    die (STATUS_REFUSED, "out of memory");
  json_array_foreach (classes, i, class) if (answer_u64 (class, "pages_used") >
                                             0) sorted[n++] = class;
  qsort (sorted, n, sizeof *sorted, by_pages);

  for (int k = 0; k < across; k++)
    canvas_print (c, row, k * CLASS_WIDTH, TONE_HEADING, "%5s %6s %s", "class",
                  "pages", "objects used");
  row++;
  if (n == 0)
    canvas_print (c, row, 0, TONE_DIM, "nothing is stored");
  for (i = 0; i < n; i++) {
    int down = (int) i / across;

    if (row + down >= end)
      break;
    draw_class (c, row + down, (int) i % across * CLASS_WIDTH, sorted[i]);
  }
  free (sorted);
}

static bool
has_buffer (const struct top *t)
{
  return answer_u64 (t->now.stats, "write_buffer.capacity") > 0;
}

static bool
has_backing (const struct top *t)
{
  return !json_is_null (answer_member (t->now.stats, "backing"));
}

/* The part below the requests; returns the row after it. */
static int
draw_state (const struct top *t, struct canvas *c, int row)
{
  draw_memory (t, c, row++);
  draw_data (t, c, row++);
  draw_ratio (t, c, row++);
  draw_streams (t, c, row++);
  draw_passes (t, c, row++);
  if (has_buffer (t))
    draw_buffer (t, c, row++);
  if (has_backing (t))
    draw_store (t, c, row++);
  return row;
}

/* Rows of all but the classes. */
static int
rows_needed (const struct top *t, const struct canvas *c)
{
  return 1 + 1 + (1 + NKINDS) + 1 + 5 + has_buffer (t) + has_backing (t) +
         c->live;
}

/* As many as there are rows for. */
static void
draw_few (const struct top *t, struct canvas *c)
{
  int row = 0;

  draw_memory (t, c, row++);
  draw_data (t, c, row++);
  if (has_backing (t))
    draw_store (t, c, row++);
  row = draw_kinds (t, c, row);
  draw_title (t, c, row++);
  draw_ratio (t, c, row++);
  draw_streams (t, c, row++);
  draw_passes (t, c, row++);
  if (has_buffer (t))
    draw_buffer (t, c, row++);
  draw_classes (t, c, row + 1, c->rows - 1);
}

void
top_draw (const struct top *t, struct canvas *c)
{
  int row = 0;

  if (c->columns < WIDE || c->rows < rows_needed (t, c))
    draw_few (t, c);
  else {
    draw_title (t, c, row);
    row = draw_kinds (t, c, row + 2) + 1;
    row = draw_state (t, c, row);
    draw_classes (t, c, row + 1, c->rows - 1);
  }
  canvas_keys (c);
}
