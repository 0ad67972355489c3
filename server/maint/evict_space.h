/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Space for the evictor: free blocks in the backing store, and the answer to
 * writers that wait for memory (store/room.h) when there are no free blocks.
 *
 *   a block that no record uses any more --punch--> free
 *
 *   result of look    blocks being punched    writers that wait    next look
 *   good              -                       keep waiting         in a while
 *   bad               yes, or just before     keep waiting         soon
 *   bad               no: hopeless            fail                 later
 *
 * The backing store may be full because blocks are being punched, or because it
 * is thin and has not yet got their space back.  As long as that lasts, nothing
 * is wrong.
 *
 * Locks: none.  Only the evictor's thread uses it, except for
 * evict_space_is_punching.
 */

#ifndef ZRAM_EVICT_SPACE_H
#define ZRAM_EVICT_SPACE_H

#include "maint/ticker.h"
#include "store/store.h"

/* The result of a look of the evictor. */
enum evict_outcome {
  /* Good: */
  EVICT_RESTED, /* nothing had to be done */
  EVICT_DONE,   /* memory is at its target */
  EVICT_EMPTY,  /* no memory is used: a writer that waits has room now */
  /* Bad: */
  EVICT_TOO_SMALL, /* EMPTY, again: the limit is smaller than one slot */
  EVICT_NO_LIMIT,  /* a writer found no room, but not because of mem_limit */
  EVICT_FULL,      /* the backing store has no free block */
  EVICT_STUCK,     /* all slots that could go are locked, or writes fail, or
                      writeback_limit is used up */
};

static inline bool
evict_is_good (enum evict_outcome o)
{
  return o < EVICT_TOO_SMALL;
}

struct evict_space {
  struct store *store; /* not owned */
  bool more;           /* there is more to punch */
  bool punching;       /* when the look began */
  bool looked_again;   /* since the last good look */
  bool hopeless;       /* the result of the last look */
  uint64_t pause_ns;   /* after it, if not */
  uint64_t ended_ns;   /* when it ended */
};

void evict_space_init (struct evict_space *s, struct store *store);

/* Sleep until the next look, or until the ticker is woken.  False if the ticker
 * is told to stop.
 */
bool evict_space_sleep (struct evict_space *s, struct ticker *t) MUST_USE;

/* A look begins: release the blocks that are due and punch some of the free
 * ones, so that this look can use them.
 */
void evict_space_begin (struct evict_space *s);

/* The look is over: tell the writers that wait for room.  Returns whether it is
 * hopeless.
 */
bool evict_space_end (struct evict_space *s, enum evict_outcome o);

/* Are blocks being punched that will be free in a moment?  Any thread may ask.
 */
bool evict_space_is_punching (const struct evict_space *s) MUST_USE;

#endif /* ZRAM_EVICT_SPACE_H */
