/* SPDX-License-Identifier: BSD-3-Clause */

#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <langinfo.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ctl.h"
#include "out.h"
#include "zram-shown.h"

/* At most this much of a message goes to stderr: a server may send 64 MiB. */
#define ERR_MAX 4096

/* Not with die, which calls this. */
static void *
need (void *p)
{
  if (p)
    return p;
  fputs ("nbdzramctl: out of memory\n", stderr);
  exit (STATUS_REFUSED);
}

static unsigned
ascii_if_needed (void)
{
  return strcmp (nl_langinfo (CODESET), "UTF-8") == 0 ? 0 : SHOWN_ASCII;
}

void
out_begin (void)
{
  /* open returns the lowest free number, so each is the one that was missing.
   * They are opened in the wrong direction, so that their use is an error.
   */
  for (int fd = 0; fd <= 2; fd++)
    if (fcntl (fd, F_GETFD) == -1 && errno == EBADF)
      (void) !open ("/dev/null", fd == 0 ? O_WRONLY : O_RDONLY);
}

int
out_end (void)
{
  return fflush (stdout) != 0 || ferror (stdout) ? -1 : 0;
}

/* -- stdout ------------------------------------------------------------- */

static void
put (const char *s, unsigned how)
{
  char *shown = need (shown_copy (s, how | ascii_if_needed ()));

  fputs (shown, stdout);
  free (shown);
}

static void put_formatted (const char *fmt, va_list ap)
  __attribute__ ((format (printf, 1, 0)));

static void
put_formatted (const char *fmt, va_list ap)
{
  char *s = NULL;

  if (vasprintf (&s, fmt, ap) == -1)
    s = NULL;
  put (need (s), SHOWN_MESSAGE);
  free (s);
}

void
out (const char *fmt, ...)
{
  va_list ap;

  va_start (ap, fmt);
  put_formatted (fmt, ap);
  va_end (ap);
}

void
out_line (const char *fmt, ...)
{
  va_list ap;

  va_start (ap, fmt);
  put_formatted (fmt, ap);
  va_end (ap);
  out_newline ();
}

void
out_newline (void)
{
  putchar ('\n');
}

void
out_text (const char *text)
{
  put (text, SHOWN_LINES);
}

/* JSON has its own way to write a harmful character. */
static void
put_json (const json_t *value, size_t flags)
{
  char *s, *shown;

  if (ascii_if_needed ())
    flags |= JSON_ENSURE_ASCII;
  s = need (json_dumps (value, flags | JSON_ENCODE_ANY));
  shown = need (shown_json (s));
  fputs (shown, stdout);
  free (shown);
  free (s);
}

void
out_json (const json_t *value)
{
  put_json (value, 0);
}

void
out_json_answer (const json_t *value)
{
  put_json (value, JSON_INDENT (2));
  out_newline ();
}

void
out_cell (wchar_t ch)
{
  printf ("%lc", (wint_t) (shown_is_harmful ((uint32_t) ch) ? L'?' : ch));
}

char *
out_value (const char *bytes)
{
  return need (shown_copy (bytes, SHOWN_VALUE | ascii_if_needed ()));
}

/* -- stderr ------------------------------------------------------------- */

static void err_formatted (const char *fmt, va_list ap)
  __attribute__ ((format (printf, 1, 0)));

static void
err_formatted (const char *fmt, va_list ap)
{
  char shown[ERR_MAX], *s = NULL;

  if (vasprintf (&s, fmt, ap) == -1)
    s = NULL;
  fputs (shown_cut (shown, sizeof shown, need (s), ascii_if_needed ()), stderr);
  free (s);
}

void
err (const char *fmt, ...)
{
  va_list ap;

  va_start (ap, fmt);
  err_formatted (fmt, ap);
  va_end (ap);
  fflush (stderr);
}

void
err_line (const char *fmt, ...)
{
  va_list ap;

  va_start (ap, fmt);
  err_formatted (fmt, ap);
  va_end (ap);
  fputc ('\n', stderr);
}

void
err_erase_line (void)
{
  fputs ("\r\033[K", stderr);
}
