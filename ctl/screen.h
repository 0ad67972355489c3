/* SPDX-License-Identifier: BSD-3-Clause */
/* The whole terminal, by ncurses: shows canvases, reads keys.
 *
 * However the program ends (return, die, a caught signal), the terminal is as
 * it was before.
 */

#ifndef NBDZRAMCTL_SCREEN_H
#define NBDZRAMCTL_SCREEN_H

#include <stdbool.h>

#include "canvas.h"
#include "ctl.h"

/* Draws a frame.  fresh: ask the server (else: again what is known, because
 * the size has changed).
 */
typedef void frame_fn (void *ctx, struct canvas *canvas, bool fresh);

/* A frame every interval seconds until q or a signal.  The exit status. */
int screen_run (double interval, frame_fn *draw, void *ctx);

/* One frame as text on stdout, as large as the terminal, if it is one, or as
 * COLUMNS and LINES say, else 80x24.
 */
int screen_once (frame_fn *draw, void *ctx);

/* Is there a screen to run on?  Not on what TERM calls dumb, or does not name:
 * the cursor cannot be moved there.
 */
bool screen_available (void);

/* Is that a terminal where a line can be written again? */
bool screen_can_erase (int fd);

#endif /* NBDZRAMCTL_SCREEN_H */
