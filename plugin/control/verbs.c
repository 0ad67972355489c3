/* SPDX-License-Identifier: BSD-3-Clause */
/* The table of verbs.
 * Contract: plugin/control/verbs.h.
 */

#include <config.h>

#include <string.h>

#include "plugin/control/verbs.h"

static const struct verb verbs[] = {
  { ZRAM_VERB_VERSION, "", RPC_AT_ONCE, run_version },
  { ZRAM_VERB_STATS, "", RPC_AT_ONCE, run_stats },
  { ZRAM_VERB_CLASSES, "", RPC_AT_ONCE, run_classes },
  { ZRAM_VERB_BLOCK_STATE, "start count", RPC_SLOW, run_block_state },
  { ZRAM_VERB_MAP, "cells", RPC_SLOW, run_map },
  { ZRAM_VERB_IDLE, "mode seconds start count", RPC_SLOW, run_idle },
  { ZRAM_VERB_MEM_LIMIT, "set", RPC_AT_ONCE, run_mem_limit },
  { ZRAM_VERB_WRITE_BUFFER, "set", RPC_AT_ONCE, run_write_buffer },
  { ZRAM_VERB_MEM_USED_MAX, "reset", RPC_AT_ONCE, run_mem_used_max },
  { ZRAM_VERB_ALGORITHM, "set level", RPC_SLOW, run_algorithm },
  { ZRAM_VERB_WORKERS, "set", RPC_SLOW, run_workers },
  { ZRAM_VERB_RECOMP_ALGORITHM, "set", RPC_FILES, run_recomp_algorithm },
  { ZRAM_VERB_AUTO_RECOMPRESS, "set", RPC_AT_ONCE, run_auto_recompress },
  { ZRAM_VERB_WRITEBACK_LIMIT, "set", RPC_AT_ONCE, run_writeback_limit },
  { ZRAM_VERB_EVICT, "low high", RPC_AT_ONCE, run_evict },
  { ZRAM_VERB_PROMOTE, "set", RPC_AT_ONCE, run_promote },
  { ZRAM_VERB_COMPACT, "", RPC_AT_ONCE, run_compact },
  { ZRAM_VERB_RECOMPRESS,
    "type threshold max_slots priority algorithm start count", RPC_AT_ONCE,
    run_recompress },
  { ZRAM_VERB_TRAIN, "samples size", RPC_AT_ONCE, run_train },
  { ZRAM_VERB_WRITEBACK, "type page_index page_indexes", RPC_AT_ONCE,
    run_writeback },
  { ZRAM_VERB_AUDIT, "deep", RPC_AT_ONCE, run_audit },
  { ZRAM_VERB_RESET, "force", RPC_AT_ONCE, run_reset },
  { ZRAM_VERB_JOB, "id", RPC_AT_ONCE, run_job },
  { ZRAM_VERB_JOB_CANCEL, "id", RPC_AT_ONCE, run_job_cancel },
  { ZRAM_VERB_LATENCY, "", RPC_AT_ONCE, run_latency },
  { ZRAM_VERB_METRICS, "", RPC_AT_ONCE, run_metrics },
};

#define VERBS (sizeof verbs / sizeof verbs[0])

const struct verb *
verb_find (const char *name)
{
  for (unsigned i = 0; i < VERBS; i++)
    if (strcmp (verbs[i].name, name) == 0)
      return &verbs[i];
  return NULL;
}

const struct verb *
verb_at (unsigned n)
{
  return n < VERBS ? &verbs[n] : NULL;
}
