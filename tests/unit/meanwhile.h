/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a client may do to slot i while background work stands between its copy
 * and its install.  The test that includes it has a fixture 'f', SLOT, and
 * put (i, gen), which writes the slot's data of that generation; the work began
 * with those of generation 1.
 */

#ifndef ZRAM_MEANWHILE_H
#define ZRAM_MEANWHILE_H

#include "unbounded.h"

static void
other_data (uint64_t i)
{
  put (i, 2);
}

static void
same_data (uint64_t i)
{
  put (i, 1);
}

static void
part (uint64_t i)
{
  must_write (&f, "x", 1, i * SLOT + 4000);
}

static void
trim_part (uint64_t i)
{
  must_discard (&f, i * SLOT + 4000, 8);
}

static void
discard (uint64_t i)
{
  must_discard (&f, i * SLOT, SLOT);
}

static void
zero (uint64_t i)
{
  static const char zeroes[SLOT];

  must_write (&f, zeroes, SLOT, i * SLOT);
}

static void
reset (uint64_t i)
{
  (void) i;
  disk_reset (f.disk);
}

#endif /* ZRAM_MEANWHILE_H */
