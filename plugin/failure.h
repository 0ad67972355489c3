/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the log says of requests that failed, and of a memory that is nearly
 * full.  Both take only locks that are held for moments, and the log's (log.h),
 * which bounds how much is said.
 */

#ifndef ZRAM_FAILURE_H
#define ZRAM_FAILURE_H

#include <stdint.h>

#include "store/disk.h"

/* Say why a request failed, with errno: 'what' is its name, a constant, as in
 * "read", at 'offset', of 'count' bytes.  When it was said often enough it is
 * counted.  Returns -1, for the caller to return; errno stays.
 */
int request_failed (struct disk *disk, const char *what, uint64_t offset,
                    uint64_t count);

/* After a write: say so if it passed one of the budget's marks.  errno stays.
 */
void warn_if_nearly_full (struct disk *disk);

#endif /* ZRAM_FAILURE_H */
