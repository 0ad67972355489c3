/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Slots whose object lies in a backing store.  There the object has the same
 * bytes as in memory, behind a header: together they are a record.  A BACKED
 * slot's cell is the byte address of its record, and its meta keeps format and
 * size.
 *
 *   block        7                8                9
 *          +----------------+----------------+----------------+
 *          | H obj | H obj  | H  obj| H   obj| H obj | -      |
 *          +----------------+----------------+----------------+
 *            ^cell of a slot
 *
 *   H: 16 bytes that tell whether this is the right object (object.h)
 *
 * The slot's lock, shared or exclusive, protects the record: its blocks are
 * given back only under the exclusive lock.  So a read waits for the backing
 * store under the shared lock, and no other slot reuses the block meanwhile.
 *
 * Invariant: each block counts the records that touch it (dev/blocks.h); these
 * are exactly the records of the BACKED slots.
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
  struct mutex lock;        /* rank LATE; protects 'late' */
  struct late_run *late;    /* owned */
  _Atomic unsigned punches; /* under way */
  uint64_t bits_due_ns;     /* run_clock_ns; backed_tidy's own */

  /* Buffers for records, owned, or NULL: see backed_keep_records. */
  char *records;
  size_t record_room;             /* bytes of each */
  _Atomic uint64_t records_taken; /* a bit for each */
};

/* Takes ownership of the backing 'io', which is open.  NULL with errno ENOMEM,
 * or EINVAL (over BLOCKS_MAX); then it does not.
 */
struct backed *backed_create (struct backing *io) MUST_USE;

/* Nothing may be in flight, and no slot may be BACKED.  NULL is allowed. */
void backed_destroy (struct backed *b);

/* As blocks_release, but the blocks become free only when the last try of a
 * request that was sent twice must have landed (backing.h: resent).
 */
void backed_release_later (struct backed *b, uint64_t first, unsigned n);

/* Blocks that were punched but cannot be used for a while, for the same reason:
 * they count as being punched (dev/blocks.h).
 */
uint64_t backed_late_punches (struct backed *b);

/* For the auditor: report those runs. */
void backed_audit_late (struct backed *b, struct blocks_audit *audit);

/* Housekeeping: release the blocks that are due, and punch some of the free
 * ones: long runs at once; short ones, which may still grow, a second later.
 * Returns whether there may be more to do.  One thread at a time.  Takes locks
 * only for a moment, and does not wait for the punches.
 */
bool backed_tidy (struct backed *b);

static inline uint32_t
record_bytes (uint32_t size)
{
  return RECORD_HEADER + size;
}

/* Keep buffers for the records of 64 slots of that size, so that reading one
 * needs no new memory.  Makes as many as there is memory for now.  Before any
 * request.
 */
void backed_keep_records (struct backed *b, uint32_t slot_size);

/* A buffer for the record of an object of that size: a kept one, or else one
 * from the heap.  NULL with errno ENOMEM.
 */
char *backed_record_new (struct backed *b, uint32_t size) MUST_USE;

/* Keeps errno.  'record' may be NULL, and then 'b' too. */
void backed_record_free (struct backed *b, char *record);

#endif /* ZRAM_BACKED_H */
