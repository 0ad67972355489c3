/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The metrics over HTTP: GET /metrics, and nothing else, on a TCP port.
 *
 * One thread, which never waits for a client.  A connection has one request,
 * and some seconds from its beginning to the end of its answer.  When all
 * places are taken, the oldest connection is shut.  So no number of connections
 * that are silent, or send or read a byte now and then, keeps a client out.  A
 * request with a Host that is not our name is refused (hosts.h).
 */

#ifndef ZRAM_METRICS_HTTP_H
#define ZRAM_METRICS_HTTP_H

#include "plugin/control/service.h"

struct metrics_http;

/* Listen (before the fork, so that a person sees errors).  'where' is
 * ADDRESS:PORT, [IPV6]:PORT, :PORT or PORT; without an address it is 127.0.0.1.
 * 'names', a list that ends with NULL, are further names that clients may use.
 * NULL with a reason that begins with 'where'.
 */
struct metrics_http *metrics_http_open (struct service *service,
                                        const char *where,
                                        const char *const *names,
                                        struct reason *why) MUST_USE;

/* Start the thread; call it after the last fork.  0, or -1. */
int metrics_http_start (struct metrics_http *m) MUST_USE;

/* End the thread and close everything.  Harmless if it is NULL. */
void metrics_http_close (struct metrics_http *m);

#endif /* ZRAM_METRICS_HTTP_H */
