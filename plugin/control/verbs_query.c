/* SPDX-License-Identifier: BSD-3-Clause */
/* Verbs that look and change nothing.
 * Contract: plugin/control/verbs.h.
 */

#include <config.h>

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "plugin/control/figures.h"
#include "plugin/control/metrics.h"
#include "plugin/control/verbs.h"

void
run_version (struct service *s, const json_t *params, struct reply *r)
{
  (void) s;
  (void) params;
  reply_json (r, json_pack ("{s:i, s:o}", "protocol", ZRAM_PROTOCOL_VERSION,
                            "version", json_value (PACKAGE_VERSION)));
}

/* -- stats -------------------------------------------------------------- */

/* Members in the order that clients know, where the table of figures, which
 * has the order of the metrics, would give another.  A new figure needs no
 * line here.
 */
static const char *const stats_order[] = {
  /* clang-format off */
  "disksize", "slot_size", "slots", "algorithm", "level", "allocator",
  "workers", "streams_busy", "swap_reserve", "free_ready", "clients",
  "uptime_s", "exact", "mm.orig_data_size", "mm.compr_data_size",
  "mm.mem_used_total", "mm.mem_limit", "mm.mem_used_max", "mm.same_pages",
  "mm.pages_compacted", "io.failed_reads", "bd.bd_count",
  "debug.writestall", "ops.read.requests", "compaction.running",
  "compaction.passes", "compaction.pages_compacted",
  "compaction.objects_moved", "compaction.zspages_migrated", "warnings.80",
  "recompression.running", "recompression.auto_recompress",
  "recompression.recompressed", "recompression.bytes_won",
  "dictionaries.number", "codec_memory", "write_buffer.size",
  "backing.where", "backing.kind", "backing.size", "backing.blocks",
  "backing.used_blocks", "backing.waiting_blocks", "backing.free_blocks",
  "backing.live_bytes", "backing.can_punch", "backing.memory",
  "backing.writeback_running", "backing.writeback_limit", "backing.promote",
  "backing.slots.stored", "backing.slots.read", "backing.slots.written",
  "backing.slots.read_errors", "backing.slots.write_errors",
  "backing.slots.damaged", "backing.io.in_flight"
  /* clang-format on */
};

/* Set the member at 'path', and make missing parts of the path.  Takes over the
 * value.  False without memory; a NULL value also means no memory.
 */
static bool
put (json_t *object, const char *path, json_t *value)
{
  const char *dot = strchr (path, '.');
  char name[32];

  if (!dot)
    return json_object_set_new (object, path, value) == 0;
  snprintf (name, sizeof name, "%.*s", (int) (dot - path), path);
  if (!json_object_get (object, name))
    (void) json_object_set_new (object, name, json_object ());
  return put (json_object_get (object, name), dot + 1, value);
}

static json_t *
figure_json (const struct service *s, const struct figure *f, uint64_t value)
{
  if (f->unit == UNIT_FLAG)
    return json_boolean (value);
  if (f->unit == UNIT_SLOTS_AS_PAGES)
    value *= s->store->config.slot_size / MEM_PAGE;
  return json_integer ((json_int_t) value); /* counts in JSON are signed */
}

static bool
put_figures (struct service *s, json_t *stats)
{
  uint64_t values[FIGURES];
  bool ok = true;

  figures_read (s, values);
  for (unsigned i = 0; i < FIGURES; i++)
    if (figures[i].json)
      ok &= put (stats, figures[i].json,
                 figure_json (s, &figures[i], values[i]));
  return ok;
}

/* Values that are not figures: strings, a list, a fraction. */
static bool
put_words (struct service *s, json_t *stats)
{
  struct store *store = s->store;
  struct zcomp_method primary = zcomp_primary (store->zcomp);
  const char *algorithm = zcomp_format_name (store->zcomp, primary.format);
  double uptime_s = (double) (clock_ns () - s->started_ns) / 1e9;

  return put (stats, "algorithm", json_value (algorithm)) &&
         put (stats, "level", json_integer (primary.level)) &&
         put (stats, "allocator", json_value (pool_name (store->pool))) &&
         put (stats, "uptime_s", json_real (uptime_s)) &&
         put (stats, "recompression.methods", recomp_methods (s));
}

/* The last error of the backing store; null: there was none. */
static json_t *
last_error_json (struct backing *backing)
{
  static const char *const doing[] = { [BACKING_TROUBLE_WRITE] = "write",
                                       [BACKING_TROUBLE_READ] = "read",
                                       [BACKING_TROUBLE_LOST] = "connection" };
  struct backing_stats io;
  const struct backing_trouble *t = io.trouble;
  unsigned last = 0;

  backing_get_stats (backing, &io);
  for (unsigned i = 1; i < BACKING_TROUBLES; i++)
    if (t[i].at_ns > t[last].at_ns)
      last = i;
  if (!t[last].at_ns)
    return json_null ();
  return json_pack ("{s:o, s:o, s:f}", "of", json_value (doing[last]), "error",
                    json_message (t[last].why), "age_s",
                    (double) (clock_ns () - t[last].at_ns) / 1e9);
}

/* The same for the backing store; without one, all its members are null. */
static bool
put_backing_words (struct service *s, json_t *stats)
{
  struct writeback_limit *limit = &s->store->writeback_limit;
  const char *where = s->backing_where ? s->backing_where : "";
  struct backing *backing = s->store->backed ? s->store->backed->io : NULL;

  if (!backing)
    return put (stats, "backing", json_null ());
  return put (stats, "backing.where", json_value (where)) &&
         put (stats, "backing.kind", json_value (backing_kind (backing))) &&
         put (stats, "backing.writeback_limit",
              atomic_load (&limit->on)
                ? json_integer ((json_int_t) atomic_load (&limit->left))
                : json_null ()) &&
         put (stats, "backing.io.last_error", last_error_json (backing));
}

void
run_stats (struct service *s, const json_t *params, struct reply *r)
{
  json_t *stats = json_object ();
  bool ok = true;

  (void) params;
  for (unsigned i = 0; i < sizeof stats_order / sizeof stats_order[0]; i++)
    ok &= put (stats, stats_order[i], json_null ());
  ok &= put_figures (s, stats) && put_words (s, stats) &&
        put_backing_words (s, stats);
  if (!ok)
    json_decref (stats);
  reply_json (r, ok ? stats : NULL);
}

/* -- classes ------------------------------------------------------------ */

static void
add_class (struct text *out, unsigned id, const struct pool_class_stats *st)
{
  uint64_t zspages = 0;

  text_printf (out, "%s{\"class\":%u,\"size\":%" PRIu32 ",\"groups\":[",
               id ? "," : "", id, st->size);
  for (unsigned g = 0; g < POOL_GROUPS; g++) {
    text_printf (out, "%s%" PRIu32, g ? "," : "", st->zspages[g]);
    zspages += st->zspages[g];
  }
  text_printf (out,
               "],\"obj_allocated\":%" PRIu64 ",\"obj_used\":%" PRIu64
               ",\"pages_used\":%" PRIu64 ",\"pages_per_zspage\":%" PRIu32
               ",\"freeable\":%" PRIu64 "}",
               st->allocated, st->inuse, zspages * st->pages, st->pages,
               st->freeable_pages);
}

void
run_classes (struct service *s, const json_t *params, struct reply *r)
{
  struct pool *pool = s->store->pool;

  _Static_assert((int) POOL_GROUPS == ZRAM_CLASS_GROUPS,
                 "as the protocol says");
  (void) params;
  text_puts (r->result, "{\"classes\":[");
  for (unsigned id = 0; id < pool_class_count (pool); id++) {
    struct pool_class_stats st = pool_class_stats (pool, id);

    add_class (r->result, id, &st);
  }
  text_puts (r->result, "]}");
}

/* -- block_state -------------------------------------------------------- */

static const char *
codec_name (const struct service *s, const struct slot_info *info)
{
  if (info->state == SLOT_BUFFERED)
    return "buffered";
  return info->state == SLOT_SAME
           ? "same"
           : zcomp_format_name (s->store->zcomp, info->codec);
}

static void
add_slot (const struct service *s, struct text *out, uint64_t index,
          const struct slot_info *info, bool first)
{
  text_printf (out,
               "%s{\"i\":%" PRIu64 ",\"t\":%" PRIu32
               ",\"s\":\"%c%c%c%c%c%c\",\"size\":%" PRIu32 ",\"codec\":",
               first ? "" : ",", index, info->age_s,
               info->state == SLOT_SAME ? ZRAM_FLAG_SAME : ZRAM_FLAG_NONE,
               info->state == SLOT_BACKED ? ZRAM_FLAG_WRITTEN_BACK
                                          : ZRAM_FLAG_NONE,
               info->huge ? ZRAM_FLAG_HUGE : ZRAM_FLAG_NONE,
               info->idle ? ZRAM_FLAG_IDLE : ZRAM_FLAG_NONE,
               info->recompressed ? ZRAM_FLAG_RECOMPRESSED : ZRAM_FLAG_NONE,
               info->incompressible ? ZRAM_FLAG_INCOMPRESSIBLE : ZRAM_FLAG_NONE,
               info->size);
  text_value (out, codec_name (s, info));
  text_puts (out, "}");
}

void
run_block_state (struct service *s, const json_t *params, struct reply *r)
{
  uint64_t slots = s->disk->table.slots, start, count, end, next;
  uint32_t now = clock_coarse_s ();
  struct slot_info info;
  bool first = true;

  if (!params_number (r, params, "start", 0, slots - 1, &start) ||
      !params_number (r, params, "count", 1, ZRAM_BLOCK_STATE_MAX, &count))
    return;
  end = count < slots - start ? start + count : slots;
  text_puts (r->result, "{\"slots\":[");
  for (uint64_t i = disk_next_stored (s->disk, start, end); i < end;
       i = disk_next_stored (s->disk, i + 1, end)) {
    if (!disk_slot_info (s->disk, i, now, &info))
      continue; /* freed just now */
    add_slot (s, r->result, i, &info, first);
    first = false;
  }
  next = disk_next_stored (s->disk, end, slots);
  if (next < slots)
    text_printf (r->result, "],\"next\":%" PRIu64 "}", next);
  else
    text_puts (r->result, "],\"next\":null}");
}

/* -- map ---------------------------------------------------------------- */

void
run_map (struct service *s, const json_t *params, struct reply *r)
{
  struct map_cell *map;
  uint64_t n;

  if (!params_number (r, params, "cells", 1, ZRAM_MAP_CELLS_MAX, &n))
    return;
  map = calloc (n, sizeof *map);
  if (!map) {
    reply_error (r, ZRAM_ERROR_INTERNAL, "out of memory");
    return;
  }
  disk_map (s->disk, (unsigned) n, map);
  text_puts (r->result, "{\"cells\":[");
  for (uint64_t i = 0; i < n; i++)
    text_printf (
      r->result,
      "%s{\"slots\":%" PRIu64 ",\"stored\":%" PRIu64 ",\"same\":%" PRIu64
      ",\"huge\":%" PRIu64 ",\"idle\":%" PRIu64 ",\"backed\":%" PRIu64
      ",\"orig\":%" PRIu64 ",\"compr\":%" PRIu64 "}",
      i ? "," : "", map[i].slots, map[i].stored, map[i].same, map[i].huge,
      map[i].idle, map[i].backed, map[i].orig, map[i].compr);
  text_puts (r->result, "]}");
  free (map);
}

/* -- latency, metrics --------------------------------------------------- */

static void
add_times (struct text *out, const struct times *times)
{
  struct histogram_snapshot s;
  bool first = true;

  times_read (times, &s);
  text_value (out, times->name);
  text_printf (out, ":{\"count\":%" PRIu64 ",\"sum_ns\":%" PRIu64, s.count,
               s.sum_ns);
  if (times->sampled > 1)
    text_printf (out, ",\"sampled\":%u", times->sampled);
  text_puts (out, ",\"buckets\":[");
  for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++) {
    if (!s.bucket[i])
      continue;
    text_printf (out, "%s[%" PRIu64 ",%" PRIu64 "]", first ? "" : ",",
                 histogram_upper_ns (i), s.bucket[i]);
    first = false;
  }
  text_puts (out, "]}");
}

void
run_latency (struct service *s, const json_t *params, struct reply *r)
{
  struct times all[TIMES];

  (void) params;
  times_of (s, all);
  for (unsigned i = 0; i < TIMES; i++) {
    text_puts (r->result, i ? "," : "{");
    add_times (r->result, &all[i]);
  }
  text_puts (r->result, "}");
}

void
run_metrics (struct service *s, const json_t *params, struct reply *r)
{
  struct text text = { 0 };

  (void) params;
  metrics_text (s, &text);
  reply_json (r, text.broken ? NULL
                             : json_pack ("{s:o}", "text", json_lines (&text)));
  text_free (&text);
}
