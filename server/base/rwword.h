/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A reader-writer lock in the upper 15 bits of a 32-bit word.  The lower 17
 * belong to the owner of the word (a slot keeps its age there).
 *
 *   31 30 29 28........17 16.................0
 *  +--+--+--+------------+--------------------+
 *  |W |Q |P |  readers   |       owner        |
 *  +--+--+--+------------+--------------------+
 *   W  a writer is inside
 *   Q  threads are parked, or about to park: the unlocking thread wakes them
 *   P  a writer is waiting: new readers queue behind it, so that a stream of
 *      readers cannot starve it
 *
 * Invariants:  W set  =>  readers == 0
 *              P set  =>  Q set
 *              all zero  =  unlocked (a page of zeroes is a page of unlocked
 *                           words)
 *
 * Readers and writers may both sleep while they hold the lock.  Waiting is
 * adaptive: a short spin, then sleep (park.h argues that no wake-up is lost).
 * A failed compare-and-swap has already fetched the line and the new value, so
 * it is retried at once, without a pause.  A pause is only for a lock that is
 * really taken.
 *
 * Memory order: taking the lock is an acquire, dropping it a release, on
 * the one word.  So the next holder sees everything that the last one did.
 *
 * Source: the zram entry lock and the zsmalloc zspage lock of January and
 * February 2025, as discussed on linux-mm; the parking and the P bit are
 * ours.  Modelled in tests/model/slot-lock.pml.
 */

#ifndef ZRAM_RWWORD_H
#define ZRAM_RWWORD_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/compiler.h"
#include "base/park.h"

#define RW_WRITER (UINT32_C (1) << 31)
#define RW_QUEUED (UINT32_C (1) << 30)
#define RW_PENDING (UINT32_C (1) << 29)
#define RW_READER (UINT32_C (1) << 17)
#define RW_READERS (UINT32_C (0xfff) << 17)
#define RW_OWNER (RW_READER - 1)
#define RW_HELD (RW_WRITER | RW_READERS)

struct histogram;

struct CAPABILITY ("rwword") rwword {
  _Atomic uint32_t v;
};

/* How long threads waited for rwwords, for all locks of the process.  Made by
 * the first call; NULL if there is no memory for it.  Only waits that left the
 * fast path are measured.
 */
struct histogram *rwword_waits (void);

/* The slow halves; see the inline functions. */
void rwword_read_lock_slow (struct rwword *w, uint32_t owner_mask,
                            uint32_t owner_bits);
void rwword_write_lock_slow (struct rwword *w);

/* Take the lock for reading; may sleep.  In the same step the owner bits
 * under owner_mask are set to owner_bits, which is how a reader stamps the
 * age of a slot without becoming a writer.
 */
static inline void
rwword_read_lock (struct rwword *w, uint32_t owner_mask, uint32_t owner_bits)
  ACQUIRE_SHARED (w) NO_THREAD_SAFETY_ANALYSIS
{
  uint32_t old = atomic_load_explicit (&w->v, memory_order_relaxed);

  /* The sum also has P or W set when the count of readers is full. */
  if (unlikely (((old + RW_READER) & (RW_WRITER | RW_PENDING)) ||
                !atomic_compare_exchange_weak_explicit (
                  &w->v, &old, ((old & ~owner_mask) | owner_bits) + RW_READER,
                  memory_order_acquire, memory_order_relaxed)))
    rwword_read_lock_slow (w, owner_mask, owner_bits);
}

/* As rwword_read_lock, but false instead of waiting. */
static inline bool MUST_USE
rwword_try_read_lock (struct rwword *w) TRY_ACQUIRE_SHARED (true, w)
{
  uint32_t old = atomic_load_explicit (&w->v, memory_order_relaxed);

  do {
    if ((old & (RW_WRITER | RW_PENDING)) || (old & RW_READERS) == RW_READERS)
      return false;
  } while (!atomic_compare_exchange_weak_explicit (
    &w->v, &old, old + RW_READER, memory_order_acquire, memory_order_relaxed));
  return true;
}

/* The last reader to leave clears Q and P in the same step.  So the word is
 * never free with P set, and is not read again after it was released.
 */
static inline void
rwword_read_unlock (struct rwword *w) RELEASE_SHARED (w)
  NO_THREAD_SAFETY_ANALYSIS
{
  uint32_t old = atomic_load_explicit (&w->v, memory_order_relaxed), new;

  do {
    new = old - RW_READER;
    if ((old & RW_READERS) == RW_READER)
      new &= ~(RW_QUEUED | RW_PENDING);
  } while (!atomic_compare_exchange_weak_explicit (
    &w->v, &old, new, memory_order_release, memory_order_relaxed));

  if (unlikely ((old & ~new) & RW_QUEUED))
    park_wake (w);
}

/* Take the lock for writing; may sleep. */
static inline void
rwword_write_lock (struct rwword *w) ACQUIRE (w) NO_THREAD_SAFETY_ANALYSIS
{
  uint32_t old = atomic_load_explicit (&w->v, memory_order_relaxed);

  if (unlikely ((old & (RW_HELD | RW_QUEUED)) ||
                !atomic_compare_exchange_weak_explicit (
                  &w->v, &old, old | RW_WRITER, memory_order_acquire,
                  memory_order_relaxed)))
    rwword_write_lock_slow (w);
}

/* As rwword_write_lock, but false instead of waiting. */
static inline bool MUST_USE
rwword_try_write_lock (struct rwword *w) TRY_ACQUIRE (true, w)
{
  uint32_t old = atomic_load_explicit (&w->v, memory_order_relaxed);

  do {
    if (old & RW_HELD)
      return false;
  } while (!atomic_compare_exchange_weak_explicit (
    &w->v, &old, old | RW_WRITER, memory_order_acquire, memory_order_relaxed));
  return true;
}

void rwword_write_unlock (struct rwword *w) RELEASE (w);

/* For the writer: set the owner bits under mask. */
static inline void
rwword_set_owner (struct rwword *w, uint32_t mask, uint32_t bits) REQUIRES (w)
{
  uint32_t old = atomic_load_explicit (&w->v, memory_order_relaxed);

  while (!atomic_compare_exchange_weak_explicit (
    &w->v, &old, (old & ~mask) | bits, memory_order_relaxed,
    memory_order_relaxed))
    ;
}

static inline bool
rwword_is_free (struct rwword *w)
{
  return (atomic_load_explicit (&w->v, memory_order_acquire) & ~RW_OWNER) == 0;
}

#endif /* ZRAM_RWWORD_H */
