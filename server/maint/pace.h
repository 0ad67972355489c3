/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Pace: gives the background work of one thread a share of a CPU, and a smaller
 * share while clients send requests.
 *
 *   work  |##|     |##|     |##|#########…      spent
 *   sleep     |...|   |...|   |                 owed = spent * (100 - share) /
 *         requests ----------> none             share
 *
 * The owed time is slept in pieces of at least a millisecond: shorter sleeps
 * would mostly be overhead.
 */

#ifndef ZRAM_PACE_H
#define ZRAM_PACE_H

#include "maint/ticker.h"
#include "store/store.h"

/* The smaller share, in percent of the larger one.  Measured with random reads
 * at depth 32 on 2 cores, during recompression at zstd's level 9, compared to
 * no recompression: with 25, the 99th percentile is 1.7 times as high and the
 * rate 0.85 of it; with 12, they are 1.25 and 0.93.
 */
#define PACE_BUSY_PERCENT 12

struct pace {
  struct store *store;
  struct ticker *ticker; /* ends a sleep early when it stops; or NULL */
  unsigned idle_share, busy_share; /* percent of a CPU, 1 to 100 */
  int64_t requests;                /* requests ended at the last look */
  uint64_t busy_until;             /* clock_ns */
  uint64_t owed_ns;
};

void pace_init (struct pace *pace, struct store *store, struct ticker *ticker,
                unsigned idle_share, unsigned busy_share);

/* So many of the requests since the last step were the caller's own: they do
 * not count as requests of clients.
 */
void pace_forgive (struct pace *pace, unsigned requests);

/* Call it after a step that took so long; sleeps if necessary. */
void pace_step (struct pace *pace, uint64_t spent_ns);

#endif /* ZRAM_PACE_H */
