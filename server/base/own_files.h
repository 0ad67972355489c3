/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Descriptors of one thread alone.
 *
 * For threads that a file system may keep in the kernel for ever, where not
 * even SIGKILL reaches them (a network file system, FUSE, a frozen one).  The
 * descriptors of such a thread stay open after the process has ended.  If it
 * shared them with the other threads, clients would wait at connections that no
 * thread serves, and the ports would stay taken.
 */

#ifndef ZRAM_OWN_FILES_H
#define ZRAM_OWN_FILES_H

#include <stdbool.h>

/* From here on the calling thread has its own descriptors: copies of 0, 1, 2,
 * 'a' and 'b' (-1: none) with the same numbers, and no others.  The thread
 * should close the copies; its end does that too, but perhaps after it was
 * joined.  False, with nothing changed, if the kernel cannot do it (before
 * Linux 5.9, or not allowed).
 */
bool own_files (int a, int b);

#endif /* ZRAM_OWN_FILES_H */
