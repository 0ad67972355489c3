/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Room: connects writers that find memory used up with the evictor, which takes
 * slots to a backing store (maint/evictor.h).
 *
 *   writer                                    evictor
 *   used > high?  ---- wake (once) ------->   room_answer: a round begins
 *   ENOSPC?       ---- wake, wait -------->   evicts down to its low mark
 *                 <--- room_made ----------   after each batch
 *   try again
 *                 <--- room_hopeless ------   the round is over: the backing
 *   ENOSPC                                    store is full or down, or no
 *                                             slot is left to evict
 *
 * No wake-up is lost: a writer reads 'made' before it tries, and sleeps only
 * while 'made' is unchanged.  It gives up only if a round that began after it
 * had asked says that there is no hope: the result of an earlier round may be
 * out of date.  The wait is bounded (ROOM_TIMEOUT_NS).  Writers wait with no
 * lock held, so the evictor can lock any slot.
 *
 * Locks: 'lock' is a leaf; it protects the fields below it.  'made' is changed
 * with it held, but read without it before the first try, which every write
 * makes.  A ticket that is already out of date only costs one more try.
 */

#ifndef ZRAM_ROOM_H
#define ZRAM_ROOM_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/compiler.h"
#include "base/mutex.h"

/* How long a write waits in total, by the run clock. */
#define ROOM_TIMEOUT_NS (UINT64_C (30) * 1000000000)

struct room {
  _Atomic uint64_t high; /* bytes of the budget; UINT64_MAX: no evictor */
  _Atomic uint64_t low;  /* below it, slots read back may stay */
  atomic_bool asked;     /* wake was called, not answered yet */
  void (*wake) (void *ctx);
  void *ctx;

  struct mutex lock;
  struct cond cond;
  _Atomic uint64_t made; /* how often room was made */
  uint64_t rounds;       /* begun */
  uint64_t over;         /* the last round that has ended */
  unsigned waiting;      /* writers */
  bool hopeless;         /* the result of that round */
  bool closed;           /* no evictor */
};

/* A write that may have to wait. */
struct stall {
  uint64_t ticket;      /* 'made' before the last try */
  uint64_t round;       /* whose result counts; 0: it has not waited yet */
  uint64_t deadline_ns; /* by the run clock; 0: the same */
};

void room_init (struct room *room);
void room_destroy (struct room *room);

/* For the evictor: from here on writers ask it for room with wake (ctx), which
 * any thread may call, and often.  Not while requests run.
 */
void room_open (struct room *room, void (*wake) (void *), void *ctx);

/* For the evictor: it makes no more room; writers that wait stop waiting. */
void room_close (struct room *room);

void room_set_marks (struct room *room, uint64_t low, uint64_t high);

/* The evictor begins a round: calls for room from here on wake it again.
 * Returns whether a writer waits.
 */
bool room_answer (struct room *room);

/* Some memory has become free. */
void room_made (struct room *room);

/* The round is over. */
void room_hopeless (struct room *room, bool hopeless);

/* Does a writer wait that has no answer yet? */
bool room_is_needed (struct room *room);

/* Call it before the first try. */
static inline void
room_stall_begin (struct room *room, struct stall *stall)
{
  *stall = (struct stall){ .ticket = atomic_load (&room->made) };
}

/* Memory was used up: wait.  Returns whether another try makes sense. */
bool room_wait (struct room *room, struct stall *stall) MUST_USE;

/* Call it after a write; 'used' is the memory used of the budget. */
static inline void
room_check (struct room *room, uint64_t used)
{
  if (unlikely (used >
                atomic_load_explicit (&room->high, memory_order_relaxed)) &&
      !atomic_exchange_explicit (&room->asked, true, memory_order_relaxed))
    room->wake (room->ctx);
}

#endif /* ZRAM_ROOM_H */
