/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Space for the evictor: free blocks in the backing store, and what writers who
 * wait for memory (store/room.h) are told when there are none.
 *
 *   a block nobody needs any more --punch--> free
 *
 *   a look came to    blocks being punched    writers that wait    next look
 *   good              -                       go on waiting        in a while
 *   bad               yes, or just before     go on waiting        soon
 *   bad               no: hopeless            fail                 later
 *
 * The store may be full because blocks are being punched, or because one that
 * is thin waits for what they held: as long as that is so nothing is wrong.
 *
 * Locks: none.  The evictor's thread alone uses it, but
 * evict_space_is_punching.
 */

#ifndef ZRAM_EVICT_SPACE_H
#define ZRAM_EVICT_SPACE_H

#include "maint/ticker.h"
#include "store/store.h"

/* What came of a look of the evictor. */
enum evict_outcome {
  /* Good: */
  EVICT_RESTED, /* nothing had to be done */
  EVICT_DONE,   /* memory is at its target */
  EVICT_EMPTY,  /* nothing is used: a writer who found no room has some now */
  /* Bad: */
  EVICT_TOO_SMALL, /* EMPTY, again: the limit is less than a slot takes */
  EVICT_NO_LIMIT,  /* a writer found no room, but not because of mem_limit */
  EVICT_FULL,      /* the backing store has no free block */
  EVICT_STUCK,     /* all that could go is locked, the store fails, or
                      writeback_limit is used up */
};

static inline bool
evict_is_good (enum evict_outcome o)
{
  return o < EVICT_TOO_SMALL;
}

struct evict_space {
  struct store *store; /* not owned */
  bool more;           /* to punch */
  bool punching;       /* when the look began */
  bool looked_again;   /* since the last good look */
  bool hopeless;       /* what the last look said */
  uint64_t pause_ns;   /* after it, if not */
  uint64_t ended_ns;   /* when it ended */
};

void evict_space_init (struct evict_space *s, struct store *store);

/* Sleep until the next look; the ticker may be woken before.  False if that is
 * told to stop.
 */
bool evict_space_sleep (struct evict_space *s, struct ticker *t) MUST_USE;

/* A look begins: release what is due and punch some of what is free, so that it
 * has the good of it.
 */
void evict_space_begin (struct evict_space *s);

/* The look is over: tell those who wait for room.  Is it hopeless? */
bool evict_space_end (struct evict_space *s, enum evict_outcome o);

/* Are blocks being punched that will be free in a moment?  From any thread. */
bool evict_space_is_punching (const struct evict_space *s) MUST_USE;

#endif /* ZRAM_EVICT_SPACE_H */
