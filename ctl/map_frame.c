/* SPDX-License-Identifier: BSD-3-Clause */
/* map's picture:
 *
 *   which server, which disk, how much a cell is
 *
 *       0 ......====++++####
 *   12.5M ..................
 *
 *   legend
 *
 * A cell stands for many slots and shows what most of its stored slots are:
 * backed, idle, huge, same; otherwise how well they are compressed.
 */

#include <config.h>

#include <inttypes.h>
#include <string.h>

#include "answer.h"
#include "map.h"
#include "text.h"

#define LABEL 8 /* where a row begins on the disk */
#define ABOVE 2 /* rows */
#define BELOW 4

/* On a smaller picture there are only cells. */
#define LEAST_COLUMNS 20
#define LEAST_ROWS 8

enum look { EMPTY, SAME, GOOD, FAIR, POOR, HUGE, IDLE, BACKED, LOOKS };

static const struct {
  const char *name;
  enum tone tone;
  wchar_t ascii, unicode;
} looks[LOOKS] = {
  [EMPTY] = { "empty", TONE_DIM, L'.', L'\u00b7' },
  [SAME] = { "same", TONE_SAME, L'=', L'=' },
  [GOOD] = { ">= 4:1", TONE_GOOD, L'-', L'\u2591' },
  [FAIR] = { ">= 2:1", TONE_GOOD, L'+', L'\u2592' },
  [POOR] = { "< 2:1", TONE_WARN, L'*', L'\u2593' },
  [HUGE] = { "huge", TONE_BAD, L'#', L'\u2588' },
  [IDLE] = { "idle", TONE_IDLE, L'i', L'i' },
  [BACKED] = { "backed", TONE_BACKED, L'b', L'b' },
};

static enum look
look_of (json_t *cell)
{
  uint64_t stored = answer_u64 (cell, "stored");
  uint64_t orig = answer_u64 (cell, "orig");
  uint64_t compr = answer_u64 (cell, "compr");

  if (stored == 0)
    return EMPTY;
  if (answer_u64 (cell, "backed") * 2 > stored)
    return BACKED;
  if (answer_u64 (cell, "idle") * 2 > stored)
    return IDLE;
  if (answer_u64 (cell, "huge") * 2 > stored)
    return HUGE;
  if (answer_u64 (cell, "same") * 2 > stored)
    return SAME;
  if (orig >= 4 * compr)
    return GOOD;
  return orig >= 2 * compr ? FAIR : POOR;
}

static int
left_of (const struct canvas *c)
{
  return c->columns < LEAST_COLUMNS ? 0 : LABEL + 1;
}

static int
above (const struct canvas *c)
{
  return c->rows < LEAST_ROWS ? 0 : ABOVE;
}

static int
across (const struct canvas *c)
{
  return c->columns - left_of (c);
}

int
map_room (const struct canvas *c)
{
  return across (c) *
         (c->rows < LEAST_ROWS ? c->rows : c->rows - ABOVE - BELOW);
}

static void
draw_look (struct canvas *c, int row, int column, enum look l)
{
  canvas_put (c, row, column, looks[l].tone,
              c->unicode ? looks[l].unicode : looks[l].ascii);
}

static void
draw_title (const struct map *m, struct canvas *c, size_t ncells)
{
  uint64_t slots = answer_u64 (m->stats, "slots");
  uint64_t bytes = answer_u64 (m->stats, "slot_size");
  char size[TEXT_MAX], cell[TEXT_MAX], slot[TEXT_MAX], right[200];
  double per_cell = ncells ? (double) slots / (double) ncells : 0;

  snprintf (right, sizeof right, "%s, slots of %s, a cell is %s",
            text_size (size, answer_u64 (m->stats, "disksize")),
            text_size (slot, bytes),
            text_size (cell, (uint64_t) (per_cell * (double) bytes)));

  int from = c->columns - (int) strlen (right);

  canvas_tail (c, 0, 0, from - 2, TONE_HEADING, m->ctl->socket);
  canvas_print (c, 0, from > 0 ? from : 0, TONE_PLAIN, "%s", right);
}

static void
draw_legend (struct canvas *c, int row)
{
  int column = 0;

  for (enum look l = EMPTY; l < LOOKS; l++) {
    int width = (int) strlen (looks[l].name) + 4;

    if (column + width - 2 > c->columns) {
      column = 0;
      row++;
    }
    draw_look (c, row, column, l);
    canvas_print (c, row, column + 2, TONE_PLAIN, "%s", looks[l].name);
    column += width;
  }
}

void
map_draw (const struct map *m, struct canvas *c)
{
  json_t *cells = answer_array (m->cells, "cells"), *cell;
  uint64_t slots = answer_u64 (m->stats, "slots");
  uint64_t bytes = answer_u64 (m->stats, "slot_size");
  size_t n = json_array_size (cells), i;
  int wide = across (c), rows = (int) ((n + (size_t) wide - 1) / (size_t) wide);
  char start[TEXT_MAX];

  if (above (c))
    draw_title (m, c, n);
  json_array_foreach (cells, i, cell)
  {
    int row = above (c) + (int) i / wide, column = (int) i % wide;

    if (column == 0 && left_of (c))
      canvas_print (c, row, 0, TONE_DIM, "%*s", LABEL,
                    text_size (start, (uint64_t) ((double) slots / (double) n *
                                                  (double) i) *
                                        bytes));
    draw_look (c, row, left_of (c) + column, look_of (cell));
  }
  if (above (c))
    draw_legend (c, ABOVE + rows + 1);
  canvas_keys (c);
}
