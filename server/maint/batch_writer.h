/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Batch writer: writes slots' objects to the backing store, many in one write,
 * with many writes in flight.
 *
 *   put (slot) --copy, header--> open batch --full, flush--> in flight
 *                                   ^                            |
 *                    idle <--reap: swap the slots <-- done <-----+
 *
 *   a batch: a run of blocks, a claim that all its slots bear, and the place
 *   of each slot's record in the buffer (store/backed.h)
 *
 * A slot is swapped only after its record is written, and only if it still
 * bears the claim: slots that changed meanwhile stay as they are.  After an
 * error all slots of the batch stay in memory, and writeback_limit is refunded.
 * The completion only puts the batch on a list.  The writer's own thread swaps
 * the slots, because that takes slot locks, and a reader that holds such a lock
 * may be waiting for the thread that runs the completion.
 *
 * A batch contains a slot at most once; otherwise an older record could replace
 * newer data.  If a slot is already in the open batch, that batch is sent
 * first.
 *
 * Locks: 'lock' (a leaf) protects the list of done batches and in_flight.  All
 * else belongs to the one thread that uses the writer.
 */

#ifndef ZRAM_BATCH_WRITER_H
#define ZRAM_BATCH_WRITER_H

#include "base/patience.h"
#include "store/claim.h"

#define BATCH_BLOCKS 32u    /* 128 KiB */
#define BATCH_RECORDS 1024u /* slots, at most */
#define BATCHES 32u         /* in flight, at most */
#define BATCHES_KEPT 8u     /* the same if memory is kept ready (refill.h) */

struct batch_totals {
  uint64_t slots, bytes;  /* swapped, and the memory that their objects took */
  uint64_t lost;          /* changed meanwhile */
  uint64_t failed;        /* not written: they stay in memory */
  uint64_t backing_bytes; /* sent, with headers and padding */
  int error;              /* errno of the first failure, or 0 */
};

struct batch_writer;

/* The store has a backing store.  If memory is kept ready, all batches are made
 * now: later a write may be waiting for the room that they make.  NULL with
 * errno ENOMEM.
 */
struct batch_writer *batch_writer_create (struct store *store) MUST_USE;

/* Waits for the batches in flight. */
void batch_writer_destroy (struct batch_writer *w);

enum put_result {
  PUT_DONE,
  PUT_SKIPPED, /* locked or changed */
  PUT_NO_RUN,  /* the free runs of blocks are too short for this one */
  PUT_FULL,    /* the backing store has no free block */
  PUT_LIMIT,   /* writeback_limit is used up */
  PUT_FAILED,  /* errno: no memory, no claim */
};

/* Copy the slot, which had that meta (OBJECT) at a look without lock.  May wait
 * for a batch to complete, and swap the slots of completed batches.
 */
enum put_result batch_writer_put (struct batch_writer *w, struct disk *disk,
                                  uint64_t index, uint32_t meta) MUST_USE;

/* Send the open batch, if there is one. */
void batch_writer_flush (struct batch_writer *w);

/* Swap the slots of completed batches; returns the number of those batches.
 * 'wait': wait for at least one, if any is in flight.
 */
unsigned batch_writer_reap (struct batch_writer *w, bool wait);

/* Flush, and reap all. */
void batch_writer_drain (struct batch_writer *w);

/* The same, but false if a batch is still in flight when patience ends.  The
 * writer can still be used then.
 */
bool batch_writer_drain_patiently (struct batch_writer *w,
                                   const struct patience *p) MUST_USE;

/* Free the idle batches, some 145 KiB each, except those that are kept ready.
 */
void batch_writer_trim (struct batch_writer *w);

/* The totals since the last call. */
struct batch_totals batch_writer_totals (struct batch_writer *w);

#endif /* ZRAM_BATCH_WRITER_H */
