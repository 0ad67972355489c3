/* SPDX-License-Identifier: BSD-3-Clause */

#include <config.h>

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "plugin/control/metrics.h"
#include "plugin/control/store_view.h"
#include "store/time_sample.h"
#include "zram-shown.h"

/* -- times -------------------------------------------------------------- */

void
times_of (struct engine *e, struct times all[TIMES])
{
  const struct histogram *latency = e->disk->latency;
  const struct times times[TIMES] = {
    { "read", &latency[LATENCY_READ], 1 },
    { "write", &latency[LATENCY_WRITE], 1 },
    { "discard", &latency[LATENCY_DISCARD], 1 },
    { "flush", &latency[LATENCY_FLUSH], 1 },
    { "compress", &e->store->compress_time, TIME_SAMPLE },
    { "decompress", &e->store->decompress_time, TIME_SAMPLE },
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

static void
one (struct text *out, const char *name, const char *type, const char *help,
     uint64_t value)
{
  head (out, name, type, help);
  text_printf (out, "nbdzram_%s %" PRIu64 "\n", name, value);
}

/* A label's value, quoted: made harmless, then as the format wants it.  The one
 * way for strings into the metrics.
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

static void
labelled (struct text *out, const char *name, const char *label, const char *is,
          uint64_t value)
{
  text_printf (out, "nbdzram_%s{%s=", name, label);
  label_value (out, is);
  text_printf (out, "} %" PRIu64 "\n", value);
}

/* Powers of two, from about a microsecond to about 17 seconds, each of which
 * is a bound of our own buckets.
 */
#define LE_FIRST_LOG2 10
#define LE_LAST_LOG2 34

/* The end of a name: of a bucket, or without one what all of them have. */
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

/* op: NULL if the family has only one. */
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

static void
add_setup (struct engine *e, struct text *out)
{
  struct zcomp_method primary = zcomp_primary (e->store->zcomp);

  head (out, "build_info", "gauge", "Always 1; the version is a label.");
  labelled (out, "build_info", "version", PACKAGE_VERSION, 1);
  head (out, "algorithm_info", "gauge",
        "Always 1; what new data is compressed with.");
  text_puts (out, "nbdzram_algorithm_info{algorithm=");
  label_value (out, zcomp_format_name (e->store->zcomp, primary.format));
  text_printf (out, ",level=\"%d\"} 1\n", primary.level);
  head (out, "uptime_seconds", "gauge", "Time since the server started.");
  text_printf (out, "nbdzram_uptime_seconds %.3f\n",
               (double) (clock_ns () - e->started_ns) / 1e9);
  one (out, "disk_size_bytes", "gauge", "Size of the disk.", e->disk->size);
  one (out, "slot_size_bytes", "gauge", "What is compressed at a time.",
       e->store->config.slot_size);
  one (out, "workers", "gauge", "Compression streams.",
       zcomp_workers (e->store->zcomp));
  one (out, "streams_busy", "gauge", "Compression streams in use right now.",
       zcomp_busy (e->store->zcomp));
  one (out, "clients", "gauge", "NBD connections.", atomic_load (&e->clients));
}

static void
add_memory (struct engine *e, const struct disk_stats *st, struct text *out)
{
  struct budget *b = &e->store->budget;

  one (out, "orig_data_bytes", "gauge", "Stored data before compression.",
       st->orig_data_size);
  one (out, "compr_data_bytes", "gauge", "Stored data after compression.",
       st->compr_data_size);
  one (out, "mem_used_bytes", "gauge",
       "Memory in use for data, allocator and slot table.", st->mem_used_total);
  one (out, "mem_used_max_bytes", "gauge", "The most of that so far.",
       st->mem_used_max);
  one (out, "mem_limit_bytes", "gauge",
       "The most that may be used, 0 if there is no limit.", st->mem_limit);
  one (out, "freeable_bytes", "gauge", "What compaction could free now.",
       st->freeable_pages * MEM_PAGE);
  one (out, "stored_slots", "gauge", "Slots that hold data.", st->slots_stored);
  one (out, "same_slots", "gauge", "Slots filled with one repeated word.",
       st->same_slots);
  one (out, "huge_slots", "gauge", "Slots stored as they are.", st->huge_slots);
  one (out, "huge_slots_stored_total", "counter",
       "Slots that did not compress when they were written.", st->huge_since);
  head (out, "limit_warnings_total", "counter",
        "How often memory in use rose over so many percent of the limit.");
  for (unsigned i = 0; i < BUDGET_LEVELS; i++)
    text_printf (out,
                 "nbdzram_limit_warnings_total{percent=\"%u\"} %" PRIu64 "\n",
                 budget_percent[i], atomic_load (&b->warnings[i]));
}

static void
add_requests (const struct disk_stats *st, struct text *out)
{
  static const char requests[] = "requests_total";
  static const char bytes[] = "request_bytes_total";
  static const char failed[] = "requests_failed_total";

  head (out, requests, "counter", "Requests, failed ones included.");
  labelled (out, requests, "op", "read", st->read_requests);
  labelled (out, requests, "op", "write", st->write_requests);
  labelled (out, requests, "op", "discard", st->discard_requests);
  labelled (out, requests, "op", "flush", st->flush_requests);
  head (out, bytes, "counter", "Bytes of the disk that requests were for.");
  labelled (out, bytes, "op", "read", st->read_bytes);
  labelled (out, bytes, "op", "write", st->write_bytes);
  labelled (out, bytes, "op", "discard", st->discard_bytes);
  head (out, failed, "counter",
        "Requests that failed; discards count as writes.");
  labelled (out, failed, "op", "read", st->failed_reads);
  labelled (out, failed, "op", "write", st->failed_writes);
  one (out, "slots_freed_total", "counter", "Slots freed by discards.",
       st->slots_freed);
  one (out, "missed_frees_total", "counter",
       "Empty parts of the slot table not given back: one was in use.",
       st->reclaim_misses);
}

static void
add_compaction (struct engine *e, const struct disk_stats *st, struct text *out)
{
  one (out, "compaction_running", "gauge", "1 while a pass runs.",
       compactor_is_running (e->compactor));
  one (out, "compaction_passes_total", "counter",
       "Passes that ran by themselves.", compactor_passes (e->compactor));
  one (out, "compacted_pages_total", "counter", "Pages freed by compaction.",
       st->pages_compacted);
  one (out, "objects_moved_total", "counter", "Objects that compaction moved.",
       st->objects_moved);
  one (out, "zspages_migrated_total", "counter",
       "Allocator's zspages that were moved as a whole.", st->zspages_migrated);
  one (out, "compaction_skips_total", "counter",
       "Zspages passed over because they were being read.", st->mover_skips);
}

static void
add_recompression (struct engine *e, const struct disk_stats *st,
                   struct text *out)
{
  static const char outcomes[] = "recompressions_total";
  struct dictionary_usage d = dictionary_usage (e->store->zcomp);

  one (out, "recompression_running", "gauge", "1 while a pass runs.",
       recompressor_is_running (e->recompressor));
  one (out, "auto_recompress_seconds", "gauge",
       "Age from which slots are recompressed by itself, 0 if they are not.",
       atomic_load (&e->recompress_policy.age));
  head (out, outcomes, "counter",
        "Slots that recompression has tried, by what came of it.");
  labelled (out, outcomes, "outcome", "smaller", st->recompressed);
  labelled (out, outcomes, "outcome", "vain", st->recompress_vain);
  labelled (out, outcomes, "outcome", "lost", st->recompress_lost);
  labelled (out, outcomes, "outcome", "failed", st->recompress_failed);
  one (out, "recompression_won_bytes_total", "counter",
       "Bytes by which recompression made stored data smaller.",
       st->recompress_won);
  head (out, "recompression_seconds_total", "counter",
        "Time spent on recompression.");
  text_printf (out, "nbdzram_recompression_seconds_total %.9f\n",
               (double) st->recompress_ns / 1e9);
  one (out, "dictionaries", "gauge", "Dictionaries in memory.", d.number);
  one (out, "dictionary_bytes", "gauge",
       "Memory of dictionaries, outside the limit.", d.memory);
  one (out, "codec_bytes", "gauge",
       "Memory of compression streams and dictionaries, outside the limit.",
       zcomp_memory (e->store->zcomp));
}

static void
add_buffer (struct engine *e, const struct disk_stats *st, struct text *out)
{
  static const char outcomes[] = "write_buffer_drains_total";

  one (out, "write_buffer_size_bytes", "gauge",
       "How much may be kept as it was written, 0 if nothing is.",
       atomic_load (&e->store->buffer.size));
  one (out, "write_buffer_memory_bytes", "gauge",
       "Memory that the write buffer has now.", st->buffer_bytes);
  one (out, "buffered_slots", "gauge", "Slots in the write buffer.",
       st->slots_buffered);
  one (out, "write_buffer_slots_total", "counter",
       "Slots that were written to the write buffer.", st->buffer_writes);
  one (out, "write_buffer_overwrites_total", "counter",
       "Writes to slots in the write buffer, before they were compressed.",
       st->buffer_hits);
  one (out, "write_buffer_passed_total", "counter",
       "Writes that found no room there and were compressed at once.",
       st->buffer_passed);
  head (out, outcomes, "counter",
        "Slots that were to be compressed out of it, by what came of it.");
  labelled (out, outcomes, "outcome", "done", st->drained);
  labelled (out, outcomes, "outcome", "lost", st->drain_lost);
  labelled (out, outcomes, "outcome", "failed", st->drain_failed);
}

static void
add_store (const struct store_view *v, const struct disk_stats *st,
           struct text *out)
{
  one (out, "backing_size_bytes", "gauge",
       "Size of the backing store, 0 if there is none.", v->size);
  one (out, "backing_used_bytes", "gauge",
       "Bytes of its blocks that hold something.",
       v->blocks.used * BACKING_BLOCK);
  one (out, "backing_waiting_bytes", "gauge",
       "Bytes of its blocks that are free, but for being punched.",
       (v->blocks.waiting + v->blocks.punching) * BACKING_BLOCK);
  one (out, "backing_live_bytes", "gauge", "Bytes of the objects in it.",
       v->blocks.live_bytes);
  one (out, "backing_down", "gauge",
       "1 while the server of the backing store cannot be reached.",
       v->io.down);
  one (out, "backing_in_flight", "gauge",
       "Requests to the backing store that are under way.", v->io.in_flight);
  one (out, "backed_slots", "gauge", "Slots in the backing store.",
       st->slots_backed);
  one (out, "backing_slots_read_total", "counter",
       "Slots read from the backing store.", st->bd_reads);
  one (out, "backing_slots_written_total", "counter",
       "Slots written to the backing store.", st->bd_writes);
  one (out, "backing_promoted_total", "counter",
       "Slots that were read from the backing store and stayed in memory.",
       st->promoted);
  one (out, "backing_damaged_total", "counter",
       "Slots whose data in the backing store were not what was written.",
       st->bd_damaged);
  one (out, "write_stalls_total", "counter",
       "Writes that waited for room in memory.", st->write_stalls);
}

static void
add_store_io (const struct store_view *v, struct text *out)
{
  static const char requests[] = "backing_requests_total";
  static const char bytes[] = "backing_bytes_total";
  static const char errors[] = "backing_errors_total";

  head (out, requests, "counter",
        "Requests to the backing store that were answered without error.");
  labelled (out, requests, "op", "read", v->io.reads);
  labelled (out, requests, "op", "write", v->io.writes);
  labelled (out, requests, "op", "punch", v->io.punches);
  head (out, bytes, "counter", "Bytes that these requests were for.");
  labelled (out, bytes, "op", "read", v->io.read_bytes);
  labelled (out, bytes, "op", "write", v->io.write_bytes);
  labelled (out, bytes, "op", "punch", v->io.punch_bytes);
  head (out, errors, "counter", "Requests to the backing store that failed.");
  labelled (out, errors, "op", "read", v->io.read_errors);
  labelled (out, errors, "op", "write", v->io.write_errors);
  labelled (out, errors, "op", "punch", v->io.punch_errors);
  one (out, "backing_retries_total", "counter",
       "Requests that were sent again on another connection.", v->io.retries);
  one (out, "backing_reconnects_total", "counter",
       "Connections to the backing store after the first.", v->io.reconnects);
}

static void
add_eviction (const struct store_view *v, const struct disk_stats *st,
              struct text *out)
{
  one (out, "evicted_slots_total", "counter",
       "Slots evicted to the backing store.", v->evicted.slots);
  one (out, "evicted_bytes_total", "counter",
       "Bytes of memory that their objects took.", v->evicted.bytes);
  one (out, "eviction_rounds_total", "counter",
       "Times that eviction went from the high to the low mark.",
       v->evicted.rounds);
  one (out, "eviction_failures_total", "counter",
       "Slots whose eviction failed; they stay in memory.", v->evicted.failed);
  one (out, "eviction_hopeless", "gauge",
       "1 if the last round could not do what was needed.",
       v->evicted.hopeless);
  one (out, "reclaimed_pages_total", "counter",
       "z3fold: pages of which all objects were evicted, or are about to be.",
       st->pages_reclaimed);
  one (out, "reclaim_failures_total", "counter",
       "z3fold: pages of which an object could not be evicted.",
       st->reclaim_failures);
}

static void
add_times (struct engine *e, struct text *out)
{
  static const char requests[] = "request_duration_seconds";
  static const char codec[] = "codec_duration_seconds";
  static const char lock[] = "lock_wait_seconds";
  struct times all[TIMES];

  times_of (e, all);
  head (out, requests, "histogram", "Time that requests took.");
  for (unsigned i = 0; i < TIMES; i++) {
    /* Families must not be mixed. */
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
metrics_text (struct engine *e, struct text *out)
{
  struct disk_stats st = disk_stats (e->disk);
  struct store_view v = store_view (e);

  add_setup (e, out);
  add_memory (e, &st, out);
  add_requests (&st, out);
  add_compaction (e, &st, out);
  add_recompression (e, &st, out);
  add_buffer (e, &st, out);
  add_store (&v, &st, out);
  add_store_io (&v, out);
  add_eviction (&v, &st, out);
  add_times (e, out);
}
