/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Training: makes a dictionary from samples of the data to be compressed.
 *
 *   samples  | page | page | page | ...     100 times the dictionary, say
 *                |      |
 *                v      v                    segments that occur often
 *            | tables | content    |         a dictionary for zstd, the most
 *                     |------------|         useful segments at its end
 *                           \_____________   the same for lz4
 *
 * No state, no locks; takes seconds and a few MB, and cannot be interrupted.
 *
 * Measured on 4 KiB pages of system files, zstd 1.5.4, Xeon 2.5 GHz; bytes at
 * level 9 of 6000 other pages, raw where that is smaller, against lz4's:
 *
 *   none  raw pages  64 KiB of 6 MiB   32 MiB   110 KiB of 11 MiB   32 MiB
 *   0.776   0.763      0.736 0.6 s  0.731 3 s     0.729 1 s      0.728 3 s
 *
 * 1 MiB from 64 MiB: 0.713, in 10 s. lz4 with any dictionary: 0.96 of its size
 * without one.  The library's experimental calls (fastCover at a fixed k = 256,
 * half the time) gain another 0.002.  At level 1, tables made for level 9 are
 * worse (0.813) than tables made for level 1 (0.804): so the level is a
 * parameter.
 */

#ifndef ZRAM_TRAIN_H
#define ZRAM_TRAIN_H

#include <stddef.h>

#include "base/compiler.h"
#include "comp/codec.h"

#define DICT_TRAIN_MIN 256 /* bytes, the smallest dictionary to train */

struct dict_bytes {
  void *bytes; /* free() it */
  size_t size;
};

/* Make a dictionary of at most dict_size (DICT_TRAIN_MIN ... DICT_MAX) bytes
 * for that codec, to be used at about that level, from n samples of sizes[i]
 * bytes each, one after the other.  May sleep.  Errors: -1 with ENOMEM, or
 * EINVAL (the codec takes no dictionary; a size is wrong; too few samples, or
 * nothing in them recurs); and a reason.
 */
int dict_train (const struct codec *codec, int level, const void *samples,
                const size_t *sizes, unsigned n, size_t dict_size,
                struct dict_bytes *out, struct reason *why) MUST_USE;

#endif /* ZRAM_TRAIN_H */
