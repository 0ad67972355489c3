/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Log messages about failed requests, and about memory that is nearly full.
 * Both functions take only locks that are held for moments, and the log's
 * (log.h).  The log limits how many lines are written.
 */

#ifndef ZRAM_FAILURE_H
#define ZRAM_FAILURE_H

#include <stdint.h>

#include "store/disk.h"

/* Log why a request failed, from errno.  'what' is the request's name, a
 * constant such as "read"; 'offset' and 'count' are in bytes.  Once it was
 * logged often enough, it is only counted.  Returns -1, for the caller to
 * return; errno stays.
 */
int request_failed (struct disk *disk, const char *what, uint64_t offset,
                    uint64_t count);

/* Call it after a write: warns if memory passed one of the budget's marks.
 * errno stays.
 */
void warn_if_nearly_full (struct disk *disk);

#endif /* ZRAM_FAILURE_H */
