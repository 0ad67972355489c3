/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The interface of one kind of backing store; for dev/, and for tests with a
 * backing of their own.
 *
 *   struct backing_nbd { struct backing base; … };   base comes first
 */

#ifndef ZRAM_BACKING_IMPL_H
#define ZRAM_BACKING_IMPL_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/mutex.h"
#include "dev/backing.h"

struct backing_ops {
  const char *kind;

  /* Start the threads.  0, or -1 with errno set. */
  int (*start) (struct backing *b);

  /* Read all bytes; 0 or an errno.  Any thread, several at once.  If NULL,
   * reads come as requests to 'submit'.
   */
  int (*read) (struct backing *b, void *buf, size_t len, uint64_t offset);

  /* Take the request, and call backing_complete for it once, from any thread,
   * with no lock held.  Must not wait for the device.
   */
  void (*submit) (struct backing *b, struct backing_io *io);

  /* Complete the requests in flight soon, with EIO, as far as possible.
   * Nothing is submitted from here on.  Must not wait.  May be NULL.
   */
  void (*shut) (struct backing *b);

  /* End the threads of 'start' (which may not have been called, or have failed)
   * once all requests are complete, or complete them soon; then free
   * everything, 'b' too.
   */
  void (*close) (struct backing *b);
};

struct backing {
  const struct backing_ops *ops;
  uint64_t size; /* bytes, a multiple of BACKING_BLOCK */
  bool started;
  unsigned read_unit; /* bytes, a power of two: reads are widened to it */
  atomic_bool can_punch;
  atomic_bool down;
  atomic_bool shut; /* for ever: no request is begun any more */

  struct mutex idle_lock; /* rank BACKING: for waiting on 'idle' */
  struct cond idle;       /* in_flight became 0 */
  _Atomic uint64_t in_flight;

  _Atomic uint64_t done[4], done_bytes[4], errors[4]; /* by enum backing_op */
  _Atomic uint64_t retries, reconnects;

  struct mutex trouble_lock; /* rank BACKING: the next */
  struct backing_trouble trouble[BACKING_TROUBLES];
};

/* The parts that every kind shares. */
void backing_init (struct backing *b, const struct backing_ops *ops,
                   uint64_t size);
void backing_destroy (struct backing *b);

/* The request is over; 'error' is 0 or an errno.  Calls io->done, after which
 * the io may be gone.  No lock is held.
 */
void backing_complete (struct backing_io *io, int error);

/* The connection was lost or could not be made; 'why' is a message. */
void backing_note_lost (struct backing *b, const char *why);

/* The kinds; as backing_open, with the config's zeroes filled in. */
struct backing *backing_open_file (const struct backing_config *config,
                                   struct reason *why) MUST_USE;
struct backing *backing_open_nbd (const struct backing_config *config,
                                  struct reason *why) MUST_USE;

/* How many of 'there' bytes to use, by config->size; 0 with 'why' set if
 * config->size is not possible.  Not for files that can grow.
 */
uint64_t backing_fit_size (uint64_t there, const struct backing_config *config,
                           struct reason *why) MUST_USE;

#endif /* ZRAM_BACKING_IMPL_H */
