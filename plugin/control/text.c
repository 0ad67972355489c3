/* SPDX-License-Identifier: BSD-3-Clause */
/* Text that grows.
 * Contract: plugin/control/text.h.
 */

#include <config.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "plugin/control/text.h"

/* Reuse the place of consumed bytes before growing. */
static void
move_to_front (struct text *t)
{
  if (t->at == 0)
    return;
  memmove (t->p, t->p + t->at, text_size (t));
  t->len -= t->at;
  t->at = 0;
}

char *
text_room (struct text *t, size_t n)
{
  size_t cap = t->cap ? t->cap : 256;
  char *p;

  if (t->broken)
    return NULL;
  if (t->cap - t->len >= n && t->cap)
    return t->p + t->len;
  move_to_front (t);
  while (cap - t->len < n && cap <= (size_t) -1 / 2)
    cap *= 2;
  p = cap - t->len < n ? NULL : cap == t->cap ? t->p : realloc (t->p, cap);
  if (!p) {
    t->broken = true;
    return NULL;
  }
  t->p = p;
  t->cap = cap;
  return t->p + t->len;
}

void
text_add (struct text *t, const char *s, size_t n)
{
  char *room = text_room (t, n);

  if (!room)
    return;
  memcpy (room, s, n);
  t->len += n;
}

void
text_puts (struct text *t, const char *s)
{
  text_add (t, s, strlen (s));
}

static void __attribute__ ((format (printf, 2, 0)))
add_printed (struct text *t, const char *format, va_list args)
{
  va_list again;
  char *room;
  int n;

  va_copy (again, args);
  n = vsnprintf (NULL, 0, format, again);
  va_end (again);
  /* vsnprintf writes a final \0, which is not part of the text. */
  room = n < 0 ? NULL : text_room (t, (size_t) n + 1);
  if (!room) {
    t->broken = true;
    return;
  }
  vsnprintf (room, (size_t) n + 1, format, args);
  t->len += (size_t) n;
}

void
text_printf (struct text *t, const char *format, ...)
{
  va_list args;

  va_start (args, format);
  add_printed (t, format, args);
  va_end (args);
}

void
text_consume (struct text *t, size_t n)
{
  t->at += n;
  if (t->at == t->len)
    t->at = t->len = 0;
}

void
text_free (struct text *t)
{
  free (t->p);
  *t = (struct text){ 0 };
}
