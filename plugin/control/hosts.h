/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The names by which clients may call an HTTP server.
 *
 * A web page in a person's browser can make its own DNS name point to an
 * address of this machine, and then read what is served there as if it were its
 * own (DNS rebinding).  The browser still sends the page's name as Host.  So a
 * server that answers only to its own names is safe:
 *
 *   an IP address, localhost      always: no page has these as DNS names
 *   this machine's names          its host name, alone and with the domains
 *                                 that the resolver searches, and the names
 *                                 beside it in /etc/hosts
 *   names that were given         hosts_add
 */

#ifndef ZRAM_HOSTS_H
#define ZRAM_HOSTS_H

#include <stdbool.h>
#include <stddef.h>

#include "base/compiler.h"

#define HOSTS_MAX 64

struct hosts {
  char *name[HOSTS_MAX]; /* owned */
  unsigned n;
};

/* Does it consist of letters, digits, '-', '_' and '.', like a DNS name? */
bool hosts_is_name (const char *name) MUST_USE;

/* Add a name.  False if there are HOSTS_MAX already, or without memory. */
bool hosts_add (struct hosts *hosts, const char *name);

/* Add this machine's names from its own files; asks no server. */
void hosts_add_own (struct hosts *hosts);

void hosts_free (struct hosts *hosts);

/* Does the value of a Host header, NAME or NAME:PORT, name this server?  The
 * port is ignored: it may have been forwarded.
 */
bool hosts_has (const struct hosts *hosts, const char *value) MUST_USE;

#endif /* ZRAM_HOSTS_H */
