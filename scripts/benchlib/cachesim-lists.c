/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Policies as published, with lists that a slot table has not: what ours is
 * measured against.
 *
 *   lru      least recently used
 *   clock    Corbató 1968: a queue, and one bit for "used since"
 *   2q       Johnson, Shasha, VLDB 1994
 *   arc      Megiddo, Modha, FAST 2003
 *   lirs     Jiang, Zhang, SIGMETRICS 2002 (CLOCK-Pro, USENIX 2005, is its
 * clock) s3fifo   Yang et al., SOSP 2023 sieve    Zhang et al., NSDI 2024 opt
 * Belady 1966: knows what will be asked for; the bound
 */
#include <stdlib.h>

#include "cachesim.h"

/* -- lists -------------------------------------------------------------- */

/* The youngest is at the head.  A slot is in it once at the most. */
struct list {
  uint32_t *up, *down; /* towards the head; towards the tail */
  bool *in;
  uint32_t head, tail;
  uint64_t weight;
};

static void
list_init (struct list *l, const struct cache *c)
{
  l->up = must_alloc (c->trace->slots, sizeof *l->up);
  l->down = must_alloc (c->trace->slots, sizeof *l->down);
  l->in = must_alloc (c->trace->slots, sizeof *l->in);
  l->head = l->tail = NONE;
  l->weight = 0;
}

static void
list_free (struct list *l)
{
  free (l->up);
  free (l->down);
  free (l->in);
}

static void
push (struct list *l, const struct cache *c, uint32_t x)
{
  l->up[x] = NONE;
  l->down[x] = l->head;
  if (l->head != NONE)
    l->up[l->head] = x;
  else
    l->tail = x;
  l->head = x;
  l->in[x] = true;
  l->weight += c->weight[x];
}

static void
cut (struct list *l, const struct cache *c, uint32_t x)
{
  if (l->up[x] != NONE)
    l->down[l->up[x]] = l->down[x];
  else
    l->head = l->down[x];
  if (l->down[x] != NONE)
    l->up[l->down[x]] = l->up[x];
  else
    l->tail = l->up[x];
  l->in[x] = false;
  l->weight -= c->weight[x];
}

static uint32_t
pop (struct list *l, const struct cache *c)
{
  uint32_t x = l->tail;

  cut (l, c, x);
  return x;
}

static void
renew (struct list *l, const struct cache *c, uint32_t x)
{
  cut (l, c, x);
  push (l, c, x);
}

static void
shorten (struct list *l, const struct cache *c, uint64_t weight)
{
  while (l->weight > weight)
    pop (l, c);
}

static bool
is_full (const struct cache *c, uint32_t x)
{
  return c->used + c->weight[x] > c->room;
}

/* What all of these need. */
struct lists {
  struct list a, b, c, d;
  uint8_t *bits;
  uint32_t hand;
  double p;
};

static void *
lists_create (struct cache *c)
{
  struct lists *o = must_alloc (1, sizeof *o);

  list_init (&o->a, c);
  list_init (&o->b, c);
  list_init (&o->c, c);
  list_init (&o->d, c);
  o->bits = must_alloc (c->trace->slots, 1);
  o->hand = NONE;
  return o;
}

static void
lists_destroy (void *own)
{
  struct lists *o = own;

  list_free (&o->a);
  list_free (&o->b);
  list_free (&o->c);
  list_free (&o->d);
  free (o->bits);
  free (o);
}

/* -- lru, clock, sieve -------------------------------------------------- */

static void
lru (struct cache *c, uint32_t x, bool write)
{
  struct lists *o = c->own;

  (void) write;
  if (o->a.in[x]) {
    renew (&o->a, c, x);
    return;
  }
  while (is_full (c, x))
    cache_went (c, pop (&o->a, c));
  push (&o->a, c, x);
  cache_came (c, x);
}

static void
clock_ (struct cache *c, uint32_t x, bool write)
{
  struct lists *o = c->own;

  (void) write;
  if (o->a.in[x]) {
    o->bits[x] = 1;
    return;
  }
  while (is_full (c, x)) {
    uint32_t y = o->a.tail;

    if (o->bits[y]) {
      o->bits[y] = 0;
      renew (&o->a, c, y);
    }
    else
      cache_went (c, pop (&o->a, c));
  }
  push (&o->a, c, x);
  o->bits[x] = 0;
  cache_came (c, x);
}

static void
sieve (struct cache *c, uint32_t x, bool write)
{
  struct lists *o = c->own;

  (void) write;
  if (o->a.in[x]) {
    o->bits[x] = 1;
    return;
  }
  while (is_full (c, x)) {
    uint32_t y = o->hand == NONE ? o->a.tail : o->hand;

    o->hand = o->a.up[y];
    if (o->bits[y])
      o->bits[y] = 0;
    else {
      cut (&o->a, c, y);
      cache_went (c, y);
    }
  }
  push (&o->a, c, x);
  o->bits[x] = 0;
  cache_came (c, x);
}

/* -- 2q: a in, b its ghosts, c the rest --------------------------------- */

static void
two_q (struct cache *c, uint32_t x, bool write)
{
  struct lists *o = c->own;
  bool again = o->b.in[x];

  (void) write;
  if (o->c.in[x])
    renew (&o->c, c, x);
  if (c->resident[x])
    return;
  if (again)
    cut (&o->b, c, x);
  while (is_full (c, x))
    if (o->a.weight > c->room / 4 || o->c.tail == NONE) {
      uint32_t y = pop (&o->a, c);

      cache_went (c, y);
      push (&o->b, c, y);
      shorten (&o->b, c, c->room / 2);
    }
    else
      cache_went (c, pop (&o->c, c));
  push (again ? &o->c : &o->a, c, x);
  cache_came (c, x);
}

/* -- arc: a seen once, b its ghosts, c seen twice, d its ghosts --------- */

static void
arc_replace (struct cache *c, bool in_d)
{
  struct lists *o = c->own;
  double once = (double) o->a.weight;
  bool from_a = o->a.tail != NONE &&
                (once > o->p || (in_d && once >= o->p) || o->c.tail == NONE);
  uint32_t y = pop (from_a ? &o->a : &o->c, c);

  cache_went (c, y);
  push (from_a ? &o->b : &o->d, c, y);
}

static void
arc (struct cache *c, uint32_t x, bool write)
{
  struct lists *o = c->own;
  bool in_b = o->b.in[x], in_d = o->d.in[x];
  double b = (double) o->b.weight, d = (double) o->d.weight, w = c->weight[x];

  (void) write;
  if (o->a.in[x] || o->c.in[x]) {
    cut (o->a.in[x] ? &o->a : &o->c, c, x);
    push (&o->c, c, x);
    return;
  }
  if (in_b) {
    o->p += d > b ? w * d / b : w;
    cut (&o->b, c, x);
  }
  if (in_d) {
    o->p -= b > d ? w * b / d : w;
    cut (&o->d, c, x);
  }
  o->p = o->p < 0 ? 0 : o->p > (double) c->room ? (double) c->room : o->p;
  while (is_full (c, x))
    arc_replace (c, in_d);
  push (in_b || in_d ? &o->c : &o->a, c, x);
  cache_came (c, x);
  while (o->a.weight + o->b.weight > c->room && o->b.tail != NONE)
    pop (&o->b, c);
  while (o->d.tail != NONE &&
         o->a.weight + o->b.weight + o->c.weight + o->d.weight > 2 * c->room)
    pop (&o->d, c);
}

/* -- s3fifo: a small, b ghosts, c main ---------------------------------- */

static void
s3fifo_evict (struct cache *c)
{
  struct lists *o = c->own;
  bool small = o->a.tail != NONE &&
               (o->a.weight * 10 >= c->room || o->c.tail == NONE);
  uint32_t y = pop (small ? &o->a : &o->c, c);

  if (small && o->bits[y] > 1) {
    o->bits[y] = 0;
    push (&o->c, c, y);
  }
  else if (small) {
    cache_went (c, y);
    push (&o->b, c, y);
    shorten (&o->b, c, c->room / 10 * 9);
  }
  else if (o->bits[y]) {
    o->bits[y]--;
    push (&o->c, c, y);
  }
  else
    cache_went (c, y);
}

static void
s3fifo (struct cache *c, uint32_t x, bool write)
{
  struct lists *o = c->own;
  bool again = o->b.in[x];

  (void) write;
  if (c->resident[x]) {
    o->bits[x] += o->bits[x] < 3;
    return;
  }
  if (again)
    cut (&o->b, c, x);
  while (is_full (c, x))
    s3fifo_evict (c);
  push (again ? &o->c : &o->a, c, x);
  o->bits[x] = 0;
  cache_came (c, x);
}

/* -- lirs: a the stack, b resident and not in the core, c ghosts -------- */

#define CORE 1

static void
lirs_prune (struct lists *o, const struct cache *c)
{
  while (o->a.tail != NONE && !(o->bits[o->a.tail] & CORE)) {
    uint32_t y = pop (&o->a, c);

    if (o->c.in[y])
      cut (&o->c, c, y);
  }
}

static void
lirs_shrink_core (struct cache *c)
{
  struct lists *o = c->own;

  while (o->p > (double) c->room * 0.95) {
    uint32_t y = pop (&o->a, c);

    o->bits[y] = 0;
    o->p -= c->weight[y];
    push (&o->b, c, y);
    lirs_prune (o, c);
  }
}

static void
lirs_make_room (struct cache *c, uint32_t x)
{
  struct lists *o = c->own;

  while (is_full (c, x)) {
    uint32_t y;

    if (o->b.tail == NONE) {
      y = pop (&o->a, c);
      o->bits[y] = 0;
      o->p -= c->weight[y];
      lirs_prune (o, c);
    }
    else
      y = pop (&o->b, c);
    cache_went (c, y);
    if (o->a.in[y])
      push (&o->c, c, y);
    while (o->c.weight > 2 * c->room) {
      uint32_t z = pop (&o->c, c);

      cut (&o->a, c, z);
    }
  }
}

static void
lirs (struct cache *c, uint32_t x, bool write)
{
  struct lists *o = c->own;
  bool was_in;

  (void) write;
  if (!c->resident[x]) {
    lirs_make_room (c, x);
    cache_came (c, x);
    push (&o->b, c, x);
  }
  was_in = o->a.in[x];
  if (was_in)
    renew (&o->a, c, x);
  else
    push (&o->a, c, x);
  if (o->c.in[x])
    cut (&o->c, c, x);
  if (o->bits[x] & CORE)
    lirs_prune (o, c);
  else if (was_in || o->p + c->weight[x] <= (double) c->room * 0.95) {
    cut (&o->b, c, x);
    o->bits[x] |= CORE;
    o->p += c->weight[x];
    lirs_prune (o, c);
    lirs_shrink_core (c);
  }
  else
    renew (&o->b, c, x);
}

/* -- opt ---------------------------------------------------------------- */

/* A heap by when they are read next; entries that are out of date stay. */
struct later {
  size_t next;
  uint32_t slot;
};

struct opt {
  size_t *next;    /* of each operation: the next read of its slot */
  size_t *current; /* of each slot in memory */
  struct later *heap;
  size_t count;
};

static void *
opt_create (struct cache *c)
{
  const struct trace *t = c->trace;
  struct opt *o = must_alloc (1, sizeof *o);
  size_t *coming = must_alloc (t->slots, sizeof *coming);

  o->next = must_alloc (t->count, sizeof *o->next);
  o->current = must_alloc (t->slots, sizeof *o->current);
  o->heap = must_alloc (t->count + 1, sizeof *o->heap);
  for (uint32_t i = 0; i < t->slots; i++)
    coming[i] = SIZE_MAX;
  /* What is written before it is read need not be there. */
  for (size_t i = t->count; i-- > 0;) {
    uint32_t x = t->ops[i] & OP_SLOT;

    o->next[i] = coming[x];
    coming[x] = t->ops[i] & OP_WRITE ? SIZE_MAX : i;
  }
  free (coming);
  return o;
}

static void
opt_destroy (void *own)
{
  struct opt *o = own;

  free (o->next);
  free (o->current);
  free (o->heap);
  free (o);
}

static void
heap_push (struct opt *o, struct later x)
{
  size_t i = o->count++;

  for (; i > 0 && o->heap[(i - 1) / 2].next < x.next; i = (i - 1) / 2)
    o->heap[i] = o->heap[(i - 1) / 2];
  o->heap[i] = x;
}

static void
heap_pop (struct opt *o)
{
  struct later x = o->heap[--o->count];
  size_t i = 0, child;

  for (; (child = 2 * i + 1) < o->count; i = child) {
    if (child + 1 < o->count && o->heap[child + 1].next > o->heap[child].next)
      child++;
    if (o->heap[child].next <= x.next)
      break;
    o->heap[i] = o->heap[child];
  }
  o->heap[i] = x;
}

/* One of them is read later than all others; false: that is x itself. */
static bool
opt_evict (struct cache *c, uint32_t x, bool write)
{
  struct opt *o = c->own;

  for (;;) {
    struct later y = o->heap[0];

    if (!c->resident[y.slot] || o->current[y.slot] != y.next) {
      heap_pop (o);
      continue;
    }
    if (y.slot != x && !write && y.next <= o->next[c->now])
      return false;
    heap_pop (o);
    cache_went (c, y.slot);
    return true;
  }
}

static void
opt (struct cache *c, uint32_t x, bool write)
{
  struct opt *o = c->own;

  if (!c->resident[x]) {
    while (is_full (c, x))
      if (!opt_evict (c, x, write))
        return;
    cache_came (c, x);
  }
  o->current[x] = o->next[c->now];
  heap_push (o, (struct later){ o->next[c->now], x });
}

const struct policy list_policies[] = {
  { "lru", lists_create, lru, lists_destroy },
  { "clock", lists_create, clock_, lists_destroy },
  { "2q", lists_create, two_q, lists_destroy },
  { "arc", lists_create, arc, lists_destroy },
  { "lirs", lists_create, lirs, lists_destroy },
  { "s3fifo", lists_create, s3fifo, lists_destroy },
  { "sieve", lists_create, sieve, lists_destroy },
  { "opt", opt_create, opt, opt_destroy },
  { NULL, NULL, NULL, NULL },
};
