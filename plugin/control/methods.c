/* SPDX-License-Identifier: BSD-3-Clause */

#include <config.h>

#include <string.h>

#include "plugin/control/methods.h"

static const struct method methods[] = {
  { ZRAM_METHOD_VERSION, "", false, run_version },
  { ZRAM_METHOD_STATS, "", false, run_stats },
  { ZRAM_METHOD_CLASSES, "", false, run_classes },
  { ZRAM_METHOD_BLOCK_STATE, "start count", true, run_block_state },
  { ZRAM_METHOD_MAP, "cells", true, run_map },
  { ZRAM_METHOD_IDLE, "mode seconds start count", true, run_idle },
  { ZRAM_METHOD_MEM_LIMIT, "set", false, run_mem_limit },
  { ZRAM_METHOD_WRITE_BUFFER, "set", false, run_write_buffer },
  { ZRAM_METHOD_MEM_USED_MAX, "reset", false, run_mem_used_max },
  { ZRAM_METHOD_ALGORITHM, "set level", true, run_algorithm },
  { ZRAM_METHOD_WORKERS, "set", true, run_workers },
  { ZRAM_METHOD_RECOMP_ALGORITHM, "set", true, run_recomp_algorithm },
  { ZRAM_METHOD_AUTO_RECOMPRESS, "set", false, run_auto_recompress },
  { ZRAM_METHOD_WRITEBACK_LIMIT, "set", false, run_writeback_limit },
  { ZRAM_METHOD_EVICT, "low high", false, run_evict },
  { ZRAM_METHOD_PROMOTE, "set", false, run_promote },
  { ZRAM_METHOD_COMPACT, "", false, run_compact },
  { ZRAM_METHOD_RECOMPRESS,
    "type threshold max_slots priority algorithm start count", false,
    run_recompress },
  { ZRAM_METHOD_TRAIN, "samples size", false, run_train },
  { ZRAM_METHOD_WRITEBACK, "type page_index page_indexes", false,
    run_writeback },
  { ZRAM_METHOD_AUDIT, "deep", false, run_audit },
  { ZRAM_METHOD_RESET, "force", false, run_reset },
  { ZRAM_METHOD_JOB, "id", false, run_job },
  { ZRAM_METHOD_JOB_CANCEL, "id", false, run_job_cancel },
  { ZRAM_METHOD_LATENCY, "", false, run_latency },
  { ZRAM_METHOD_METRICS, "", false, run_metrics },
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
