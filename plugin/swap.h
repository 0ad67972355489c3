/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * swap=true: a server that the machine it runs on may swap to.
 *
 *   get_ready    swap_prepare   I/O flusher; may all be locked?   (privileged)
 *   (nbdkit changes its user, and forks)
 *   after_fork   swap_lock      the lock itself, which a fork drops
 *
 * An I/O flusher's allocations in the kernel do not wait for pages to be
 * swapped out, that is for itself.  A thread that is one makes threads and
 * processes that are, so nbdkit's main thread is the one to ask for it, before
 * there are others.
 *
 * What is there is locked as it becomes resident, for most of its addresses are
 * reserved and never used.  What is mapped later, which is the stacks of
 * threads, is made resident as a whole.  And the heap gets memory in advance,
 * from which nbdkit's buffers for requests come: a thread that waits for its
 * first buffer while it holds the connection would hold all others up.
 */

#ifndef ZRAM_SWAP_H
#define ZRAM_SWAP_H

#include "base/compiler.h"
#include "base/reason.h"

/* Both: 0, or -1 with a reason. */
int swap_prepare (struct reason *why) MUST_USE;
int swap_lock (struct reason *why) MUST_USE;

#endif /* ZRAM_SWAP_H */
