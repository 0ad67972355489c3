/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What is behind the control socket and the metrics: the one store and
 * disk of this process, and what is known about it only here.
 */

#ifndef ZRAM_ENGINE_H
#define ZRAM_ENGINE_H

#include <pthread.h>
#include <stdatomic.h>

#include "maint/compactor.h"
#include "maint/drainer.h"
#include "maint/evictor.h"
#include "maint/dictionary.h"
#include "maint/recompress_policy.h"
#include "maint/writeback.h"
#include "store/query.h"

struct jobs;

struct engine {
  struct store *store;
  struct disk *disk;
  struct compactor *compactor;
  struct recompressor *recompressor;
  struct recompress_policy recompress_policy;
  struct writeback writeback;
  struct drainer *drainer;
  bool swap;                 /* this machine may swap to it */
  struct evictor *evictor;   /* NULL without a backing store */
  const char *backing_where; /* as backing= names it */
  struct jobs *jobs;         /* NULL without a control socket */
  atomic_uint clients;       /* NBD connections */
  uint64_t started_ns;       /* clock_ns when serving began */
};

#endif /* ZRAM_ENGINE_H */
