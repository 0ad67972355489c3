/* SPDX-License-Identifier: BSD-3-Clause */

#include <config.h>

#include <errno.h>
#include <stdarg.h>

#include "plugin/nbdkit.h"
#include "zram-shown.h"

#undef nbdkit_error
#undef nbdkit_debug

/* Nearly all that is said fits into this without more memory. */
#define SHORT 1000

static void say (void (*how) (const char *, ...), const char *format,
                 va_list args) __attribute__ ((format (printf, 2, 0)));

static void
say (void (*how) (const char *, ...), const char *format, va_list args)
{
  int err = errno, n;
  char text[SHORT], shown[4 * SHORT];
  char *all = NULL, *all_shown = NULL;
  va_list again;

  va_copy (again, args);
  n = vsnprintf (text, sizeof text, format, args);
  errno = err; /* for %m */
  if (n >= (int) sizeof text && vasprintf (&all, format, again) == -1)
    all = NULL;
  va_end (again);
  if (all)
    all_shown = shown_copy (all, SHOWN_MESSAGE);
  how ("%s", all_shown ? all_shown
                       : shown_cut (shown, sizeof shown, text, SHOWN_MESSAGE));
  free (all_shown);
  free (all);
  errno = err;
}

void
log_error (const char *format, ...)
{
  va_list args;

  va_start (args, format);
  say (nbdkit_error, format, args);
  va_end (args);
}

void
log_debug (const char *format, ...)
{
  va_list args;

  va_start (args, format);
  say (nbdkit_debug, format, args);
  va_end (args);
}
