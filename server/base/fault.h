/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Named fault points: places in the engine where a test can make an
 * operation fail, or hold it until told to go on.
 *
 *   if (fault_hit ("arena.commit"))          // production code
 *     return -1;
 *   fault_pause ("zs.migrate.copied");       // production code
 *
 *   fault_fail_nth ("arena.commit", 3, false);   // test: the third call fails
 *   fault_hold ("zs.migrate.copied"); // test: stop threads there
 *   fault_wait_held ("zs.migrate.copied");       // ... wait until one stops
 *   fault_release ("zs.migrate.copied");         // ... and let it go
 *
 * Compiled in only with --enable-debug and in sanitizer builds (ZRAM_FAULTS);
 * in other builds both macros are empty.
 */

#ifndef ZRAM_FAULT_H
#define ZRAM_FAULT_H

#include <stdbool.h>
#include <stdint.h>

#ifdef ZRAM_FAULTS

bool fault_hit (const char *name);
void fault_pause (const char *name);

/* Make the nth call (1 = the next) of fault_hit (name) return true; with
 * 'ever_after' all later ones too.  A name of NULL means every point, except
 * points that are held or counted by their own names.
 */
void fault_fail_nth (const char *name, uint64_t nth, bool ever_after);

/* How often the armed point was reached since fault_fail_nth. */
uint64_t fault_reached (const char *name);

/* Hold every thread that comes, or (first) only one: others then pass while
 * that is held.
 */
void fault_hold (const char *name);
void fault_hold_first (const char *name);
void fault_wait_held (const char *name);
void fault_release (const char *name);

/* Disarm everything and let every held thread go. */
void fault_clear (void);

#else

static inline bool
fault_hit (const char *name)
{
  (void) name;
  return false;
}

static inline void
fault_pause (const char *name)
{
  (void) name;
}

#endif

#endif /* ZRAM_FAULT_H */
