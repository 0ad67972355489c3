/* SPDX-License-Identifier: BSD-3-Clause */

#include <config.h>

#include <inttypes.h>
#include <stdlib.h>

#include "base/clock.h"
#include "plugin/control/methods.h"
#include "plugin/control/metrics.h"

/* Counts in JSON are signed. */
#define N(x) ((json_int_t) (x))

/* Slots to the pages of 4 KiB that the kernel counts in. */
static uint64_t
pages (const struct engine *e, uint64_t slots)
{
  return slots * (e->store->config.slot_size / MEM_PAGE);
}

void
run_version (struct engine *e, const json_t *params, struct reply *r)
{
  (void) e;
  (void) params;
  reply_json (r, json_pack ("{s:i, s:o}", "protocol", ZRAM_PROTOCOL_VERSION,
                            "version", json_value (PACKAGE_VERSION)));
}

/* -- stats -------------------------------------------------------------- */

/* clang-format off: a name and its value a line */
static json_t *
stats_head (struct engine *e)
{
  struct zcomp_method primary = zcomp_primary (e->store->zcomp);
  bool exact = store_requests (e->store) == 0 &&
               !compactor_is_running (e->compactor) &&
               !recompressor_is_running (e->recompressor) &&
               !atomic_load (&e->writeback.running) &&
               buffer_used (&e->store->buffer) == 0; /* it drains by itself */

  return json_pack (
    "{s:I, s:I, s:I, s:o, s:i, s:o, s:I, s:I, s:I, s:I, s:I, s:f, s:b}",
    "disksize", N (e->disk->size), "slot_size", N (e->store->config.slot_size),
    "slots", N (e->disk->table.slots), "algorithm",
    json_value (zcomp_format_name (e->store->zcomp, primary.format)), "level",
    primary.level, "allocator", json_value (pool_name (e->store->pool)),
    "workers", N (zcomp_workers (e->store->zcomp)), "streams_busy",
    N (zcomp_busy (e->store->zcomp)), "swap_reserve",
    N (e->store->config.keep_ready), "free_ready",
    N (pool_kept (e->store->pool)), "clients", N (atomic_load (&e->clients)),
    "uptime_s", (double) (clock_ns () - e->started_ns) / 1e9, "exact", exact);
}

/* The kernel's files, field by field in the kernel's order. */
static json_t *
stats_files (struct engine *e, const struct disk_stats *st)
{
  return json_pack (
    "{s:{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I},"
    " s:{s:I, s:I, s:I, s:I}, s:{s:I, s:I, s:I}, s:{s:I, s:I}}",
    "mm", "orig_data_size", N (st->orig_data_size), "compr_data_size",
    N (st->compr_data_size), "mem_used_total", N (st->mem_used_total),
    "mem_limit", N (st->mem_limit), "mem_used_max", N (st->mem_used_max),
    "same_pages", N (pages (e, st->same_slots)), "pages_compacted",
    N (st->pages_compacted), "huge_pages", N (pages (e, st->huge_slots)),
    "huge_pages_since", N (pages (e, st->huge_since)), "io", "failed_reads",
    N (st->failed_reads), "failed_writes", N (st->failed_writes), "invalid_io",
    N (0), /* nbdkit refuses them before they come here */
    "notify_free", N (pages (e, st->slots_freed)), "bd", "bd_count",
    N (pages (e, st->slots_backed)), "bd_reads", N (pages (e, st->bd_reads)),
    "bd_writes", N (pages (e, st->bd_writes)), "debug", "writestall",
    N (st->write_stalls), "miss_free", N (st->reclaim_misses));
}

static json_t *
stats_work (struct engine *e, const struct disk_stats *st)
{
  struct budget *b = &e->store->budget;

  return json_pack (
    "{s:{s:{s:I, s:I}, s:{s:I, s:I}, s:{s:I, s:I}, s:{s:I}},"
    " s:{s:b, s:I, s:I, s:I, s:I, s:I}, s:{s:I, s:I, s:I}}",
    "ops", "read", "requests", N (st->read_requests), "bytes",
    N (st->read_bytes), "write", "requests", N (st->write_requests), "bytes",
    N (st->write_bytes), "discard", "requests", N (st->discard_requests),
    "bytes", N (st->discard_bytes), "flush", "requests", N (st->flush_requests),
    "compaction", "running", compactor_is_running (e->compactor), "passes",
    N (compactor_passes (e->compactor)), "pages_compacted",
    N (st->pages_compacted), "objects_moved", N (st->objects_moved),
    "zspages_migrated", N (st->zspages_migrated), "freeable_pages",
    N (st->freeable_pages), "warnings", "80", N (atomic_load (&b->warnings[0])),
    "90", N (atomic_load (&b->warnings[1])), "95",
    N (atomic_load (&b->warnings[2])));
}

static json_t *
stats_recompression (struct engine *e, const struct disk_stats *st)
{
  struct dictionary_usage d = dictionary_usage (e->store->zcomp);

  return json_pack (
    "{s:{s:b, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:o},"
    " s:{s:I, s:I}, s:I}",
    "recompression", "running", recompressor_is_running (e->recompressor),
    "auto_recompress", N (atomic_load (&e->recompress_policy.age)),
    "recompressed", N (st->recompressed), "bytes_won", N (st->recompress_won),
    "vain", N (st->recompress_vain), "lost", N (st->recompress_lost), "failed",
    N (st->recompress_failed), "time_ns", N (st->recompress_ns), "methods",
    recomp_methods (e), "dictionaries", "number", N (d.number), "memory",
    N (d.memory), "codec_memory", N (zcomp_memory (e->store->zcomp)));
}

static json_t *
stats_buffer (struct engine *e, const struct disk_stats *st)
{
  return json_pack ("{s:{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}}",
                    "write_buffer", "size",
                    N (atomic_load (&e->store->buffer.size)), "memory",
                    N (st->buffer_bytes), "capacity", N (st->buffer_capacity),
                    "slots", N (st->slots_buffered), "written",
                    N (st->buffer_writes), "overwritten", N (st->buffer_hits),
                    "passed", N (st->buffer_passed), "drained", N (st->drained),
                    "lost", N (st->drain_lost), "failed", N (st->drain_failed));
}

/* clang-format on */

/* The parts, which it takes over, as one; NULL if one of them is. */
static json_t *
join (json_t **parts, unsigned n)
{
  bool ok = true;

  for (unsigned i = 0; i < n; i++)
    ok &= parts[i] && (i == 0 || json_object_update (parts[0], parts[i]) == 0);
  for (unsigned i = ok ? 1 : 0; i < n; i++)
    json_decref (parts[i]);
  return ok ? parts[0] : NULL;
}

void
run_stats (struct engine *e, const json_t *params, struct reply *r)
{
  struct disk_stats st = disk_stats (e->disk);
  json_t *parts[] = {
    stats_head (e),        stats_files (e, &st),
    stats_work (e, &st),   stats_recompression (e, &st),
    stats_buffer (e, &st), json_pack ("{s:o}", "backing", backing_json (e, &st))
  };

  (void) params;
  reply_json (r, join (parts, sizeof parts / sizeof parts[0]));
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
run_classes (struct engine *e, const json_t *params, struct reply *r)
{
  struct pool *pool = e->store->pool;

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
codec_name (const struct engine *e, const struct slot_info *info)
{
  if (info->state == SLOT_BUFFERED)
    return "buffered";
  return info->state == SLOT_SAME
           ? "same"
           : zcomp_format_name (e->store->zcomp, info->codec);
}

static void
add_slot (const struct engine *e, struct text *out, uint64_t index,
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
  text_value (out, codec_name (e, info));
  text_puts (out, "}");
}

void
run_block_state (struct engine *e, const json_t *params, struct reply *r)
{
  uint64_t slots = e->disk->table.slots, start, count, end, next;
  uint32_t now = clock_coarse_s ();
  struct slot_info info;
  bool first = true;

  if (!params_number (r, params, "start", 0, slots - 1, &start) ||
      !params_number (r, params, "count", 1, ZRAM_BLOCK_STATE_MAX, &count))
    return;
  end = count < slots - start ? start + count : slots;
  text_puts (r->result, "{\"slots\":[");
  for (uint64_t i = disk_next_stored (e->disk, start, end); i < end;
       i = disk_next_stored (e->disk, i + 1, end)) {
    if (!disk_slot_info (e->disk, i, now, &info))
      continue; /* freed just now */
    add_slot (e, r->result, i, &info, first);
    first = false;
  }
  next = disk_next_stored (e->disk, end, slots);
  if (next < slots)
    text_printf (r->result, "],\"next\":%" PRIu64 "}", next);
  else
    text_puts (r->result, "],\"next\":null}");
}

/* -- map ---------------------------------------------------------------- */

void
run_map (struct engine *e, const json_t *params, struct reply *r)
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
  disk_map (e->disk, (unsigned) n, map);
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
run_latency (struct engine *e, const json_t *params, struct reply *r)
{
  struct times all[TIMES];

  (void) params;
  times_of (e, all);
  for (unsigned i = 0; i < TIMES; i++) {
    text_puts (r->result, i ? "," : "{");
    add_times (r->result, &all[i]);
  }
  text_puts (r->result, "}");
}

void
run_metrics (struct engine *e, const json_t *params, struct reply *r)
{
  struct text text = { 0 };

  (void) params;
  metrics_text (e, &text);
  reply_json (r, text.broken ? NULL
                             : json_pack ("{s:o}", "text", json_lines (&text)));
  text_free (&text);
}
