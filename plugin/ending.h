/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * An end within seconds.
 *
 * nbdkit, told to end by a signal, waits until its clients have gone.  One that
 * is idle does not hear of it (nbdkit 1.32), and a kernel's client never goes:
 * nbdkit then waits for ever.  Here the signal is seen too:
 *
 *   signal ──> nbdkit's handler: no new clients, and a connection is closed
 *              when its requests are answered, if it has any
 *          └─> a thread, from ENDING_GRACE_MS on, every ENDING_PERIOD_MS: no
 *              client can send more, so nbdkit closes idle connections too
 *   ENDING_PATIENCE_MS later, if nbdkit still waits (for a client that does not
 *   take its answers, a backing store that does not answer):
 *              the plugin's own cleanup, and _exit
 *
 * Invariant: cleanup runs once, called by nbdkit or from here; who comes
 * second waits for ever, that is, until the process has ended.
 */

#ifndef ZRAM_ENDING_H
#define ZRAM_ENDING_H

#include "base/compiler.h"

/* Who has requests in flight is gone by then.  To shut a connection in the
 * middle of them could break it, which nbdkit 1.32 may not survive (an
 * assertion in raw_send_socket).
 */
#define ENDING_GRACE_MS 500
#define ENDING_PERIOD_MS 100
#define ENDING_PATIENCE_MS 4000

/* After the fork, when nbdkit handles signals.  0, or -1 with errno set. */
int ending_start (void (*cleanup) (void)) MUST_USE;

/* The first thing that nbdkit's call of cleanup does.  Does not return if the
 * process is being ended from here.
 */
void ending_stop (void);

#endif /* ZRAM_ENDING_H */
