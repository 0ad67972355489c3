/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One connection: bytes in, lines, bytes out.
 *
 *   OPEN      reads, and serves what it read in order
 *   WAITING   one of its requests is with the slow thread; those behind it
 *             wait
 *   eof       it says no more: what it said is served and answered, and then
 *             it is closed
 *   ending    it broke a rule: what is answered is sent, and then it is closed
 *   mute      it takes no answers any more, but what it said is served
 *   dead      to be closed at once
 *
 * While more than ZRAM_UNREAD_MAX bytes wait to be sent it is 'deaf': none of
 * its requests is read or served, until it listens again or somebody's
 * patience ends.
 *
 * Never blocks.  All of it belongs to the event loop's thread.
 */

#ifndef ZRAM_CLIENT_H
#define ZRAM_CLIENT_H

#include <stdbool.h>
#include <stdint.h>

#include "plugin/control/text.h"
#include "zram-protocol.h"

struct client {
  int fd;             /* owned; -1: this place is free */
  uint64_t serial;    /* no two clients have the same */
  struct text in;     /* what was read and not served yet */
  struct text out;    /* what was not sent yet */
  size_t searched;    /* so many bytes of 'in' have no \n among them */
  uint64_t heard_ns;  /* run_clock_ns: it was not deaf, or took something */
  uint64_t behind_ns; /* likewise: since when there is something in 'out'; 0:
                         nothing */
  unsigned poll_at;   /* its place in what is polled; 0: it is not */
  bool waiting, eof, ending, mute, dead;
};

void client_open (struct client *c, int fd, uint64_t serial);
void client_close (struct client *c);

/* What poll shall look for; 0: do not poll it at all. */
short client_events (struct client *c);

/* Read what there is, within bounds.  Send what can be sent. */
void client_read (struct client *c);
void client_write (struct client *c);

static inline bool
client_is_deaf (const struct client *c)
{
  return text_size (&c->out) > ZRAM_UNREAD_MAX;
}

/* Is there a whole line, and may it be served? */
bool client_has_line (struct client *c);

enum client_line { CLIENT_NO_LINE, CLIENT_LINE, CLIENT_LINE_TOO_LONG };

/* The next line, without its \n; it is there until client_line_done. */
enum client_line client_line (struct client *c, const char **line, size_t *len);
void client_line_done (struct client *c, size_t len);

/* Nothing more will come from it or go to it. */
bool client_is_done (struct client *c);

#endif /* ZRAM_CLIENT_H */
