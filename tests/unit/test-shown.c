/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Strings from outside made harmless: known ones, and random bytes in rooms of
 * every size.
 */

#include <config.h>

#include "unit.h"

#include "zram-shown.h"

struct example {
  const char *bytes;
  unsigned how;
  const char *shown;
};

static void
test_known (void **state)
{
  static const struct example examples[] = {
    { "", SHOWN_VALUE, "" },
    { "/a b/\xc3\xa9\xf0\x9d\x84\x9e", SHOWN_VALUE,
      "/a b/\xc3\xa9\xf0\x9d\x84\x9e" },
    { "\xc3\xa9", SHOWN_ASCII, "\\xc3\\xa9" },
    { "\x01\x1f\x7f\n\t", SHOWN_MESSAGE, "\\x01\\x1f\\x7f\\x0a\\x09" },
    { "a\n\tb\r", SHOWN_LINES, "a\n\tb\\x0d" },
    { "\xc2\x80\xc2\x9f\xc2\xa0", SHOWN_MESSAGE,
      "\\xc2\\x80\\xc2\\x9f\xc2\xa0" },
    { "\xe2\x80\xae\xe2\x81\xa6\xd8\x9c", SHOWN_MESSAGE,
      "\\xe2\\x80\\xae\\xe2\\x81\\xa6\\xd8\\x9c" },
    { "a\\b\\xff", SHOWN_MESSAGE, "a\\b\\xff" },
    { "a\\b\\xff", SHOWN_VALUE, "a\\\\b\\\\xff" },
    /* Cut, overlong, surrogates, past the end, lone. */
    { "\xc3", SHOWN_VALUE, "\\xc3" },
    { "\xe2\x82x", SHOWN_VALUE, "\\xe2\\x82x" },
    { "\xc0\xaf\xe0\x80\xaf", SHOWN_VALUE, "\\xc0\\xaf\\xe0\\x80\\xaf" },
    { "\xed\xa0\x80\xed\x9f\xbf", SHOWN_VALUE, "\\xed\\xa0\\x80\xed\x9f\xbf" },
    { "\xf4\x90\x80\x80\xf4\x8f\xbf\xbf", SHOWN_VALUE,
      "\\xf4\\x90\\x80\\x80\xf4\x8f\xbf\xbf" },
    { "\x80\xff\xfe", SHOWN_VALUE, "\\x80\\xff\\xfe" },
  };

  (void) state;
  for (size_t i = 0; i < sizeof examples / sizeof examples[0]; i++) {
    char *shown = shown_copy (examples[i].bytes, examples[i].how);

    assert_string_equal (shown, examples[i].shown);
    free (shown);
  }
}

/* Undoes a value, in place; returns its bytes. */
static size_t
undo (char *s)
{
  size_t len = 0;

  for (const char *p = s; *p; len++) {
    unsigned byte;

    if (p[0] == '\\' && p[1] == '\\') {
      s[len] = '\\';
      p += 2;
    }
    else if (p[0] == '\\') {
      assert_int_equal (sscanf (p, "\\x%2x", &byte), 1);
      s[len] = (char) byte;
      p += 4;
    }
    else
      s[len] = *p++;
  }
  return len;
}

static void
is_harmless (const char *shown, unsigned how)
{
  size_t n = strlen (shown), bytes;
  uint32_t c = 0;

  for (; n > 0; n -= bytes, shown += bytes) {
    bytes = shown_character (shown, n, &c);
    assert_true (bytes > 0);
    assert_false (shown_is_harmful (c));
    assert_true (c < 0x80 || !(how & SHOWN_ASCII));
  }
}

/* Bytes of all kinds, whole characters among them. */
static size_t
some_bytes (struct unit_rng *rng, char *s, size_t most)
{
  static const char *const parts[] = {
    "\\", "\\x", "\x1b[", "\xc2\x9b", "\xe2\x80\xae", "\xf0\x9d\x84\x9e", "a"
  };
  size_t n = 0;

  while (n + 5 < most && unit_below (rng, 20) != 0)
    if (unit_below (rng, 2))
      s[n++] = (char) (1 + unit_below (rng, 255));
    else {
      const char *part = parts[unit_below (rng, 7)];

      memcpy (s + n, part, strlen (part));
      n += strlen (part);
    }
  s[n] = '\0';
  return n;
}

static void
test_random (void **state)
{
  struct unit_rng rng = unit_rng (1);
  char s[80], shown[400], again[1700];

  (void) state;
  for (unsigned i = 0; i < UNIT_TIMES (20000); i++) {
    size_t n = some_bytes (&rng, s, sizeof s), at, len;
    size_t size = 1 + unit_below (&rng, unit_below (&rng, 2) ? 40 : 399);
    unsigned how = unit_below (&rng, 2) ? SHOWN_VALUE : SHOWN_MESSAGE;

    how |= unit_below (&rng, 2) ? SHOWN_ASCII : 0;
    at = shown_bytes (shown, size, s, n, how);
    len = strlen (shown);
    assert_true (len < size && at <= n);
    /* The rest was too long for the room that was left. */
    assert_true (at == n || size - len <= 16);
    is_harmless (shown, how);
    /* A message that is harmless stays as it is. */
    shown_bytes (again, sizeof again, shown, len, SHOWN_MESSAGE);
    assert_string_equal (again, shown);
    if (how & SHOWN_VALUE) {
      assert_int_equal (undo (shown), at);
      assert_memory_equal (shown, s, at);
    }
    if (size > 4) {
      shown_cut (shown, size, s, how);
      assert_true (strlen (shown) < size);
      is_harmless (shown, how);
      if (at < n)
        assert_string_equal (shown + strlen (shown) - 3, "...");
    }
  }
}

static void
test_json (void **state)
{
  char *shown = shown_json (
    "{\n \"a\x7f\xc2\x9b\": \"\xe2\x80\xae\\u001b\xc3\xa9\"}");

  (void) state;
  assert_string_equal (shown,
                       "{\n \"a\\u007f\\u009b\": \"\\u202e\\u001b\xc3\xa9\"}");
  free (shown);
}

static const struct CMUnitTest tests[] = {
  UNIT_TEST (test_known),
  UNIT_TEST (test_random),
  UNIT_TEST (test_json),
};

int
main (void)
{
  return UNIT_RUN (tests);
}
