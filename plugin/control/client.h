/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One connection: bytes in, lines, bytes out.
 *
 *   OPEN      reads, and serves its requests in order
 *   WAITING   one of its requests is with a slow thread; later ones wait
 *   eof       it sends no more: its requests are served and answered, then it
 *             is closed
 *   ending    it broke a rule: its answers are sent, then it is closed
 *   mute      it takes no more answers, but its requests are served
 *   dead      to be closed at once
 *
 * While more than ZRAM_UNREAD_MAX bytes wait to be sent, the client is 'deaf':
 * none of its requests is read or served, until it reads again or the server's
 * patience ends.
 *
 * Never blocks.  Everything here belongs to the event loop's thread.
 */

#ifndef ZRAM_CLIENT_H
#define ZRAM_CLIENT_H

#include <stdbool.h>
#include <stdint.h>

#include "plugin/control/text.h"
#include "zram-protocol.h"

struct client {
  int fd;            /* owned; -1: this place is free */
  uint64_t serial;   /* no two clients have the same */
  struct text in;    /* read and not served yet */
  struct text out;   /* not sent yet */
  size_t searched;   /* so many bytes of 'in' have no \n among them */
  uint64_t heard_ns; /* run_clock_ns: when it last was not deaf or took bytes */
  uint64_t behind_ns; /* likewise: since when 'out' has not been empty; 0:
                         it is empty */
  unsigned poll_at;   /* its index in the array for poll; 0: not polled */
  bool waiting, eof, ending, mute, dead;
};

void client_open (struct client *c, int fd, uint64_t serial);
void client_close (struct client *c);

/* The events that poll waits for; 0: do not poll it at all. */
short client_events (struct client *c);

/* client_read reads bytes that have arrived, up to a limit; the other sends as
 * much as it can.
 */
void client_read (struct client *c);
void client_write (struct client *c);

static inline bool
client_is_deaf (const struct client *c)
{
  return text_size (&c->out) > ZRAM_UNREAD_MAX;
}

/* Is there a whole line that may be served now? */
bool client_has_line (struct client *c);

enum client_line { CLIENT_NO_LINE, CLIENT_LINE, CLIENT_LINE_TOO_LONG };

/* The next line, without its \n; valid until client_line_done. */
enum client_line client_line (struct client *c, const char **line, size_t *len);
void client_line_done (struct client *c, size_t len);

/* True if nothing more will be read from it or sent to it. */
bool client_is_done (struct client *c);

#endif /* ZRAM_CLIENT_H */
