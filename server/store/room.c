/* SPDX-License-Identifier: BSD-3-Clause */

#include <config.h>

#include <errno.h>
#include <time.h>

#include "base/clock.h"
#include "store/room.h"

void
room_init (struct room *room)
{
  pthread_condattr_t attr;

  atomic_init (&room->high, UINT64_MAX);
  atomic_init (&room->low, UINT64_MAX);
  atomic_init (&room->asked, false);
  room->wake = NULL;
  room->made = 0;
  room->hopeless = true;
  pthread_mutex_init (&room->lock, NULL);
  pthread_condattr_init (&attr);
  pthread_condattr_setclock (&attr, CLOCK_MONOTONIC);
  pthread_cond_init (&room->cond, &attr);
  pthread_condattr_destroy (&attr);
}

void
room_destroy (struct room *room)
{
  pthread_cond_destroy (&room->cond);
  pthread_mutex_destroy (&room->lock);
}

void
room_open (struct room *room, void (*wake) (void *), void *ctx)
{
  pthread_mutex_lock (&room->lock);
  room->wake = wake;
  room->ctx = ctx;
  room->hopeless = false;
  pthread_mutex_unlock (&room->lock);
}

void
room_close (struct room *room)
{
  atomic_store (&room->high, UINT64_MAX);
  room_hopeless (room, true);
}

void
room_set_marks (struct room *room, uint64_t low, uint64_t high)
{
  atomic_store (&room->low, low);
  atomic_store (&room->high, high);
}

void
room_answer (struct room *room)
{
  atomic_store (&room->asked, false);
}

void
room_made (struct room *room)
{
  pthread_mutex_lock (&room->lock);
  room->made++;
  room->hopeless = false;
  pthread_cond_broadcast (&room->cond);
  pthread_mutex_unlock (&room->lock);
}

void
room_hopeless (struct room *room, bool hopeless)
{
  pthread_mutex_lock (&room->lock);
  room->hopeless = hopeless;
  pthread_cond_broadcast (&room->cond);
  pthread_mutex_unlock (&room->lock);
}

uint64_t
room_ticket (struct room *room)
{
  uint64_t made;

  pthread_mutex_lock (&room->lock);
  made = room->made;
  pthread_mutex_unlock (&room->lock);
  return made;
}

bool
room_wait (struct room *room, uint64_t ticket, uint64_t deadline)
{
  const struct timespec due = { .tv_sec = (time_t) (deadline / 1000000000),
                                .tv_nsec = (long) (deadline % 1000000000) };
  bool made;

  pthread_mutex_lock (&room->lock);
  if (!room->hopeless && room->made == ticket) {
    /* The wake takes no lock that is held while this one is. */
    pthread_mutex_unlock (&room->lock);
    room->wake (room->ctx);
    pthread_mutex_lock (&room->lock);
  }
  while (room->made == ticket && !room->hopeless &&
         pthread_cond_timedwait (&room->cond, &room->lock, &due) != ETIMEDOUT)
    ;
  made = room->made != ticket;
  pthread_mutex_unlock (&room->lock);
  return made;
}
