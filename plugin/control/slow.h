/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Slow requests run here, one after the other, while the event loop goes on.
 * There is one of these for each lane (rpc.h), so that requests that walk over
 * the disk do not wait for requests that wait for a file.
 *
 *   event loop --slow_put--> queue --> thread --> done --slow_take--> loop
 *                                                  |
 *                                  wakes the loop by a descriptor
 *
 * Locks: 'lock' (a leaf) protects both lists and stop.
 */

#ifndef ZRAM_SLOW_H
#define ZRAM_SLOW_H

#include "plugin/control/rpc.h"

struct slow_request {
  struct slow_request *next;
  uint64_t client; /* its serial */
  struct rpc_request request;
  struct text answer; /* empty if there must be none */
};

struct slow;

/* wake_fd (an eventfd) is written to when a request is done.  NULL with errno
 * set.
 */
struct slow *slow_create (struct service *service, int wake_fd) MUST_USE;

/* Start the thread.  0, or -1 with errno set. */
int slow_start (struct slow *slow) MUST_USE;

/* End the thread after its current request, and drop the others. */
void slow_stop (struct slow *slow);
void slow_destroy (struct slow *slow);

/* Takes over the request.  False, and it stays the caller's, without memory. */
bool slow_put (struct slow *slow, uint64_t client,
               const struct rpc_request *request) MUST_USE;

/* Takes all requests that are done, as a list; free each with slow_free. */
struct slow_request *slow_take (struct slow *slow) MUST_USE;
void slow_free (struct slow_request *s);

#endif /* ZRAM_SLOW_H */
