/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * marker=FILE: one disk, and no other in its place.
 *
 * A client that loses its server connects again by itself, and sends only the
 * name of the export: no server can tell it from a new client.  If it reached a
 * server that started after its own server's end, it would read zeros and lose
 * its writes, without an error.  So a file stands for the disk:
 *
 *   get_ready    marker_check   the file must not exist, and can be made
 *   (nbdkit listens, changes its user, and forks: all that may fail)
 *   after_fork   marker_make    from here on the process may be killed
 *   cleanup      marker_remove  if the disk is empty: a new disk is like it
 *
 * Every other end of the process leaves the file.  The file keeps other servers
 * from starting until a person, who knows that no client is left, removes it.
 * It is on stable storage before the first client is served, so it survives a
 * power cut too.
 *
 * The file is locked while the process lives.  The lock decides nothing; it
 * tells the message whether the disk still exists.
 */

#ifndef ZRAM_MARKER_H
#define ZRAM_MARKER_H

#include "base/compiler.h"
#include "base/reason.h"

/* Both: 0, or -1 with a reason.  The path is absolute.  They wait for the file
 * system.  Nothing waits for them yet: no client is served, and a signal still
 * ends the process.
 */
int marker_check (const char *path, struct reason *why) MUST_USE;
int marker_make (const char *path, struct reason *why) MUST_USE;

/* Does nothing if we made no file, or if another process's file is in its
 * place.  0, or -1 with errno set.
 */
int marker_remove (const char *path);

#endif /* ZRAM_MARKER_H */
