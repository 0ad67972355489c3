/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Text that grows: answers, and what waits to be sent or read.
 *
 *   p          at          len        cap
 *   | consumed | the text  | room     |
 *
 * When there is no memory the text is 'broken': what was to be added is
 * dropped, and so is all that follows.  Who uses it looks once, at the end.
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

/* Bytes of it. */
static inline size_t
text_size (const struct text *t)
{
  return t->len - t->at;
}

/* Room for n more bytes behind the text; NULL (and broken) if there is no
 * memory.  text_grew says how many of them are text now.
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
void text_vprintf (struct text *t, const char *format, va_list args)
  __attribute__ ((format (printf, 2, 0)));

/* The first n bytes are done with. */
void text_consume (struct text *t, size_t n);

/* Empty, but it keeps its memory. */
static inline void
text_clear (struct text *t)
{
  t->at = t->len = 0;
  t->broken = false;
}

void text_free (struct text *t);

#endif /* ZRAM_TEXT_H */
