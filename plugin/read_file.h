/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A file that somebody else names, read within seconds or not at all.
 *
 * Any file can keep its reader waiting for ever: a regular one on a network's
 * file system whose server is gone, on FUSE, on one that is frozen, or one of
 * /proc.  To open it or to look at it is enough.  So that is done by a thread
 * that nobody needs:
 *
 *   read_file ----> thread: stat, open, fstat, read
 *       |              |
 *       |<--- in time--+            joined
 *       |
 *       +--- too late, or read_files_cancel: left alone; what it may yet
 *            find it throws away.  At most STUCK_MAX of these are there at a
 *            time: with so many the next file is refused at once.
 *
 * A thread that was left alone may come back after nbdkit has unloaded the
 * plugin: the plugin is linked so that it stays in memory (Makefile.am).
 */

#ifndef ZRAM_READ_FILE_H
#define ZRAM_READ_FILE_H

#include <stddef.h>
#include <stdint.h>

#include "base/compiler.h"
#include "base/reason.h"

#define READ_FILE_SECONDS 5
#define READ_FILE_STUCK_MAX 4

/* When a read that begins now is late, for clock_ns. */
uint64_t read_file_deadline (void);

/* The bytes of a regular file that has 'most' at the most; to be freed.  NULL
 * with a reason, which does not name the file.  Waits until the
 * deadline at the most.  Any thread.
 */
void *read_file (const char *path, size_t most, uint64_t deadline_ns,
                 size_t *size, struct reason *why) MUST_USE;

/* The process ends: who waits is let go, and no file is read any more. */
void read_files_cancel (void);

#endif /* ZRAM_READ_FILE_H */
