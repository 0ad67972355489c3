/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One connection to an NBD server: how it is begun and ended, and what the
 * server can do.  A handle has no thread of its own.  The thread that began the
 * connection drives it (libnbd's aio functions), and is its only user.
 */

#ifndef ZRAM_NBD_CONN_H
#define ZRAM_NBD_CONN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <libnbd.h>

#include "base/reason.h"
#include "dev/backing.h"

struct nbd_limits {
  uint64_t size;      /* bytes */
  uint64_t max_piece; /* bytes of a read or write, a multiple of 4096 */
  unsigned read_unit; /* bytes, 1 … 4096: reads are whole units */
  bool can_trim;
};

/* False with 'why' if a path in the URI is not absolute: nbdkit changes its
 * directory when it forks, so the path would be found now and not later.
 */
bool nbd_conn_uri_is_fine (const char *uri, struct reason *why) MUST_USE;

/* Begin to connect; NULL with libnbd's error set.  Names are looked up before
 * it returns.
 */
struct nbd_handle *nbd_conn_begin (const char *uri) MUST_USE;

/* The connection will never be ready (again). */
bool nbd_conn_lost (struct nbd_handle *h);

/* libnbd's message about this thread's last failed call, in less than 'most'
 * bytes, which fit.
 */
void nbd_conn_why (struct reason *why, size_t most);

/* Disconnects politely if the server accepts that within a second, and ends the
 * connection in any case.
 */
void nbd_conn_end (struct nbd_handle *h);

/* The limits of the server of a ready connection; false with 'why' if we cannot
 * use it.
 */
bool nbd_conn_limits (struct nbd_handle *h, struct nbd_limits *l,
                      struct reason *why) MUST_USE;

/* Connect, ask for the limits, disconnect; waits config->timeout_ms. */
bool nbd_conn_ask (const struct backing_config *config, struct nbd_limits *l,
                   struct reason *why) MUST_USE;

#endif /* ZRAM_NBD_CONN_H */
