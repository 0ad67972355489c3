/* SPDX-License-Identifier: BSD-3-Clause */
/* nbdload: puts a measured load of real data on an NBD server.
 *
 * The pages it writes come straight from a mapped image of real files, and it
 * knows which page of the image each page of the disk must hold:
 *
 *   image   | page 0 | page 1 | page 2 | ...           (--image, read only)
 *               ^  \_____________________
 *   model   |   0  |   7   | HOLE |   0  | ...         (--model, one uint32_t
 *               ^                                       for a page of disk)
 *   disk    |  unit 0        | unit 1        | ...     (a unit is --size bytes)
 *
 * Without --model, or where its file does not exist yet, the disk holds the
 * image, over and over (first_content).  The model file outlives the process,
 * so that one run can check what earlier runs wrote.
 *
 * One thread and one event loop serve one connection.  A write or trim owns
 * its unit (`busy`) from issue to reply, so that two of them never overlap
 * and the model stays exact; model entries of a unit belong to its owner.
 *
 * The result is one line of JSON on standard output.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include <libnbd.h>

#include "nbdload.h"
#include "nbdload-latency.h"

struct request {
  struct conn *conn;
  unsigned char *buffer;
  uint64_t start;
  uint32_t unit, source;
};

struct conn {
  struct run *run;
  struct nbd_handle *nbd;
  pthread_t thread;
  uint64_t random; /* State of the generator. */
  struct request *requests;
  struct request **idle; /* Stack of requests not in flight. */
  unsigned nr_idle;
  bool stopped;
  uint64_t ops, errors, mismatches, max_latency;
  uint64_t first_bad; /* Disk offset of the first mismatch. */
  int first_errno;
  uint64_t latency[BUCKETS];
};

static const unsigned char zero_page[PAGE];

static _Noreturn void
fail_nbd (void)
{
  fprintf (stderr, "nbdload: %s\n", nbd_get_error ());
  exit (EXIT_FAILURE);
}

static uint64_t
now (void)
{
  struct timespec ts;

  clock_gettime (CLOCK_MONOTONIC, &ts);
  return (uint64_t) ts.tv_sec * 1000000000 + ts.tv_nsec;
}

/* ---- What the disk must hold ---- */

static const unsigned char *
expected_page (const struct run *run, uint64_t page)
{
  uint32_t from = run->model[page];

  return from == HOLE ? zero_page : run->image + (uint64_t) from * PAGE;
}

static void
check_data (struct conn *c, const struct request *r)
{
  uint64_t first = (uint64_t) r->unit * c->run->pages_per_unit;

  for (uint32_t i = 0; i < c->run->pages_per_unit; ++i) {
    if (memcmp (r->buffer + (size_t) i * PAGE,
                expected_page (c->run, first + i), PAGE) == 0)
      continue;
    if (c->mismatches++ == 0)
      c->first_bad = (first + i) * PAGE;
  }
}

static void
update_model (const struct conn *c, const struct request *r)
{
  uint64_t first = (uint64_t) r->unit * c->run->pages_per_unit;

  for (uint32_t i = 0; i < c->run->pages_per_unit; ++i)
    c->run->model[first + i] = c->run->op.kind == TRIM ? HOLE : r->source + i;
}

/* ---- Requests ---- */

/* libnbd calls this with its handle locked: no call on the handle here. */
static int
request_done (void *opaque, int *error)
{
  struct request *r = opaque;
  struct conn *c = r->conn;
  uint64_t latency = now () - r->start;

  c->latency[bucket_of (latency)]++;
  if (latency > c->max_latency)
    c->max_latency = latency;
  c->ops++;
  if (*error != 0) {
    if (c->errors++ == 0)
      c->first_errno = *error;
  }
  else if (c->run->op.kind != READ)
    update_model (c, r);
  else if (c->run->op.verify)
    check_data (c, r);

  if (c->run->op.kind != READ)
    atomic_store_explicit (&c->run->busy[r->unit], 0, memory_order_release);
  c->idle[c->nr_idle++] = r;
  return 1; /* Retire the command. */
}

/* Choose the next unit; false when no unit is left. */
static bool
next_unit (struct conn *c, uint32_t *unit)
{
  struct run *run = c->run;
  uint32_t n;

  if (run->op.order == RANDOM) {
    *unit = next_random (&c->random) % run->units;
    return true;
  }
  n = atomic_fetch_add_explicit (&run->cursor, 1, memory_order_relaxed);
  if (!run->op.timed && n >= run->limit)
    return false;
  *unit = run->op.order == SHUFFLED ? run->shuffled[n] : n % run->units;
  return true;
}

/* The image page that a write of this unit starts with. */
static uint32_t
choose_source (struct conn *c, uint32_t unit)
{
  const struct run *run = c->run;
  uint32_t units = run->image_pages / run->pages_per_unit;

  if (run->op.order != SEQUENTIAL)
    return next_random (&c->random) % units * run->pages_per_unit;
  return first_content (run, (uint64_t) unit * run->pages_per_unit);
}

/* Take a unit for this request; false when the run is over. */
static bool
prepare (struct conn *c, struct request *r)
{
  r->start = now ();
  if (c->run->op.timed && r->start >= c->run->deadline)
    return false;
  do {
    if (!next_unit (c, &r->unit))
      return false;
  } while (
    c->run->op.kind != READ &&
    atomic_exchange_explicit (&c->run->busy[r->unit], 1, memory_order_acquire));
  if (c->run->op.kind == WRITE)
    r->source = choose_source (c, r->unit);
  return true;
}

static void
issue (struct conn *c)
{
  struct run *run = c->run;
  struct request *r = c->idle[c->nr_idle - 1];
  nbd_completion_callback done = { .callback = request_done, .user_data = r };
  uint64_t offset;
  int64_t cookie;

  if (!prepare (c, r)) {
    c->stopped = true;
    return;
  }
  c->nr_idle--;
  offset = (uint64_t) r->unit * run->size;
  if (run->op.kind == READ)
    cookie = nbd_aio_pread (c->nbd, r->buffer, run->size, offset, done, 0);
  else if (run->op.kind == TRIM)
    cookie = nbd_aio_trim (c->nbd, run->size, offset, done, 0);
  else
    cookie = nbd_aio_pwrite (c->nbd, run->image + (uint64_t) r->source * PAGE,
                             run->size, offset, done, 0);
  if (cookie == -1)
    fail_nbd ();
}

static void
issue_all (struct conn *c)
{
  while (c->nr_idle > 0 && !c->stopped)
    issue (c);
}

/* Wait for the socket, then take replies as long as they come, without a
 * poll between them: it would be a third of this client's system calls.  Not
 * while a request is half sent: libnbd would forget to go on with it if there
 * is no reply after all.
 */
static void
pump (struct conn *c)
{
  struct pollfd pfd = { .fd = nbd_aio_get_fd (c->nbd) };
  unsigned direction = nbd_aio_get_direction (c->nbd);
  uint64_t before;

  if (direction & LIBNBD_AIO_DIRECTION_READ)
    pfd.events |= POLLIN;
  if (direction & LIBNBD_AIO_DIRECTION_WRITE)
    pfd.events |= POLLOUT;
  if (poll (&pfd, 1, -1) == -1 && errno != EINTR)
    fail ("poll");

  if (pfd.revents & POLLIN) {
    do {
      before = c->ops;
      if (nbd_aio_notify_read (c->nbd) == -1)
        fail_nbd ();
      issue_all (c);
      direction = nbd_aio_get_direction (c->nbd);
    } while (c->ops != before && c->nr_idle < c->run->depth &&
             direction == LIBNBD_AIO_DIRECTION_READ);
  }
  else if (pfd.revents & POLLOUT) {
    if (nbd_aio_notify_write (c->nbd) == -1)
      fail_nbd ();
  }
  else if (pfd.revents & (POLLHUP | POLLERR)) {
    errno = ECONNRESET;
    fail ("connection");
  }
}

static void *
conn_thread (void *opaque)
{
  struct conn *c = opaque;

  issue_all (c);
  while (c->nr_idle < c->run->depth)
    pump (c);
  return NULL;
}

/* ---- Connections ---- */

static void
pin (int cpu)
{
  cpu_set_t set;

  CPU_ZERO (&set);
  CPU_SET (cpu, &set);
  if (sched_setaffinity (0, sizeof set, &set) == -1)
    fail ("sched_setaffinity");
}

static void
conn_open (struct run *run, struct conn *c, unsigned number)
{
  c->run = run;
  c->random = run->seed * 0x9e3779b97f4a7c15u + number;
  c->nbd = nbd_create ();
  if (c->nbd == NULL)
    fail_nbd ();
  /* Clearing the buffer before each read would be this client's cost. */
  nbd_set_pread_initialize (c->nbd, false);
  nbd_set_strict_mode (c->nbd, 0);
  nbd_set_request_structured_replies (c->nbd, !run->simple);
  if (nbd_connect_unix (c->nbd, run->socket) == -1)
    fail_nbd ();

  c->requests = must_alloc (run->depth, sizeof *c->requests);
  c->idle = must_alloc (run->depth, sizeof *c->idle);
  for (unsigned i = 0; i < run->depth; ++i) {
    struct request *r = &c->requests[i];

    r->conn = c;
    if (run->op.kind == READ) {
      if (posix_memalign ((void **) &r->buffer, PAGE, run->size) != 0)
        fail ("posix_memalign");
      memset (r->buffer, 0xdb, run->size);
    }
    c->idle[c->nr_idle++] = r;
  }
}

/* ---- The report ---- */

static void
sum_up (const struct run *run, struct conn *conns, struct conn *sum)
{
  memset (sum, 0, sizeof *sum);
  for (unsigned i = 0; i < run->connections; ++i) {
    const struct conn *c = &conns[i];

    if (sum->mismatches == 0)
      sum->first_bad = c->first_bad;
    if (sum->errors == 0)
      sum->first_errno = c->first_errno;
    sum->ops += c->ops;
    sum->errors += c->errors;
    sum->mismatches += c->mismatches;
    if (c->max_latency > sum->max_latency)
      sum->max_latency = c->max_latency;
    for (unsigned b = 0; b < BUCKETS; ++b)
      sum->latency[b] += c->latency[b];
  }
}

static double
own_cpu (void)
{
  struct rusage u;

  getrusage (RUSAGE_SELF, &u);
  return u.ru_utime.tv_sec + u.ru_stime.tv_sec +
         (u.ru_utime.tv_usec + u.ru_stime.tv_usec) * 1e-6;
}

static void
report (const struct run *run, struct conn *conns, double seconds,
        double flush_seconds, double cpu)
{
  struct conn *sum = must_alloc (1, sizeof *sum);
  double all = seconds + flush_seconds;

  sum_up (run, conns, sum);
  printf ("{\"op\": \"%s\", \"connections\": %u, \"depth\": %u, "
          "\"size\": %zu, \"ops\": %llu, \"seconds\": %.6f, "
          "\"flush_seconds\": %.6f, \"ops_s\": %.1f, \"mb_s\": %.2f, "
          "\"ops_s_before_flush\": %.1f, ",
          run->op.name, run->connections, run->depth, run->size,
          (unsigned long long) sum->ops, seconds, flush_seconds, sum->ops / all,
          sum->ops * (double) run->size / all / 1e6, sum->ops / seconds);
  printf ("\"p50_us\": %.1f, \"p99_us\": %.1f, \"p999_us\": %.1f, "
          "\"max_us\": %.1f, ",
          percentile_us (sum->latency, sum->ops, 0.5),
          percentile_us (sum->latency, sum->ops, 0.99),
          percentile_us (sum->latency, sum->ops, 0.999),
          sum->max_latency / 1000.0);
  printf ("\"client_cpu_us_op\": %.2f, \"errors\": %llu, \"errno\": %d, "
          "\"mismatches\": %llu, \"first_bad\": %llu}\n",
          sum->ops ? cpu * 1e6 / sum->ops : 0, (unsigned long long) sum->errors,
          sum->first_errno, (unsigned long long) sum->mismatches,
          (unsigned long long) sum->first_bad);
  fflush (stdout);
  if (sum->errors > 0 || sum->mismatches > 0)
    exit (2);
  free (sum);
}

static void
wait_for_end_of_input (void)
{
  char c;

  while (read (STDIN_FILENO, &c, 1) > 0)
    ;
}

int
main (int argc, char *argv[])
{
  static struct run run = { .connections = 1,
                            .depth = 32,
                            .size = PAGE,
                            .seconds = 2,
                            .cover = 1,
                            .first = 1,
                            .seed = 1,
                            .cpu = -1 };
  struct conn *conns;
  uint64_t start, end;
  double cpu;

  parse (&run, argc, argv);
  if (run.cpu >= 0)
    pin (run.cpu);
  map_image (&run);
  conns = must_alloc (run.connections, sizeof *conns);
  for (unsigned i = 0; i < run.connections; ++i)
    conn_open (&run, &conns[i], i);
  set_up (&run, nbd_get_size (conns[0].nbd));

  cpu = own_cpu ();
  start = now ();
  run.deadline = start + run.seconds * 1e9;
  for (unsigned i = 0; i < run.connections; ++i)
    if ((errno = pthread_create (&conns[i].thread, NULL, conn_thread,
                                 &conns[i])) != 0)
      fail ("pthread_create");
  for (unsigned i = 0; i < run.connections; ++i)
    pthread_join (conns[i].thread, NULL);
  end = now ();
  /* A server with a cache must also have written what it accepted. */
  if (run.op.kind != READ && nbd_can_flush (conns[0].nbd) == 1 &&
      nbd_flush (conns[0].nbd, 0) == -1)
    fail_nbd ();
  report (&run, conns, (end - start) * 1e-9, (now () - end) * 1e-9,
          own_cpu () - cpu);

  if (run.hold)
    wait_for_end_of_input ();
  for (unsigned i = 0; i < run.connections; ++i) {
    nbd_shutdown (conns[i].nbd, 0);
    nbd_close (conns[i].nbd);
  }
  return 0;
}
