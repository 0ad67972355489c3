/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Strings from outside (paths, names, messages of others) are bytes.  Before
 * they go into JSON, a log or onto a terminal they become harmless text, from
 * which the bytes can be restored:
 *
 *   a byte that is no part of UTF-8     \xNN
 *   each byte of a harmful character    \xNN
 *   a backslash                         \\ in a value, else as it is
 *
 * Harmful are control characters (C0, DEL, C1), Unicode's line ends, and
 * characters that change the direction of writing.
 *
 * A value is written so that it can be restored (printf '%b' of the shell does
 * it).  A message is for people, and may contain values: making it harmless
 * once more changes nothing.
 *
 * Strings must go through plugin/control/reply.h (JSON), plugin/nbdkit.h (the
 * log) or ctl/out.h (the terminal).  The test static/test-strings.sh looks for
 * ways around them.
 */

#ifndef ZRAM_SHOWN_H
#define ZRAM_SHOWN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
  SHOWN_MESSAGE = 0,
  SHOWN_VALUE = 1, /* backslashes are doubled */
  SHOWN_ASCII = 2, /* all that is not ASCII becomes \xNN too */
  SHOWN_LINES = 4, /* newlines and tabs stay */
};

/* Bytes of the first character of s, which has n (not 0); 0 if they are not
 * UTF-8.
 */
static inline size_t
shown_character (const char *s, size_t n, uint32_t *c)
{
  static const uint32_t least[] = { 0, 0x80, 0x800, 0x10000 };
  const unsigned char *p = (const unsigned char *) s;
  unsigned more = p[0] < 0x80             ? 0
                  : (p[0] & 0xe0) == 0xc0 ? 1
                  : (p[0] & 0xf0) == 0xe0 ? 2
                  : (p[0] & 0xf8) == 0xf0 ? 3
                                          : 4;

  if (more == 4 || more >= n)
    return 0;
  *c = more ? p[0] & (0x3fu >> more) : p[0];
  for (unsigned i = 1; i <= more; i++) {
    if ((p[i] & 0xc0) != 0x80)
      return 0;
    *c = *c << 6 | (p[i] & 0x3fu);
  }
  if (*c < least[more] || *c > 0x10ffff || (*c >= 0xd800 && *c <= 0xdfff))
    return 0;
  return more + 1;
}

static inline bool
shown_is_harmful (uint32_t c)
{
  return c < 0x20 || (c >= 0x7f && c <= 0x9f) || c == 0x61c || c == 0x200e ||
         c == 0x200f || (c >= 0x2028 && c <= 0x202e) ||
         (c >= 0x2066 && c <= 0x2069);
}

/* n bytes of s, made harmless, and a \0; never a part of a character or of an
 * escape.  Returns how many bytes of s there was room for.  size is not 0.
 */
static inline size_t
shown_bytes (char *buf, size_t size, const char *s, size_t n, unsigned how)
{
  size_t at = 0, len = 0;

  while (at < n) {
    uint32_t c = 0;
    size_t whole = shown_character (s + at, n - at, &c);
    size_t bytes = whole ? whole : 1, need = bytes;
    bool line = (how & SHOWN_LINES) && (c == '\n' || c == '\t');
    bool escape = !whole || (shown_is_harmful (c) && !line) ||
                  (c >= 0x80 && (how & SHOWN_ASCII));
    bool twice = !escape && (how & SHOWN_VALUE) && c == '\\';

    need = escape ? 4 * bytes : twice ? 2 : bytes;
    if (need >= size - len)
      break;
    if (escape)
      for (size_t i = 0; i < bytes; i++)
        snprintf (buf + len + 4 * i, 5, "\\x%02x",
                  (unsigned) (unsigned char) s[at + i]);
    else if (twice)
      memcpy (buf + len, "\\\\", 2);
    else
      memcpy (buf + len, s + at, bytes);
    len += need;
    at += bytes;
  }
  buf[len] = '\0';
  return at;
}

/* As much of s as fits, with "..." after it if that is not all. size is more
 * than 4.  Returns buf.
 */
static inline const char *
shown_cut (char *buf, size_t size, const char *s, unsigned how)
{
  size_t n = strlen (s);

  if (shown_bytes (buf, size, s, n, how) < n) {
    shown_bytes (buf, size - 3, s, n, how);
    strcat (buf, "...");
  }
  return buf;
}

/* All of it, to be freed; NULL: no memory. */
static inline char *
shown_copy (const char *s, unsigned how)
{
  size_t n = strlen (s), size = 4 * n + 1;
  char *copy = malloc (size);

  if (copy)
    shown_bytes (copy, size, s, n, how);
  return copy;
}

/* A text that is JSON: harmful characters in its strings become \uNNNN, which
 * is the same value.  Newlines are not in strings and stay.  To be freed; NULL:
 * no memory.
 */
static inline char *
shown_json (const char *json)
{
  size_t n = strlen (json), at = 0, len = 0;
  char *copy = malloc (6 * n + 1);

  while (copy && at < n) {
    uint32_t c = 0;
    size_t whole = shown_character (json + at, n - at, &c);
    size_t bytes = whole ? whole : 1;

    /* All harmful characters have at most four digits. */
    if (whole && shown_is_harmful (c) && c != '\n')
      len += (size_t) snprintf (copy + len, 7, "\\u%04x", (unsigned) c);
    else {
      memcpy (copy + len, json + at, bytes);
      len += bytes;
    }
    at += bytes;
  }
  if (copy)
    copy[len] = '\0';
  return copy;
}

#endif /* ZRAM_SHOWN_H */
