/* SPDX-License-Identifier: BSD-3-Clause */
/* Parking: where threads sleep that wait for a lock word.
 * Contract: base/park.h.
 */

#include <config.h>

#include <limits.h>
#include <linux/futex.h>
#include <stdatomic.h>
#include <stddef.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/check.h"
#include "base/keep_errno.h"
#include "base/rank.h"
#include "base/park.h"

#define BUCKETS 256 /* 16 KiB in all */
#define PAGE_SHIFT 12

struct bucket {
  _Alignas(CACHE_LINE) _Atomic uint32_t seq;
};

static struct bucket buckets[BUCKETS];
static _Atomic uint64_t sleeps;

static struct bucket *
bucket_of (const void *word)
{
  /* Fibonacci hashing of the page number. */
  uint64_t page = (uintptr_t) word >> PAGE_SHIFT;

  return &buckets[(page * UINT64_C (0x9e3779b97f4a7c15)) >> 56];
}

static long
futex (_Atomic uint32_t *word, int op, uint32_t val)
{
  return syscall (SYS_futex, word, op | FUTEX_PRIVATE_FLAG, val, NULL, NULL, 0);
}

uint32_t
park_ticket (const void *word)
{
  return atomic_load (&bucket_of (word)->seq);
}

void
park_wait (const void *word, uint32_t ticket)
{
  KEEP_ERRNO;

  rank_may_sleep ("park_wait");
  atomic_fetch_add_explicit (&sleeps, 1, memory_order_relaxed);
  futex (&bucket_of (word)->seq, FUTEX_WAIT, ticket);
}

void
park_wake (const void *word)
{
  KEEP_ERRNO;
  struct bucket *b = bucket_of (word);

  atomic_fetch_add (&b->seq, 1);
  futex (&b->seq, FUTEX_WAKE, INT_MAX);
}

uint64_t
park_sleeps (void)
{
  return atomic_load_explicit (&sleeps, memory_order_relaxed);
}
