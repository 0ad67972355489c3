/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * cachesim [-m SLOTS] [-s] [-o NAME=NUMBER]... PATTERN|FILE POLICY...
 *
 *   -m  memory, in slots (8192)
 *   -s  objects of different sizes, on average 0.45 of a slot; memory is then
 *       what so many average objects take
 *   -o  an option of a policy
 *
 * Prints a line for each policy:
 *
 *   POLICY STEADY SECOND DIRTY ALL
 *
 * hits of 100 reads in the steady state, and in the second pass after a
 * change; then slots written to the store for 100 operations of the steady
 * state: dirty ones only, as if what was promoted kept its record, and all.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cachesim.h"

static const char *options[32];
static unsigned option_count;

double
option (const char *name, double otherwise)
{
  size_t len = strlen (name);

  for (unsigned i = 0; i < option_count; i++)
    if (strncmp (options[i], name, len) == 0 && options[i][len] == '=')
      return atof (options[i] + len + 1);
  return otherwise;
}

void *
must_alloc (size_t count, size_t size)
{
  void *p = calloc (count ? count : 1, size);

  if (!p) {
    fprintf (stderr, "cachesim: no memory\n");
    exit (1);
  }
  return p;
}

/* splitmix64 */
uint64_t
random_next (uint64_t *state)
{
  uint64_t z = *state += UINT64_C (0x9e3779b97f4a7c15);

  z = (z ^ z >> 30) * UINT64_C (0xbf58476d1ce4e5b9);
  z = (z ^ z >> 27) * UINT64_C (0x94d049bb133111eb);
  return z ^ z >> 31;
}

void
cache_came (struct cache *c, uint32_t slot)
{
  c->resident[slot] = true;
  c->used += c->weight[slot];
}

void
cache_went (struct cache *c, uint32_t slot)
{
  c->resident[slot] = false;
  c->used -= c->weight[slot];
  if (c->counting && c->dirty[slot])
    c->counts.dirty_out++;
  else if (c->counting)
    c->counts.clean_out++;
  c->dirty[slot] = false;
}

static void
run (const struct trace *t, const struct policy *policy, uint32_t memory,
     bool sizes)
{
  struct cache c = { .trace = t };
  struct counts *n = &c.counts;
  uint64_t seed = 1, sum = 0;

  c.weight = must_alloc (t->slots, 1);
  c.resident = must_alloc (t->slots, sizeof (bool));
  c.dirty = must_alloc (t->slots, sizeof (bool));
  for (uint32_t i = 0; i < t->slots; i++) {
    uint64_t r = random_next (&seed);

    c.weight[i] = sizes ? 4 + r % 25 + (r >> 32 & 1) * (r >> 40) % 33 : UNIT;
    sum += c.weight[i];
  }
  c.room = sum / t->slots * memory;
  c.own = policy->create (&c);
  for (c.now = 0; c.now < t->count; c.now++) {
    uint32_t op = t->ops[c.now], slot = op & OP_SLOT;
    bool hit = c.resident[slot];

    c.counting = op & OP_STEADY;
    policy->access (&c, slot, op & OP_WRITE);
    if (op & OP_WRITE)
      c.dirty[slot] = true;
    if (c.used > c.room || ((op & OP_WRITE) && !c.resident[slot])) {
      fprintf (stderr, "cachesim: %s is wrong at %zu\n", policy->name, c.now);
      exit (1);
    }
    n->ops += c.counting;
    if (op & OP_WRITE)
      continue;
    n->reads += c.counting;
    n->hits += c.counting && hit;
    n->second_reads += (op & OP_SECOND) != 0;
    n->second_hits += (op & OP_SECOND) && hit;
  }
  policy->destroy (c.own);
  free (c.weight);
  free (c.resident);
  free (c.dirty);
  printf ("%s %.2f ", policy->name,
          n->reads ? 100.0 * (double) n->hits / (double) n->reads : -1.0);
  printf ("%.2f ", n->second_reads ? 100.0 * (double) n->second_hits /
                                       (double) n->second_reads
                                   : -1.0);
  printf ("%.2f %.2f\n",
          100.0 * (double) n->dirty_out / (double) (n->ops + !n->ops),
          100.0 * (double) (n->dirty_out + n->clean_out) /
            (double) (n->ops + !n->ops));
  fflush (stdout);
}

static const struct policy *
find_policy (const struct policy *list, const char *name)
{
  while (list->name && strcmp (list->name, name) != 0)
    list++;
  return list->name ? list : NULL;
}

static void
get_trace (struct trace *t, const char *name, uint32_t memory)
{
  FILE *f;

  if (trace_make (t, name, memory))
    return;
  f = fopen (name, "r");
  if (!f) {
    fprintf (stderr, "cachesim: %s: neither a pattern nor a file\n", name);
    exit (2);
  }
  if (!trace_read (t, f, name))
    exit (2);
  fclose (f);
}

int
main (int argc, char **argv)
{
  uint32_t memory = 8192;
  bool sizes = false;
  struct trace t;
  int opt;

  while ((opt = getopt (argc, argv, "m:so:l")) != -1)
    if (opt == 'm' && atoi (optarg) > 0)
      memory = (uint32_t) atoi (optarg);
    else if (opt == 's')
      sizes = true;
    else if (opt == 'o' && option_count < 32)
      options[option_count++] = optarg;
    else if (opt == 'l') {
      for (unsigned i = 0; trace_name (i); i++)
        puts (trace_name (i));
      return 0;
    }
    else
      return 2;
  if (argc - optind < 2)
    return 2;
  get_trace (&t, argv[optind], memory);
  for (int i = optind + 1; i < argc; i++) {
    const struct policy *p = find_policy (list_policies, argv[i]);

    if (!p)
      p = find_policy (slot_policies, argv[i]);
    if (!p) {
      fprintf (stderr, "cachesim: no policy %s\n", argv[i]);
      return 2;
    }
    run (&t, p, memory, sizes);
  }
  trace_free (&t);
  return 0;
}
