/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Log limiter: decides which lines are written when a client or a broken
 * backing causes thousands a second.
 *
 *   lines of one kind    ####|||||||||||||||||||||||||||||   |      time -->
 *   are written          ####                                |
 *   and after a period                    + "29 left out"
 *
 * Each kind may write LOG_LIMIT_BURST lines at first, and gets one more in each
 * period, up to that number again.  Lines left out are counted, and reported
 * once a period, for all kinds together.  A kind is a number that the caller
 * chooses.  The first line of a kind is always written, unless there are more
 * kinds than places: the rest share the last place.  So in every case the log
 * has at most
 *
 *   LOG_LIMIT_KINDS * (LOG_LIMIT_BURST + periods) + periods   lines.
 *
 * Locks: one of its own, a leaf.
 */

#ifndef ZRAM_LOG_LIMIT_H
#define ZRAM_LOG_LIMIT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/compiler.h"
#include "base/mutex.h"

#define LOG_LIMIT_KINDS 24
#define LOG_LIMIT_BURST 8
#define LOG_LIMIT_PERIOD_S 10
#define LOG_LIMIT_PERIOD_NS (UINT64_C (1000000000) * LOG_LIMIT_PERIOD_S)
#define LOG_LIMIT_NAME 64 /* bytes */

struct log_limit {
  struct mutex lock; /* everything below */
  unsigned kinds;
  struct log_limit_kind {
    uint64_t id;
    char name[LOG_LIMIT_NAME]; /* for the summary */
    uint64_t since_ns;         /* lines were added up to this time */
    unsigned lines;            /* that may be written now */
    uint64_t left_out;         /* since the last summary */
  } kind[LOG_LIMIT_KINDS];
};

#define LOG_LIMIT_INIT             \
  {                                \
    .lock = MUTEX_INIT (RANK_LEAF) \
  }

/* May a line of that kind be written now (clock_ns)?  If not, it is counted,
 * and *first says whether it is the first since the last summary.  If so, a
 * summary is due a period later.
 */
bool log_limit_take (struct log_limit *l, uint64_t id, const char *name,
                     uint64_t now_ns, bool *first) MUST_USE;

/* The lines left out since the last summary, as a sentence without its end.
 * Sets the counts to 0.  False if none were left out.
 */
bool log_limit_summary (struct log_limit *l, char *buf, size_t size) MUST_USE;

#endif /* ZRAM_LOG_LIMIT_H */
