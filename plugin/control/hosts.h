/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * By which names an HTTP server may be called.
 *
 * A page in somebody's browser can have its own DNS name point to an address
 * of this machine, and then read what is served there as if it were its own
 * (DNS rebinding).  The browser still says the page's name as Host, so a server
 * that answers only to its own names is safe:
 *
 *   an IP address, localhost      always: they are nobody's DNS name
 *   what the machine is called    its host name, alone and with the domains
 *                                 that the resolver looks in, and the names
 *                                 beside it in /etc/hosts
 *   what it was told              hosts_add
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

/* Is it letters, digits, '-', '_' and '.', as a DNS name? */
bool hosts_is_name (const char *name) MUST_USE;

/* One more name.  Those over HOSTS_MAX are left out: false. */
bool hosts_add (struct hosts *hosts, const char *name);

/* What this machine is called, as far as its own files say: asks no server. */
void hosts_add_own (struct hosts *hosts);

void hosts_free (struct hosts *hosts);

/* Does the value of a Host header, NAME or NAME:PORT, name us?  The port is not
 * looked at: it may have been forwarded.
 */
bool hosts_has (const struct hosts *hosts, const char *value) MUST_USE;

#endif /* ZRAM_HOSTS_H */
