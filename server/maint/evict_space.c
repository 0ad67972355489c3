/* SPDX-License-Identifier: BSD-3-Clause */
/* Evict space: punches blocks, and tells whether there is hope of free ones.
 * Contract: maint/evict_space.h.
 */

#include <config.h>

#include "base/clock.h"
#include "maint/evict_space.h"

/* It looks this often even if it is not woken: the limit may have changed, and
 * there may be blocks to punch.
 */
#define PAUSE_NS (UINT64_C (200) * 1000000)

/* The pause while blocks are being punched: nothing is wrong then. */
#define PUNCHED_NS (UINT64_C (5) * 1000000)

/* The pause after a hopeless look: RETRY_NS, or NEEDED_NS if a writer waits,
 * because it believes only a look that began after its request.
 */
#define RETRY_NS (UINT64_C (1000) * 1000000)
#define NEEDED_NS (UINT64_C (50) * 1000000)

void
evict_space_init (struct evict_space *s, struct store *store)
{
  *s = (struct evict_space){ .store = store, .pause_ns = PAUSE_NS };
}

/* A wake-up is no reason to repeat a hopeless look at once. */
static bool
sleep_without_hope (struct evict_space *s, struct ticker *t)
{
  for (;;) {
    bool needed = room_is_needed (&s->store->room);
    uint64_t due = s->ended_ns + (needed ? NEEDED_NS : RETRY_NS);
    uint64_t now = clock_ns ();

    if (now >= due)
      return !ticker_stopping (t);
    if (!ticker_sleep_ns (t, due - now))
      return false;
  }
}

bool
evict_space_sleep (struct evict_space *s, struct ticker *t)
{
  return s->hopeless ? sleep_without_hope (s, t)
                     : ticker_sleep_ns (t, s->pause_ns);
}

bool
evict_space_is_punching (const struct evict_space *s)
{
  /* These stay for minutes. */
  uint64_t late = backed_late_punches (s->store->backed);
  struct blocks_stats st;

  blocks_get_stats (s->store->backed->blocks, &st);
  return st.punching > late;
}

void
evict_space_begin (struct evict_space *s)
{
  s->more = backed_tidy (s->store->backed);
  s->punching = evict_space_is_punching (s);
}

/* Could the next look succeed soon?  Blocks that were being punched when
 * nothing could be written may be free by now, and a thin store may have got
 * their space back.  So after the first look that found the backing store full,
 * there is a second one.
 */
static bool
will_be_better (struct evict_space *s, enum evict_outcome o)
{
  if (s->punching || evict_space_is_punching (s))
    return true;
  if (o != EVICT_FULL || s->looked_again)
    return false;
  s->looked_again = true;
  return true;
}

bool
evict_space_end (struct evict_space *s, enum evict_outcome o)
{
  bool good = evict_is_good (o), soon = !good && will_be_better (s, o);

  if (good)
    s->looked_again = false;
  s->hopeless = !good && !soon;
  room_hopeless (&s->store->room, s->hopeless);
  s->ended_ns = clock_ns ();
  s->pause_ns = soon ? PUNCHED_NS : s->more ? 0 : PAUSE_NS;
  return s->hopeless;
}
