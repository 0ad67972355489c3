/* SPDX-License-Identifier: BSD-3-Clause */
/* A reason: formats the words of an error.
 * Contract: base/reason.h.
 */

#include <config.h>

#include <stdarg.h>
#include <stdio.h>

#include "base/keep_errno.h"
#include "base/reason.h"

void
reason_set (struct reason *why, const char *format, ...)
{
  KEEP_ERRNO;
  va_list args;

  va_start (args, format);
  vsnprintf (why->text, sizeof why->text, format, args);
  va_end (args);
}
