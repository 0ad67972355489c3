/* SPDX-License-Identifier: BSD-3-Clause */
/* Room: writers wait for the evictor.
 * Contract: store/room.h.
 */

#include <config.h>

#include "base/keep_errno.h"
#include "base/run_clock.h"
#include "store/room.h"

void
room_init (struct room *room)
{
  atomic_init (&room->high, UINT64_MAX);
  atomic_init (&room->low, UINT64_MAX);
  atomic_init (&room->asked, false);
  room->wake = NULL;
  room->made = room->rounds = room->over = 0;
  room->waiting = 0;
  room->hopeless = false;
  room->closed = true;
  mutex_init (&room->lock, RANK_LEAF);
  cond_init (&room->cond);
}

void
room_destroy (struct room *room)
{
  KEEP_ERRNO;
  cond_destroy (&room->cond);
  mutex_destroy (&room->lock);
}

void
room_open (struct room *room, void (*wake) (void *), void *ctx)
{
  mutex_lock (&room->lock);
  room->wake = wake;
  room->ctx = ctx;
  room->closed = false;
  mutex_unlock (&room->lock);
}

void
room_close (struct room *room)
{
  atomic_store (&room->high, UINT64_MAX);
  mutex_lock (&room->lock);
  room->closed = true;
  cond_broadcast (&room->cond);
  mutex_unlock (&room->lock);
}

void
room_set_marks (struct room *room, uint64_t low, uint64_t high)
{
  atomic_store (&room->low, low);
  atomic_store (&room->high, high);
}

bool
room_answer (struct room *room)
{
  bool needed;

  atomic_store (&room->asked, false);
  mutex_lock (&room->lock);
  room->rounds++;
  needed = room->waiting > 0;
  mutex_unlock (&room->lock);
  return needed;
}

void
room_made (struct room *room)
{
  mutex_lock (&room->lock);
  room->made++;
  cond_broadcast (&room->cond);
  mutex_unlock (&room->lock);
}

void
room_hopeless (struct room *room, bool hopeless)
{
  mutex_lock (&room->lock);
  room->hopeless = hopeless;
  room->over = room->rounds;
  cond_broadcast (&room->cond);
  mutex_unlock (&room->lock);
}

bool
room_is_needed (struct room *room)
{
  bool needed;

  mutex_lock (&room->lock);
  needed = room->waiting > 0;
  mutex_unlock (&room->lock);
  return needed;
}

static bool
is_hopeless_locked (const struct room *room, const struct stall *stall)
{
  return room->closed || (room->hopeless && room->over >= stall->round);
}

bool
room_wait (struct room *room, struct stall *stall)
{
  bool again;

  if (!stall->deadline_ns)
    stall->deadline_ns = run_clock_ns () + ROOM_TIMEOUT_NS;
  mutex_lock (&room->lock);
  if (!stall->round)
    stall->round = room->rounds + 1;
  room->waiting++;
  if (room->made == stall->ticket && !is_hopeless_locked (room, stall)) {
    /* wake may take locks, so this one is released first. */
    mutex_unlock (&room->lock);
    room->wake (room->ctx);
    mutex_lock (&room->lock);
  }
  while (room->made == stall->ticket && !is_hopeless_locked (room, stall) &&
         run_clock_wait (&room->cond, &room->lock, stall->deadline_ns))
    ;
  room->waiting--;
  again = room->made != stall->ticket;
  stall->ticket = room->made;
  mutex_unlock (&room->lock);
  /* Other writers may take all the room that is made, again and again. */
  return again && run_clock_ns () < stall->deadline_ns;
}
