/* SPDX-License-Identifier: BSD-3-Clause */

#include <config.h>

/* The wide character functions of ncurses. */
#define NCURSES_WIDECHAR 1

#include <curses.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "screen.h"
#include "signals.h"

/* A tone is a colour (-1: the terminal's own) and an attribute, so that tones
 * differ without colours too.
 */
static const struct {
  short colour;
  attr_t attr;
} tones[TONES] = {
  [TONE_PLAIN] = { -1, A_NORMAL },
  [TONE_HEADING] = { -1, A_BOLD },
  [TONE_DIM] = { COLOR_BLUE, A_NORMAL },
  [TONE_GOOD] = { COLOR_GREEN, A_NORMAL },
  [TONE_WARN] = { COLOR_YELLOW, A_NORMAL },
  [TONE_BAD] = { COLOR_RED, A_BOLD },
  [TONE_SAME] = { COLOR_CYAN, A_NORMAL },
  [TONE_IDLE] = { COLOR_BLUE, A_BOLD },
  [TONE_BACKED] = { COLOR_MAGENTA, A_NORMAL },
};

static void
screen_end (void)
{
  endwin ();
}

/* https://no-color.org: not if it is set to anything. */
static bool
wants_colours (void)
{
  const char *no = getenv ("NO_COLOR");

  return !no || !*no;
}

static void
screen_begin (void)
{
  SCREEN *s = newterm (NULL, stdout, stdin);

  if (!s)
    die (STATUS_REFUSED, "the terminal %s is not known; try --once",
         getenv ("TERM") ? getenv ("TERM") : "(TERM is not set)");
  set_before_death (screen_end);
  cbreak ();
  noecho ();
  nonl ();
  keypad (stdscr, TRUE);
  curs_set (0);
  if (wants_colours () && has_colors () && start_color () == OK) {
    bool own = use_default_colors () == OK;

    for (short t = 0; t < TONES; t++)
      init_pair ((short) (t + 1),
                 tones[t].colour < 0 && !own ? COLOR_WHITE : tones[t].colour,
                 own ? -1 : COLOR_BLACK);
  }
}

static void
show (const struct canvas *c)
{
  erase ();
  for (int row = 0; row < c->rows && row < LINES; row++)
    for (int column = 0; column < c->columns && column < COLS; column++) {
      const struct cell *cell = &c->cells[row * c->columns + column];
      wchar_t text[2] = { cell->ch, L'\0' };
      short pair = wants_colours () && has_colors () ? (short) (cell->tone + 1)
                                                     : 0;
      cchar_t ch;

      setcchar (&ch, text, tones[cell->tone].attr, pair, NULL);
      mvadd_wch (row, column, &ch);
    }
  refresh ();
}

static void
draw_and_show (frame_fn *draw, void *ctx, bool fresh)
{
  struct canvas c = canvas_create (LINES, COLS);

  c.live = true;
  draw (ctx, &c, fresh);
  show (&c);
  canvas_free (&c);
}

static double
now_s (void)
{
  struct timespec ts;

  clock_gettime (CLOCK_MONOTONIC, &ts);
  return (double) ts.tv_sec + (double) ts.tv_nsec / 1e9;
}

/* Waits until due.  False if the program should end. */
static bool
wait_keys (double due, frame_fn *draw, void *ctx)
{
  double left;

  while (!signals_seen () && (left = due - now_s ()) > 0) {
    /* In pieces, so that a signal that comes just before is noticed. */
    timeout (left < 0.1 ? (int) (left * 1000) + 1 : 100);
    switch (getch ()) {
    case 'q':
    case 'Q':
      return false;
    case ' ':
      return true;
    case KEY_RESIZE:
      draw_and_show (draw, ctx, false);
      break;
    default:
      break;
    }
  }
  return !signals_seen ();
}

int
screen_run (double interval, frame_fn *draw, void *ctx)
{
  bool go_on;

  signals_catch (0);
  screen_begin ();
  do {
    double due = now_s () + interval;

    draw_and_show (draw, ctx, true);
    go_on = wait_keys (due, draw, ctx);
  } while (go_on);
  screen_end ();
  set_before_death (NULL);
  return STATUS_OK;
}

static int
from_environment (const char *name, int otherwise)
{
  const char *s = getenv (name);
  long n = s ? strtol (s, NULL, 10) : 0;

  return n <= 0 ? otherwise : n < CANVAS_SIDE_MAX ? (int) n : CANVAS_SIDE_MAX;
}

int
screen_once (frame_fn *draw, void *ctx)
{
  struct winsize ws = { .ws_row = 24, .ws_col = 80 };

  if (ioctl (STDOUT_FILENO, TIOCGWINSZ, &ws) < 0 || !ws.ws_row || !ws.ws_col) {
    ws.ws_row = 24;
    ws.ws_col = 80;
  }

  struct canvas c = canvas_create (from_environment ("LINES", ws.ws_row),
                                   from_environment ("COLUMNS", ws.ws_col));

  draw (ctx, &c, true);
  canvas_write (&c);
  canvas_free (&c);
  return STATUS_OK;
}

bool
screen_can_erase (int fd)
{
  const char *term = getenv ("TERM");

  return isatty (fd) && term && *term && strcmp (term, "dumb") != 0;
}

bool
screen_available (void)
{
  return isatty (STDIN_FILENO) && screen_can_erase (STDOUT_FILENO);
}
