/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A long stretch of address space of which a growing prefix can be used.
 *
 *   base                base+committed             base+reserved
 *    |#####.##..####......|-------------------------|
 *     readable, writable,   no access, costs nothing
 *     costs RAM where touched
 *
 * Addresses never move, so what lives here can be found by index, and a
 * stale pointer into the prefix is always safe to look at (type-stable).
 * The prefix is committed in steps, so that a system that accounts memory
 * strictly (overcommit 2, ulimit -v) says no at a place that can cope.
 */

#ifndef ZRAM_RESERVE_H
#define ZRAM_RESERVE_H

#include <stdatomic.h>
#include <stddef.h>

#include "base/compiler.h"

struct reserve {
  char *base;
  size_t reserved; /* bytes */
  /* bytes; grown under its user's lock, read by assertions without it */
  _Atomic size_t committed;
};

/* Reserve 'want' bytes of addresses, or a half, a quarter, … of them but no
 * less than 'least'; and if there are not so many, a half of those that there
 * are, so that others find some.  0, or -1 with errno ENOMEM.
 */
int reserve_open (struct reserve *r, size_t want, size_t least) MUST_USE;
void reserve_close (struct reserve *r);

/* Make at least the first 'bytes' usable.  0, or -1 with errno ENOMEM.  Does
 * system calls, but only once for every 16 MiB.
 */
int reserve_commit (struct reserve *r, size_t bytes) MUST_USE;

/* Give the memory of [from, from + len) back to the system; both are whole
 * pages.  It reads as zeroes from then on.  Of a process whose memory is locked
 * (mlockall) too; that needs Linux 5.18, before which it reads as zeroes and
 * stays.
 */
void reserve_return (struct reserve *r, size_t from, size_t len);

/* As reserve_return, and the page tables too: for long stretches. */
void reserve_return_all (struct reserve *r, size_t from, size_t len);

/* Make [from, from + len) resident at once: cheaper than a fault a page.
 * A hint: nothing is lost where the system cannot.
 */
void reserve_populate (struct reserve *r, size_t from, size_t len);

/* The same for what lies in [from, to), in whole pages. */
void reserve_populate_from (struct reserve *r, size_t from, size_t to);

/* Of the first 'bytes', how many are resident; for tests and the auditor. */
size_t reserve_resident (const struct reserve *r, size_t bytes);

#endif /* ZRAM_RESERVE_H */
