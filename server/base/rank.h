/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Lock ranks, and the checker that enforces them.
 *
 * A thread may block on a lock only if its rank is higher than that of every
 * lock that the thread holds.  It may *try* a lock whose rank is at least as
 * high.  So no cycle of waiting threads can arise.
 *
 * A thread that holds a lock of rank CLASS or above does not sleep: it does not
 * wait for a slot or a stream, does no I/O and asks the system for no memory
 * (rank_may_sleep).  A thread that holds a zspage's write lock (an atomic
 * section) also takes no other lock that may be held for long.
 *
 * With --enable-debug and in sanitizer builds a breach aborts the process with
 * the names of both locks.  In other builds all this compiles to nothing.
 */

#ifndef ZRAM_RANK_H
#define ZRAM_RANK_H

#include <stdbool.h>

enum lock_rank {
  RANK_SETTINGS = 1, /* workers, methods, dictionaries; audits */
  RANK_CONTROL,      /* compaction, one pass at a time */
  RANK_RECOMPRESS,   /* recompression: its methods, and each of its steps */
  RANK_WRITEBACK,    /* writeback by hand: each of its steps */
  RANK_EVICT,        /* eviction: each of its steps */
  RANK_DRAIN,        /* draining the write buffer: each of its steps */
  RANK_REFILL,       /* filling the reserve of memory: each of its steps */
  RANK_SLOT,         /* one table entry and the life of its object */
  RANK_STREAM,       /* one codec context and its buffers */
  RANK_DICT,         /* a dictionary's digests by level */
  RANK_WORKPOOL,     /* queue of shared requests and passes */
  RANK_CLASS,        /* fullness lists, allocation and free, handles */
  RANK_ZSPAGE,       /* the bytes of a zspage's objects */
  RANK_Z3_PAGE,      /* a page of z3fold: where its objects lie, pins */
  RANK_Z3_LISTS,     /* z3fold: its lists of pages, and free pages */
  RANK_WATCHED,      /* the store that the watchdog may look at */
  RANK_LATE,         /* blocks that wait for a late write to land */
  RANK_BACKING,      /* ownership of backing blocks */
  RANK_ARENA,        /* spans */
  RANK_TABLE,        /* leaves and nodes of the slot table */
  RANK_BUFFER,       /* free entries of the write buffer */
  RANK_DISKS,        /* the list of disks */
  RANK_LEAF,         /* queues and flags: one alone, only time is read inside */
  RANK_CLOCK,        /* the run clock */
  RANK_COUNT
};

#ifdef ZRAM_DEBUG

/* Called before a thread blocks on a lock of this rank, or (try) after it took
 * the lock without blocking.  Aborts on a breach; otherwise notes the lock as
 * held.
 */
void rank_acquire (enum lock_rank rank);
void rank_acquire_try (enum lock_rank rank);
void rank_release (enum lock_rank rank);

/* The calling thread is about to do 'what', which may sleep. */
void rank_may_sleep (const char *what);

/* Between these two the calling thread holds a zspage's write lock. */
void rank_atomic_begin (void);
void rank_atomic_end (void);

/* Number of locks of this rank that the calling thread holds. */
unsigned rank_held (enum lock_rank rank);

#else

static inline void
rank_acquire (enum lock_rank rank)
{
  (void) rank;
}

static inline void
rank_acquire_try (enum lock_rank rank)
{
  (void) rank;
}

static inline void
rank_release (enum lock_rank rank)
{
  (void) rank;
}

static inline void
rank_may_sleep (const char *what)
{
  (void) what;
}

static inline void
rank_atomic_begin (void)
{
}

static inline void
rank_atomic_end (void)
{
}

#endif

const char *rank_name (enum lock_rank rank);

#endif /* ZRAM_RANK_H */
