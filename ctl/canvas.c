/* SPDX-License-Identifier: BSD-3-Clause */

#include <config.h>

#include <langinfo.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "canvas.h"
#include "ctl.h"
#include "out.h"
#include "zram-shown.h"

static int
within (int n, int min, int max)
{
  return n < min ? min : n > max ? max : n;
}

struct canvas
canvas_create (int rows, int columns)
{
  struct canvas c = {
    .rows = within (rows, CANVAS_SIDE_MIN, CANVAS_SIDE_MAX),
    .columns = within (columns, CANVAS_SIDE_MIN, CANVAS_SIDE_MAX),
    .unicode = strcmp (nl_langinfo (CODESET), "UTF-8") == 0,
  };
  int n = c.rows * c.columns;

  c.cells = calloc ((size_t) n, sizeof c.cells[0]);
  if (!c.cells)
    die (STATUS_REFUSED, "out of memory");
  for (int i = 0; i < n; i++)
    c.cells[i].ch = L' ';
  return c;
}

void
canvas_free (struct canvas *c)
{
  free (c->cells);
  c->cells = NULL;
}

void
canvas_put (struct canvas *c, int row, int column, enum tone tone, wchar_t ch)
{
  if (row < 0 || row >= c->rows || column < 0 || column >= c->columns)
    return;
  c->cells[row * c->columns + column] = (struct cell){ ch, tone };
}

/* With fewer rows than this the last one is better used for data. */
#define KEYS_ROWS 8

int
canvas_print (struct canvas *c, int row, int column, enum tone tone,
              const char *fmt, ...)
{
  char text[CANVAS_SIDE_MAX + 1], shown[4 * sizeof text];
  va_list ap;

  va_start (ap, fmt);
  vsnprintf (text, sizeof text, fmt, ap);
  va_end (ap);
  shown_cut (shown, sizeof shown, text, SHOWN_ASCII);
  for (const char *s = shown; *s; s++)
    canvas_put (c, row, column++, tone, (wchar_t) *s);
  return column;
}

void
canvas_fit (struct canvas *c, int row, enum tone tone, unsigned n,
            char texts[][CANVAS_TEXT])
{
  unsigned i = 0;

  while (i + 1 < n && (int) strlen (texts[i]) > c->columns)
    i++;
  canvas_print (c, row, 0, tone, "%s", texts[i]);
}

int
canvas_bar (struct canvas *c, int row, int column, int width, enum tone tone,
            double share)
{
  int full = (int) (share * width + 0.5);

  /* A bar that is not empty, or not full, never looks so. */
  if (share > 0 && full == 0)
    full = 1;
  if (share < 1 && full >= width)
    full = width - 1;
  canvas_put (c, row, column++, TONE_PLAIN, L'[');
  for (int i = 0; i < width; i++)
    canvas_put (c, row, column++, i < full ? tone : TONE_DIM,
                i < full ? L'#' : L'-');
  canvas_put (c, row, column++, TONE_PLAIN, L']');
  return column;
}

void
canvas_tail (struct canvas *c, int row, int column, int width, enum tone tone,
             const char *text)
{
  char *shown, *end;
  size_t n;

  if (width < 4)
    return;
  shown = shown_copy (text, SHOWN_VALUE | SHOWN_ASCII);
  if (!shown)
    die (STATUS_REFUSED, "out of memory");
  n = strlen (shown);
  end = n > (size_t) width ? shown + n - (size_t) (width - 3) : shown;
  canvas_print (c, row, column, tone, "%s%s", end == shown ? "" : "...", end);
  free (shown);
}

void
canvas_keys (struct canvas *c)
{
  if (!c->live || c->rows < KEYS_ROWS)
    return;
  for (int i = 0; i < c->columns; i++)
    canvas_put (c, c->rows - 1, i, TONE_PLAIN, L' ');
  canvas_print (c, c->rows - 1, 0, TONE_DIM, "q quit   space look again");
}

static int
row_end (const struct canvas *c, int row)
{
  int end = c->columns;

  while (end > 0 && c->cells[row * c->columns + end - 1].ch == L' ')
    end--;
  return end;
}

void
canvas_write (const struct canvas *c)
{
  int rows = c->rows;

  while (rows > 0 && row_end (c, rows - 1) == 0)
    rows--;
  for (int row = 0; row < rows; row++) {
    for (int i = 0; i < row_end (c, row); i++)
      out_cell (c->cells[row * c->columns + i].ch);
    out_newline ();
  }
}
