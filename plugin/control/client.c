/* SPDX-License-Identifier: BSD-3-Clause */
/* One connection: reading, lines, sending.
 * Contract: plugin/control/client.h.
 */

#include <config.h>

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/run_clock.h"
#include "plugin/control/client.h"

/* Bytes read at a time. */
#define READ_SIZE 16384

void
client_open (struct client *c, int fd, uint64_t serial)
{
  *c = (struct client){ .fd = fd, .serial = serial };
}

void
client_close (struct client *c)
{
  close (c->fd);
  text_free (&c->in);
  text_free (&c->out);
  *c = (struct client){ .fd = -1 };
}

/* -- lines -------------------------------------------------------------- */

/* The length of the line; -1: there is no whole line yet. */
static ssize_t
find_line (struct client *c)
{
  const char *begin = text_begin (&c->in);
  size_t size = text_size (&c->in);
  const char *end = memchr (begin + c->searched, '\n', size - c->searched);

  c->searched = end ? (size_t) (end - begin) : size;
  return end ? end - begin : -1;
}

/* The last line of a client that sends no more may lack its \n. */
enum client_line
client_line (struct client *c, const char **line, size_t *len)
{
  ssize_t n = find_line (c);
  size_t size = text_size (&c->in);

  if (n == -1 && size <= ZRAM_REQUEST_MAX && !(c->eof && size > 0))
    return CLIENT_NO_LINE;
  *line = text_begin (&c->in);
  *len = n == -1 ? size : (size_t) n;
  return *len > ZRAM_REQUEST_MAX ? CLIENT_LINE_TOO_LONG : CLIENT_LINE;
}

void
client_line_done (struct client *c, size_t len)
{
  size_t size = text_size (&c->in);

  text_consume (&c->in, len < size ? len + 1 : size);
  c->searched = 0;
}

bool
client_has_line (struct client *c)
{
  const char *line;
  size_t len;

  return !c->waiting && !c->ending && !c->dead && !client_is_deaf (c) &&
         client_line (c, &line, &len) != CLIENT_NO_LINE;
}

/* -- reading and writing ------------------------------------------------ */

short
client_events (struct client *c)
{
  short events = 0;

  if (!c->eof && !c->ending && !c->waiting && !client_is_deaf (c) &&
      !client_has_line (c))
    events |= POLLIN;
  if (text_size (&c->out) > 0)
    events |= POLLOUT;
  return events;
}

void
client_read (struct client *c)
{
  char *room = text_room (&c->in, READ_SIZE);
  ssize_t n;

  if (!room) {
    c->dead = true;
    return;
  }
  n = recv (c->fd, room, READ_SIZE, MSG_DONTWAIT);
  if (n > 0)
    text_grew (&c->in, (size_t) n);
  else if (n == 0 || (errno != EAGAIN && errno != EINTR))
    c->eof = true; /* it may have sent a request before it left */
}

void
client_write (struct client *c)
{
  while (!c->mute && text_size (&c->out) > 0) {
    ssize_t n = send (c->fd, text_begin (&c->out), text_size (&c->out),
                      MSG_DONTWAIT | MSG_NOSIGNAL);

    if (n > 0) {
      text_consume (&c->out, (size_t) n);
      c->heard_ns = run_clock_ns ();
    }
    else if (n == -1 && errno == EAGAIN) {
      c->behind_ns = c->behind_ns ? c->behind_ns : run_clock_ns ();
      return;
    }
    else if (n == 0 || errno != EINTR)
      c->mute = true;
  }
  c->behind_ns = 0;
  /* Free the memory of a long answer. */
  if (c->mute || c->out.cap > ZRAM_REQUEST_MAX)
    text_free (&c->out);
  else
    text_clear (&c->out);
}

bool
client_is_done (struct client *c)
{
  if (c->dead)
    return true;
  if (c->waiting || text_size (&c->out) > 0)
    return false;
  return c->ending || (c->eof && text_size (&c->in) == 0);
}
