/* SPDX-License-Identifier: BSD-3-Clause */
/* top: what changes over time, and its picture. */

#ifndef NBDZRAMCTL_TOP_H
#define NBDZRAMCTL_TOP_H

#include <stdbool.h>

#include "canvas.h"
#include "sample.h"

/* At least the columns of the widest screen. */
#define HISTORY CANVAS_SIDE_MAX

struct top {
  struct ctl *ctl;
  struct sample before, now; /* rates are what lies between */
  bool since_start;          /* before is the server's start */
  double ratio[HISTORY];     /* the last nratio ones, the newest at the end */
  int nratio;
};

void top_draw (const struct top *t, struct canvas *c);

#endif /* NBDZRAMCTL_TOP_H */
