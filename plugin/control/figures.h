/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The table of counters and gauges, figures.def, as data.
 */

#ifndef ZRAM_FIGURES_H
#define ZRAM_FIGURES_H

#include "plugin/control/service.h"

enum figure_of { OF_STORE, OF_DISK, OF_BACKING };

enum figure_kind { KIND_GAUGE, KIND_COUNTER };

/* The unit of the value; if they differ: in "stats"; in the metrics. */
enum figure_unit {
  UNIT_COUNT,
  UNIT_FLAG, /* true or false; 1 or 0 */
  UNIT_BYTES,
  UNIT_SLOTS,
  UNIT_SLOTS_AS_PAGES, /* slots: pages of 4 KiB; slots */
  UNIT_PAGES,
  UNIT_BLOCKS, /* of 4 KiB: blocks or pages; bytes */
  UNIT_SECONDS,
  UNIT_NANOSECONDS, /* nanoseconds; seconds */
  UNIT_PERCENT,
};

struct figure {
  enum figure_of of;
  enum figure_kind kind;
  enum figure_unit unit;
  const char *json;       /* NULL: not in "stats" */
  const char *metric;     /* NULL: not in the metrics */
  const char *label, *is; /* NULL: there is no label */
  const char *help;       /* NULL: same family as the row before */
};

enum {
#define FIGURE(...) +1
  FIGURES = 0
#include "plugin/control/figures.def"
};

extern const struct figure figures[FIGURES];

/* Read all values now, one after the other.  Without a backing store its values
 * are 0.  Takes the locks of size classes, of dictionaries and of the backing
 * store, each for a moment.
 */
void figures_read (struct service *s, uint64_t values[FIGURES]);

#endif /* ZRAM_FIGURES_H */
