/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * marker=FILE: one disk, and no other in its place.
 *
 * A client that loses its server connects again by itself, and sends nothing
 * but the name of the export: no server can tell it from a new one.  Met by a
 * server that started after the end of its own it would read zeros and write
 * into nowhere, without an error.  So a file stands for the disk:
 *
 *   get_ready    marker_check   it must not be there, and can be made
 *   (nbdkit listens, changes its user, and forks: all that may fail)
 *   after_fork   marker_make    from here on the process may be killed
 *   cleanup      marker_remove  if the disk is empty: the next is like it
 *
 * Whatever ends the process else leaves the file, and it keeps others from
 * starting until a person, who knows that no client is left, removes it.  It is
 * on stable storage before the first client is served, so a power cut leaves it
 * too.
 *
 * The file is locked as long as the process lives.  That decides nothing; it is
 * how the message knows whether the disk is there or gone.
 */

#ifndef ZRAM_MARKER_H
#define ZRAM_MARKER_H

#include "base/compiler.h"
#include "base/reason.h"

/* Both: 0, or -1 with a reason.  The path is absolute.  They wait
 * for the file system, and nobody waits for them yet: no client is served, and
 * a signal still ends the process.
 */
int marker_check (const char *path, struct reason *why) MUST_USE;
int marker_make (const char *path, struct reason *why) MUST_USE;

/* Nothing if there is none, or another's file is in its place.  0, or -1 with
 * errno set.
 */
int marker_remove (const char *path);

#endif /* ZRAM_MARKER_H */
