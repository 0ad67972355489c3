/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The service: the state behind the control socket and the metrics.  It has the
 * one store and disk of this process, their upkeep, and facts about them that
 * only the plugin knows.
 */

#ifndef ZRAM_SERVICE_H
#define ZRAM_SERVICE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "maint/upkeep.h"
#include "store/query.h"

struct jobs;

struct service {
  struct store *store;
  struct disk *disk;
  struct upkeep *upkeep;
  bool swap;                 /* this machine may swap to it */
  const char *backing_where; /* the value of backing=; NULL: no backing store */
  struct jobs *jobs;         /* NULL without a control socket */
  atomic_uint clients;       /* NBD connections */
  uint64_t started_ns;       /* clock_ns when serving began */
};

#endif /* ZRAM_SERVICE_H */
