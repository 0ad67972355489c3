/* SPDX-License-Identifier: BSD-3-Clause */
/* The HTTP server of the metrics: answers, connections, loop.
 * Contract: plugin/control/metrics_http.h.
 */

#include <config.h>

#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <microhttpd.h>

#include "base/clock.h"
#include "base/error_text.h"
#include "base/keep_errno.h"
#include "plugin/control/fds.h"
#include "plugin/control/hosts.h"
#include "plugin/control/metrics.h"
#include "plugin/control/metrics_http.h"
#include "plugin/control/thread.h"
#include "zram-shown.h"

#define BACKLOG 128

/* The time from accepting a connection to the end of its answer. */
#define GUEST_SECONDS 10

/* Connections at most; also at most an eighth of all descriptors of the
 * process.  GUESTS_LEAVING are for connections that are just being shut.
 */
#define GUESTS 64
#define GUESTS_LEAVING 16
#define FDS_SHARE 8

/* Connections accepted before their requests are looked at. */
#define TURN 8

/* A connection.  All of them are used by the event loop only. */
struct guest {
  struct MHD_Connection *connection; /* the daemon's; NULL: a free place */
  uint64_t came_ns;
  bool leaving; /* shut; the daemon will notice and close it */
};

struct metrics_http {
  struct service *service; /* not owned */
  struct hosts hosts;
  int fd;      /* the listening socket, -1: closed */
  int stop_fd; /* an eventfd: the thread must end */
  struct MHD_Daemon *daemon;
  bool started;
  pthread_t thread;

  /* Below: used by the event loop only. */
  struct guest guests[GUESTS + GUESTS_LEAVING];
  bool accept_pause;
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
  /* One request for each connection: then a connection that stays is slow, and
   * may be shut.
   */
  MHD_add_response_header (response, "Connection", "close");
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

  metrics_text (m->service, &text);
  if (text.broken)
    r = refuse (connection, MHD_HTTP_INTERNAL_SERVER_ERROR, "out of memory\n");
  else
    r = answer (connection, MHD_HTTP_OK,
                "text/plain; version=0.0.4; charset=utf-8", NULL,
                text_begin (&text), text_size (&text));
  text_free (&text);
  return r;
}

struct host_check {
  const struct hosts *hosts;
  const char *stranger; /* a Host that is not our name; NULL: there is none */
};

static enum MHD_Result
check_host (void *arg, enum MHD_ValueKind kind, const char *key,
            const char *value)
{
  struct host_check *check = arg;

  (void) kind;
  if (strcasecmp (key, "Host") == 0 && value && *value &&
      !hosts_has (check->hosts, value))
    check->stranger = value;
  return MHD_YES;
}

static enum MHD_Result
refuse_host (struct MHD_Connection *connection, const char *host)
{
  char name[100], why[400];

  snprintf (name, sizeof name, "%.*s", (int) strcspn (host, ":"), host);
  snprintf (why, sizeof why,
            "Host: %s: not a name of this server.  "
            "To serve it by that name start nbdkit with metrics_host=%s\n",
            name, hosts_is_name (name) ? name : "NAME");
  return refuse (connection, MHD_HTTP_FORBIDDEN, why);
}

/* Called for a request's headers, and again for its body and its end. */
static enum MHD_Result
handle (void *arg, struct MHD_Connection *connection, const char *url,
        const char *method, const char *version, const char *upload,
        size_t *upload_size, void **state)
{
  static int seen;
  struct metrics_http *m = arg;
  struct host_check check = { .hosts = &m->hosts };

  (void) version;
  (void) upload;
  MHD_get_connection_values (connection, MHD_HEADER_KIND, check_host, &check);
  if (check.stranger)
    return refuse_host (connection, check.stranger);
  if (strcmp (method, "GET") != 0 && strcmp (method, "HEAD") != 0)
    return refuse (connection, MHD_HTTP_METHOD_NOT_ALLOWED,
                   "only GET /metrics\n");
  if (!*state) {
    *state = &seen;
    return MHD_YES;
  }
  if (*upload_size) {
    *upload_size = 0; /* drops the body of a GET */
    return MHD_YES;
  }
  if (strcmp (url, "/metrics") != 0)
    return refuse (connection, MHD_HTTP_NOT_FOUND, "only GET /metrics\n");
  return answer_metrics (m, connection);
}

/* -- guests ------------------------------------------------------------- */

static void
came_or_went (void *arg, struct MHD_Connection *connection, void **guest,
              enum MHD_ConnectionNotificationCode what)
{
  struct metrics_http *m = arg;
  struct guest *g = m->guests;

  if (what == MHD_CONNECTION_NOTIFY_CLOSED) {
    g = *guest;
    *g = (struct guest){ 0 };
    return;
  }
  while (g->connection) /* the daemon allows as many as there are places */
    g++;
  *g = (struct guest){ .connection = connection, .came_ns = clock_ns () };
  *guest = g;
}

static unsigned
guests_count (const struct metrics_http *m, struct guest **oldest)
{
  unsigned n = 0;

  *oldest = NULL;
  for (unsigned i = 0; i < GUESTS + GUESTS_LEAVING; i++) {
    const struct guest *g = &m->guests[i];

    if (!g->connection || g->leaving)
      continue;
    n++;
    if (!*oldest || g->came_ns < (*oldest)->came_ns)
      *oldest = (struct guest *) g;
  }
  return n;
}

/* Works in every state of the connection: the daemon notices that it is shut.
 */
static void
turn_out (struct guest *g)
{
  const union MHD_ConnectionInfo *info = MHD_get_connection_info (
    g->connection, MHD_CONNECTION_INFO_CONNECTION_FD);

  if (info)
    shutdown (info->connect_fd, SHUT_RDWR);
  g->leaving = true;
}

/* Hand the connection to the daemon, which closes it if it has as many as there
 * are places.
 */
static void
add (struct metrics_http *m, int fd)
{
  struct sockaddr_storage peer = { 0 };
  socklen_t len = sizeof peer;

  if (getpeername (fd, (struct sockaddr *) &peer, &len) == -1)
    close (fd); /* the client has already left */
  else
    (void) MHD_add_connection (m->daemon, fd, (struct sockaddr *) &peer, len);
}

static uint64_t
deadline (const struct guest *g)
{
  return g->came_ns + GUEST_SECONDS * UINT64_C (1000000000);
}

static void
turn_out_late (struct metrics_http *m)
{
  struct guest *oldest;

  while (guests_count (m, &oldest) > 0 && deadline (oldest) <= clock_ns ())
    turn_out (oldest);
}

/* If all places are taken, the oldest connection without an answer makes room
 * for a new one: a scraper sends its request at once, and gets its answer at
 * once.
 */
static void
accept_guests (struct metrics_http *m)
{
  const unsigned most = fds_share (FDS_SHARE, GUESTS);

  for (unsigned i = 0; i < TURN; i++) {
    int fd;
    enum fds_accept r = fds_accept (m->fd, &fd);
    struct guest *oldest;

    if (r != FDS_ACCEPTED) {
      m->accept_pause = r == FDS_PAUSE;
      if (r == FDS_NEVER) {
        close (m->fd);
        m->fd = -1;
      }
      return;
    }
    if (guests_count (m, &oldest) >= most)
      turn_out (oldest);
    add (m, fd);
  }
}

/* -- the event loop ----------------------------------------------------- */

/* In ms; -1: for ever. */
static int
loop_timeout (struct metrics_http *m)
{
  struct guest *oldest;
  MHD_UNSIGNED_LONG_LONG ms;
  uint64_t now = clock_ns (), left = UINT64_MAX;

  if (m->accept_pause)
    left = FDS_PAUSE_MS;
  if (MHD_get_timeout (m->daemon, &ms) == MHD_YES && ms < left)
    left = ms;
  if (guests_count (m, &oldest) > 0) {
    ms = deadline (oldest) > now ? (deadline (oldest) - now) / 1000000 + 1 : 0;
    left = ms < left ? ms : left;
  }
  return left == UINT64_MAX ? -1 : (int) left;
}

/* The daemon has one descriptor (epoll) that is ready when any of its
 * connections is.  Ends when stop_fd is set: no step in between waits.
 */
static void *
metrics_thread (void *arg)
{
  struct metrics_http *m = arg;
  const int all =
    MHD_get_daemon_info (m->daemon, MHD_DAEMON_INFO_EPOLL_FD)->epoll_fd;
  eventfd_t told;

  do {
    struct pollfd fds[] = { { m->stop_fd, POLLIN, 0 },
                            { all, POLLIN, 0 },
                            { m->accept_pause ? -1 : m->fd, POLLIN, 0 } };
    int timeout = loop_timeout (m);

    m->accept_pause = false;
    fds_poll (fds, 3, timeout);
    turn_out_late (m);
    if (fds[2].revents)
      accept_guests (m);
    MHD_run (m->daemon);
  } while (eventfd_read (m->stop_fd, &told) == -1);
  return NULL;
}

/* -- the address -------------------------------------------------------- */

static const char form[] =
  "must be ADDRESS:PORT, [IPV6]:PORT or PORT, with a port from 1 to 65535";

/* Split 'where', in place.  NULL if it does not have that form. */
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
    return NULL; /* the port would begin at any colon of an IPv6 address */
  return port;
}

/* A descriptor, or -1 with errno set. */
static int
listen_on (const struct addrinfo *ai)
{
  int yes = 1;
  int fd = socket (ai->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK,
                   0);

  if (fd == -1)
    return -1;
  setsockopt (fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
  if (bind (fd, ai->ai_addr, ai->ai_addrlen) == 0 && listen (fd, BACKLOG) == 0)
    return fd;
  KEEP_ERRNO;
  close (fd);
  return -1;
}

static int
open_socket (const char *where, struct reason *why)
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
    reason_set (why, "%s: %s", shown, copy ? form : "out of memory");
  else if ((err = getaddrinfo (address, port, &hints, &found)) != 0)
    reason_set (why, "%s: no such address (%s); %s", shown, gai_strerror (err),
                form);
  else {
    fd = listen_on (found);
    if (fd == -1)
      reason_set (why, "%s: cannot listen there: %s", shown,
                  error_text (errno));
    freeaddrinfo (found);
  }
  free (copy);
  return fd;
}

/* -- life --------------------------------------------------------------- */

/* Add the part of 'where' before its port, if that is a name. */
static void
add_name_of_address (struct hosts *hosts, const char *where)
{
  char name[256];

  snprintf (name, sizeof name, "%.*s", (int) strcspn (where, ":"), where);
  if (strchr (where, ':') && hosts_is_name (name))
    hosts_add (hosts, name);
}

struct metrics_http *
metrics_http_open (struct service *service, const char *where,
                   const char *const *names, struct reason *why)
{
  struct metrics_http *m = calloc (1, sizeof *m);

  if (!m) {
    reason_set (why, "out of memory");
    return NULL;
  }
  m->service = service;
  for (; *names; names++)
    hosts_add (&m->hosts, *names);
  add_name_of_address (&m->hosts, where);
  hosts_add_own (&m->hosts);
  m->stop_fd = -1;
  m->fd = open_socket (where, why);
  if (m->fd != -1) {
    m->stop_fd = eventfd (0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (m->stop_fd != -1)
      return m;
    reason_set (why, "%s: %s", where, error_text (errno));
  }
  metrics_http_close (m);
  return NULL;
}

int
metrics_http_start (struct metrics_http *m)
{
  m->daemon = MHD_start_daemon (
    MHD_USE_EPOLL | MHD_USE_NO_LISTEN_SOCKET, 0, NULL, NULL, handle, m,
    MHD_OPTION_NOTIFY_CONNECTION, came_or_went, m, MHD_OPTION_CONNECTION_LIMIT,
    (unsigned) (GUESTS + GUESTS_LEAVING), MHD_OPTION_END);
  if (!m->daemon || control_thread_start (&m->thread, metrics_thread, m) == -1)
    return -1;
  m->started = true;
  return 0;
}

void
metrics_http_close (struct metrics_http *m)
{
  if (!m)
    return;
  if (m->started) {
    eventfd_write (m->stop_fd, 1);
    pthread_join (m->thread, NULL);
  }
  if (m->daemon)
    MHD_stop_daemon (m->daemon);
  if (m->fd != -1)
    close (m->fd);
  if (m->stop_fd != -1)
    close (m->stop_fd);
  hosts_free (&m->hosts);
  free (m);
}
