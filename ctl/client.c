/* SPDX-License-Identifier: BSD-3-Clause */

#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "answer.h"
#include "client.h"
#include "ctl.h"
#include "signals.h"
#include "zram-protocol.h"

/* The server answers within milliseconds whatever it does.  A server that has
 * not taken a request and answered it completely by then is stopped, or is not
 * our server.
 */
#define PATIENCE_S 30

/* No answer is nearly as long: a map of 65536 cells has 10 MB. */
#define ANSWER_MAX (64u << 20)

struct client {
  int fd;
  const char *socket;
  int64_t deadline_ms; /* of the exchange at hand */
  json_int_t id;
  char *buf; /* what was received: len bytes, room for cap */
  size_t len, cap;
};

static void *
need (void *p)
{
  if (!p)
    die (STATUS_REFUSED, "out of memory");
  return p;
}

/* -- connect ------------------------------------------------------------ */

/* An address has room for 107 bytes.  The path of a longer one is shortened
 * by a descriptor of its folder, which stays open in *dir.
 */
static bool
make_address (const char *path, struct sockaddr_un *addr, int *dir)
{
  const char *slash = strrchr (path, '/');
  char folder[4096];

  *addr = (struct sockaddr_un){ .sun_family = AF_UNIX };
  if (strlen (path) < sizeof addr->sun_path) {
    strcpy (addr->sun_path, path);
    return true;
  }
  if (!slash || (size_t) (slash - path) >= sizeof folder) {
    errno = ENAMETOOLONG;
    return false;
  }
  snprintf (folder, sizeof folder, "%.*s", (int) (slash - path), path);
  *dir = open (slash == path ? "/" : folder, O_PATH | O_DIRECTORY | O_CLOEXEC);
  if (*dir < 0)
    return false;
  if ((size_t) snprintf (addr->sun_path, sizeof addr->sun_path,
                         "/proc/self/fd/%d/%s", *dir,
                         slash + 1) >= sizeof addr->sun_path) {
    errno = ENAMETOOLONG;
    return false;
  }
  return true;
}

static int
connect_to (const char *path)
{
  struct timeval tv = { .tv_sec = PATIENCE_S }; /* connect waits so long */
  struct sockaddr_un addr;
  int dir = -1, fd = -1, err;

  if (make_address (path, &addr, &dir) &&
      (fd = socket (AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)) >= 0) {
    setsockopt (fd, SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof tv);
    if (connect (fd, (struct sockaddr *) &addr, sizeof addr) < 0) {
      err = errno;
      close (fd);
      errno = err;
      fd = -1;
    }
  }
  err = errno;
  if (dir >= 0)
    close (dir);
  errno = err;
  return fd;
}

void
client_close (struct ctl *ctl)
{
  struct client *c = ctl->client;

  if (!c)
    return;
  close (c->fd);
  free (c->buf);
  free (c);
  ctl->client = NULL;
}

/* -- one line each way -------------------------------------------------- */

static int64_t
now_ms (void)
{
  struct timespec ts;

  clock_gettime (CLOCK_MONOTONIC, &ts);
  return (int64_t) ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

/* After a system call failed: returns if the call must be repeated. */
static void
again_or_die (struct client *c)
{
  if (errno == EINTR) {
    if (signals_impatient ())
      die (STATUS_REFUSED, "interrupted");
    return;
  }
  if (errno == EAGAIN || errno == EWOULDBLOCK)
    return;
  die (STATUS_NO_SERVER, "lost the server at %s: %s", c->socket,
       strerror (errno));
}

/* Until the socket is ready, or the deadline. */
static void
wait_for (struct client *c, short events)
{
  int64_t left = c->deadline_ms - now_ms ();
  struct pollfd fd = { .fd = c->fd, .events = events };

  if (left <= 0)
    die (STATUS_NO_SERVER, "the server at %s does not answer", c->socket);
  if (poll (&fd, 1, (int) left) < 0)
    again_or_die (c);
}

static void
send_line (struct client *c, char *line)
{
  size_t len = strlen (line), done = 0;

  line[len++] = '\n'; /* in the place of its \0 */
  while (done < len) {
    ssize_t n = send (c->fd, line + done, len - done,
                      MSG_NOSIGNAL | MSG_DONTWAIT);

    if (n > 0) {
      done += (size_t) n;
      continue;
    }
    again_or_die (c);
    wait_for (c, POLLOUT);
  }
}

/* Up to the end of the line, which is not counted in len. */
static void
receive_line (struct client *c)
{
  char *end;

  c->len = 0;
  do {
    wait_for (c, POLLIN);
    if (c->cap - c->len < 4096) {
      c->cap = c->cap ? 2 * c->cap : 16384;
      if (c->cap > ANSWER_MAX)
        die (STATUS_NO_SERVER, "the answer of %s has no end", c->socket);
      c->buf = need (realloc (c->buf, c->cap));
    }
    ssize_t n = recv (c->fd, c->buf + c->len, c->cap - c->len, MSG_DONTWAIT);

    if (n == 0)
      die (STATUS_NO_SERVER, "lost the server at %s: it hung up", c->socket);
    if (n < 0) {
      again_or_die (c);
      n = 0;
    }
    end = memchr (c->buf + c->len, '\n', (size_t) n);
    c->len += (size_t) n;
  } while (!end);
  c->len = (size_t) (end - c->buf);
}

static json_t *
exchange (struct client *c, const char *method, json_t *params)
{
  json_t *request, *answer;
  json_error_t error;
  char *line;

  request = json_pack ("{s:s, s:I, s:s, s:o}", "jsonrpc", "2.0", "id", ++c->id,
                       "method", method, "params",
                       params ? params : json_object ());
  line = need (json_dumps (need (request), JSON_COMPACT));
  /* Only the arguments can make it so long. */
  if (strlen (line) > ZRAM_REQUEST_MAX)
    die (STATUS_USAGE,
         "%s: the arguments are too long: a request has at most "
         "%d bytes",
         method, ZRAM_REQUEST_MAX);
  c->deadline_ms = now_ms () + PATIENCE_S * 1000;
  send_line (c, line);
  free (line);
  json_decref (request);

  receive_line (c);
  answer = json_loadb (c->buf, c->len, 0, &error);
  if (!json_is_object (answer))
    die (STATUS_NO_SERVER, "%s does not speak our protocol: %s", c->socket,
         answer ? "not an object" : error.text);
  return answer;
}

/* -- calls -------------------------------------------------------------- */

/* Print the error, and end with its status. */
static void __attribute__ ((noreturn))
die_of_error (const char *method, json_t *error)
{
  const char *message = answer_string (error, "message");

  switch (answer_i64 (error, "code")) {
  case ZRAM_ERROR_PARAMS:
    die (STATUS_USAGE, "%s: %s", method, message);
  case ZRAM_ERROR_PARSE:
  case ZRAM_ERROR_REQUEST:
  case ZRAM_ERROR_METHOD: /* it does not know what this program does */
    die (STATUS_NO_SERVER, "%s: %s", method, message);
  default:
    die (STATUS_REFUSED, "%s: %s", method, message);
  }
}

/* A server of another kind or protocol counts as no server. */
static void
check_version (struct client *c)
{
  json_t *answer = exchange (c, ZRAM_VERB_VERSION, NULL);
  json_t *error = json_object_get (answer, "error");
  int64_t version;

  if (error) /* for example, it has too many clients */
    die_of_error (ZRAM_VERB_VERSION, error);
  version = answer_i64 (answer, "result.protocol");

  if (version != ZRAM_PROTOCOL_VERSION)
    die (STATUS_NO_SERVER, "%s speaks protocol %lld, this program %d",
         c->socket, (long long) version, ZRAM_PROTOCOL_VERSION);
  json_decref (answer);
}

static struct client *
client_of (struct ctl *ctl)
{
  struct client *c = ctl->client;

  if (c)
    return c;
  c = need (calloc (1, sizeof *c));
  c->socket = ctl->socket;
  c->fd = connect_to (c->socket);
  if (c->fd < 0)
    die (STATUS_NO_SERVER, "no server at %s: %s", c->socket, strerror (errno));
  check_version (c);
  ctl->client = c;
  return c;
}

static json_t *
call (struct ctl *ctl, const char *method, json_t *params, bool may_fail)
{
  struct client *c = client_of (ctl);
  json_t *answer = exchange (c, method, params), *result, *error;

  error = json_object_get (answer, "error");
  if (error) {
    if (!may_fail)
      die_of_error (method, error);
    json_decref (answer);
    return NULL;
  }
  if (json_integer_value (json_object_get (answer, "id")) != c->id)
    die (STATUS_NO_SERVER, "%s answered another request", c->socket);
  result = json_incref (answer_member (answer, "result"));
  json_decref (answer);
  return result;
}

json_t *
client_call (struct ctl *ctl, const char *method, json_t *params)
{
  return call (ctl, method, params, false);
}

json_t *
client_try (struct ctl *ctl, const char *method, json_t *params)
{
  return call (ctl, method, params, true);
}
