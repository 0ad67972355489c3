/* SPDX-License-Identifier: BSD-3-Clause */
/* Backing store: any NBD server, through libnbd.
 * Contract: dev/backing.h, dev/backing_impl.h.
 */

/*
 * One thread owns the connection and all requests:
 *
 *   backing_submit -> queue -> waiting ----> sent -----> done()
 *                     (lock)      ^   issue   |  answer
 *                                 +-----------+
 *                            the connection was lost
 *
 * The connection:
 *
 *   NONE --- time to try ---> CONNECTING --- negotiated, fits ---> READY
 *    ^                             |                                 |
 *    +--- failed; wait twice as ---+--- lost, or no answer came for -+
 *         long as last time             a third of the timeout
 *
 * A request that is not answered within the timeout after its submission fails
 * with EIO, and the backing is down.  Waiting and new requests then fail at
 * once, so that no thread is held up, until a connection is READY again.  The
 * thread tries to connect for ever.  The backing is also down when the
 * connection was lost for longer than the timeout, even if no request has
 * noticed it.
 *
 * All times are of the run clock: time in which this process stands still makes
 * nothing late.  Before anything is judged late, everything that has arrived is
 * read: it may be the answer.
 *
 * A request may be sent twice, and NBD cannot tell what happened to the first
 * one: the server may still carry it out, late. io->resent tells the writer,
 * which keeps these blocks from being used for anything else.
 */

#include <config.h>

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <libnbd.h>

#include "base/alloc.h"
#include "base/check.h"
#include "base/error_text.h"
#include "base/fault.h"
#include "base/run_clock.h"
#include "dev/backing_impl.h"
#include "dev/nbd_conn.h"

#define MS UINT64_C (1000000) /* in ns */
#define FIRST_BACKOFF (50 * MS)
#define LAST_BACKOFF (5000 * MS)
#define MAX_SENT 128
#define WHY_LOST 160 /* bytes of what libnbd says */
#define MAX_TRIM (UINT64_C (1) << 30)

enum connection { NONE, CONNECTING, READY };

struct list {
  struct backing_io *head, **tail;
  unsigned n;
};

struct backing_nbd {
  struct backing base;
  char *uri;
  uint64_t timeout_ns;
  bool no_punch;
  int event; /* eventfd: something is queued, or it is time to stop */
  pthread_t thread;
  bool running;

  struct mutex lock; /* rank BACKING: the next three */
  struct list queued;
  bool stop;
  bool shut;

  /* Below this line: used only by the thread. */
  struct nbd_handle *h;
  enum connection state;
  struct list waiting, sent;
  uint64_t max_piece;
  /* Times are run_clock_ns. */
  uint64_t try_at_ns, backoff_ns; /* NONE */
  uint64_t progress_ns;           /* an answer came, or waiting for one began */
  uint64_t lost_ns;               /* when READY ended */
  bool connected_before;
};

static void
list_init (struct list *l)
{
  l->head = NULL;
  l->tail = &l->head;
  l->n = 0;
}

static void
list_add (struct list *l, struct backing_io *io)
{
  io->next = NULL;
  *l->tail = io;
  l->tail = &io->next;
  l->n++;
}

static struct backing_io *
list_take (struct list *l)
{
  struct backing_io *io = l->head;

  if (io) {
    l->head = io->next;
    if (!l->head)
      l->tail = &l->head;
    l->n--;
  }
  return io;
}

/* -- requests ----------------------------------------------------------- */

/* libnbd calls this, under its own lock, on our thread. */
static int
answered (void *data, int *error)
{
  struct backing_io *io = data;

  io->answer = *error;
  io->answered = true;
  return 1;
}

static int64_t
issue (struct backing_nbd *n, struct backing_io *io)
{
  nbd_completion_callback cb = { .callback = answered, .user_data = io };
  uint64_t left = io->len - io->moved, at = io->offset + io->moved;
  uint64_t most = io->op == BACKING_PUNCH ? MAX_TRIM : n->max_piece;
  char *buf = (char *) io->buf + io->moved;

  io->answered = false;
  io->answer = 0;
  io->piece = left < most ? left : most;
  switch (io->op) {
  case BACKING_READ:
    return nbd_aio_pread (n->h, buf, io->piece, at, cb, 0);
  case BACKING_WRITE:
    return nbd_aio_pwrite (n->h, buf, io->piece, at, cb, 0);
  case BACKING_PUNCH:
    return nbd_aio_trim (n->h, io->piece, at, cb, 0);
  case BACKING_FLUSH:
    io->piece = io->len;
    return nbd_can_flush (n->h) == 1 ? nbd_aio_flush (n->h, cb, 0)
                                     : answered (io, &io->answer);
  }
  return -1;
}

/* In order: the request that waited longest is sent first. */
static void
send_waiting (struct backing_nbd *n)
{
  while (n->state == READY && n->sent.n < MAX_SENT && n->waiting.head &&
         !nbd_conn_lost (n->h)) {
    struct backing_io *io = list_take (&n->waiting);
    int64_t cookie;

    if (n->sent.n == 0)
      n->progress_ns = run_clock_ns ();
    cookie = issue (n, io);
    if (cookie == -1 && !nbd_conn_lost (n->h)) {
      int error = nbd_get_errno ();

      backing_complete (io, error ? error : EIO);
    }
    else /* if it was lost, it is found among the unanswered ones */
      list_add (&n->sent, io);
  }
}

/* One piece is done: the next one, or the end. */
static void
finish_piece (struct backing_nbd *n, struct backing_io *io)
{
  io->moved += io->piece;
  if (io->answer == 0 && io->moved < io->len) {
    list_add (&n->waiting, io);
    return;
  }
  if (io->answer == EOPNOTSUPP && io->op == BACKING_PUNCH)
    atomic_store (&n->base.can_punch, false);
  backing_complete (io, io->answer);
}

/* A failure on a connection that is lost says nothing about the request. */
static void
collect_answers (struct backing_nbd *n)
{
  bool lost = nbd_conn_lost (n->h);
  struct list finished, old = n->sent;
  struct backing_io *io;

  if (old.n == 0)
    return;
  list_init (&finished);
  list_init (&n->sent);
  while ((io = old.head)) {
    old.head = io->next;
    list_add (io->answered && (io->answer == 0 || !lost) ? &finished : &n->sent,
              io);
  }
  if (finished.n) {
    n->progress_ns = run_clock_ns ();
    n->backoff_ns = FIRST_BACKOFF;
  }
  while ((io = list_take (&finished)))
    finish_piece (n, io);
}

/* -- the life of the connection ----------------------------------------- */

static void
back_off (struct backing_nbd *n, uint64_t now)
{
  n->try_at_ns = now + n->backoff_ns;
  n->backoff_ns = n->backoff_ns * 2 < LAST_BACKOFF ? n->backoff_ns * 2
                                                   : LAST_BACKOFF;
}

/* 'why' is for people: it ends up in the log and in statistics. */
static void
drop_connection (struct backing_nbd *n, const char *why)
{
  struct list unsent, *waiting = &n->waiting;
  struct backing_io *io;
  uint64_t now = run_clock_ns ();

  backing_note_lost (&n->base, why);
  nbd_close (n->h); /* from here on nothing writes to a buffer */
  n->h = NULL;
  if (n->state == READY)
    n->lost_ns = now;
  n->state = NONE;
  back_off (n, now);

  /* Requests that were sent go before those that never were. */
  list_init (&unsent);
  while ((io = list_take (waiting)))
    list_add (&unsent, io);
  while ((io = list_take (&n->sent))) {
    io->resent = io->op != BACKING_READ;
    io->answered = false;
    atomic_fetch_add (&n->base.retries, 1);
    list_add (waiting, io);
  }
  while ((io = list_take (&unsent)))
    list_add (waiting, io);
}

static void
try_to_connect (struct backing_nbd *n)
{
  struct reason why;

  n->h = nbd_conn_begin (n->uri);
  n->progress_ns = run_clock_ns ();
  if (n->h) {
    n->state = CONNECTING;
    return;
  }
  nbd_conn_why (&why, WHY_LOST);
  backing_note_lost (&n->base, why.text);
  back_off (n, n->progress_ns);
}

static void
drop_lost_connection (struct backing_nbd *n)
{
  struct reason why = { "the connection was lost" };

  if (n->state == CONNECTING)
    nbd_conn_why (&why, WHY_LOST);
  drop_connection (n, why.text);
}

static void
check_connected (struct backing_nbd *n)
{
  struct nbd_limits l;
  struct reason why = {
    "there is another server than before: it is smaller, or its "
    "blocks are larger"
  };

  if (nbd_aio_is_ready (n->h) != 1)
    return;
  if (!nbd_conn_limits (n->h, &l, &why) || l.size < n->base.size ||
      l.read_unit > n->base.read_unit) {
    drop_connection (n, why.text);
    return;
  }
  n->max_piece = l.max_piece;
  atomic_store (&n->base.can_punch, l.can_trim && !n->no_punch);
  n->state = READY;
  if (n->connected_before)
    atomic_fetch_add (&n->base.reconnects, 1);
  n->connected_before = true;
  atomic_store (&n->base.down, false);
}

static void
go_down (struct backing_nbd *n)
{
  struct backing_io *io;

  atomic_store (&n->base.down, true);
  while ((io = list_take (&n->waiting)))
    backing_complete (io, EIO);
}

/* -- reading and writing ------------------------------------------------ */

static struct pollfd
connection_poll (const struct backing_nbd *n)
{
  unsigned direction = n->h ? nbd_aio_get_direction (n->h) : 0;

  return (struct pollfd){
    .fd = n->h ? nbd_aio_get_fd (n->h) : -1,
    .events = (short) ((direction & LIBNBD_AIO_DIRECTION_READ ? POLLIN : 0) |
                       (direction & LIBNBD_AIO_DIRECTION_WRITE ? POLLOUT : 0)),
  };
}

/* Errors show in the state of the connection.  A hang-up is left to the next
 * read to find: poll may not have waited for reading.
 */
static void
use_connection (struct backing_nbd *n, const struct pollfd *p)
{
  if ((p->revents & (POLLIN | POLLHUP | POLLERR)) && (p->events & POLLIN))
    (void) nbd_aio_notify_read (n->h);
  else if (p->revents & (POLLOUT | POLLHUP | POLLERR))
    (void) nbd_aio_notify_write (n->h);
}

/* Without waiting. */
static void
take_arrived (struct backing_nbd *n)
{
  struct pollfd p = connection_poll (n);

  if (poll (&p, 1, 0) == 1)
    use_connection (n, &p);
  collect_answers (n);
  if (n->state == CONNECTING)
    check_connected (n);
}

/* -- alarms ------------------------------------------------------------- */

static uint64_t
oldest_deadline (const struct backing_nbd *n)
{
  uint64_t oldest = UINT64_MAX;

  for (const struct backing_io *io = n->waiting.head; io; io = io->next)
    if (io->deadline_ns < oldest)
      oldest = io->deadline_ns;
  for (const struct backing_io *io = n->sent.head; io; io = io->next)
    if (io->deadline_ns < oldest)
      oldest = io->deadline_ns;
  return oldest;
}

/* When something must be done although nothing happened; UINT64_MAX: never. */
static uint64_t
next_alarm (const struct backing_nbd *n)
{
  uint64_t at = oldest_deadline (n), also = UINT64_MAX;

  if (n->state == NONE)
    also = n->try_at_ns;
  else if (n->state == CONNECTING || n->sent.n)
    also = n->progress_ns + n->timeout_ns / 3;
  if (also < at)
    at = also;
  also = n->lost_ns + n->timeout_ns;
  if (n->state != READY && !atomic_load (&n->base.down) && also < at)
    at = also;
  return at;
}

static void
ring_alarms (struct backing_nbd *n)
{
  uint64_t now = run_clock_ns ();
  bool late;

  if (n->h && next_alarm (n) <= now)
    take_arrived (n);
  late = oldest_deadline (n) <= now ||
         (n->state != READY && !atomic_load (&n->base.down) &&
          n->lost_ns + n->timeout_ns <= now);
  if (n->h && nbd_conn_lost (n->h))
    drop_lost_connection (n);
  else if (n->h && (late || ((n->state == CONNECTING || n->sent.n) &&
                             n->progress_ns + n->timeout_ns / 3 <= now)))
    drop_connection (n, "the server does not answer");
  if (late)
    go_down (n);
  if (n->state == NONE && n->try_at_ns <= now)
    try_to_connect (n);
}

/* -- the thread --------------------------------------------------------- */

/* No more connections are tried or waited for, so that closing is quick. */
static void
give_up (struct backing_nbd *n)
{
  if (n->h)
    drop_connection (n, "it completed nothing while nbdkit ended");
  n->try_at_ns = UINT64_MAX;
  go_down (n);
}

/* False when it is time to stop. */
static bool
take_queued (struct backing_nbd *n)
{
  struct backing_io *io;
  struct list queued;
  bool stop, shut;

  mutex_lock (&n->lock);
  queued = n->queued;
  stop = n->stop;
  shut = n->shut;
  list_init (&n->queued);
  mutex_unlock (&n->lock);
  while ((io = queued.head)) {
    queued.head = io->next;
    if (atomic_load (&n->base.down))
      backing_complete (io, EIO);
    else
      list_add (&n->waiting, io);
  }
  if (shut)
    give_up (n);
  return !stop || n->waiting.n || n->sent.n;
}

/* The run clock must be read while anything may become late. */
static int
poll_timeout_ms (const struct backing_nbd *n)
{
  uint64_t at = next_alarm (n), now = run_clock_ns ();

  if (at == UINT64_MAX)
    return -1;
  if (at <= now)
    return 0;
  return at - now > RUN_CLOCK_STEP_NS ? RUN_CLOCK_STEP_MS
                                      : (int) ((at - now) / MS) + 1;
}

static void
wait_for_something (struct backing_nbd *n)
{
  struct pollfd fds[2] = { { .fd = n->event, .events = POLLIN },
                           connection_poll (n) };
  uint64_t ignored;

  if (poll (fds, 2, poll_timeout_ms (n)) <= 0)
    return;
  if (fds[0].revents && read (n->event, &ignored, sizeof ignored) == -1)
    check_always (errno == EAGAIN || errno == EINTR);
  if (n->h)
    use_connection (n, &fds[1]);
}

static void *
nbd_thread (void *arg)
{
  struct backing_nbd *n = arg;

  while (take_queued (n)) {
    ring_alarms (n);
    if (n->state == CONNECTING)
      check_connected (n);
    send_waiting (n);
    if (n->h)
      collect_answers (n);
    if (n->h && nbd_conn_lost (n->h)) {
      drop_lost_connection (n);
      continue;
    }
    /* Answers that arrived while sending have made room. */
    if (n->state == READY && n->waiting.n && n->sent.n < MAX_SENT)
      continue;
    wait_for_something (n);
    if (n->h)
      collect_answers (n);
  }
  return NULL;
}

/* -- as the store sees it ----------------------------------------------- */

static void
wake_thread (struct backing_nbd *n)
{
  uint64_t one = 1;

  while (write (n->event, &one, sizeof one) == -1 && errno == EINTR)
    ;
}

static int
nbd_start (struct backing *b)
{
  struct backing_nbd *n = (struct backing_nbd *) b;
  int err;

  n->lost_ns = n->try_at_ns = run_clock_ns ();
  err = fault_hit ("dev.thread")
          ? EAGAIN
          : pthread_create (&n->thread, NULL, nbd_thread, n);
  if (err) {
    errno = err;
    return -1;
  }
  n->running = true;
  return 0;
}

static void
nbd_submit (struct backing *b, struct backing_io *io)
{
  struct backing_nbd *n = (struct backing_nbd *) b;
  bool first;

  io->deadline_ns = run_clock_ns () + n->timeout_ns;
  mutex_lock (&n->lock);
  first = n->queued.n == 0;
  list_add (&n->queued, io);
  /* Under the lock: once it is dropped the request may be done, and the backing
   * closed.
   */
  if (first)
    wake_thread (n);
  mutex_unlock (&n->lock);
}

static void
nbd_shut (struct backing *b)
{
  struct backing_nbd *n = (struct backing_nbd *) b;

  mutex_lock (&n->lock);
  n->shut = true;
  wake_thread (n);
  mutex_unlock (&n->lock);
}

static void
nbd_close_backing (struct backing *b)
{
  struct backing_nbd *n = (struct backing_nbd *) b;

  mutex_lock (&n->lock);
  n->stop = true;
  wake_thread (n);
  mutex_unlock (&n->lock);
  if (n->running)
    pthread_join (n->thread, NULL);
  if (n->h)
    nbd_conn_end (n->h);
  backing_destroy (b);
  mutex_destroy (&n->lock);
  if (n->event != -1)
    close (n->event);
  free (n->uri);
  free (n);
}

static const struct backing_ops nbd_ops = {
  .kind = "nbd",
  .start = nbd_start,
  .submit = nbd_submit,
  .shut = nbd_shut,
  .close = nbd_close_backing,
};

/* -- opening ------------------------------------------------------------ */

struct backing *
backing_open_nbd (const struct backing_config *config, struct reason *why)
{
  struct nbd_limits l;
  struct backing_nbd *n;
  uint64_t size;

  if (!nbd_conn_uri_is_fine (config->where, why) ||
      !nbd_conn_ask (config, &l, why))
    return NULL;
  size = backing_fit_size (l.size, config, why);
  if (size == 0)
    return NULL;
  n = alloc_zeroed (CACHE_LINE, sizeof *n);
  if (!n) {
    reason_set (why, "%s", error_text (ENOMEM));
    return NULL;
  }
  backing_init (&n->base, &nbd_ops, size);
  n->base.read_unit = l.read_unit;
  atomic_store (&n->base.can_punch, l.can_trim && !config->no_punch);
  n->no_punch = config->no_punch;
  n->timeout_ns = config->timeout_ms * MS;
  n->backoff_ns = FIRST_BACKOFF;
  mutex_init (&n->lock, RANK_BACKING);
  list_init (&n->queued);
  list_init (&n->waiting);
  list_init (&n->sent);
  n->uri = strdup (config->where);
  n->event = eventfd (0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (n->uri && n->event != -1)
    return &n->base;
  reason_set (why, "%s", error_text (errno));
  nbd_close_backing (&n->base);
  return NULL;
}
