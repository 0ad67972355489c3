/* SPDX-License-Identifier: BSD-3-Clause */
/* Eventcount: sleep until a condition is true, without a lock.
 * Contract: comp/eventcount.h.
 */

#include <config.h>

#include <limits.h>
#include <linux/futex.h>
#include <stddef.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/keep_errno.h"
#include "base/rank.h"
#include "comp/eventcount.h"

/* gcc's thread sanitizer does not follow fences, and warns of each.  Here the
 * fence only orders sleeping and waking; the locks hand over the data.
 */
#if defined(__SANITIZE_THREAD__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wtsan"
#endif

static void
full_fence (void)
{
  atomic_thread_fence (memory_order_seq_cst);
}

static void
wake (struct eventcount *e, int how_many)
{
  KEEP_ERRNO;

  full_fence ();
  if (likely (atomic_load_explicit (&e->waiters, memory_order_relaxed) == 0))
    return;
  atomic_fetch_add (&e->seq, 1);
  syscall (SYS_futex, &e->seq, FUTEX_WAKE | FUTEX_PRIVATE_FLAG, how_many, NULL,
           NULL, 0);
}

uint32_t
eventcount_prepare (struct eventcount *e)
{
  uint32_t ticket;

  atomic_fetch_add (&e->waiters, 1);
  ticket = atomic_load (&e->seq);
  full_fence ();
  return ticket;
}

void
eventcount_cancel (struct eventcount *e)
{
  atomic_fetch_sub_explicit (&e->waiters, 1, memory_order_relaxed);
}

void
eventcount_wait (struct eventcount *e, uint32_t ticket)
{
  KEEP_ERRNO;

  rank_may_sleep ("eventcount_wait");
  syscall (SYS_futex, &e->seq, FUTEX_WAIT | FUTEX_PRIVATE_FLAG, ticket, NULL,
           NULL, 0);
  eventcount_cancel (e);
}

void
eventcount_signal (struct eventcount *e)
{
  wake (e, 1);
}

void
eventcount_signal_all (struct eventcount *e)
{
  wake (e, INT_MAX);
}
