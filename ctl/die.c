/* SPDX-License-Identifier: BSD-3-Clause */

#include <config.h>

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "ctl.h"

static void (*before_death) (void);

void
set_before_death (void (*fn) (void))
{
  before_death = fn;
}

void
die (int status, const char *fmt, ...)
{
  va_list ap;

  if (before_death)
    before_death ();
  fflush (stdout);
  fputs ("nbdzramctl: ", stderr);
  va_start (ap, fmt);
  vfprintf (stderr, fmt, ap);
  va_end (ap);
  fputc ('\n', stderr);
  exit (status);
}
