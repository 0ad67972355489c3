/* SPDX-License-Identifier: BSD-3-Clause */
/* The control server: its event loop, its clients and threads.
 * Contract: plugin/control/control.h.
 */

#include <config.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/error_text.h"
#include "base/run_clock.h"
#include "plugin/control/client.h"
#include "plugin/control/control.h"
#include "plugin/control/fds.h"
#include "plugin/control/jobs.h"
#include "plugin/control/listener.h"
#include "plugin/control/slow.h"
#include "plugin/control/thread.h"

/* Bytes that all clients together may leave unread. */
#define ALL_UNREAD_MAX (64u << 20)

/* How long a client may be deaf, in seconds of the run clock. */
#define PATIENCE 10

/* Requests of one client before the others get their turn. */
#define TURN 16

/* All clients together may use a quarter of the process's descriptors. */
#define FDS_SHARE 4

/* The first index in the array for poll.  The others are given to descriptors
 * that are polled: with a low limit of descriptors, poll accepts only as many
 * as that limit.
 */
#define POLL_WAKE 0

struct control {
  struct service *service; /* not owned */
  struct listener listener;
  struct slow *slow[RPC_LANES]; /* [RPC_AT_ONCE] is NULL */
  int wake_fd;                  /* eventfd: a request is done, or stop is set */
  atomic_bool stop;
  bool started;
  pthread_t thread;

  /* Below: used by the event loop only. */
  struct client clients[ZRAM_CLIENTS_MAX];
  struct pollfd fds[2 + ZRAM_CLIENTS_MAX];
  unsigned polled;      /* entries of fds in use */
  unsigned listener_at; /* index in fds; 0: not polled */
  uint64_t serial;      /* of the last client */
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

/* The client that has been behind for longest is dropped, to make room. */
static void
give_up_slowest (struct control *control)
{
  struct client *slowest = NULL;

  for (unsigned i = 0; i < ZRAM_CLIENTS_MAX; i++) {
    struct client *c = &control->clients[i];

    if (c->fd != -1 && text_size (&c->out) > 0 &&
        (!slowest || c->behind_ns < slowest->behind_ns))
      slowest = c;
  }
  if (!slowest)
    return;
  slowest->dead = slowest->mute = true;
  text_free (&slowest->out);
}

/* Call it after adding to a client's answers. */
static void
answered (struct control *control, struct client *c)
{
  if (c->out.broken) {
    c->dead = true; /* no memory: better no answer than half of one */
    return;
  }
  client_write (c);
  /* Ends: each round frees some client's answers. */
  while (all_unread (control) > ALL_UNREAD_MAX)
    give_up_slowest (control);
}

static void
serve_line (struct control *control, struct client *c, const char *line,
            size_t len)
{
  struct rpc_request request;

  struct slow *slow;

  rpc_parse (&request, line, len);
  slow = control->slow[rpc_lane (&request)];
  if (slow && slow_put (slow, c->serial, &request)) {
    c->waiting = true;
    return;
  }
  rpc_run (&request, control->service, &c->out);
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

    c->heard_ns = run_clock_ns ();
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
answer_slow_requests (struct control *control, struct slow *slow)
{
  struct slow_request *s = slow_take (slow), *next;

  for (; s; s = next) {
    struct client *c = client_of (control, s->client);

    next = s->next;
    if (c) {
      c->waiting = false;
      c->heard_ns = run_clock_ns ();
      c->out.broken |= s->answer.broken;
      text_add (&c->out, text_begin (&s->answer), text_size (&s->answer));
      answered (control, c);
    }
    slow_free (s);
  }
}

/* -- accepting ---------------------------------------------------------- */

static void
turn_away (int fd, unsigned most)
{
  struct text answer = { 0 };
  char message[160];

  snprintf (message, sizeof message, "%u clients are connected already%s", most,
            most == ZRAM_CLIENTS_MAX
              ? ""
              : ": a quarter of the descriptors that the server may have "
                "(RLIMIT_NOFILE)");
  rpc_add_error (&answer, NULL, ZRAM_ERROR_REFUSED, message);
  if (text_size (&answer) > 0 && !answer.broken)
    (void) !send (fd, text_begin (&answer), text_size (&answer),
                  MSG_DONTWAIT | MSG_NOSIGNAL);
  text_free (&answer);
  close (fd);
}

/* NULL if there are 'most' clients already. */
static struct client *
free_place (struct control *control, unsigned most)
{
  struct client *place = NULL;
  unsigned taken = 0;

  for (unsigned i = 0; i < ZRAM_CLIENTS_MAX; i++)
    if (control->clients[i].fd != -1)
      taken++;
    else if (!place)
      place = &control->clients[i];
  return taken < most ? place : NULL;
}

static void
accept_clients (struct control *control)
{
  const unsigned most = fds_share (FDS_SHARE, ZRAM_CLIENTS_MAX);

  for (unsigned i = 0; i < TURN; i++) {
    int fd;
    enum fds_accept r = fds_accept (control->listener.fd, &fd);
    struct client *c;

    if (r != FDS_ACCEPTED) {
      control->accept_pause = r == FDS_PAUSE;
      if (r == FDS_NEVER)
        listener_close (&control->listener); /* no client may wait there */
      return;
    }
    c = free_place (control, most);
    if (c)
      client_open (c, fd, ++control->serial);
    else
      turn_away (fd, most);
  }
}

/* -- the event loop ----------------------------------------------------- */

static int
sooner (int a, int b)
{
  return a == -1 || (b != -1 && b < a) ? b : a;
}

/* In ms: when to look at the client even if poll reports nothing; -1: never. */
static int
client_timeout (struct client *c)
{
  if (c->dead)
    return 0;
  if (client_is_deaf (c))
    return RUN_CLOCK_STEP_MS;
  return client_has_line (c) ? 0 : -1;
}

/* Returns its index. */
static unsigned
add_to_poll (struct control *control, int fd, short events)
{
  control->fds[control->polled] = (struct pollfd){ fd, events, 0 };
  return control->polled++;
}

/* Fills the array for poll; returns the timeout in ms. */
static int
prepare (struct control *control)
{
  int timeout = control->accept_pause ? FDS_PAUSE_MS : -1;

  control->polled = POLL_WAKE;
  add_to_poll (control, control->wake_fd, POLLIN);
  control->listener_at = control->accept_pause || control->listener.fd == -1
                           ? 0
                           : add_to_poll (control, control->listener.fd,
                                          POLLIN);
  control->accept_pause = false;
  for (unsigned i = 0; i < ZRAM_CLIENTS_MAX; i++) {
    struct client *c = &control->clients[i];
    short events = c->fd == -1 ? 0 : client_events (c);

    /* A client that waits for nothing is not polled: poll would report again
     * and again that its other end is closed.
     */
    c->poll_at = events ? add_to_poll (control, c->fd, events) : 0;
    if (c->fd != -1)
      timeout = sooner (timeout, client_timeout (c));
  }
  return timeout;
}

static void
attend_to (struct control *control, struct client *c)
{
  struct pollfd p = { 0 };

  if (c->poll_at)
    p = control->fds[c->poll_at];
  if (p.revents & (POLLOUT | POLLERR | POLLHUP))
    client_write (c);
  if ((p.events & POLLIN) && (p.revents & (POLLIN | POLLERR | POLLHUP)))
    client_read (c);
  serve (control, c);
  if (client_is_deaf (c) &&
      run_clock_ns () - c->heard_ns > PATIENCE * UINT64_C (1000000000))
    c->dead = true;
  if (client_is_done (c))
    client_close (c);
}

/* Ends when 'stop' is set: each round looks at it, and no step of a round waits
 * (fds.h).
 */
static void *
control_thread (void *arg)
{
  struct control *control = arg;
  struct pollfd *fds = control->fds;
  eventfd_t ignored;

  while (!atomic_load (&control->stop)) {
    int timeout = prepare (control);

    fds_poll (fds, control->polled, timeout);
    if (fds[POLL_WAKE].revents) {
      eventfd_read (control->wake_fd, &ignored);
      for (int i = RPC_SLOW; i < RPC_LANES; i++)
        answer_slow_requests (control, control->slow[i]);
    }
    for (unsigned i = 0; i < ZRAM_CLIENTS_MAX; i++)
      if (control->clients[i].fd != -1)
        attend_to (control, &control->clients[i]);
    /* Last, so that poll's results are never taken for a new client's. */
    if (control->listener_at && fds[control->listener_at].revents)
      accept_clients (control);
  }
  return NULL;
}

/* -- life --------------------------------------------------------------- */

static bool
make_lanes (struct control *control)
{
  bool ok = control->wake_fd != -1;

  for (int i = RPC_SLOW; i < RPC_LANES && ok; i++) {
    control->slow[i] = slow_create (control->service, control->wake_fd);
    ok = control->slow[i] != NULL;
  }
  return ok;
}

static bool
start_lanes (struct control *control)
{
  for (int i = RPC_SLOW; i < RPC_LANES; i++)
    if (slow_start (control->slow[i]) == -1)
      return false;
  return true;
}

struct control *
control_open (struct service *service, const char *path, struct reason *why)
{
  struct control *control = calloc (1, sizeof *control);

  if (!control) {
    reason_set (why, "out of memory");
    return NULL;
  }
  control->service = service;
  control->listener.fd = -1;
  for (unsigned i = 0; i < ZRAM_CLIENTS_MAX; i++)
    control->clients[i].fd = -1;
  json_object_seed (0); /* its first call is not thread-safe */
  control->wake_fd = eventfd (0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (make_lanes (control))
    service->jobs = jobs_create (service);
  if (!service->jobs)
    reason_set (why, "%s: %s", path, error_text (errno));
  else if (listener_open (&control->listener, path, why) == 0)
    return control;
  control_close (control);
  return NULL;
}

int
control_start (struct control *control)
{
  listener_adopt (&control->listener);
  if (!start_lanes (control) || jobs_start (control->service->jobs) == -1 ||
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
  for (int i = RPC_SLOW; i < RPC_LANES; i++)
    if (control->slow[i])
      slow_stop (control->slow[i]);
  if (control->service->jobs)
    jobs_stop (control->service->jobs);
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
  jobs_destroy (control->service->jobs);
  control->service->jobs = NULL;
  for (int i = RPC_SLOW; i < RPC_LANES; i++)
    slow_destroy (control->slow[i]);
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
