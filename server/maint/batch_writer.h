/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Batch writer: takes slots' objects to the backing store, many in one write
 * and many writes in flight.
 *
 *   put (slot) --copy, header--> open batch --full, flush--> in flight
 *                                   ^                            |
 *                    idle <--reap: swap the slots <-- done <-----+
 *
 *   a batch: a run of blocks, a claim that all its slots bear, and where in
 *   the buffer each slot's record is (store/backed.h)
 *
 * A slot is swapped only once its record is written, and only if it still bears
 * the claim: what changed meanwhile stays as it is.  After an error all of
 * them stay in memory, and what was taken from writeback_limit goes back.
 * The completion only puts the batch on a list; the swapping, which takes slot
 * locks, is done by the writer's own thread: a reader that holds such a lock
 * may be waiting for the very thread that completes.
 *
 * A batch takes a slot once at most, or what was put first could overwrite what
 * was written since: a slot that is in the open batch already sends that first.
 *
 * Locks: 'lock' (a leaf) protects the list of done batches and in_flight; all
 * else belongs to the one thread that uses the writer.
 */

#ifndef ZRAM_BATCH_WRITER_H
#define ZRAM_BATCH_WRITER_H

#include "base/patience.h"
#include "store/claim.h"

#define BATCH_BLOCKS 32u    /* 128 KiB */
#define BATCH_RECORDS 1024u /* slots, at the most */
#define BATCHES 32u         /* in flight, at the most */
#define BATCHES_KEPT 8u     /* the same where memory is kept ready (refill.h) */

struct batch_totals {
  uint64_t slots, bytes; /* swapped, and what their objects took in memory */
  uint64_t lost;         /* changed meanwhile */
  uint64_t failed;       /* not written: they stay in memory */
  uint64_t store_bytes;  /* sent to the store, headers and padding included */
  int error;             /* errno of the first failure, or 0 */
};

struct batch_writer;

/* The disk has a backing store.  Where memory is kept ready all batches are
 * made now: a write may be waiting for the room that they make.  NULL with
 * errno ENOMEM.
 */
struct batch_writer *batch_writer_create (struct store *store) MUST_USE;

/* Waits for what is in flight. */
void batch_writer_destroy (struct batch_writer *w);

enum put_result {
  PUT_DONE,
  PUT_SKIPPED, /* locked or changed */
  PUT_NO_RUN,  /* what is free lies in pieces, too short for this one */
  PUT_FULL,    /* the store has no free block */
  PUT_LIMIT,   /* writeback_limit is used up */
  PUT_FAILED,  /* errno: no memory, no claim */
};

/* Copy the slot, which had that meta (OBJECT) at a look without lock.  May wait
 * for a batch to complete, and swap the slots of those that have.
 */
enum put_result batch_writer_put (struct batch_writer *w, struct disk *disk,
                                  uint64_t index, uint32_t meta) MUST_USE;

/* Send the open batch, if there is one. */
void batch_writer_flush (struct batch_writer *w);

/* Swap the slots of batches that are done; returns how many batches that were.
 * 'wait': for one at least, if any is in flight.
 */
unsigned batch_writer_reap (struct batch_writer *w, bool wait);

/* Flush, and reap all. */
void batch_writer_drain (struct batch_writer *w);

/* The same, but false if some is still in flight when patience ends; the
 * writer is as good as before then.
 */
bool batch_writer_drain_patiently (struct batch_writer *w,
                                   const struct patience *p) MUST_USE;

/* Free the batches that are idle, some 145 KiB each, but for those that are
 * kept ready.
 */
void batch_writer_trim (struct batch_writer *w);

/* Since the last time. */
struct batch_totals batch_writer_totals (struct batch_writer *w);

#endif /* ZRAM_BATCH_WRITER_H */
