/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The file or block device that a path names: made if it has to be, opened,
 * locked against every other store and program, and measured.
 */

#ifndef ZRAM_BACKING_PATH_H
#define ZRAM_BACKING_PATH_H

#include "dev/backing_impl.h"

struct backing_path {
  int fd; /* for reading and writing; has the lock, or O_EXCL */
  bool device;
  bool created;  /* there was no such file */
  uint64_t size; /* bytes to use, a multiple of BACKING_BLOCK */
};

/* Open config->where.  0, and the descriptor is the caller's; or -1 with 'why',
 * and nothing is left behind.
 */
int backing_path_open (const struct backing_config *config,
                       struct backing_path *path, struct reason *why) MUST_USE;

/* A file that was made for nothing goes.  The descriptor stays the caller's. */
void backing_path_unmake (const struct backing_config *config,
                          const struct backing_path *path);

#endif /* ZRAM_BACKING_PATH_H */
