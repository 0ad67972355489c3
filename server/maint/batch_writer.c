/* SPDX-License-Identifier: BSD-3-Clause */
/* Batch writer: fills batches, sends them, and swaps the slots.
 * Contract: maint/batch_writer.h.
 */

#include <config.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/fault.h"
#include "base/keep_errno.h"
#include "base/mutex.h"
#include "maint/batch_writer.h"
#include "store/writeback_limit.h"

#define BATCH_FILTER 2048u /* bits */

struct record_ref {
  uint64_t slot; /* its number */
  uint32_t at;   /* place in the buffer */
  uint32_t meta; /* as it was when the object was copied */
};

struct batch {
  struct batch *next;
  struct batch_writer *w;
  struct backing_io io;
  char *buf;
  uint64_t first;  /* block */
  unsigned blocks; /* of the run */
  unsigned claim;
  unsigned setting; /* of writeback_limit, when units were taken */
  uint32_t used;    /* bytes */
  unsigned n;
  uint64_t maybe[BATCH_FILTER / 64]; /* a bit for each slot's hash */
  struct record_ref refs[BATCH_RECORDS];
};

struct batch_writer {
  struct store *store;
  struct batch *open, *idle;
  unsigned made, most;
  bool keeps; /* batches stay once made */
  struct batch_totals totals;

  struct mutex lock;
  struct cond completed;
  struct batch *done;
  unsigned in_flight; /* sent and not reaped */
};

/* -- batches ------------------------------------------------------------ */

static struct batch *
make_batch (struct batch_writer *w)
{
  struct batch *b;

  if (w->made == w->most)
    return NULL;
  b = alloc_zeroed (CACHE_LINE, sizeof *b);
  if (!b)
    return NULL;
  b->buf = alloc_zeroed (BACKING_BLOCK, BATCH_BLOCKS * BACKING_BLOCK);
  if (!b->buf) {
    free (b);
    return NULL;
  }
  b->w = w;
  w->made++;
  return b;
}

static void
free_batch (struct batch *b)
{
  free (b->buf);
  free (b);
}

/* An idle batch, a new one, or the next one to complete; NULL with errno. */
static struct batch *
get_batch (struct batch_writer *w)
{
  struct batch *b;

  (void) batch_writer_reap (w, false);
  if (!w->idle && (b = make_batch (w)) != NULL)
    return b;
  while (!w->idle)
    if (batch_writer_reap (w, true) == 0) {
      errno = ENOMEM;
      return NULL;
    }
  b = w->idle;
  w->idle = b->next;
  return b;
}

static void
put_back (struct batch *b)
{
  b->next = b->w->idle;
  b->w->idle = b;
}

static enum put_result
open_batch (struct batch_writer *w)
{
  struct batch *b = get_batch (w);

  if (!b)
    return PUT_FAILED;
  /* All claims are taken, but some by this writer's batches: wait for those. */
  while (!(b->claim = claim_take (w->store)) && batch_writer_reap (w, true) > 0)
    ;
  if (!b->claim) {
    put_back (b);
    errno = EBUSY;
    return PUT_FAILED;
  }
  b->blocks = blocks_alloc (w->store->backed->blocks, BATCH_BLOCKS, &b->first);
  if (!b->blocks) {
    claim_release (w->store, b->claim);
    put_back (b);
    return PUT_FULL;
  }
  b->used = b->n = 0;
  b->setting = writeback_limit_setting (&w->store->writeback_limit);
  memset (b->maybe, 0, sizeof b->maybe);
  w->open = b;
  return PUT_DONE;
}

/* Give the open batch back; it is empty. */
static void
abandon_open (struct batch_writer *w)
{
  struct batch *b = w->open;

  blocks_release (w->store->backed->blocks, b->first, b->blocks);
  claim_release (w->store, b->claim);
  w->open = NULL;
  put_back (b);
}

/* -- in ----------------------------------------------------------------- */

static bool
has_room (const struct batch *b, uint32_t size)
{
  return b->n < BATCH_RECORDS &&
         b->setting ==
           writeback_limit_setting (&b->w->store->writeback_limit) &&
         b->used + record_bytes (size) <= b->blocks * BACKING_BLOCK;
}

static unsigned
filter_bit (uint64_t slot)
{
  return (unsigned) (slot * UINT64_C (0x9e3779b97f4a7c15) >> 32) % BATCH_FILTER;
}

static bool
has_slot (const struct batch *b, uint64_t slot)
{
  unsigned bit = filter_bit (slot);

  if (!(b->maybe[bit / 64] >> bit % 64 & 1))
    return false;
  for (unsigned i = 0; i < b->n; i++)
    if (b->refs[i].slot == slot)
      return true;
  return false;
}

/* Make sure that there is an open batch with room for the record. */
static enum put_result
need_room (struct batch_writer *w, uint64_t slot, uint32_t size)
{
  enum put_result r;

  if (w->open && (!has_room (w->open, size) || has_slot (w->open, slot)))
    batch_writer_flush (w);
  if (!w->open && (r = open_batch (w)) != PUT_DONE)
    return r;
  if (has_room (w->open, size))
    return PUT_DONE;
  abandon_open (w); /* its run is short, between blocks in use */
  return PUT_NO_RUN;
}

static unsigned
units (const struct batch_writer *w)
{
  return w->store->config.slot_size / 4096;
}

enum put_result
batch_writer_put (struct batch_writer *w, struct disk *disk, uint64_t index,
                  uint32_t meta)
{
  uint32_t size = slot_meta_size (meta);
  uint64_t slot = disk_slot (disk, index);
  enum put_result r = need_room (w, slot, size);
  struct batch *b = w->open;

  if (r != PUT_DONE)
    return r;
  if (!writeback_limit_take (&w->store->writeback_limit, units (w)))
    r = PUT_LIMIT;
  else if (!claim_copy (disk, index, meta, b->claim,
                        b->buf + b->used + RECORD_HEADER)) {
    writeback_limit_refund (&w->store->writeback_limit, units (w), b->setting);
    r = PUT_SKIPPED;
  }
  if (r != PUT_DONE) {
    if (b->n == 0)
      abandon_open (w);
    return r;
  }
  record_seal (w->store->backed, b->buf + b->used,
               b->first * BACKING_BLOCK + b->used, slot,
               slot_meta_format (meta), size);
  b->refs[b->n++] = (struct record_ref){ slot, b->used, meta };
  b->maybe[filter_bit (slot) / 64] |= UINT64_C (1) << filter_bit (slot) % 64;
  b->used += record_bytes (size);
  return PUT_DONE;
}

/* -- out ---------------------------------------------------------------- */

static void
batch_done (struct backing_io *io)
{
  struct batch *b = io->ctx;
  struct batch_writer *w = b->w;

  mutex_lock (&w->lock);
  b->next = w->done;
  w->done = b;
  cond_signal (&w->completed);
  mutex_unlock (&w->lock);
}

void
batch_writer_flush (struct batch_writer *w)
{
  struct batch *b = w->open;
  uint32_t blocks, bytes;

  if (!b)
    return;
  blocks = (b->used + BACKING_BLOCK - 1) / BACKING_BLOCK;
  bytes = blocks * BACKING_BLOCK;
  /* The backing store must not get old data of the buffer. */
  memset (b->buf + b->used, 0, bytes - b->used);
  if (blocks < b->blocks)
    blocks_release (w->store->backed->blocks, b->first + blocks,
                    b->blocks - blocks);
  b->blocks = blocks;
  b->io = (struct backing_io){ .op = BACKING_WRITE,
                               .buf = b->buf,
                               .offset = b->first * BACKING_BLOCK,
                               .len = bytes,
                               .done = batch_done,
                               .ctx = b };
  w->open = NULL;
  w->totals.backing_bytes += bytes;
  mutex_lock (&w->lock);
  w->in_flight++;
  mutex_unlock (&w->lock);
  backing_submit (w->store->backed->io, &b->io);
}

static void
swap (struct batch_writer *w, const struct batch *b,
      const struct record_ref *ref, struct disk *disk)
{
  uint32_t size = slot_meta_size (ref->meta);
  struct content new;

  content_make_backed (disk, b->first * BACKING_BLOCK + ref->at,
                       slot_meta_format (ref->meta), size, &new);
  new.marks = ref->meta &SLOT_MARKS;
  /* Count first: then every thread that sees the slot BACKED also sees it
   * counted.
   */
  disk_count (disk, DISK_BD_WRITES, 1);
  if (claim_replace (disk, disk_index_of (ref->slot), b->claim, &new)) {
    w->totals.slots++;
    w->totals.bytes += size;
  }
  else
    w->totals.lost++;
}

static void
give_up (struct batch_writer *w, const struct batch *b,
         const struct record_ref *ref, struct disk *disk)
{
  claim_end (disk, disk_index_of (ref->slot), b->claim, ref->meta & SLOT_MARKS);
  writeback_limit_refund (&w->store->writeback_limit, units (w), b->setting);
  disk_count (disk, DISK_BD_WRITE_ERRORS, 1);
  w->totals.failed++;
  if (!w->totals.error)
    w->totals.error = b->io.error;
}

/* If the disk is gone, the slot's content is gone too, and no slot uses the
 * record.
 */
static void
finish_record (struct batch_writer *w, const struct batch *b,
               const struct record_ref *ref)
{
  struct disk *disk = store_disk (w->store, disk_id_of (ref->slot));

  if (!disk)
    w->totals.lost++;
  else {
    if (b->io.error)
      give_up (w, b, ref, disk);
    else
      swap (w, b, ref, disk);
    disk_put (disk);
  }
}

static void
finish (struct batch_writer *w, struct batch *b)
{
  fault_pause ("batch.finish");
  for (unsigned i = 0; i < b->n; i++)
    finish_record (w, b, &b->refs[i]);
  claim_release (w->store, b->claim);
  if (b->io.resent)
    backed_release_later (w->store->backed, b->first, b->blocks);
  else
    blocks_release (w->store->backed->blocks, b->first, b->blocks);
  put_back (b);
}

unsigned
batch_writer_reap (struct batch_writer *w, bool wait)
{
  struct batch *done;
  unsigned n = 0;

  mutex_lock (&w->lock);
  while (wait && !w->done && w->in_flight)
    cond_wait (&w->completed, &w->lock);
  done = w->done;
  w->done = NULL;
  for (struct batch *b = done; b; b = b->next)
    w->in_flight--;
  mutex_unlock (&w->lock);

  for (; done; n++) {
    struct batch *b = done;

    done = b->next;
    finish (w, b);
  }
  return n;
}

void
batch_writer_drain (struct batch_writer *w)
{
  batch_writer_flush (w);
  while (batch_writer_reap (w, true) > 0)
    ;
}

static bool
is_in_flight (struct batch_writer *w)
{
  bool is;

  mutex_lock (&w->lock);
  is = w->in_flight > 0;
  mutex_unlock (&w->lock);
  return is;
}

bool
batch_writer_drain_patiently (struct batch_writer *w, const struct patience *p)
{
  batch_writer_flush (w);
  do
    (void) batch_writer_reap (w, false);
  while (is_in_flight (w) && patience_nap (p));
  return !is_in_flight (w);
}

static void
free_idle (struct batch_writer *w)
{
  while (w->idle) {
    struct batch *b = w->idle;

    w->idle = b->next;
    free_batch (b);
    w->made--;
  }
}

void
batch_writer_trim (struct batch_writer *w)
{
  if (!w->keeps)
    free_idle (w);
}

struct batch_totals
batch_writer_totals (struct batch_writer *w)
{
  struct batch_totals t = w->totals;

  memset (&w->totals, 0, sizeof w->totals);
  return t;
}

/* -- life --------------------------------------------------------------- */

struct batch_writer *
batch_writer_create (struct store *store)
{
  struct batch_writer *w = alloc_zeroed (CACHE_LINE, sizeof *w);

  if (!w)
    return NULL;
  w->store = store;
  w->keeps = store->config.keep_ready != 0;
  w->most = w->keeps ? BATCHES_KEPT : BATCHES;
  mutex_init (&w->lock, RANK_LEAF);
  cond_init (&w->completed);
  while (w->keeps && w->made < w->most) {
    struct batch *b = make_batch (w);

    if (!b) {
      batch_writer_destroy (w);
      return NULL;
    }
    put_back (b);
  }
  return w;
}

void
batch_writer_destroy (struct batch_writer *w)
{
  KEEP_ERRNO;

  if (!w)
    return;
  batch_writer_drain (w);
  free_idle (w);
  cond_destroy (&w->completed);
  mutex_destroy (&w->lock);
  free (w);
}
