/* SPDX-License-Identifier: BSD-3-Clause */

#include <config.h>

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "plugin/control/client.h"
#include "plugin/control/control.h"
#include "plugin/control/jobs.h"
#include "plugin/control/listener.h"
#include "plugin/control/slow.h"
#include "plugin/control/thread.h"

/* Bytes that all clients together may leave unread. */
#define ALL_UNREAD_MAX (64u << 20)

/* Seconds that a client may be deaf. */
#define PATIENCE 10

/* Requests of one client before it is the others' turn. */
#define TURN 16

/* Milliseconds without a look at the listener when nobody can be accepted,
 * for example for want of descriptors.
 */
#define ACCEPT_PAUSE 100

/* Places in the array for poll. */
enum { POLL_WAKE, POLL_LISTENER, POLL_CLIENTS };

struct control {
  struct engine *engine; /* not owned */
  struct listener listener;
  struct slow *slow;
  int wake_fd; /* eventfd: something is done, or stop is set */
  atomic_bool stop;
  bool started;
  pthread_t thread;

  /* Below: the event loop's own. */
  struct client clients[ZRAM_CLIENTS_MAX];
  struct pollfd fds[POLL_CLIENTS + ZRAM_CLIENTS_MAX];
  uint64_t serial; /* of the last client */
  bool accept_pause;
};

/* -- serving ------------------------------------------------------------ */

static size_t
all_unread (const struct control *control)
{
  size_t sum = 0;

  for (unsigned i = 0; i < ZRAM_CLIENTS_MAX; i++)
    if (control->clients[i].fd != -1)
      sum += text_size (&control->clients[i].out);
  return sum;
}

/* Something was added to the client's answers. */
static void
answered (struct control *control, struct client *c)
{
  if (c->out.broken) {
    c->dead = true; /* no memory: rather no answer than half of one */
    return;
  }
  client_write (c);
  if (text_size (&c->out) > 0 && all_unread (control) > ALL_UNREAD_MAX)
    c->dead = true;
}

static void
serve_line (struct control *control, struct client *c, const char *line,
            size_t len)
{
  struct rpc_request request;

  rpc_parse (&request, line, len);
  if (rpc_is_slow (&request) && slow_put (control->slow, c->serial, &request)) {
    c->waiting = true;
    return;
  }
  rpc_run (&request, control->engine, &c->out);
  rpc_request_free (&request);
  answered (control, c);
}

static void
serve_too_long (struct control *control, struct client *c)
{
  char message[80];

  snprintf (message, sizeof message, "a request has at most %d bytes",
            ZRAM_REQUEST_MAX);
  rpc_add_error (&c->out, NULL, ZRAM_ERROR_REQUEST, message);
  c->ending = true;
  answered (control, c);
}

static void
serve (struct control *control, struct client *c)
{
  for (unsigned i = 0; i < TURN && client_has_line (c); i++) {
    const char *line = NULL;
    size_t len = 0;

    c->heard_ns = clock_ns ();
    if (client_line (c, &line, &len) == CLIENT_LINE_TOO_LONG) {
      serve_too_long (control, c);
      return;
    }
    serve_line (control, c, line, len);
    client_line_done (c, len);
  }
}

static struct client *
client_of (struct control *control, uint64_t serial)
{
  for (unsigned i = 0; i < ZRAM_CLIENTS_MAX; i++)
    if (control->clients[i].fd != -1 && control->clients[i].serial == serial)
      return &control->clients[i];
  return NULL;
}

static void
answer_slow_requests (struct control *control)
{
  struct slow_request *s = slow_take (control->slow), *next;

  for (; s; s = next) {
    struct client *c = client_of (control, s->client);

    next = s->next;
    if (c) {
      c->waiting = false;
      c->heard_ns = clock_ns ();
      c->out.broken |= s->answer.broken;
      text_add (&c->out, text_begin (&s->answer), text_size (&s->answer));
      answered (control, c);
    }
    slow_free (s);
  }
}

/* -- accepting ---------------------------------------------------------- */

static void
turn_away (int fd)
{
  struct text answer = { 0 };
  char message[80];

  snprintf (message, sizeof message, "%d clients are connected already",
            ZRAM_CLIENTS_MAX);
  rpc_add_error (&answer, NULL, ZRAM_ERROR_REFUSED, message);
  if (text_size (&answer) > 0 && !answer.broken)
    (void) !send (fd, text_begin (&answer), text_size (&answer),
                  MSG_DONTWAIT | MSG_NOSIGNAL);
  text_free (&answer);
  close (fd);
}

static struct client *
free_place (struct control *control)
{
  for (unsigned i = 0; i < ZRAM_CLIENTS_MAX; i++)
    if (control->clients[i].fd == -1)
      return &control->clients[i];
  return NULL;
}

static void
accept_clients (struct control *control)
{
  for (unsigned i = 0; i < TURN; i++) {
    int fd = accept4 (control->listener.fd, NULL, NULL,
                      SOCK_CLOEXEC | SOCK_NONBLOCK);
    struct client *c;

    if (fd == -1) {
      control->accept_pause = errno != EAGAIN && errno != EINTR &&
                              errno != ECONNABORTED;
      return;
    }
    c = free_place (control);
    if (c)
      client_open (c, fd, ++control->serial);
    else
      turn_away (fd);
  }
}

/* -- the event loop ----------------------------------------------------- */

static int
sooner (int a, int b)
{
  return a == -1 || (b != -1 && b < a) ? b : a;
}

/* Milliseconds until it is to be looked at whatever poll says; -1: never. */
static int
client_timeout (struct client *c)
{
  if (client_is_deaf (c))
    return 1000;
  return client_has_line (c) ? 0 : -1;
}

/* Fills in what to poll for; returns the timeout in ms. */
static int
prepare (struct control *control)
{
  int timeout = control->accept_pause ? ACCEPT_PAUSE : -1;

  control->fds[POLL_WAKE] = (struct pollfd){ control->wake_fd, POLLIN, 0 };
  control->fds[POLL_LISTENER] = (struct pollfd){
    control->accept_pause ? -1 : control->listener.fd, POLLIN, 0
  };
  control->accept_pause = false;
  for (unsigned i = 0; i < ZRAM_CLIENTS_MAX; i++) {
    struct client *c = &control->clients[i];
    short events = c->fd == -1 ? 0 : client_events (c);

    /* One that waits for nothing is not looked at: poll would report for
     * ever that its other end is closed.
     */
    control->fds[POLL_CLIENTS + i] = (struct pollfd){ events ? c->fd : -1,
                                                      events, 0 };
    if (c->fd != -1)
      timeout = sooner (timeout, client_timeout (c));
  }
  return timeout;
}

static void
attend_to (struct control *control, struct client *c, short revents)
{
  bool reads = control->fds[POLL_CLIENTS + (c - control->clients)].events &
               POLLIN;

  if (revents & (POLLOUT | POLLERR | POLLHUP))
    client_write (c);
  if (reads && (revents & (POLLIN | POLLERR | POLLHUP)))
    client_read (c);
  serve (control, c);
  if (client_is_deaf (c) &&
      clock_ns () - c->heard_ns > PATIENCE * UINT64_C (1000000000))
    c->dead = true;
  if (client_is_done (c))
    client_close (c);
}

static void *
control_thread (void *arg)
{
  struct control *control = arg;
  struct pollfd *fds = control->fds;
  eventfd_t ignored;

  for (;;) {
    int timeout = prepare (control);

    if (poll (fds, POLL_CLIENTS + ZRAM_CLIENTS_MAX, timeout) == -1) {
      if (errno != EINTR)
        usleep (ACCEPT_PAUSE * 1000); /* no memory for a moment */
      continue;
    }
    if (atomic_load (&control->stop))
      return NULL;
    if (fds[POLL_WAKE].revents) {
      eventfd_read (control->wake_fd, &ignored);
      answer_slow_requests (control);
    }
    for (unsigned i = 0; i < ZRAM_CLIENTS_MAX; i++)
      if (control->clients[i].fd != -1)
        attend_to (control, &control->clients[i],
                   fds[POLL_CLIENTS + i].revents);
    /* Last, so that what poll said is never taken for a new client's. */
    if (fds[POLL_LISTENER].revents)
      accept_clients (control);
  }
}

/* -- life --------------------------------------------------------------- */

struct control *
control_open (struct engine *engine, const char *path, char *why, size_t size)
{
  struct control *control = calloc (1, sizeof *control);

  if (!control) {
    snprintf (why, size, "out of memory");
    return NULL;
  }
  control->engine = engine;
  control->listener.fd = -1;
  for (unsigned i = 0; i < ZRAM_CLIENTS_MAX; i++)
    control->clients[i].fd = -1;
  json_object_seed (0); /* not safe among threads the first time */
  control->wake_fd = eventfd (0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (control->wake_fd != -1)
    control->slow = slow_create (engine, control->wake_fd);
  if (control->slow)
    engine->jobs = jobs_create (engine);
  if (!engine->jobs)
    snprintf (why, size, "%s: %s", path, strerror (errno));
  else if (listener_open (&control->listener, path, why, size) == 0)
    return control;
  control_close (control);
  return NULL;
}

int
control_start (struct control *control)
{
  listener_adopt (&control->listener);
  if (slow_start (control->slow) == -1 ||
      jobs_start (control->engine->jobs) == -1 ||
      control_thread_start (&control->thread, control_thread, control) == -1)
    return -1;
  control->started = true;
  return 0;
}

void
control_stop (struct control *control)
{
  if (control->started) {
    atomic_store (&control->stop, true);
    eventfd_write (control->wake_fd, 1);
    pthread_join (control->thread, NULL);
    control->started = false;
  }
  if (control->slow)
    slow_stop (control->slow);
  if (control->engine->jobs)
    jobs_stop (control->engine->jobs);
  for (unsigned i = 0; i < ZRAM_CLIENTS_MAX; i++)
    if (control->clients[i].fd != -1)
      client_close (&control->clients[i]);
}

void
control_close (struct control *control)
{
  if (!control)
    return;
  control_stop (control);
  listener_close (&control->listener);
  jobs_destroy (control->engine->jobs);
  control->engine->jobs = NULL;
  slow_destroy (control->slow);
  if (control->wake_fd != -1)
    close (control->wake_fd);
  free (control);
}

void
control_exit (struct control *control)
{
  if (control)
    listener_unlink (&control->listener);
}
