/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Slots whose object lies in a backing store.  The object is there as it was in
 * memory, behind a header; a BACKED slot's cell is the byte address of that
 * record, and its meta keeps format and size.
 *
 *   block        7                8                9
 *          +----------------+----------------+----------------+
 *          | H obj | H obj  | H  obj| H   obj| H obj | -      |
 *          +----------------+----------------+----------------+
 *            ^cell of a slot
 *
 *   H: 16 bytes that tell whether the object is the one (object.h)
 *
 * Who holds the slot's lock, shared or not, keeps the record: its blocks are
 * given back only by a holder of the exclusive lock.  So a read sleeps in the
 * store under the shared lock, and nobody reuses the block meanwhile.
 *
 * Invariant: each block counts the records that touch it (dev/blocks.h), and
 * those are the records of the BACKED slots.
 */

#ifndef ZRAM_BACKED_H
#define ZRAM_BACKED_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "base/compiler.h"
#include "base/mutex.h"
#include "dev/backing.h"
#include "dev/blocks.h"

#define RECORD_HEADER 16u /* bytes */

struct late_run; /* of blocks that may still be written to */

struct backed {
  struct backing *io;    /* owned */
  struct blocks *blocks; /* owned */
  uint64_t secret;
  struct mutex lock;        /* rank LATE; protects late */
  struct late_run *late;    /* owned */
  _Atomic unsigned punches; /* under way */
  uint64_t bits_due_ns;     /* run_clock_ns; backed_tidy's own */

  /* Buffers for records, owned, or NULL: see backed_keep_records. */
  char *records;
  size_t record_room;             /* bytes of each */
  _Atomic uint64_t records_taken; /* a bit for each */
};

/* Takes over the store, which is open; NULL with errno ENOMEM, or EINVAL (over
 * BLOCKS_MAX), and it does not.
 */
struct backed *backed_create (struct backing *io) MUST_USE;

/* Nothing may be in flight, and no slot in the store.  NULL is allowed. */
void backed_destroy (struct backed *b);

/* As blocks_release, but not before the last try of a request that was sent
 * twice can have landed (backing.h: resent).
 */
void backed_release_later (struct backed *b, uint64_t first, unsigned n);

/* Blocks that were punched, but for the same reason are nobody's for a while:
 * they count as being punched (dev/blocks.h).
 */
uint64_t backed_late_punches (struct backed *b);

/* For the auditor: name those runs. */
void backed_audit_late (struct backed *b, struct blocks_audit *audit);

/* Housekeeping: release what is due, and punch some of what is free: long runs
 * at once; short ones, which may still grow, a second later.  Returns
 * whether there may be more to do.  One thread at a time; takes no lock for
 * longer than a moment, and does not wait for the punches.
 */
bool backed_tidy (struct backed *b);

static inline uint32_t
record_bytes (uint32_t size)
{
  return RECORD_HEADER + size;
}

/* Have buffers for the records of 64 slots of that size, so that who reads one
 * need not ask for memory.  As far as there is memory now.  Before any request.
 */
void backed_keep_records (struct backed *b, uint32_t slot_size);

/* A buffer for the record of an object of that size: one of those that are
 * kept, else from the heap.  NULL with errno ENOMEM.
 */
char *backed_record_new (struct backed *b, uint32_t size) MUST_USE;

/* errno stays.  NULL is allowed, and then also for 'b'. */
void backed_record_free (struct backed *b, char *record);

#endif /* ZRAM_BACKED_H */
