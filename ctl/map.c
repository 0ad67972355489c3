/* SPDX-License-Identifier: BSD-3-Clause */

#include <config.h>

#include "answer.h"
#include "args.h"
#include "client.h"
#include "map.h"
#include "out.h"
#include "screen.h"
#include "text.h"
#include "verbs.h"
#include "zram-protocol.h"

/* --json: as many cells as a screen of 80x24 has. */
#define JSON_CELLS 1440

/* Not more cells than slots. */
static void
look (struct map *m, uint64_t cells)
{
  uint64_t slots;

  json_decref (m->stats);
  json_decref (m->cells);
  m->stats = client_call (m->ctl, ZRAM_VERB_STATS, NULL);
  slots = answer_u64 (m->stats, "slots");
  if (cells > slots)
    cells = slots;
  if (cells > ZRAM_MAP_CELLS_MAX)
    cells = ZRAM_MAP_CELLS_MAX;
  m->cells = client_call (m->ctl, ZRAM_VERB_MAP,
                          json_pack ("{s:I}", "cells", (json_int_t) cells));
}

/* Another size needs another number of cells, so always ask the server. */
static void
frame (void *ctx, struct canvas *c, bool fresh)
{
  struct map *m = ctx;

  (void) fresh;
  look (m, (uint64_t) map_room (c));
  map_draw (m, c);
}

int
run_map (struct ctl *ctl, const struct arguments *args)
{
  double interval = args->n ? arg_seconds (args->verb, args->v[0]) : 1;
  struct map m = { .ctl = ctl };
  int status = STATUS_OK;

  if (ctl->json) {
    look (&m, JSON_CELLS);
    out_json_answer (m.cells);
  }
  else if (args->flag || !screen_available ())
    status = screen_once (frame, &m);
  else
    status = screen_run (interval, frame, &m);
  json_decref (m.stats);
  json_decref (m.cells);
  return status;
}
