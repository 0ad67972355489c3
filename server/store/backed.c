/* SPDX-License-Identifier: BSD-3-Clause */
/* Backed slots: late blocks, punching, and the buffers for records.
 * Contract: store/backed.h.
 */

#include <config.h>

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/keep_errno.h"
#include "base/run_clock.h"
#include "store/backed.h"

struct backed *
backed_create (struct backing *io)
{
  struct backed *b = alloc_zeroed (0, sizeof *b);

  if (!b)
    return NULL;
  b->blocks = blocks_open (backing_size (io) / BACKING_BLOCK,
                           backing_can_punch (io));
  if (!b->blocks) {
    free (b);
    return NULL;
  }
  b->io = io;
  mutex_init (&b->lock, RANK_LATE);
  /* Not for secrecy: it makes the records of an earlier process fail the check.
   */
  if (getrandom (&b->secret, sizeof b->secret, GRND_NONBLOCK) !=
      sizeof b->secret)
    b->secret = clock_ns ();
  return b;
}

/* -- blocks that cannot be used yet --------------------------------------- */

/* By the run clock: the backing store, and requests on their way to it, may
 * have stood still together with this process.
 */
#define LATE_NS (UINT64_C (120) * 1000000000)

struct late_run {
  struct late_run *next;
  uint64_t first, due_ns;
  unsigned n;
  bool punched; /* released and punched; may be punched again */
};

static void
later (struct backed *b, uint64_t first, unsigned n, bool was_punched)
{
  struct late_run *run = malloc (sizeof *run);

  if (!run)
    return; /* then they are never released */
  *run = (struct late_run){ .first = first,
                            .n = n,
                            .punched = was_punched,
                            .due_ns = run_clock_ns () + LATE_NS };
  mutex_lock (&b->lock);
  run->next = b->late;
  b->late = run;
  mutex_unlock (&b->lock);
}

void
backed_release_later (struct backed *b, uint64_t first, unsigned n)
{
  later (b, first, n, false);
}

static void
release_due (struct backed *b, uint64_t now)
{
  struct late_run **at, *run;

  mutex_lock (&b->lock);
  for (at = &b->late; (run = *at) != NULL;)
    if (run->due_ns <= now) {
      *at = run->next;
      if (run->punched)
        blocks_punch_end (b->blocks, run->first, run->n);
      else
        blocks_release (b->blocks, run->first, run->n);
      free (run);
    }
    else
      at = &run->next;
  mutex_unlock (&b->lock);
}

uint64_t
backed_late_punches (struct backed *b)
{
  uint64_t n = 0;

  mutex_lock (&b->lock);
  for (struct late_run *run = b->late; run; run = run->next)
    n += run->punched ? run->n : 0;
  mutex_unlock (&b->lock);
  return n;
}

void
backed_audit_late (struct backed *b, struct blocks_audit *audit)
{
  mutex_lock (&b->lock);
  for (struct late_run *run = b->late; run; run = run->next)
    if (!run->punched)
      blocks_audit_writer (audit, run->first, run->n);
  mutex_unlock (&b->lock);
}

/* Blocks of one punch, at least and at most, and punches of one backed_tidy. */
#define PUNCH_LEAST 16
#define PUNCH_MOST 4096
#define PUNCHES 16

/* Free blocks between used ones, or beside blocks that were punched before,
 * never become a long run.  So once a second short runs are punched too.  Their
 * number, and the number under way, are limited, because each is a request of
 * its own to the backing store.
 */
#define BITS_LEAST 1
#define BITS_PUNCHES 256
#define BITS_PAUSE_NS (UINT64_C (1) * 1000000000)

struct punch {
  struct backing_io io;
  struct backed *b;
};

static void
punched (struct backing_io *io)
{
  struct punch *p = io->ctx;
  uint64_t first = io->offset / BACKING_BLOCK;
  unsigned n = (unsigned) (io->len / BACKING_BLOCK);

  if (io->resent)
    later (p->b, first, n, true);
  else
    blocks_punch_end (p->b->blocks, first, n);
  atomic_fetch_sub (&p->b->punches, 1);
  free (p);
}

static bool
punch_a_run (struct backed *b, unsigned least)
{
  struct punch *p = malloc (sizeof *p);
  uint64_t first;
  unsigned n = p ? blocks_punch_begin (b->blocks, least, PUNCH_MOST, &first)
                 : 0;

  if (!n) {
    free (p);
    return false;
  }
  p->b = b;
  atomic_fetch_add (&b->punches, 1);
  p->io = (struct backing_io){ .op = BACKING_PUNCH,
                               .offset = first * BACKING_BLOCK,
                               .len = (uint64_t) n * BACKING_BLOCK,
                               .done = punched,
                               .ctx = p };
  backing_submit (b->io, &p->io);
  return true;
}

/* A short run is punched one or two pauses after it became free. */
static void
punch_bits (struct backed *b, uint64_t now)
{
  struct blocks_stats st;

  blocks_get_stats (b->blocks, &st);
  if (st.waiting == 0 || b->bits_due_ns == 0) {
    b->bits_due_ns = st.waiting ? now + BITS_PAUSE_NS : 0;
    return;
  }
  if (now < b->bits_due_ns)
    return;
  b->bits_due_ns = now + BITS_PAUSE_NS;
  for (unsigned n = 0;
       n < BITS_PUNCHES && atomic_load (&b->punches) < BITS_PUNCHES; n++)
    if (!punch_a_run (b, BITS_LEAST))
      break;
}

bool
backed_tidy (struct backed *b)
{
  uint64_t now = run_clock_ns ();
  unsigned n = 0;

  release_due (b, now);
  if (!backing_can_punch (b->io)) {
    blocks_set_punch (b->blocks, false);
    return false;
  }
  while (n < PUNCHES && punch_a_run (b, PUNCH_LEAST))
    n++;
  punch_bits (b, now);
  return n == PUNCHES;
}

/* -- life, the end ------------------------------------------------------- */

void
backed_destroy (struct backed *b)
{
  KEEP_ERRNO;

  if (!b)
    return;
  backing_close (b->io);
  release_due (b, UINT64_MAX);
  mutex_destroy (&b->lock);
  blocks_close (b->blocks);
  free (b->records);
  free (b);
}

/* -- buffers for records -------------------------------------------------- */

#define RECORDS 64 /* kept: threads of four connections that read at once */

void
backed_keep_records (struct backed *b, uint32_t slot_size)
{
  size_t room = (record_bytes (slot_size) + CACHE_LINE - 1) / CACHE_LINE *
                CACHE_LINE;

  b->records = alloc_zeroed (CACHE_LINE, RECORDS * room);
  b->record_room = room;
}

/* The lowest free buffer; -1: none. */
static int
take_record (struct backed *b)
{
  uint64_t taken = atomic_load (&b->records_taken), bit;

  do {
    bit = ~taken & (taken + 1);
    if (!bit)
      return -1;
  } while (
    !atomic_compare_exchange_weak (&b->records_taken, &taken, taken | bit));
  return __builtin_ctzll (bit);
}

char *
backed_record_new (struct backed *b, uint32_t size)
{
  int n = b->records ? take_record (b) : -1;
  char *record;

  if (n >= 0)
    return b->records + (size_t) n * b->record_room;
  record = fault_hit ("alloc") ? NULL : malloc (record_bytes (size));
  if (!record)
    errno = ENOMEM;
  return record;
}

void
backed_record_free (struct backed *b, char *record)
{
  if (record && b->records && record >= b->records &&
      record < b->records + RECORDS * b->record_room)
    atomic_fetch_and (
      &b->records_taken,
      ~(UINT64_C (1) << (size_t) (record - b->records) / b->record_room));
  else
    free (record);
}
