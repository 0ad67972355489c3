/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Text that grows: answers, and bytes that wait to be sent or read.
 *
 *   p          at          len        cap
 *   | consumed | the text  | room     |
 *
 * Without memory the text becomes 'broken': the addition is dropped, and so are
 * all later ones.  Users check it once, at the end.
 */

#ifndef ZRAM_TEXT_H
#define ZRAM_TEXT_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/compiler.h"

struct text {
  char *p; /* owned; NULL while cap == 0 */
  size_t at, len, cap;
  bool broken;
};

static inline const char *
text_begin (const struct text *t)
{
  return t->p ? t->p + t->at : "";
}

/* The length of the text in bytes. */
static inline size_t
text_size (const struct text *t)
{
  return t->len - t->at;
}

/* Room for n more bytes behind the text; NULL (and broken) without memory.
 * text_grew says how many of them are text now.
 */
char *text_room (struct text *t, size_t n) MUST_USE;

static inline void
text_grew (struct text *t, size_t n)
{
  t->len += n;
}

void text_add (struct text *t, const char *s, size_t n);
void text_puts (struct text *t, const char *s);
void text_printf (struct text *t, const char *format, ...)
  __attribute__ ((format (printf, 2, 3)));

/* Drop the first n bytes. */
void text_consume (struct text *t, size_t n);

/* Empty the text, but keep its memory. */
static inline void
text_clear (struct text *t)
{
  t->at = t->len = 0;
  t->broken = false;
}

void text_free (struct text *t);

#endif /* ZRAM_TEXT_H */
