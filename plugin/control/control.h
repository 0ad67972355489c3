/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The control server: a Unix socket, and one thread that serves all who
 * connect to it.
 *
 *   listener --> clients --lines--> rpc --+--> answer at once
 *                   ^                     +--> slow threads (slow.h)
 *                   |                     +--> job thread   (jobs.h)
 *                   +----- answers -------+
 *
 * The event loop never waits for anything but poll: no client and no request
 * keeps the others waiting.  Bounds (zram-protocol.h): clients, bytes of a
 * request, bytes that a client leaves unread; and bytes that all of them
 * leave unread, here.
 */

#ifndef ZRAM_CONTROL_H
#define ZRAM_CONTROL_H

#include "plugin/control/service.h"

struct control;

/* Make the socket (before the fork, so that errors are seen) and all that
 * serving needs but the threads.  Sets service->jobs.  NULL with a reason in
 * 'why'.
 */
struct control *control_open (struct service *service, const char *path,
                              struct reason *why) MUST_USE;

/* Start the threads (after the last fork).  0, or -1 with errno set. */
int control_start (struct control *control) MUST_USE;

/* Cancel the job that runs, end the threads, close every connection. */
void control_stop (struct control *control);

/* And remove the socket.  Harmless if it is NULL. */
void control_close (struct control *control);

/* The process ends without a word, perhaps with threads still running: remove
 * the socket, and nothing else.  Harmless if it is NULL.
 */
void control_exit (struct control *control);

#endif /* ZRAM_CONTROL_H */
