/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Reads a file that a client or a key names, within seconds or not at all.
 *
 * Any file can make its reader wait for ever: a regular one on a network file
 * system whose server is gone, on FUSE, on a frozen file system, or one of
 * /proc.  Even open or stat can wait.  So a separate thread does it, and
 * nothing depends on that thread:
 *
 *   read_file ----> thread: stat, open, fstat, read
 *       |              |
 *       |<--- in time--+            joined
 *       |
 *       +--- too late, or read_files_cancel: the thread is left alone and
 *            throws away whatever it still reads.  At most STUCK_MAX of these
 *            exist at a time: with so many, the next file is refused at once.
 *
 * A thread that was left alone may return after nbdkit has unloaded the plugin:
 * the plugin is linked so that it stays in memory (Makefile.am).
 */

#ifndef ZRAM_READ_FILE_H
#define ZRAM_READ_FILE_H

#include <stddef.h>
#include <stdint.h>

#include "base/compiler.h"
#include "base/reason.h"

#define READ_FILE_SECONDS 5
#define READ_FILE_STUCK_MAX 4

/* The deadline of a read that begins now, for clock_ns. */
uint64_t read_file_deadline (void);

/* The bytes of a regular file of at most 'most' bytes; the caller frees them.
 * NULL with a reason, which does not name the file.  Waits until the deadline
 * at most.  For any thread.
 */
void *read_file (const char *path, size_t most, uint64_t deadline_ns,
                 size_t *size, struct reason *why) MUST_USE;

/* The process ends: waiting calls return, and no more files are read. */
void read_files_cancel (void);

#endif /* ZRAM_READ_FILE_H */
