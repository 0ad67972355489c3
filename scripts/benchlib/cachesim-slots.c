/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Policies as a slot table can have them: no lists, a few bits in each slot,
 * and a hand that goes round in the order of the table.
 *
 *   marks    as it was: evict between two marks by age in seconds, put back
 *            into memory what is read only below the low mark
 *   shadow   what docs/cache-policy.md describes
 */
#include <stdlib.h>

#include "cachesim.h"

/* -- marks -------------------------------------------------------------- */

struct marks {
  uint32_t *stamp, hand;
  uint64_t second; /* operations */
};

static void *
marks_create (struct cache *c)
{
  struct marks *o = must_alloc (1, sizeof *o);

  o->stamp = must_alloc (c->trace->slots, sizeof *o->stamp);
  o->second = (uint64_t) option ("second", 2048);
  return o;
}

static void
marks_destroy (void *own)
{
  struct marks *o = own;

  free (o->stamp);
  free (o);
}

static unsigned
log_age (const struct cache *c, const struct marks *o, uint32_t x)
{
  uint32_t age = (uint32_t) (c->now / o->second) - o->stamp[x];

  return age ? 32 - (unsigned) __builtin_clz (age) : 0;
}

static void
marks_turn (struct cache *c, uint64_t need)
{
  struct marks *o = c->own;
  uint64_t weights[33] = { 0 }, sum = 0, taken = 0;
  unsigned bucket = 33;

  for (uint32_t x = 0; x < c->trace->slots; x++)
    if (c->resident[x])
      weights[log_age (c, o, x)] += c->weight[x];
  while (bucket > 0 && sum < need)
    sum += weights[--bucket];
  for (uint32_t n = 0; n < c->trace->slots && taken < need; n++) {
    uint32_t x = o->hand++ % c->trace->slots;

    if (c->resident[x] && log_age (c, o, x) >= bucket) {
      taken += c->weight[x];
      cache_went (c, x);
    }
  }
}

static void
marks (struct cache *c, uint32_t x, bool write)
{
  struct marks *o = c->own;

  o->stamp[x] = (uint32_t) (c->now / o->second);
  if (c->resident[x] || (!write && c->used >= c->room / 100 * 85))
    return;
  while (c->used + c->weight[x] > c->room / 100 * 90)
    marks_turn (c, c->used - c->room / 100 * 85);
  cache_came (c, x);
}

/* -- shadow ------------------------------------------------------------- */

/* A slot has a tick, which is when it was last accessed, and a bit: hot.  What
 * is not in memory keeps both.  An access in memory sets them and does nothing
 * else; a read from the store adds to three sums; all else is done when a tick
 * ends, or memory is full, from a count of the table by class and age.
 */
enum class { COLD, HOT, OUT, CLASSES };

#define LEAF 256
#define MAX_BITS 10
#define LEAST 0.1 /* of memory is for cold slots in any case */

struct shadow {
  uint32_t *tick_of; /* of the last access; 0: never */
  bool *hot;
  uint32_t tick, hand;
  uint32_t never; /* the greatest age: so old, or never accessed */
  uint32_t every; /* of so many leaves one is counted */
  uint64_t tick_weight, batch;

  /* Of this tick, in weight: */
  uint64_t came;   /* read from the store, or written and not in memory */
  double regret;   /* twice what LRU would have had in memory, less what */
                   /* was used again after LRU would have dropped it */
  double returned; /* hot slots that were used, for the first time since they */
                   /* fell silent */

  double share;    /* weight that may be cold */
  double usual;    /* what returns in a tick, of a tick's weight */
  double patience; /* ticks that hot slots may be silent */
  uint32_t silent; /* ticks that they have been */

  uint64_t sums[CLASSES][1 << MAX_BITS]; /* the last count: weight by age */
  uint32_t lru_age;                      /* what LRU would have is not older */
  uint32_t hot_age; /* what is not older becomes hot when it is used again */
};

static void *
shadow_create (struct cache *c)
{
  struct shadow *o = must_alloc (1, sizeof *o);
  unsigned bits = (unsigned) option ("bits", 7);

  o->tick_of = must_alloc (c->trace->slots, sizeof *o->tick_of);
  o->hot = must_alloc (c->trace->slots, sizeof *o->hot);
  o->never = (1u << (bits < MAX_BITS ? bits : MAX_BITS)) - 1;
  o->tick = o->never + 1;
  o->tick_weight = c->room / (uint64_t) option ("ticks", 32);
  o->batch = c->room / (uint64_t) option ("batch", 64);
  o->every = (uint32_t) option ("every", 1);
  o->share = (double) c->room;
  o->patience = 1;
  o->lru_age = o->hot_age = o->never - 1;
  return o;
}

static void
shadow_destroy (void *own)
{
  struct shadow *o = own;

  free (o->tick_of);
  free (o->hot);
  free (o);
}

static uint32_t
age_of (const struct shadow *o, uint32_t x)
{
  uint32_t age = o->tick - o->tick_of[x];

  return age < o->never ? age : o->never;
}

static double
sum_from (const struct shadow *o, enum class class, uint32_t age)
{
  uint64_t sum = 0;

  for (; age <= o->never; age++)
    sum += o->sums[class][age];
  return (double) sum;
}

static bool
is_counted (const struct shadow *o, uint32_t x)
{
  return x / LEAF % o->every == 0;
}

static void
sum_up (struct cache *c)
{
  struct shadow *o = c->own;

  for (int i = 0; i < CLASSES; i++)
    for (uint32_t age = 0; age <= o->never; age++)
      o->sums[i][age] = 0;
  for (uint32_t x = 0; x < c->trace->slots; x++)
    if (is_counted (o, x)) {
      enum class class = !c->resident[x] ? OUT : o->hot[x] ? HOT : COLD;

      o->sums[class][age_of (o, x)] += c->weight[x] * o->every;
    }
}

static void
set_ages (struct cache *c)
{
  struct shadow *o = c->own;
  double room = (double) c->room, sum = 0, hot = sum_from (o, HOT, 0);
  uint32_t age;

  for (age = 0; age < o->never - 1 && sum <= room; age++)
    for (int i = 0; i < CLASSES; i++)
      sum += (double) o->sums[i][age];
  o->lru_age = age ? age - 1 : 0;
  for (age = o->never; age > 0 && sum_from (o, HOT, age) <= hot / 64;)
    age--;
  o->hot_age = age / 4 * 3;
  if (hot < room * (1 - 2 * LEAST) && o->hot_age < 2 * o->lru_age)
    o->hot_age = 2 * o->lru_age;
  if (o->hot_age > o->never - 1)
    o->hot_age = o->never - 1;
}

/* Weight that was so old at the last count, less what still is: that was used
 * since, for what was evicted meanwhile has been taken off the sums.  'by': by
 * how much all that was not used is older.
 */
static double
used_since (double was, double is)
{
  return was > is ? was - is : 0;
}

static void
count (struct cache *c, uint32_t by)
{
  struct shadow *o = c->own;
  uint32_t old = o->lru_age + 1;
  double beyond = sum_from (o, HOT, old) + sum_from (o, COLD, old);
  double silent = sum_from (o, HOT, o->silent);

  o->tick += by;
  sum_up (c);
  o->regret -= used_since (beyond, sum_from (o, HOT, old + by) +
                                     sum_from (o, COLD, old + by));
  o->returned += used_since (silent, sum_from (o, HOT, o->silent + by));
  set_ages (c);
}

static double
clamp (double x, double low, double high)
{
  return x < low ? low : x > high ? high : x;
}

static void
end_tick (struct cache *c)
{
  struct shadow *o = c->own;
  double room = (double) c->room, returned;

  count (c, 1);
  returned = o->returned / (double) o->tick_weight;
  o->share = clamp (o->share + o->regret, LEAST * room, room);
  if (o->patience > 1)
    o->patience -= o->patience / 1024;
  if (returned < o->usual / 8) {
    o->silent += o->silent < o->never;
    if (o->silent > o->patience) /* they are of no use any more */
      o->share = room;
  }
  else {
    if (o->patience < 2 * o->silent)
      o->patience = clamp (2 * o->silent, 1, o->never - 1);
    o->silent = 0;
    o->usual += (returned - o->usual) / 64;
  }
  o->regret = o->returned = 0;
  o->came = 0;
}

/* Evict: the oldest of the cold slots, as long as they have more than their
 * share; then the oldest of all.
 */
static void
evict (struct cache *c, uint64_t need)
{
  struct shadow *o = c->own;
  uint32_t cold_age = o->never + 1, hot_age = o->never + 1;
  uint64_t sum = 0, taken = 0;
  double surplus;

  count (c, 0);
  surplus = sum_from (o, COLD, 0) - o->share;
  while (cold_age > 0 && sum < need && (double) sum < surplus)
    sum += o->sums[COLD][--cold_age];
  while (hot_age > 0 && sum < need) {
    sum += o->sums[HOT][--hot_age];
    if (hot_age < cold_age)
      sum += o->sums[COLD][--cold_age];
  }
  for (uint32_t n = 0; n < c->trace->slots && taken < need; n++) {
    uint32_t x = o->hand++ % c->trace->slots, age = age_of (o, x);
    enum class class = o->hot[x] ? HOT : COLD;

    if (!c->resident[x] || age < (class == HOT ? hot_age : cold_age))
      continue;
    taken += c->weight[x];
    if (is_counted (o, x))
      o->sums[class][age] -= c->weight[x] * o->every;
    cache_went (c, x);
  }
  /* A count of some leaves only may have missed what there is. */
  while (taken < need) {
    uint32_t x = o->hand++ % c->trace->slots;

    if (c->resident[x]) {
      taken += c->weight[x];
      cache_went (c, x);
    }
  }
}

/* A read from the store. */
static void
learn (struct cache *c, uint32_t x, uint32_t age)
{
  struct shadow *o = c->own;
  double w = c->weight[x];

  if (age <= o->lru_age)
    o->regret += 2 * w;
  else if (age < o->never && (o->hot[x] || age <= o->lru_age * 3 / 2))
    o->regret -= w;
  if (o->hot[x] && age >= o->silent && age < o->never)
    o->returned += w;
}

static void
shadow (struct cache *c, uint32_t x, bool write)
{
  struct shadow *o = c->own;
  uint32_t age = age_of (o, x);
  bool again = age > 0 && age <= o->hot_age;

  o->tick_of[x] = o->tick;
  if (c->resident[x]) {
    o->hot[x] |= age > 0;
    return;
  }
  if (!write)
    learn (c, x, age);
  o->hot[x] = again;
  o->came += c->weight[x];
  if (o->came >= o->tick_weight)
    end_tick (c);
  /* What is read once stays out while memory is for hot slots. */
  if (!write && !again && o->share <= 2 * LEAST * (double) c->room &&
      c->used + c->weight[x] > c->room - o->batch)
    return;
  while (c->used + c->weight[x] > c->room)
    evict (c, o->batch);
  cache_came (c, x);
}

const struct policy slot_policies[] = {
  { "marks", marks_create, marks, marks_destroy },
  { "shadow", shadow_create, shadow, shadow_destroy },
  { NULL, NULL, NULL, NULL },
};
