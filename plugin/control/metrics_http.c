/* SPDX-License-Identifier: BSD-3-Clause */

#include <config.h>

#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <microhttpd.h>

#include "plugin/control/metrics.h"
#include "plugin/control/metrics_http.h"
#include "plugin/control/thread.h"
#include "zram-shown.h"

#define BACKLOG 32
#define CONNECTIONS 32
#define TIMEOUT 10 /* seconds that a connection may do nothing */

struct metrics_http {
  struct engine *engine; /* not owned */
  int fd;                /* -1: the daemon has it, or it is closed */
  struct MHD_Daemon *daemon;
};

/* -- answering ---------------------------------------------------------- */

static enum MHD_Result
answer (struct MHD_Connection *connection, unsigned status, const char *type,
        const char *allow, const char *body, size_t len)
{
  struct MHD_Response *response;
  enum MHD_Result r;

  response = MHD_create_response_from_buffer (len, (void *) body,
                                              MHD_RESPMEM_MUST_COPY);
  if (!response)
    return MHD_NO;
  MHD_add_response_header (response, "Content-Type", type);
  if (allow)
    MHD_add_response_header (response, "Allow", allow);
  r = MHD_queue_response (connection, status, response);
  MHD_destroy_response (response);
  return r;
}

static enum MHD_Result
refuse (struct MHD_Connection *connection, unsigned status, const char *why)
{
  return answer (connection, status, "text/plain; charset=utf-8",
                 status == MHD_HTTP_METHOD_NOT_ALLOWED ? "GET, HEAD" : NULL,
                 why, strlen (why));
}

static enum MHD_Result
answer_metrics (struct metrics_http *m, struct MHD_Connection *connection)
{
  struct text text = { 0 };
  enum MHD_Result r;

  metrics_text (m->engine, &text);
  if (text.broken)
    r = refuse (connection, MHD_HTTP_INTERNAL_SERVER_ERROR, "out of memory\n");
  else
    r = answer (connection, MHD_HTTP_OK,
                "text/plain; version=0.0.4; charset=utf-8", NULL,
                text_begin (&text), text_size (&text));
  text_free (&text);
  return r;
}

/* Called for a request's headers, and again for its body and its end. */
static enum MHD_Result
handle (void *arg, struct MHD_Connection *connection, const char *url,
        const char *method, const char *version, const char *upload,
        size_t *upload_size, void **state)
{
  static int seen;

  (void) version;
  (void) upload;
  if (strcmp (method, "GET") != 0 && strcmp (method, "HEAD") != 0)
    return refuse (connection, MHD_HTTP_METHOD_NOT_ALLOWED,
                   "only GET /metrics\n");
  if (!*state) {
    *state = &seen;
    return MHD_YES;
  }
  if (*upload_size) {
    *upload_size = 0; /* a GET with a body: its body is of no interest */
    return MHD_YES;
  }
  if (strcmp (url, "/metrics") != 0)
    return refuse (connection, MHD_HTTP_NOT_FOUND, "only GET /metrics\n");
  return answer_metrics (arg, connection);
}

/* -- the address -------------------------------------------------------- */

static const char form[] =
  "must be ADDRESS:PORT, [IPV6]:PORT or PORT, with a port from 1 to 65535";

/* Take 'where' apart, in place.  NULL if it is not of that form. */
static const char *
split (char *where, char **address)
{
  char *colon = strrchr (where, ':'), *port = colon ? colon + 1 : where;
  size_t digits = strspn (port, "0123456789");
  long n = digits && digits < 6 && !port[digits] ? strtol (port, NULL, 10) : 0;

  if (n < 1 || n > 65535)
    return NULL;
  *address = "127.0.0.1";
  if (!colon || colon == where)
    return port;
  *colon = '\0';
  *address = where;
  if (*where == '[') {
    if (colon[-1] != ']')
      return NULL;
    colon[-1] = '\0';
    (*address)++;
  }
  else if (strchr (where, ':'))
    return NULL; /* of an IPv6 address' colons, which begins the port? */
  return port;
}

/* A descriptor, or -1 with errno set. */
static int
listen_on (const struct addrinfo *ai)
{
  int yes = 1, err;
  int fd = socket (ai->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK,
                   0);

  if (fd == -1)
    return -1;
  setsockopt (fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
  if (bind (fd, ai->ai_addr, ai->ai_addrlen) == 0 && listen (fd, BACKLOG) == 0)
    return fd;
  err = errno;
  close (fd);
  errno = err;
  return -1;
}

static int
open_socket (const char *where, char *why, size_t size)
{
  const struct addrinfo hints = { .ai_flags = AI_NUMERICSERV,
                                  .ai_socktype = SOCK_STREAM };
  struct addrinfo *found = NULL;
  const char *port;
  char *address = NULL, *copy = strdup (where), shown[200];
  int fd = -1, err;

  shown_cut (shown, sizeof shown, where, SHOWN_MESSAGE);
  port = copy ? split (copy, &address) : NULL;
  if (!port)
    snprintf (why, size, "%s: %s", shown, copy ? form : "out of memory");
  else if ((err = getaddrinfo (address, port, &hints, &found)) != 0)
    snprintf (why, size, "%s: no such address (%s); %s", shown,
              gai_strerror (err), form);
  else {
    fd = listen_on (found);
    if (fd == -1)
      snprintf (why, size, "%s: cannot listen there: %s", shown,
                strerror (errno));
    freeaddrinfo (found);
  }
  free (copy);
  return fd;
}

/* -- life --------------------------------------------------------------- */

struct metrics_http *
metrics_http_open (struct engine *engine, const char *where, char *why,
                   size_t size)
{
  struct metrics_http *m = calloc (1, sizeof *m);

  if (!m) {
    snprintf (why, size, "out of memory");
    return NULL;
  }
  m->engine = engine;
  m->fd = open_socket (where, why, size);
  if (m->fd == -1) {
    free (m);
    return NULL;
  }
  return m;
}

int
metrics_http_start (struct metrics_http *m)
{
  sigset_t all, old;

  sigfillset (&all);
  pthread_sigmask (SIG_SETMASK, &all, &old); /* as thread.h */
  m->daemon = MHD_start_daemon (
    MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_ITC | MHD_USE_POLL, 0, NULL, NULL,
    handle, m, MHD_OPTION_LISTEN_SOCKET, m->fd, MHD_OPTION_CONNECTION_LIMIT,
    (unsigned) CONNECTIONS, MHD_OPTION_CONNECTION_TIMEOUT, (unsigned) TIMEOUT,
    MHD_OPTION_END);
  pthread_sigmask (SIG_SETMASK, &old, NULL);
  if (!m->daemon)
    return -1;
  m->fd = -1;
  return 0;
}

void
metrics_http_close (struct metrics_http *m)
{
  if (!m)
    return;
  if (m->daemon)
    MHD_stop_daemon (m->daemon);
  if (m->fd != -1)
    close (m->fd);
  free (m);
}
