/* SPDX-License-Identifier: BSD-3-Clause */

#include <config.h>

#include <stddef.h>
#include <string.h>

#include "verbs.h"

/* clang-format off */
const struct verb verbs[] = {
  { "mm_stat", "", "memory, in the kernel's fields", NULL, 0, run_mm_stat },
  { "io_stat", "", "failed requests", NULL, 0, run_io_stat },
  { "bd_stat", "", "backing store, in units of 4 KiB", NULL, 0, run_bd_stat },
  { "debug_stat", "", "stalls and skipped frees", NULL, 0, run_debug_stat },
  { "block_state", "[RANGE]", "each stored slot, of all or of RANGE",
    NULL, 1, run_block_state },
  { "classes", "", "fullness of each size class", NULL, 0, run_classes },
  { "idle", "all | AGE | range RANGE",
    "mark idle: all, those not used for AGE seconds, RANGE",
    NULL, 2, run_idle },
  { "recompress", "[KEY=VALUE ...]", "pack stored slots by secondary algorithms",
    NULL, 6, run_recompress },
  { "recomp_algorithm", "[METHOD,...]", "read or set the secondary algorithms",
    NULL, 1, run_recomp_algorithm },
  { "auto_recompress", "[SECONDS]", "read or set the age for doing so by itself",
    NULL, 1, run_auto_recompress },
  { "train", "[KEY=VALUE ...]", "learn a dictionary from what is stored",
    NULL, 2, run_train },
  { "writeback", "KEY=VALUE ...", "move stored slots to the backing store",
    NULL, WORDS_MAX, run_writeback },
  { "writeback_limit", "[N | off]", "read or set what may still be written there",
    NULL, 1, run_writeback_limit },
  { "evict", "[low=N] [high=N]", "read or set the marks, in percent of the limit",
    NULL, 2, run_evict },
  { "promote", "[on | off]", "read or set whether what is read back may stay",
    NULL, 1, run_promote },
  { "compact", "", "move objects together, free pages", NULL, 0, run_compact },
  { "mem_limit", "[SIZE]", "read or set the limit (0: none)",
    NULL, 1, run_mem_limit },
  { "write_buffer", "[SIZE]", "read or set the write buffer's size (0: off)",
    NULL, 1, run_write_buffer },
  { "mem_used_max", "[reset]", "most memory used so far",
    NULL, 1, run_mem_used_max },
  { "algorithm", "[NAME [LEVEL]]", "read or set how new data is compressed",
    NULL, 2, run_algorithm },
  { "workers", "[N]", "read or set the number of streams",
    NULL, 1, run_workers },
  { "reset", "[--force]", "discard everything; with clients only by --force",
    "--force", 0, run_reset },
  { "audit", "[--deep]", "check all invariants; --deep: read all data too",
    "--deep", 0, run_audit },
  { "metrics", "", "everything, in Prometheus' format", NULL, 0, run_metrics },
  { "latency", "", "how long requests and codecs take", NULL, 0, run_latency },
  { "top", "[--once] [SECONDS]", "live view; q quits", "--once", 1, run_top },
  { "map", "[--once] [SECONDS]", "the disk as a grid; q quits",
    "--once", 1, run_map },
  { NULL, NULL, NULL, NULL, 0, NULL },
};
/* clang-format on */

const struct verb *
verb_find (const char *name)
{
  for (const struct verb *v = verbs; v->name; v++)
    if (strcmp (v->name, name) == 0)
      return v;
  return NULL;
}
