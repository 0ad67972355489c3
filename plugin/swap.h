/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * swap=true: a server on a machine that may swap to it.
 *
 *   get_ready    swap_prepare   I/O flusher; may all be locked?   (privileged)
 *   (nbdkit changes its user, and forks)
 *   after_fork   swap_lock      the lock itself, which a fork drops
 *
 * The kernel's allocations for an I/O flusher do not wait for pages to be
 * swapped out, because that would be a wait for itself.  A thread that is an
 * I/O flusher makes threads and processes that are.  So nbdkit's main thread
 * asks for it, before there are other threads.
 *
 * Existing memory is locked as it becomes resident, because most of its
 * addresses are reserved and never used.  Later mappings, which are the stacks
 * of threads, are made resident as a whole.  The heap, from which nbdkit's
 * request buffers come, gets memory in advance: a thread that waits for its
 * first buffer while it holds the connection would block all others.
 */

#ifndef ZRAM_SWAP_H
#define ZRAM_SWAP_H

#include "base/compiler.h"
#include "base/reason.h"

/* Both: 0, or -1 with a reason. */
int swap_prepare (struct reason *why) MUST_USE;
int swap_lock (struct reason *why) MUST_USE;

#endif /* ZRAM_SWAP_H */
