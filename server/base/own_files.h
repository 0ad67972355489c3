/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * For threads that a file system may keep in the kernel for ever, where not
 * even SIGKILL reaches them (a network's file system, FUSE, one that is
 * frozen). What such a thread has open stays open after the process has been
 * ended, and threads share their descriptors: clients would wait at connections
 * that nobody serves, and the ports would stay taken.
 */

#ifndef ZRAM_OWN_FILES_H
#define ZRAM_OWN_FILES_H

#include <stdbool.h>

/* From here on the calling thread has descriptors of its own: copies of 0, 1,
 * 2, 'a' and 'b' (-1: none), by the same numbers, and no others.  The copies
 * are the thread's to close; its end does that too, but perhaps after it was
 * joined.  False, and nothing has changed, where the kernel cannot do it
 * (before Linux 5.9, or not allowed).
 */
bool own_files (int a, int b);

#endif /* ZRAM_OWN_FILES_H */
