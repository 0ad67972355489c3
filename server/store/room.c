/* SPDX-License-Identifier: BSD-3-Clause */

#include <config.h>

#include <time.h>

#include "base/keep_errno.h"
#include "base/run_clock.h"
#include "store/room.h"

void
room_init (struct room *room)
{
  pthread_condattr_t attr;

  atomic_init (&room->high, UINT64_MAX);
  atomic_init (&room->low, UINT64_MAX);
  atomic_init (&room->asked, false);
  room->wake = NULL;
  room->made = room->rounds = room->over = 0;
  room->waiting = 0;
  room->hopeless = false;
  room->closed = true;
  pthread_mutex_init (&room->lock, NULL);
  pthread_condattr_init (&attr);
  pthread_condattr_setclock (&attr, CLOCK_MONOTONIC);
  pthread_cond_init (&room->cond, &attr);
  pthread_condattr_destroy (&attr);
}

void
room_destroy (struct room *room)
{
  KEEP_ERRNO;
  pthread_cond_destroy (&room->cond);
  pthread_mutex_destroy (&room->lock);
}

void
room_open (struct room *room, void (*wake) (void *), void *ctx)
{
  pthread_mutex_lock (&room->lock);
  room->wake = wake;
  room->ctx = ctx;
  room->closed = false;
  pthread_mutex_unlock (&room->lock);
}

void
room_close (struct room *room)
{
  atomic_store (&room->high, UINT64_MAX);
  pthread_mutex_lock (&room->lock);
  room->closed = true;
  pthread_cond_broadcast (&room->cond);
  pthread_mutex_unlock (&room->lock);
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
  pthread_mutex_lock (&room->lock);
  room->rounds++;
  needed = room->waiting > 0;
  pthread_mutex_unlock (&room->lock);
  return needed;
}

void
room_made (struct room *room)
{
  pthread_mutex_lock (&room->lock);
  room->made++;
  pthread_cond_broadcast (&room->cond);
  pthread_mutex_unlock (&room->lock);
}

void
room_hopeless (struct room *room, bool hopeless)
{
  pthread_mutex_lock (&room->lock);
  room->hopeless = hopeless;
  room->over = room->rounds;
  pthread_cond_broadcast (&room->cond);
  pthread_mutex_unlock (&room->lock);
}

bool
room_is_needed (struct room *room)
{
  bool needed;

  pthread_mutex_lock (&room->lock);
  needed = room->waiting > 0;
  pthread_mutex_unlock (&room->lock);
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
  pthread_mutex_lock (&room->lock);
  if (!stall->round)
    stall->round = room->rounds + 1;
  room->waiting++;
  if (room->made == stall->ticket && !is_hopeless_locked (room, stall)) {
    /* The wake takes no lock that is held while this one is. */
    pthread_mutex_unlock (&room->lock);
    room->wake (room->ctx);
    pthread_mutex_lock (&room->lock);
  }
  while (room->made == stall->ticket && !is_hopeless_locked (room, stall) &&
         run_clock_wait (&room->cond, &room->lock, stall->deadline_ns))
    ;
  room->waiting--;
  again = room->made != stall->ticket;
  stall->ticket = room->made;
  pthread_mutex_unlock (&room->lock);
  /* Room may be made again and again, and always for others. */
  return again && run_clock_ns () < stall->deadline_ns;
}
