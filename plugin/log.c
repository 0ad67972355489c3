/* SPDX-License-Identifier: BSD-3-Clause */
/* Log lines, made harmless, and at most so many of them.
 * Contract: plugin/log.h.
 */

#include <config.h>

#include <stdarg.h>

#include "base/clock.h"
#include "base/keep_errno.h"
#include "base/log_limit.h"
#include "maint/ticker.h"
#include "plugin/log.h"
#include "plugin/nbdkit.h"
#include "zram-shown.h"

#undef nbdkit_error
#undef nbdkit_debug

/* Nearly every message fits into this without allocating memory. */
#define SHORT 1000

static void say (void (*how) (const char *, ...), const char *format,
                 va_list args) __attribute__ ((format (printf, 2, 0)));

static void
say (void (*how) (const char *, ...), const char *format, va_list args)
{
  KEEP_ERRNO;
  char text[SHORT], shown[4 * SHORT];
  char *all = NULL, *all_shown = NULL;
  va_list again;
  int n;

  va_copy (again, args);
  n = vsnprintf (text, sizeof text, format, args);
  if (n >= (int) sizeof text && vasprintf (&all, format, again) == -1)
    all = NULL;
  va_end (again);
  if (all)
    all_shown = shown_copy (all, SHOWN_MESSAGE);
  how ("%s", all_shown ? all_shown
                       : shown_cut (shown, sizeof shown, text, SHOWN_MESSAGE));
  free (all_shown);
  free (all);
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

/* -- limiting the lines -------------------------------------------------- */

/* While nothing was left out; log_may wakes the thread. */
#define IDLE_NS (UINT64_C (3600) * 1000000000)

static struct log_limit limit = LOG_LIMIT_INIT;
static struct ticker ticker;
static bool ready;

static void
say_what_was_left_out (void)
{
  char said[800];

  if (log_limit_summary (&limit, said, sizeof said))
    log_error ("%s, in the last %d seconds or less", said, LOG_LIMIT_PERIOD_S);
}

static void *
log_thread (void *arg)
{
  (void) arg;
  while (ticker_sleep_ns (&ticker, IDLE_NS) &&
         ticker_sleep_ns (&ticker, LOG_LIMIT_PERIOD_NS))
    say_what_was_left_out ();
  return NULL;
}

int
log_start (void)
{
  ticker_init (&ticker);
  ready = true;
  return ticker_start (&ticker, log_thread, NULL);
}

void
log_stop (void)
{
  if (ready)
    ticker_stop (&ticker);
  say_what_was_left_out ();
}

bool
log_may (uint64_t id, const char *name)
{
  KEEP_ERRNO;
  bool first, may = log_limit_take (&limit, id, name, clock_ns (), &first);

  if (first && ready)
    ticker_wake (&ticker);
  return may;
}
