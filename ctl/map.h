/* SPDX-License-Identifier: BSD-3-Clause */
/* map: the disk from its first slot to its last as a grid. */

#ifndef NBDZRAMCTL_MAP_H
#define NBDZRAMCTL_MAP_H

#include <jansson.h>

#include "canvas.h"
#include "ctl.h"

struct map {
  struct ctl *ctl;
  json_t *stats, *cells; /* answers */
};

/* How many cells fit. */
int map_room (const struct canvas *c);

void map_draw (const struct map *m, struct canvas *c);

#endif /* NBDZRAMCTL_MAP_H */
