/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * An end within seconds.
 *
 * nbdkit, told to end by a signal, waits until its clients have gone.  One that
 * is idle does not hear of it (nbdkit 1.32), and a kernel's client never goes:
 * nbdkit then waits for ever.  And cleanup joins threads, any of which may be
 * in a file or a store that does not answer.  So there is a watchdog, a thread
 * that waits for nothing but time:
 *
 *   signal ──> nbdkit's handler: no new clients, and a connection is closed
 *              when its requests are answered, if it has any
 *          └─> the watchdog
 *              from ENDING_GRACE_MS on, every ENDING_PERIOD_MS: no client can
 *              send more, so nbdkit closes idle connections too
 *              ENDING_PATIENCE_MS after the signal, if nbdkit still waits: the
 *              plugin's own cleanup begins, on a thread of its own
 *              ENDING_MS after the signal, if anything still runs: last words,
 *              all that others could see is closed, and _exit
 *
 * The watchdog is armed by the signal, or (--run, exitlast, stdin) by the
 * beginning of nbdkit's cleanup, and stays so until ending_stop, the last thing
 * that unload does.  All that could hang, were it to write to the log, it has
 * done by other threads, whom it does not join.
 *
 * What is in the kernel where no signal gets at it (a write to a file system
 * that is frozen) outlives even _exit, as a process that is a zombie but for
 * that thread.  The connections, ports and pipes that the process had are
 * closed before, so nobody else waits for it.
 *
 * Invariant: cleanup runs once, called by nbdkit or from here; who comes
 * second waits for ever, that is, until the process has ended.
 */

#ifndef ZRAM_ENDING_H
#define ZRAM_ENDING_H

#include <stdbool.h>

#include "base/compiler.h"

/* Who has requests in flight is gone by then.  To shut a connection in the
 * middle of them could break it, which nbdkit 1.32 may not survive (an
 * assertion in raw_send_socket).
 */
#define ENDING_GRACE_MS 500
#define ENDING_PERIOD_MS 100
#define ENDING_PATIENCE_MS 4000

/* What is promised are 10 seconds: the rest is for slow machines. */
#define ENDING_MS 7000
#define ENDING_LAST_WORDS_MS 500

/* An audit at the end, asked for by who looks for faults, may take so long. */
#define ENDING_AUDIT_MS 300000

struct ending {
  /* All that nbdkit's call of cleanup would do and unload that others see.  On
   * a thread of its own; may hang.
   */
  void (*cleanup) (void);

  /* Say what is left behind ('done': nothing), and remove what would stay
   * behind.  On a thread of its own, while anything may still run; may hang.
   */
  void (*last_words) (bool done);

  /* Called every ENDING_PERIOD_MS: does the store not answer?  Then it has been
   * given up.  On the watchdog: must not wait.
   */
  bool (*store_is_stuck) (void);
};

/* After the fork, when nbdkit handles signals.  0, or -1 with errno set. */
int ending_start (const struct ending *ending) MUST_USE;

/* The first thing that nbdkit's call of cleanup does.  Does not return if the
 * process is being ended from here.
 */
void ending_cleanup (void);

/* Between these two the watchdog waits longer, but not for a store that does
 * not answer.
 */
void ending_audit_begin (void);
void ending_audit_end (void);

/* The last thing that unload does: nothing of ours is waited for any more. */
void ending_stop (void);

#endif /* ZRAM_ENDING_H */
