/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Room: how writers that find memory used up meet the policy that evicts slots
 * to a backing store (maint/evictor.h).
 *
 *   writer                                    evictor
 *   used > high?  ---- wake (once) ------->   room_answer: a round begins
 *   ENOSPC?       ---- wake, wait -------->   evicts down to its low mark
 *                 <--- room_made ----------   after each batch
 *   tries again
 *                 <--- room_hopeless ------   the round is over: the store is
 *   ENOSPC                                    full or down, or nothing is left
 *                                             to evict
 *
 * No wake-up is lost: a writer reads 'made' before it tries, and sleeps only
 * while it is the same.  It believes that there is no hope only if a round says
 * so that began after it had asked: what an earlier one found may not be so any
 * more.  The wait is bounded.  Writers wait with no lock held, so the evictor
 * can have any slot.
 *
 * Locks: 'lock' is a leaf; it protects the fields below it.  'made' is changed
 * with it held, and read without it before the first try, which every write
 * makes: a ticket that is old already only means one try more.
 */

#ifndef ZRAM_ROOM_H
#define ZRAM_ROOM_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/compiler.h"
#include "base/mutex.h"

/* How long a write waits in all, by the run clock. */
#define ROOM_TIMEOUT_NS (UINT64_C (30) * 1000000000)

struct room {
  _Atomic uint64_t high; /* bytes of the budget; UINT64_MAX: nobody evicts */
  _Atomic uint64_t low;  /* below that what is read back may stay */
  atomic_bool asked;     /* wake was called, and not answered yet */
  void (*wake) (void *ctx);
  void *ctx;

  struct mutex lock;
  struct cond cond;
  _Atomic uint64_t made; /* how often there was */
  uint64_t rounds;       /* begun */
  uint64_t over;         /* the last of them that is */
  unsigned waiting;      /* writers */
  bool hopeless;         /* what that one said */
  bool closed;           /* nobody evicts */
};

/* A write that may have to wait. */
struct stall {
  uint64_t ticket;      /* of 'made', before the last try */
  uint64_t round;       /* whose word counts; 0: it has not waited yet */
  uint64_t deadline_ns; /* of the run clock; 0: likewise */
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

/* The evictor begins a round; what is asked from here on is asked anew.  Does
 * anybody wait?
 */
bool room_answer (struct room *room);

/* Some memory is free that was not. */
void room_made (struct room *room);

/* The round is over. */
void room_hopeless (struct room *room, bool hopeless);

/* Somebody waits who is not answered yet. */
bool room_is_needed (struct room *room);

/* Before the first try. */
static inline void
room_stall_begin (struct room *room, struct stall *stall)
{
  *stall = (struct stall){ .ticket = atomic_load (&room->made) };
}

/* Memory was used up: wait, and say whether another try makes sense. */
bool room_wait (struct room *room, struct stall *stall) MUST_USE;

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
