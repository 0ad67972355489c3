/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * An end within seconds.
 *
 * When a signal tells nbdkit to end, nbdkit waits until its clients have gone.
 * An idle client does not notice (nbdkit 1.32), and a kernel's client never
 * leaves: nbdkit then waits for ever.  Also, cleanup joins threads, and any of
 * them may be in a file or a backing store that does not answer.  So there is a
 * watchdog, a thread that waits for nothing but time:
 *
 *   signal ──> nbdkit's handler: no new clients; a connection with requests is
 *              closed when they are answered
 *          └─> the watchdog
 *              from ENDING_GRACE_MS on, every ENDING_PERIOD_MS: stops clients
 *              from sending, so nbdkit closes idle connections too
 *              ENDING_PATIENCE_MS after the signal, if nbdkit still waits: the
 *              plugin's own cleanup begins, on a thread of its own
 *              ENDING_MS after the signal, if anything still runs: last words,
 *              everything that others could see is closed, and _exit
 *
 * The watchdog is armed by the signal, or (--run, exitlast, stdin) by the
 * beginning of nbdkit's cleanup.  It stays armed until ending_stop, which is
 * the last thing that unload does.  Work that could hang, even if only by a
 * write to the log, runs on other threads, which the watchdog does not join.
 *
 * A thread may be in the kernel where no signal reaches it (a write to a frozen
 * file system).  It outlives even _exit: the process stays as a zombie with
 * that one thread.  The connections, ports and pipes of the process are closed
 * before, so no other process waits for it.
 *
 * Invariant: cleanup runs once, called by nbdkit or by the watchdog.  The
 * second of the two waits until the process has ended.
 */

#ifndef ZRAM_ENDING_H
#define ZRAM_ENDING_H

#include <stdbool.h>

#include "base/compiler.h"

/* Clients with requests in flight have got their answers by then.  Shutting a
 * connection earlier could break it in the middle of a request, which nbdkit
 * 1.32 may not survive (an assertion in raw_send_socket).
 */
#define ENDING_GRACE_MS 500
#define ENDING_PERIOD_MS 100
#define ENDING_PATIENCE_MS 4000

/* The promise is 10 seconds: the rest is for slow machines. */
#define ENDING_MS 7000
#define ENDING_LAST_WORDS_MS 500

/* An audit at the end, which only a search for faults asks for, may take this.
 */
#define ENDING_AUDIT_MS 300000

struct ending {
  /* Does everything that others see of nbdkit's calls of cleanup and unload.
   * Runs on a thread of its own; may hang.
   */
  void (*cleanup) (void);

  /* Log what did not end (nothing, if 'done'), and remove everything that
   * would stay behind.  Runs on a thread of its own, while anything else may
   * still run; may hang.
   */
  void (*last_words) (bool done);

  /* Called every ENDING_PERIOD_MS: true if the backing store does not answer
   * and has been given up.  Runs on the watchdog: must not wait.
   */
  bool (*backing_is_stuck) (void);
};

/* Call it after the fork, when nbdkit handles signals.  0, or -1 with errno
 * set.
 */
int ending_start (const struct ending *ending) MUST_USE;

/* Call it first in nbdkit's call of cleanup.  Does not return if the watchdog
 * is ending the process.
 */
void ending_cleanup (void);

/* Between these two the watchdog waits longer, except for a backing store that
 * does not answer.
 */
void ending_audit_begin (void);
void ending_audit_end (void);

/* Call it last in unload: the watchdog does not wait for us any more. */
void ending_stop (void);

#endif /* ZRAM_ENDING_H */
