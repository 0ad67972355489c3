/* SPDX-License-Identifier: BSD-3-Clause */

#include <config.h>

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "ctl.h"
#include "out.h"

static void (*before_death) (void);

void
set_before_death (void (*fn) (void))
{
  before_death = fn;
}

void
die (int status, const char *fmt, ...)
{
  char *why = NULL;
  va_list ap;

  if (before_death)
    before_death ();
  out_end ();
  va_start (ap, fmt);
  if (vasprintf (&why, fmt, ap) == -1)
    why = NULL;
  va_end (ap);
  err_line ("nbdzramctl: %s", why ? why : "out of memory");
  exit (status);
}
