/* SPDX-License-Identifier: BSD-3-Clause */
/* The slow paths of the reader-writer lock in a word.
 * Contract: base/rwword.h.
 */

#include <config.h>

#include <pthread.h>

#include "base/clock.h"
#include "base/cpu.h"
#include "base/fault.h"
#include "base/histogram.h"
#include "base/park.h"
#include "base/rwword.h"

/* About 2 to 4 µs: a tenth of the cost of sleeping and waking. */
#define SPINS 64

static struct histogram waits;
static _Atomic (struct histogram *) waits_made;

static void
make_waits (void)
{
  if (histogram_init (&waits) == 0)
    atomic_store (&waits_made, &waits);
}

struct histogram *
rwword_waits (void)
{
  static pthread_once_t once = PTHREAD_ONCE_INIT;

  pthread_once (&once, make_waits);
  return atomic_load (&waits_made);
}

static void
record_wait (uint64_t start)
{
  struct histogram *h = atomic_load_explicit (&waits_made,
                                              memory_order_acquire);

  if (h)
    histogram_add (h, clock_ns () - start);
}

/* Wait for a change of the word, which had the value 'seen' and was taken.
 * Spins while there are spins left, then parks; 'mark' has the bits that tell
 * the holder.
 */
static void
wait_for_change (struct rwword *w, uint32_t seen, uint32_t mark,
                 unsigned *spins)
{
  if (*spins) {
    --*spins;
    cpu_relax ();
    return;
  }

  /* Take the ticket first, and do the exchange even if the mark is set already:
   * its success proves that the lock is still held after the ticket was taken,
   * so an unlock, and its wake, are still to come.
   */
  fault_pause ("rwword.seen");
  uint32_t ticket = park_ticket (w);
  if (atomic_compare_exchange_strong_explicit (&w->v, &seen, seen | mark,
                                               memory_order_relaxed,
                                               memory_order_relaxed)) {
    fault_pause ("rwword.marked");
    park_wait (w, ticket);
  }
}

void
rwword_read_lock_slow (struct rwword *w, uint32_t owner_mask,
                       uint32_t owner_bits)
{
  uint64_t start = clock_ns ();
  unsigned spins = SPINS;

  for (;;) {
    uint32_t old = atomic_load_explicit (&w->v, memory_order_relaxed);

    while (!(old & (RW_WRITER | RW_PENDING)) &&
           (old & RW_READERS) != RW_READERS)
      if (atomic_compare_exchange_weak_explicit (
            &w->v, &old, ((old & ~owner_mask) | owner_bits) + RW_READER,
            memory_order_acquire, memory_order_relaxed))
        goto got;
    wait_for_change (w, old, RW_QUEUED, &spins);
  }
got:
  record_wait (start);
}

void
rwword_write_lock_slow (struct rwword *w)
{
  uint64_t start = clock_ns ();
  unsigned spins = SPINS;

  for (;;) {
    uint32_t old = atomic_load_explicit (&w->v, memory_order_relaxed);

    /* Q stays: the threads that set it are still parked, and our unlock wakes
     * them.
     */
    while (!(old & RW_HELD))
      if (atomic_compare_exchange_weak_explicit (
            &w->v, &old, (old & ~RW_PENDING) | RW_WRITER, memory_order_acquire,
            memory_order_relaxed))
        goto got;
    wait_for_change (w, old, RW_QUEUED | RW_PENDING, &spins);
  }
got:
  record_wait (start);
}

void
rwword_write_unlock (struct rwword *w) NO_THREAD_SAFETY_ANALYSIS
{
  uint32_t old = atomic_fetch_and_explicit (
    &w->v, ~(RW_WRITER | RW_QUEUED | RW_PENDING), memory_order_release);

  if (unlikely (old & RW_QUEUED))
    park_wake (w);
}
