/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Lines of the log that a client or a broken store can cause over and over: all
 * of them go through here, and only so many are written (base/log_limit.h).  A
 * thread, which sleeps until something was left out, says how many were.
 */

#ifndef ZRAM_LOG_H
#define ZRAM_LOG_H

#include <stdbool.h>
#include <stdint.h>

#include "base/compiler.h"

/* After the fork.  0, or -1 with errno set. */
int log_start (void) MUST_USE;

/* Tell of what is left; then nothing is left out any more unsaid but what comes
 * after it.  Harmless if it never started.
 */
void log_stop (void);

/* May a line of that kind be written?  'id' is any number, the same for lines
 * that say the same; 'name' is its plural in the summary.  errno stays.
 */
bool log_may (uint64_t id, const char *name) MUST_USE;

#endif /* ZRAM_LOG_H */
