/* SPDX-License-Identifier: BSD-3-Clause */
/* Figures for people.  Each text_* writes into buf and returns it. */

#ifndef NBDZRAMCTL_TEXT_H
#define NBDZRAMCTL_TEXT_H

#include <stdint.h>

#define TEXT_MAX 32

/* 0B 4K 1.5M 8G: at most four digits and a suffix, as zramctl writes it. */
const char *text_size (char buf[TEXT_MAX], uint64_t bytes);

/* 0 999 12.3k 4.5M: what is counted, not measured. */
const char *text_count (char buf[TEXT_MAX], double n);

/* 850ns 12us 1.5ms 2.3s */
const char *text_ns (char buf[TEXT_MAX], uint64_t ns);

/* 0:05 2:05 1:02:05 3d 1:02:05 */
const char *text_duration (char buf[TEXT_MAX], uint64_t seconds);

/* How many times smaller; "-" if nothing is stored. */
const char *text_ratio (char buf[TEXT_MAX], uint64_t orig, uint64_t compr);

#endif /* NBDZRAMCTL_TEXT_H */
