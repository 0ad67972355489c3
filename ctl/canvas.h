/* SPDX-License-Identifier: BSD-3-Clause */
/* A grid of coloured characters.
 *
 * Frames are drawn on a canvas without knowing how it will be shown: the screen
 * shows it with ncurses, --once prints it.  Text outside of the grid is cut.
 *
 *        0        columns-1
 *      0 +----------------+
 *        | cells, a row   |
 *        | after another  |
 * rows-1 +----------------+
 */

#ifndef NBDZRAMCTL_CANVAS_H
#define NBDZRAMCTL_CANVAS_H

#include <stdbool.h>
#include <wchar.h>

/* What a colour means; the screen chooses it. */
enum tone {
  TONE_PLAIN,
  TONE_HEADING,
  TONE_DIM,
  TONE_GOOD,
  TONE_WARN,
  TONE_BAD,
  TONE_SAME,
  TONE_IDLE,
  TONE_BACKED,
  TONES,
};

struct cell {
  wchar_t ch;
  enum tone tone;
};

struct canvas {
  int rows, columns;
  bool unicode; /* the terminal shows more than ASCII */
  bool live;    /* a user can press keys */
  struct cell *cells;
};

/* Blank.  unicode is taken from the locale. */
struct canvas canvas_create (int rows, int columns);
void canvas_free (struct canvas *c);

/* The smallest and largest size; other sizes are adjusted to them. */
#define CANVAS_SIDE_MIN 1
#define CANVAS_SIDE_MAX 1000

void canvas_put (struct canvas *c, int row, int column, enum tone tone,
                 wchar_t ch);

/* Text from column on, bytes that are not ASCII as \xNN. Returns the column
 * after it.
 */
int canvas_print (struct canvas *c, int row, int column, enum tone tone,
                  const char *fmt, ...) __attribute__ ((format (printf, 5, 6)));

/* The first of n texts that fits into a row by itself; none: the last, cut. */
#define CANVAS_TEXT 100
void canvas_fit (struct canvas *c, int row, enum tone tone, unsigned n,
                 char texts[][CANVAS_TEXT]);

/* "[######----]" with a share (0 to 1) of width cells filled. */
int canvas_bar (struct canvas *c, int row, int column, int width,
                enum tone tone, double share);

/* The name of something, from column on, cut at its beginning to width; as a
 * value of zram-shown.h.
 */
void canvas_tail (struct canvas *c, int row, int column, int width,
                  enum tone tone, const char *text);

/* The last row lists the keys, if a user can press them and the canvas has
 * enough rows.
 */
void canvas_keys (struct canvas *c);

/* As text, without blanks at the ends of lines and empty lines at the end. */
void canvas_write (const struct canvas *c);

#endif /* NBDZRAMCTL_CANVAS_H */
