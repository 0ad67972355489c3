/* SPDX-License-Identifier: BSD-3-Clause */
/* The table of JSON-RPC methods.
 * Contract: plugin/control/methods.h.
 */

#include <config.h>

#include <string.h>

#include "plugin/control/methods.h"

static const struct method methods[] = {
  { ZRAM_METHOD_VERSION, "", RPC_AT_ONCE, run_version },
  { ZRAM_METHOD_STATS, "", RPC_AT_ONCE, run_stats },
  { ZRAM_METHOD_CLASSES, "", RPC_AT_ONCE, run_classes },
  { ZRAM_METHOD_BLOCK_STATE, "start count", RPC_SLOW, run_block_state },
  { ZRAM_METHOD_MAP, "cells", RPC_SLOW, run_map },
  { ZRAM_METHOD_IDLE, "mode seconds start count", RPC_SLOW, run_idle },
  { ZRAM_METHOD_MEM_LIMIT, "set", RPC_AT_ONCE, run_mem_limit },
  { ZRAM_METHOD_WRITE_BUFFER, "set", RPC_AT_ONCE, run_write_buffer },
  { ZRAM_METHOD_MEM_USED_MAX, "reset", RPC_AT_ONCE, run_mem_used_max },
  { ZRAM_METHOD_ALGORITHM, "set level", RPC_SLOW, run_algorithm },
  { ZRAM_METHOD_WORKERS, "set", RPC_SLOW, run_workers },
  { ZRAM_METHOD_RECOMP_ALGORITHM, "set", RPC_FILES, run_recomp_algorithm },
  { ZRAM_METHOD_AUTO_RECOMPRESS, "set", RPC_AT_ONCE, run_auto_recompress },
  { ZRAM_METHOD_WRITEBACK_LIMIT, "set", RPC_AT_ONCE, run_writeback_limit },
  { ZRAM_METHOD_EVICT, "low high", RPC_AT_ONCE, run_evict },
  { ZRAM_METHOD_PROMOTE, "set", RPC_AT_ONCE, run_promote },
  { ZRAM_METHOD_COMPACT, "", RPC_AT_ONCE, run_compact },
  { ZRAM_METHOD_RECOMPRESS,
    "type threshold max_slots priority algorithm start count", RPC_AT_ONCE,
    run_recompress },
  { ZRAM_METHOD_TRAIN, "samples size", RPC_AT_ONCE, run_train },
  { ZRAM_METHOD_WRITEBACK, "type page_index page_indexes", RPC_AT_ONCE,
    run_writeback },
  { ZRAM_METHOD_AUDIT, "deep", RPC_AT_ONCE, run_audit },
  { ZRAM_METHOD_RESET, "force", RPC_AT_ONCE, run_reset },
  { ZRAM_METHOD_JOB, "id", RPC_AT_ONCE, run_job },
  { ZRAM_METHOD_JOB_CANCEL, "id", RPC_AT_ONCE, run_job_cancel },
  { ZRAM_METHOD_LATENCY, "", RPC_AT_ONCE, run_latency },
  { ZRAM_METHOD_METRICS, "", RPC_AT_ONCE, run_metrics },
};

#define METHODS (sizeof methods / sizeof methods[0])

const struct method *
method_find (const char *name)
{
  for (unsigned i = 0; i < METHODS; i++)
    if (strcmp (methods[i].name, name) == 0)
      return &methods[i];
  return NULL;
}

const struct method *
method_at (unsigned n)
{
  return n < METHODS ? &methods[n] : NULL;
}
