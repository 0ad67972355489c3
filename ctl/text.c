/* SPDX-License-Identifier: BSD-3-Clause */

#include <config.h>

#include <inttypes.h>
#include <stdio.h>

#include "text.h"

/* 12.3, but 123 and 12 where a fraction means nothing. */
static void
three_digits (char buf[TEXT_MAX], double n, const char *unit)
{
  /* A strange server may have strange numbers. */
  uint64_t tenths = n < 1e15 ? (uint64_t) (n * 10 + 0.5) : 10000;

  if (tenths >= 1000 || tenths % 10 == 0)
    snprintf (buf, TEXT_MAX, "%.0f%s", n, unit);
  else
    snprintf (buf, TEXT_MAX, "%.1f%s", n, unit);
}

const char *
text_size (char buf[TEXT_MAX], uint64_t bytes)
{
  static const char units[][2] = { "B", "K", "M", "G", "T", "P", "E" };
  unsigned u = 0;
  double n = (double) bytes;

  for (; n >= 1023.95 && u < 6; u++)
    n /= 1024;
  three_digits (buf, n, units[u]);
  return buf;
}

const char *
text_count (char buf[TEXT_MAX], double n)
{
  static const char units[][2] = { "", "k", "M", "G", "T", "P", "E" };
  unsigned u = 0;

  for (; n >= 999.95 && u < 6; u++)
    n /= 1000;
  three_digits (buf, n, units[u]);
  return buf;
}

const char *
text_ns (char buf[TEXT_MAX], uint64_t ns)
{
  static const char units[][3] = { "ns", "us", "ms", "s" };
  unsigned u = 0;
  double n = (double) ns;

  for (; n >= 999.95 && u < 3; u++)
    n /= 1000;
  three_digits (buf, n, units[u]);
  return buf;
}

const char *
text_duration (char buf[TEXT_MAX], uint64_t seconds)
{
  uint64_t days = seconds / 86400, hours = seconds / 3600 % 24;
  unsigned minutes = (unsigned) (seconds / 60 % 60);
  unsigned rest = (unsigned) (seconds % 60);

  if (days)
    snprintf (buf, TEXT_MAX, "%" PRIu64 "d %" PRIu64 ":%02u:%02u", days, hours,
              minutes, rest);
  else if (hours)
    snprintf (buf, TEXT_MAX, "%" PRIu64 ":%02u:%02u", hours, minutes, rest);
  else
    snprintf (buf, TEXT_MAX, "%u:%02u", minutes, rest);
  return buf;
}

const char *
text_ratio (char buf[TEXT_MAX], uint64_t orig, uint64_t compr)
{
  if (orig == 0 || compr == 0)
    snprintf (buf, TEXT_MAX, "-");
  else
    snprintf (buf, TEXT_MAX, "%.2f", (double) orig / (double) compr);
  return buf;
}
