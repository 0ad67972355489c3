/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Room: how writers that find memory used up meet the policy that evicts slots
 * to a backing store (maint/evictor.h).
 *
 *   writer                                    evictor
 *   used > high?  ---- wake (once) ------->   evicts down to its low mark
 *   ENOSPC?       ---- wake, wait -------->
 *                 <--- room_made ----------   after each batch
 *   tries again
 *                 <--- room_hopeless ------   the store is full or down, or
 *   ENOSPC                                    nothing is left to evict
 *
 * No wake-up is lost: a writer reads 'made' before it tries, and sleeps only
 * while it is the same.  The wait is bounded.  Writers wait with no lock held,
 * so the evictor can have any slot.
 *
 * Locks: 'lock' is a leaf; it protects made and hopeless.
 */

#ifndef ZRAM_ROOM_H
#define ZRAM_ROOM_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/compiler.h"

/* How long a write waits in all. */
#define ROOM_TIMEOUT_NS (UINT64_C (30) * 1000000000)

struct room {
  _Atomic uint64_t high; /* bytes of the budget; UINT64_MAX: nobody evicts */
  _Atomic uint64_t low;  /* below that what is read back may stay */
  atomic_bool asked;     /* wake was called, and not answered yet */
  void (*wake) (void *ctx);
  void *ctx;

  pthread_mutex_t lock;
  pthread_cond_t cond;
  uint64_t made;
  bool hopeless;
};

void room_init (struct room *room);
void room_destroy (struct room *room);

/* The evictor's: from here on it is asked, by wake (ctx), which may be called
 * in any thread, and often.  Not while requests run.
 */
void room_open (struct room *room, void (*wake) (void *), void *ctx);

/* The evictor's: nobody will be helped any more; those who wait are let go. */
void room_close (struct room *room);

void room_set_marks (struct room *room, uint64_t low, uint64_t high);

/* The evictor has begun to answer: what is asked from here on is asked anew. */
void room_answer (struct room *room);
void room_made (struct room *room);
void room_hopeless (struct room *room, bool hopeless);

/* For room_wait: read it before trying. */
uint64_t room_ticket (struct room *room);

/* Memory was used up: false if nobody can help, or not before 'deadline'
 * (clock_ns); else true once some room was made since the ticket.
 */
bool room_wait (struct room *room, uint64_t ticket, uint64_t deadline) MUST_USE;

/* After a write; 'used' is the budget's. */
static inline void
room_check (struct room *room, uint64_t used)
{
  if (unlikely (used >
                atomic_load_explicit (&room->high, memory_order_relaxed)) &&
      !atomic_exchange_explicit (&room->asked, true, memory_order_relaxed))
    room->wake (room->ctx);
}

#endif /* ZRAM_ROOM_H */
