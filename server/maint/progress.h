/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A background pass as whoever watches it from another thread sees it.
 */

#ifndef ZRAM_PROGRESS_H
#define ZRAM_PROGRESS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct pass_progress {
  _Atomic uint64_t done, total; /* pages or slots; total is an estimate */
  atomic_bool cancel;           /* set it: the pass ends after its step */
};

#endif /* ZRAM_PROGRESS_H */
