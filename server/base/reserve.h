/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Reserve: a long stretch of address space with a growing usable prefix.
 *
 *   base                base+committed             base+reserved
 *    |#####.##..####......|-------------------------|
 *     readable, writable,   no access, costs nothing
 *     costs RAM where touched
 *
 * Addresses never move.  So things in it are found by index, and a stale
 * pointer into the prefix is always safe to read (type-stable).  The prefix is
 * committed in steps.  So a system that accounts memory strictly (overcommit 2,
 * ulimit -v) refuses at a place that can handle it.
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
 * less than 'least'.  If that is not possible, reserve a half of the addresses
 * that are left, so that others find some.  0, or -1 with errno ENOMEM.
 */
int reserve_open (struct reserve *r, size_t want, size_t least) MUST_USE;
void reserve_close (struct reserve *r);

/* Make at least the first 'bytes' usable.  0, or -1 with errno ENOMEM.  Does
 * system calls, but only once for every 16 MiB.
 */
int reserve_commit (struct reserve *r, size_t bytes) MUST_USE;

/* Give the memory of [from, from + len) back to the system; both are whole
 * pages.  It reads as zeroes from then on.  This works with locked memory
 * (mlockall) too, from Linux 5.18 on; before that, locked memory is zeroed but
 * stays resident.
 */
void reserve_return (struct reserve *r, size_t from, size_t len);

/* As reserve_return, but gives the page tables back too: for long stretches. */
void reserve_return_all (struct reserve *r, size_t from, size_t len);

/* Make [from, from + len) resident at once: cheaper than a fault a page.
 * A hint: no harm is done if the system cannot.
 */
void reserve_populate (struct reserve *r, size_t from, size_t len);

/* The same for the whole pages that [from, to) touches. */
void reserve_populate_from (struct reserve *r, size_t from, size_t to);

/* How many of the first 'bytes' are resident; for tests and the auditor. */
size_t reserve_resident (const struct reserve *r, size_t bytes);

#endif /* ZRAM_RESERVE_H */
