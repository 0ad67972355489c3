/* SPDX-License-Identifier: BSD-3-Clause */
/* Backing store: the parts that every kind shares.
 * Contract: dev/backing.h.
 */

#include <config.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error_text.h"
#include "base/check.h"
#include "base/clock.h"
#include "base/fault.h"
#include "base/keep_errno.h"
#include "base/park.h"
#include "base/rank.h"
#include "dev/backing_impl.h"

void
backing_init (struct backing *b, const struct backing_ops *ops, uint64_t size)
{
  b->ops = ops;
  b->size = size;
  b->read_unit = 1;
  mutex_init (&b->idle_lock, RANK_BACKING);
  mutex_init (&b->trouble_lock, RANK_BACKING);
  cond_init (&b->idle);
}

void
backing_destroy (struct backing *b)
{
  KEEP_ERRNO;

  check_always (atomic_load (&b->in_flight) == 0);
  cond_destroy (&b->idle);
  mutex_destroy (&b->trouble_lock);
  mutex_destroy (&b->idle_lock);
}

uint64_t
backing_fit_size (uint64_t there, const struct backing_config *config,
                  struct reason *why)
{
  there -= there % BACKING_BLOCK;
  if (config->size > there) {
    reason_set (why,
                "has %llu bytes in whole blocks, fewer than the %llu of "
                "backing_size",
                (unsigned long long) there, (unsigned long long) config->size);
    return 0;
  }
  if (there < BACKING_MIN_SIZE) {
    reason_set (why, "has %llu bytes, fewer than the least, %llu",
                (unsigned long long) there,
                (unsigned long long) BACKING_MIN_SIZE);
    return 0;
  }
  return config->size ? config->size : there;
}

int
backing_start (struct backing *b)
{
  check_always (!b->started);
  if (b->ops->start (b) == -1)
    return -1;
  b->started = true;
  return 0;
}

void
backing_close (struct backing *b)
{
  KEEP_ERRNO;

  if (b)
    b->ops->close (b);
}

uint64_t
backing_size (const struct backing *b)
{
  return b->size;
}

const char *
backing_kind (const struct backing *b)
{
  return b->ops->kind;
}

bool
backing_can_punch (const struct backing *b)
{
  return atomic_load_explicit (&b->can_punch, memory_order_relaxed);
}

/* -- requests ----------------------------------------------------------- */

/* Here tests make a request fail, or hold it after it was done and before its
 * result is known.
 */
static int
inject (enum backing_op op, int error)
{
  static const char *const points[] = { "dev.write", "dev.punch", "dev.flush",
                                        "dev.read" };

  fault_pause (points[op]);
  if (error == 0 && fault_hit (points[op]))
    error = EIO;
  if (error == 0 && op == BACKING_WRITE && fault_hit ("dev.write.full"))
    error = ENOSPC;
  return error;
}

static void
note_trouble (struct backing *b, enum backing_trouble_kind kind,
              const char *why)
{
  struct backing_trouble t = { .at_ns = clock_ns () };

  /* A path or a server's message may have any bytes. */
  for (size_t i = 0; why[i] && i < sizeof t.why - 1; i++)
    t.why[i] = (char) (why[i] >= ' ' && why[i] <= '~' ? why[i] : '?');
  mutex_lock (&b->trouble_lock);
  b->trouble[kind] = t;
  mutex_unlock (&b->trouble_lock);
}

void
backing_note_lost (struct backing *b, const char *why)
{
  note_trouble (b, BACKING_TROUBLE_LOST, why);
}

static void
note_error (struct backing *b, enum backing_op op, int error)
{
  if (atomic_load (&b->down) || (op != BACKING_WRITE && op != BACKING_READ))
    return;
  note_trouble (
    b, op == BACKING_WRITE ? BACKING_TROUBLE_WRITE : BACKING_TROUBLE_READ,
    error_text (error));
}

static void
account (struct backing *b, enum backing_op op, uint64_t len, int error)
{
  if (error) {
    atomic_fetch_add_explicit (&b->errors[op], 1, memory_order_relaxed);
    note_error (b, op, error);
    return;
  }
  atomic_fetch_add_explicit (&b->done[op], 1, memory_order_relaxed);
  atomic_fetch_add_explicit (&b->done_bytes[op], len, memory_order_relaxed);
}

/* The backing is not closed while a thread may still come here: its own threads
 * are joined first, and callers must not.
 */
static void
leave (struct backing *b)
{
  if (atomic_fetch_sub (&b->in_flight, 1) != 1)
    return;
  mutex_lock (&b->idle_lock);
  cond_broadcast (&b->idle);
  mutex_unlock (&b->idle_lock);
}

void
backing_complete (struct backing_io *io, int error)
{
  struct backing *b = io->backing;

  error = inject (io->op, error);
  account (b, io->op, io->len, error);
  io->error = error;
  io->done (io);
  leave (b);
}

static bool
is_down (struct backing *b)
{
  return atomic_load (&b->down) || atomic_load (&b->shut);
}

static void
submit (struct backing *b, struct backing_io *io)
{
  check_always (b->started);
  io->error = 0;
  io->resent = false;
  io->next = NULL;
  io->moved = io->piece = 0;
  io->answered = false;
  io->backing = b;
  atomic_fetch_add (&b->in_flight, 1);
  if (is_down (b))
    backing_complete (io, EIO);
  else
    b->ops->submit (b, io);
}

void
backing_submit (struct backing *b, struct backing_io *io)
{
  if (io->op != BACKING_FLUSH) {
    check_always (io->len > 0 && io->offset <= b->size &&
                  io->len <= b->size - io->offset);
    check_always (io->op == BACKING_READ || (io->offset % BACKING_BLOCK == 0 &&
                                             io->len % BACKING_BLOCK == 0));
  }
  submit (b, io);
}

/* A word of its own: it may be gone already when its sleeper is woken. */
static void
wake_reader (struct backing_io *io)
{
  _Atomic uint32_t *finished = io->ctx;

  atomic_store (finished, 1);
  park_wake (finished);
}

static int
read_by_request (struct backing *b, void *buf, size_t len, uint64_t offset)
{
  _Atomic uint32_t finished = 0;
  struct backing_io io = { .op = BACKING_READ,
                           .buf = buf,
                           .offset = offset,
                           .len = len,
                           .done = wake_reader,
                           .ctx = &finished };

  submit (b, &io);
  for (;;) {
    uint32_t ticket = park_ticket (&finished);

    if (atomic_load (&finished))
      return io.error;
    park_wait (&finished, ticket);
  }
}

static int
read_directly (struct backing *b, void *buf, size_t len, uint64_t offset)
{
  int error;

  atomic_fetch_add (&b->in_flight, 1);
  error = inject (BACKING_READ,
                  is_down (b) ? EIO : b->ops->read (b, buf, len, offset));
  account (b, BACKING_READ, len, error);
  leave (b);
  return error;
}

static int
read_widened (struct backing *b, void *buf, size_t len, uint64_t offset)
{
  uint64_t unit = b->read_unit, from = offset / unit * unit;
  size_t all = (size_t) ((offset + len + unit - 1) / unit * unit - from);
  char *wide = malloc (all);
  int error;

  if (!wide)
    return ENOMEM;
  error = read_by_request (b, wide, all, from);
  if (error == 0)
    memcpy (buf, wide + (offset - from), len);
  free (wide);
  return error;
}

int
backing_read (struct backing *b, void *buf, size_t len, uint64_t offset)
{
  int error;

  check_always (b->started);
  check_always (offset <= b->size && len <= b->size - offset);
  rank_may_sleep ("read of the backing store");
  if (len == 0)
    return 0;
  if (b->ops->read)
    error = read_directly (b, buf, len, offset);
  else if (offset % b->read_unit || len % b->read_unit)
    error = read_widened (b, buf, len, offset);
  else
    error = read_by_request (b, buf, len, offset);
  if (error == 0)
    return 0;
  errno = error;
  return -1;
}

void
backing_drain (struct backing *b)
{
  rank_may_sleep ("drain of the backing store");
  mutex_lock (&b->idle_lock);
  while (atomic_load (&b->in_flight))
    cond_wait (&b->idle, &b->idle_lock);
  mutex_unlock (&b->idle_lock);
}

void
backing_shut (struct backing *b)
{
  if (!atomic_exchange (&b->shut, true) && b->ops->shut)
    b->ops->shut (b);
}

void
backing_get_stats (struct backing *b, struct backing_stats *s)
{
  s->in_flight = atomic_load (&b->in_flight);
  s->reads = atomic_load (&b->done[BACKING_READ]);
  s->writes = atomic_load (&b->done[BACKING_WRITE]);
  s->punches = atomic_load (&b->done[BACKING_PUNCH]);
  s->read_bytes = atomic_load (&b->done_bytes[BACKING_READ]);
  s->write_bytes = atomic_load (&b->done_bytes[BACKING_WRITE]);
  s->punch_bytes = atomic_load (&b->done_bytes[BACKING_PUNCH]);
  s->read_errors = atomic_load (&b->errors[BACKING_READ]);
  s->write_errors = atomic_load (&b->errors[BACKING_WRITE]);
  s->punch_errors = atomic_load (&b->errors[BACKING_PUNCH]);
  s->retries = atomic_load (&b->retries);
  s->reconnects = atomic_load (&b->reconnects);
  s->down = is_down (b);
  mutex_lock (&b->trouble_lock);
  memcpy (s->trouble, b->trouble, sizeof s->trouble);
  mutex_unlock (&b->trouble_lock);
}
