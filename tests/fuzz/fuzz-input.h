/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A fuzzer's input as a stream of choices: each takes as few bytes as it
 * needs, so that a changed byte changes one choice.  What is over reads as
 * zeroes; the caller stops when it is.
 */

#ifndef ZRAM_FUZZ_INPUT_H
#define ZRAM_FUZZ_INPUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

struct input {
  const uint8_t *p, *end;
};

static inline bool
input_is_over (const struct input *in)
{
  return in->p == in->end;
}

static inline uint8_t
take8 (struct input *in)
{
  return in->p < in->end ? *in->p++ : 0;
}

static inline uint16_t
take16 (struct input *in)
{
  uint16_t low = take8 (in);

  return (uint16_t) (low | take8 (in) << 8);
}

/* 0 … n-1, n being 1 … 65536. */
static inline uint32_t
take_below (struct input *in, uint32_t n)
{
  return n <= 1 ? 0 : (n <= 256 ? take8 (in) : take16 (in)) % n;
}

/* For the fixtures, which look there. */
static inline void
choose_allocator (unsigned choice)
{
  setenv ("ZRAM_TEST_ALLOCATOR", choice % 2 ? "z3fold" : "zsmalloc", 1);
}

#endif /* ZRAM_FUZZ_INPUT_H */
