/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A backing store of the tests' own: bytes in memory, whose requests can be
 * held and completed in any order, made to fail, and tampered with.
 *
 *   disk -> backed -> struct held: backing_submit --> queue --> held_complete
 *                                                   \-> at once (not holding)
 *
 * A write is applied when it completes; until then its blocks are filled with
 * garbage, and half of them keep it if it fails: who reads them too early, or
 * believes them after an error, is found out.
 *
 * Locks: 'lock' is a leaf and protects all that follows it; it is not held
 * while a request completes.
 */

#ifndef ZRAM_HELD_BACKING_H
#define ZRAM_HELD_BACKING_H

#include "store-fixture.h"

#include "dev/backing_impl.h"
#include "maint/batch_writer.h"
#include "store/backed.h"

#define HELD_MOST 4096

struct held {
  struct backing base;
  char *bytes;
  pthread_mutex_t lock;
  pthread_cond_t changed;
  bool hold_writes, hold_punches, hold_reads;
  struct backing_io *queue[HELD_MOST]; /* in the order they came */
  unsigned queued;
  unsigned readers;              /* that are held */
  unsigned writes;               /* submitted so far */
  unsigned fail_nth, fail_count; /* writes from the nth (1: the next) on */
  unsigned read_fails;           /* so many of the next reads fail */
  int error;                     /* what they fail with */
  bool resent;                   /* what completes says that it was */
};

static inline struct held *
held_of (struct backing *b)
{
  return (struct held *) b;
}

static inline int
held_start (struct backing *b)
{
  (void) b;
  return 0;
}

static inline int
held_read (struct backing *b, void *buf, size_t len, uint64_t offset)
{
  struct held *h = held_of (b);
  int error = 0;

  pthread_mutex_lock (&h->lock);
  h->readers++;
  pthread_cond_broadcast (&h->changed);
  while (h->hold_reads)
    pthread_cond_wait (&h->changed, &h->lock);
  h->readers--;
  if (h->read_fails) {
    h->read_fails--;
    error = h->error;
  }
  else
    memcpy (buf, h->bytes + offset, len);
  pthread_mutex_unlock (&h->lock);
  return error;
}

/* With the lock held. */
static inline void
held_apply (struct held *h, struct backing_io *io, int error)
{
  char *at = h->bytes + io->offset;

  if (io->op == BACKING_PUNCH && !error)
    memset (at, 0, io->len);
  if (io->op == BACKING_WRITE)
    memcpy (at, io->buf, error ? io->len / 2 : io->len);
}

static inline void
held_submit (struct backing *b, struct backing_io *io)
{
  struct held *h = held_of (b);
  int error = 0;
  bool hold;

  pthread_mutex_lock (&h->lock);
  hold = io->op == BACKING_PUNCH ? h->hold_punches : h->hold_writes;
  if (io->op == BACKING_WRITE) {
    h->writes++;
    memset (h->bytes + io->offset, 0xee, io->len);
    if (h->fail_nth && h->writes >= h->fail_nth &&
        h->writes < h->fail_nth + h->fail_count)
      error = h->error;
  }
  if (hold) {
    check_always (h->queued < HELD_MOST);
    io->answer = error;
    h->queue[h->queued++] = io;
    pthread_cond_broadcast (&h->changed);
  }
  else {
    held_apply (h, io, error);
    io->resent = h->resent;
  }
  pthread_mutex_unlock (&h->lock);
  if (!hold)
    backing_complete (io, error);
}

static inline void
held_close (struct backing *b)
{
  struct held *h = held_of (b);

  check_always (h->queued == 0 && h->readers == 0);
  pthread_cond_destroy (&h->changed);
  pthread_mutex_destroy (&h->lock);
  backing_destroy (b);
  free (h->bytes);
  free (h);
}

static const struct backing_ops held_ops = { .kind = "held",
                                             .start = held_start,
                                             .read = held_read,
                                             .submit = held_submit,
                                             .close = held_close };

static inline struct held *
held_open (uint64_t blocks)
{
  struct held *h = must_alloc (sizeof *h);

  backing_init (&h->base, &held_ops, blocks * BACKING_BLOCK);
  h->bytes = must_alloc (blocks * BACKING_BLOCK);
  pthread_mutex_init (&h->lock, NULL);
  pthread_cond_init (&h->changed, NULL);
  check_always (backing_start (&h->base) == 0);
  return h;
}

/* Give the fixture's disk such a store. */
static inline struct held *
held_attach (struct fixture *f, uint64_t blocks)
{
  struct held *h = held_open (blocks);
  struct backed *backed = backed_create (&h->base);

  check_always (backed);
  store_set_backed (f->store, backed);
  return h;
}

/* -- holding ------------------------------------------------------------ */

static inline void
held_hold (struct held *h, bool writes, bool punches, bool reads)
{
  pthread_mutex_lock (&h->lock);
  h->hold_writes = writes;
  h->hold_punches = punches;
  h->hold_reads = reads;
  pthread_cond_broadcast (&h->changed);
  pthread_mutex_unlock (&h->lock);
}

/* The i-th of those that are held ends with that error, or (-1) as planned. */
static inline void
held_complete (struct held *h, unsigned i, int error)
{
  struct backing_io *io;

  pthread_mutex_lock (&h->lock);
  check_always (i < h->queued);
  io = h->queue[i];
  memmove (&h->queue[i], &h->queue[i + 1],
           (--h->queued - i) * sizeof h->queue[0]);
  if (error == -1)
    error = io->answer;
  held_apply (h, io, error);
  io->resent = h->resent;
  pthread_mutex_unlock (&h->lock);
  backing_complete (io, error);
}

static inline unsigned
held_count (struct held *h)
{
  unsigned n;

  pthread_mutex_lock (&h->lock);
  n = h->queued;
  pthread_mutex_unlock (&h->lock);
  return n;
}

static inline void
held_complete_all (struct held *h)
{
  while (held_count (h))
    held_complete (h, 0, -1);
}

static inline void
held_release (struct held *h)
{
  held_hold (h, false, false, false);
  held_complete_all (h);
}

static inline void
held_wait_readers (struct held *h, unsigned n)
{
  pthread_mutex_lock (&h->lock);
  while (h->readers < n)
    pthread_cond_wait (&h->changed, &h->lock);
  pthread_mutex_unlock (&h->lock);
}

static inline void
held_wait_queued (struct held *h, unsigned n)
{
  pthread_mutex_lock (&h->lock);
  while (h->queued < n)
    pthread_cond_wait (&h->changed, &h->lock);
  pthread_mutex_unlock (&h->lock);
}

/* The writes from the nth on (1: the next), so many, fail; 0: none. */
static inline void
held_fail (struct held *h, unsigned nth, unsigned count, int error)
{
  pthread_mutex_lock (&h->lock);
  h->fail_nth = nth ? h->writes + nth : 0;
  h->fail_count = count;
  h->error = error;
  pthread_mutex_unlock (&h->lock);
}

static inline void
held_fail_reads (struct held *h, unsigned count, int error)
{
  pthread_mutex_lock (&h->lock);
  h->read_fails = count;
  h->error = error;
  pthread_mutex_unlock (&h->lock);
}

static inline void
held_flip (struct held *h, uint64_t byte, unsigned bit)
{
  pthread_mutex_lock (&h->lock);
  h->bytes[byte] = (char) (h->bytes[byte] ^ 1 << bit);
  pthread_mutex_unlock (&h->lock);
}

/* -- the disk's side -------------------------------------------------- */

static inline uint64_t
held_cell (struct fixture *f, uint64_t index)
{
  const struct slot *s = slot_table_peek (&f->disk->table, index);

  return s ? slot_load_cell (s) : 0;
}

static inline struct blocks_stats
held_blocks (struct fixture *f)
{
  struct blocks_stats st;

  blocks_get_stats (f->store->backed->blocks, &st);
  return st;
}

/* Put a slot that is in memory. */
static inline enum put_result
held_put (struct fixture *f, struct batch_writer *w, uint64_t index)
{
  return batch_writer_put (w, f->disk, index, fixture_meta (f, index));
}

/* Data of a slot in a generation: text of about a half, each fifth noise. */
static inline void
held_data (void *buf, uint32_t len, uint64_t index, unsigned generation)
{
  struct unit_rng rng = { .s = unit_mix (index << 20 | generation) };

  fill_kind (buf, len, (index + generation) % 5 ? KIND_TEXT : KIND_RANDOM,
             &rng);
}

static inline void
held_write (struct fixture *f, uint64_t index, unsigned generation)
{
  char buf[MAX_SLOT];

  held_data (buf, f->slot_size, index, generation);
  must_write (f, buf, f->slot_size, index * f->slot_size);
}

static inline void
held_expect (struct fixture *f, uint64_t index, unsigned generation)
{
  char buf[MAX_SLOT];

  held_data (buf, f->slot_size, index, generation);
  must_hold (f, buf, f->slot_size, index * f->slot_size);
}

/* All in one go, nothing held; every one must end up in the store. */
static inline void
held_write_back (struct fixture *f, uint64_t first, uint64_t end)
{
  struct batch_writer *w = batch_writer_create (f->store);

  check_always (w);
  for (uint64_t i = first; i < end; i++)
    check_always (held_put (f, w, i) == PUT_DONE);
  batch_writer_destroy (w);
  for (uint64_t i = first; i < end; i++)
    check_always (fixture_state (f, i) == SLOT_BACKED);
}

#endif /* ZRAM_HELD_BACKING_H */
