/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The progress of a background pass, for a thread that watches it.
 */

#ifndef ZRAM_PROGRESS_H
#define ZRAM_PROGRESS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct pass_progress {
  _Atomic uint64_t done, total; /* pages or slots; total is an estimate */
  atomic_bool cancel;           /* if set, the pass ends after its step */
};

#endif /* ZRAM_PROGRESS_H */
