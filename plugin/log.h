/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Log lines that a client or a broken backing store can cause again and again.
 * All of them pass through here, and only so many are written
 * (base/log_limit.h).  A thread sleeps until lines were left out, then logs how
 * many.
 */

#ifndef ZRAM_LOG_H
#define ZRAM_LOG_H

#include <stdbool.h>
#include <stdint.h>

#include "base/compiler.h"

/* Call it after the fork.  0, or -1 with errno set. */
int log_start (void) MUST_USE;

/* Log how many lines were left out and not yet reported.  Lines left out after
 * that are not reported.  Harmless if the log was never started.
 */
void log_stop (void);

/* May a line of that kind be written?  'id' is any number, the same for lines
 * with the same text; 'name' is its plural for the summary.  errno stays.
 */
bool log_may (uint64_t id, const char *name) MUST_USE;

#endif /* ZRAM_LOG_H */
