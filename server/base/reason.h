/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Why something failed, in words for a person.
 *
 *   program   errno (with -1, NULL or false)
 *   person    errno and a struct reason, which the caller provides
 *
 * The words name what is wrong and what was expected, have no end of line, and
 * fit behind "key=value: ".  They are set when, and only when, a function
 * fails.  Only as much is kept as fits.
 *
 * One kind of function needs no reason: it looks for the first of several known
 * things, and returns its constant name, or NULL (an auditor of one structure:
 * which invariant is broken; upkeep_hold: what did not end).  Its caller makes
 * a reason from the name.
 */

#ifndef ZRAM_REASON_H
#define ZRAM_REASON_H

struct reason {
  char text[400];
};

/* errno stays as it is.  None of the arguments is of 'why' itself. */
void reason_set (struct reason *why, const char *format, ...)
  __attribute__ ((format (printf, 2, 3)));

#endif /* ZRAM_REASON_H */
