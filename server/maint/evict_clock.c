/* SPDX-License-Identifier: BSD-3-Clause */
/* Evict clock: counts ages, and moves a hand over old slots.
 * Contract: maint/evict_clock.h.
 */

#include <config.h>

#include "base/clock.h"
#include "maint/evict_clock.h"
#include "store/query.h"

/* Ages are counted in powers of two of seconds. */
#define AGES 20

/* Slots that do not compress, or are marked idle, count as older by this power
 * of two.
 */
#define COLDER 2

/* How many slots' ages are counted before a revolution. */
#define COUNT_SLOTS 1000000

/* How many slots the hand looks at in one step. */
#define STEP_SLOTS 256

#define HAND_END UINT64_MAX /* as slot_walk_position returns it */

void
evict_clock_init (struct evict_clock *c, struct store *store)
{
  *c = (struct evict_clock){ .store = store };
}

/* -- ages --------------------------------------------------------------- */

static unsigned
age_of (const struct slot *s, uint32_t meta, uint32_t now)
{
  uint32_t seconds = slot_age (s, now);
  unsigned age = seconds ? 32 - (unsigned) __builtin_clz (seconds) : 0;

  if (slot_is_idle (s) || slot_meta_format (meta) == CODEC_RAW)
    age += COLDER;
  return age < AGES ? age : AGES - 1;
}

/* Add up the sizes by age in the slots of one leaf. */
static void
count_leaf (struct disk *disk, uint64_t first, uint32_t now, uint64_t *bytes)
{
  uint64_t end = (first | (LEAF_SLOTS - 1)) + 1;

  for (uint64_t i = first; i < end && i < disk->table.slots; i++) {
    const struct slot *s = slot_table_peek (&disk->table, i);
    uint32_t meta = s ? slot_load_meta (s) : 0;

    if (s && evict_can_go (meta))
      bytes[age_of (s, meta, now)] += slot_meta_size (meta);
  }
}

/* If there are many slots, only every n-th leaf is counted. */
static void
count_ages (struct store *store, struct ticker *t, uint64_t *bytes)
{
  uint64_t stored = (uint64_t) store_sum (store, DISK_SLOTS_STORED);
  uint64_t every = stored / COUNT_SLOTS + 1, leaves = 0;
  uint32_t now = clock_coarse_s ();
  struct slot_walk w;

  slot_walk_all (&w, store);
  while (!ticker_stopping (t) && slot_walk_next_present (&w)) {
    if (leaves++ % every == 0)
      count_leaf (w.disk, w.index, now, bytes);
    slot_walk_skip_leaf (&w);
  }
  slot_walk_end (&w);
  for (unsigned age = 0; age < AGES; age++)
    bytes[age] *= every;
}

bool
evict_clock_begin (struct evict_clock *c, uint64_t need, struct ticker *t)
{
  uint64_t bytes[AGES] = { 0 }, sum = 0;

  count_ages (c->store, t, bytes);
  c->age = AGES;
  while (c->age > 0 && sum < need)
    sum += bytes[--c->age];
  c->start = c->hand;
  c->around = false;
  return sum > 0;
}

/* -- the hand ----------------------------------------------------------- */

void
evict_clock_step_begin (struct evict_clock *c)
{
  c->now = clock_coarse_s ();
  c->looks = 0;
  slot_walk_from (&c->walk, c->store, c->hand);
}

bool
evict_clock_next (struct evict_clock *c)
{
  while (c->looks++ < STEP_SLOTS && slot_walk_next (&c->walk))
    if (evict_can_go (c->walk.meta) &&
        age_of (c->walk.slot, c->walk.meta, c->now) >= c->age)
      return true;
  return false;
}

bool
evict_clock_step_end (struct evict_clock *c)
{
  c->hand = slot_walk_position (&c->walk);
  slot_walk_end (&c->walk);
  if (c->hand == HAND_END) {
    c->hand = 0;
    if (c->around) /* the slot where it began is gone */
      return false;
    c->around = true;
  }
  return !c->around || c->hand < c->start;
}
