/* SPDX-License-Identifier: BSD-3-Clause */
/* The whole terminal, by ncurses: shows canvases, reads keys.
 *
 * However the program ends (return, die, a caught signal), the terminal is
 * restored.
 */

#ifndef NBDZRAMCTL_SCREEN_H
#define NBDZRAMCTL_SCREEN_H

#include <stdbool.h>

#include "canvas.h"
#include "ctl.h"

/* Draws a frame. fresh: ask the server; otherwise draw the known data again,
 * because the size has changed.
 */
typedef void frame_fn (void *ctx, struct canvas *canvas, bool fresh);

/* A frame every interval seconds until q or a signal.  The exit status. */
int screen_run (double interval, frame_fn *draw, void *ctx);

/* One frame as text on stdout, as large as the terminal, if stdout is one, or
 * as COLUMNS and LINES say, otherwise 80x24.
 */
int screen_once (frame_fn *draw, void *ctx);

/* Can the terminal show a screen?  Not if TERM is "dumb" or not set: the cursor
 * cannot be moved there.
 */
bool screen_available (void);

/* Is that a terminal where a line can be overwritten? */
bool screen_can_erase (int fd);

#endif /* NBDZRAMCTL_SCREEN_H */
