/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Assertions at two prices.
 *
 * check_always: a broken invariant would lose or leak data; kept in every
 *               build, so it must cost no more than a compare.
 * check_debug:  kept with --enable-debug and in sanitizer builds.
 *
 * Checks that cost more belong to the auditor (store/audit.h).
 */

#ifndef ZRAM_CHECK_H
#define ZRAM_CHECK_H

#include <stdio.h>
#include <stdlib.h>

#include "base/compiler.h"

#define check_always(cond)                                                  \
  do {                                                                      \
    if (unlikely (!(cond))) {                                               \
      fprintf (stderr, "zram: %s:%d: %s: invariant broken: %s\n", __FILE__, \
               __LINE__, __func__, #cond);                                  \
      abort ();                                                             \
    }                                                                       \
  } while (0)

#ifdef ZRAM_DEBUG
#define check_debug(cond) check_always (cond)
#else
#define check_debug(cond) ((void) sizeof (cond))
#endif

#endif /* ZRAM_CHECK_H */
