/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Damage as an input describes it: a list of edits of some bytes.
 *
 *   edit | how, 1 byte | where, 2 bytes | its own, 1 byte |
 */

#ifndef ZRAM_FUZZ_DAMAGE_H
#define ZRAM_FUZZ_DAMAGE_H

#include <string.h>

#include "fuzz-input.h"

#define EDITS 16 /* the most */

static inline void
edit_bytes (uint8_t *p, size_t len, unsigned how, size_t at, uint8_t value)
{
  size_t run = 1 + value % 32;

  if (run > len - at)
    run = len - at;
  switch (how % 5) {
  case 0:
    p[at] ^= (uint8_t) (1 << value % 8);
    break;
  case 1:
    p[at] = value;
    break;
  case 2: /* lengths are coded so in some formats */
    memset (p + at, 0xff, run);
    break;
  case 3:
    memset (p + at, 0, run);
    break;
  default: /* from the other end */
    memmove (p + at, p + (len - run), run);
  }
}

/* Keeps the length, which is not 0. */
static inline void
edit_some (struct input *in, void *bytes, size_t len)
{
  for (unsigned i = take8 (in) % EDITS; i > 0; i--) {
    unsigned how = take8 (in);
    size_t at = take16 (in) % len;

    edit_bytes (bytes, len, how, at, take8 (in));
  }
}

/* Then the tail may be missing, or something follows; returns the new length,
 * which is not 0.  There is room for 'most'.
 */
static inline size_t
edit_length (struct input *in, uint8_t *p, size_t len, size_t most)
{
  unsigned how = take8 (in);
  size_t n = take16 (in);

  if (how % 4 == 1)
    return 1 + n % len;
  if (how % 4 == 2) {
    if (n > most - len)
      n = most - len;
    memset (p + len, how, n);
    return len + n;
  }
  return len;
}

#endif /* ZRAM_FUZZ_DAMAGE_H */
