/* SPDX-License-Identifier: BSD-3-Clause */
/* Shared by all files of nbdzramctl: how it was called, how it ends.
 *
 *   main.c       options, finds the socket, runs a verb
 *   verbs.c      the table of verbs
 *   client.c     one request, one answer
 *   answer.c     fields out of answers
 *   args.c       numbers, sizes and ranges out of arguments
 *   text.c       sizes and times for people
 *   out.c        the one way to stdout and stderr
 *   print_*.c    verbs that print one answer
 *   knobs.c      verbs that read or set one value
 *   jobs.c       verbs that start long work; progress.c follows it
 *   canvas.c     a grid of cells; frames are drawn on it
 *   screen.c     shows a canvas with ncurses
 *   top.c map.c  what the screen shows over time, top_frame.c and
 *                map_frame.c draw it
 */

#ifndef NBDZRAMCTL_CTL_H
#define NBDZRAMCTL_CTL_H

#include <stdbool.h>

/* Exit statuses.  They are documented: scripts read them. */
enum {
  STATUS_OK = 0,
  STATUS_REFUSED = 1,   /* the server said no, or the work failed */
  STATUS_USAGE = 2,     /* called wrongly */
  STATUS_NO_SERVER = 3, /* no server, or not one that we understand */
};

struct client;

struct ctl {
  const char *socket;
  struct client *client;
  bool json;        /* --json: print the server's result as it is */
  bool bytes;       /* --bytes: the table's sizes are whole numbers */
  bool no_headings; /* --noheadings: the table without its first line */
};

/* Prints "nbdzramctl: ..." as one line on stderr, whatever the text contains,
 * and ends with status.
 */
void die (int status, const char *fmt, ...)
  __attribute__ ((format (printf, 2, 3), noreturn));

/* Called by die before it prints, to restore the terminal.  NULL: nothing to
 * do.
 */
void set_before_death (void (*fn) (void));

#endif /* NBDZRAMCTL_CTL_H */
