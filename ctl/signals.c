/* SPDX-License-Identifier: BSD-3-Clause */

#include <config.h>

#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <time.h>

#include "signals.h"

static const int caught[] = { SIGINT, SIGTERM, SIGHUP };
#define NCAUGHT (sizeof caught / sizeof caught[0])

static volatile sig_atomic_t seen;
static unsigned allowed;

/* Two at once count as one: some senders signal a program and its group. */
#define APART_MS 300

static void
count (int sig)
{
  static struct timespec last;
  struct timespec now;

  (void) sig;
  clock_gettime (CLOCK_MONOTONIC, &now);
  if (seen && (now.tv_sec - last.tv_sec) * 1000 +
                  (now.tv_nsec - last.tv_nsec) / 1000000 <
                APART_MS)
    return;
  last = now;
  if (seen < 100)
    seen++;
}

void
signals_catch (unsigned patience)
{
  /* No SA_RESTART: a wait must end and check. */
  struct sigaction sa = { .sa_handler = count };

  /* One handler at a time. */
  sigemptyset (&sa.sa_mask);
  for (size_t i = 0; i < NCAUGHT; i++)
    sigaddset (&sa.sa_mask, caught[i]);
  allowed = patience;
  for (size_t i = 0; i < NCAUGHT; i++)
    sigaction (caught[i], &sa, NULL);
}

bool
signals_seen (void)
{
  return seen > 0;
}

bool
signals_impatient (void)
{
  return (unsigned) seen > allowed;
}

void
signals_sleep_ms (unsigned ms)
{
  struct timespec ts = { ms / 1000, ms % 1000 * 1000000L };
  static sig_atomic_t noticed; /* signals that have ended a sleep */
  sigset_t block, before;

  /* Blocked except inside ppoll, so that no signal comes between check and
   * sleep.
   */
  sigemptyset (&block);
  for (size_t i = 0; i < NCAUGHT; i++)
    sigaddset (&block, caught[i]);
  sigprocmask (SIG_BLOCK, &block, &before);
  if (seen == noticed)
    ppoll (NULL, 0, &ts, &before);
  noticed = seen;
  sigprocmask (SIG_SETMASK, &before, NULL);
}
