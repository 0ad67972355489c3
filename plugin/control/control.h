/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The control server: a Unix socket, and one thread that serves all clients
 * that connect to it.
 *
 *   listener --> clients --lines--> rpc --+--> answer at once
 *                   ^                     +--> slow threads (slow.h)
 *                   |                     +--> job thread   (jobs.h)
 *                   +----- answers -------+
 *
 * The event loop waits only for poll: no client and no request keeps the others
 * waiting.  zram-protocol.h limits the clients, the bytes of a request, and the
 * bytes that a client leaves unread.  control.c limits the bytes that all
 * clients together leave unread.
 */

#ifndef ZRAM_CONTROL_H
#define ZRAM_CONTROL_H

#include "plugin/control/service.h"

struct control;

/* Make the socket (before the fork, so that a person sees errors) and all else
 * that serving needs, except the threads.  Sets service->jobs.  NULL with a
 * reason in 'why'.
 */
struct control *control_open (struct service *service, const char *path,
                              struct reason *why) MUST_USE;

/* Start the threads; call it after the last fork.  0, or -1 with errno set. */
int control_start (struct control *control) MUST_USE;

/* Cancel the running job, end the threads, close every connection. */
void control_stop (struct control *control);

/* Like control_stop, and remove the socket.  Harmless if it is NULL. */
void control_close (struct control *control);

/* For a process that ends while threads may still run: remove the socket, and
 * do nothing else.  Harmless if it is NULL.
 */
void control_exit (struct control *control);

#endif /* ZRAM_CONTROL_H */
