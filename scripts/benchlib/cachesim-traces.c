/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Traces.  All have fixed seeds.  The disk has eight times as many slots as
 * memory has room for, M; a pass is one over the set that is being used.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cachesim.h"

struct maker {
  struct trace *t;
  uint32_t m; /* slots of memory */
  uint64_t seed;
  uint32_t mark; /* OP_STEADY or OP_SECOND, of what is added next */
};

static void
add (struct maker *k, uint32_t slot, uint32_t write)
{
  struct trace *t = k->t;

  if (t->count == t->room) {
    t->room = t->room ? 2 * t->room : 1 << 16;
    t->ops = realloc (t->ops, t->room * sizeof *t->ops);
    if (!t->ops)
      abort ();
  }
  t->ops[t->count++] = slot | write | k->mark;
}

static uint32_t
below (struct maker *k, uint32_t n)
{
  return (uint32_t) (random_next (&k->seed) % n);
}

static bool
percent (struct maker *k, uint32_t n)
{
  return below (k, 100) < n;
}

static double
fraction (struct maker *k)
{
  return (double) (random_next (&k->seed) >> 11) / 9007199254740992.0;
}

/* From here on the steady state is reached, or not. */
static void
steady (struct maker *k, bool on)
{
  k->mark = on ? k->mark | OP_STEADY : k->mark & ~OP_STEADY;
}

static void
second (struct maker *k, bool on)
{
  k->mark = on ? k->mark | OP_SECOND : k->mark & ~OP_SECOND;
}

/* n slots first … in order. */
static void
run_of (struct maker *k, uint32_t first, uint32_t n, uint32_t write)
{
  for (uint32_t i = 0; i < n; i++)
    add (k, (first + i) % k->t->slots, write);
}

/* -- zipf --------------------------------------------------------------- */

/* The i-th of n things is asked for with a probability that falls with i^-s;
 * which slot is the i-th is random.
 */
struct zipf {
  uint32_t n, *slot;
  double *sum;
};

static void
shuffle (struct maker *k, struct zipf *z)
{
  for (uint32_t i = z->n - 1; i > 0; i--) {
    uint32_t j = below (k, i + 1), other = z->slot[j];

    z->slot[j] = z->slot[i];
    z->slot[i] = other;
  }
}

static void
zipf_init (struct maker *k, struct zipf *z, uint32_t first, uint32_t n,
           double s)
{
  double sum = 0;

  z->n = n;
  z->slot = must_alloc (n, sizeof *z->slot);
  z->sum = must_alloc (n, sizeof *z->sum);
  for (uint32_t i = 0; i < n; i++) {
    z->slot[i] = first + i;
    z->sum[i] = sum += pow (i + 1, -s);
  }
  shuffle (k, z);
}

static void
zipf_free (struct zipf *z)
{
  free (z->slot);
  free (z->sum);
}

static uint32_t
zipf_next (struct maker *k, const struct zipf *z)
{
  double want = fraction (k) * z->sum[z->n - 1];
  uint32_t low = 0, high = z->n - 1;

  while (low < high) {
    uint32_t middle = (low + high) / 2;

    if (z->sum[middle] < want)
      low = middle + 1;
    else
      high = middle;
  }
  return z->slot[low];
}

static void
make_zipf (struct maker *k, double s, uint32_t writes)
{
  struct zipf z;

  zipf_init (k, &z, 0, k->t->slots, s);
  for (unsigned half = 0; half < 2; half++) {
    for (uint32_t i = 0; i < 24 * k->m; i++)
      add (k, zipf_next (k, &z), percent (k, writes) ? OP_WRITE : 0);
    steady (k, true);
  }
  zipf_free (&z);
}

static void
zipf_08 (struct maker *k)
{
  make_zipf (k, 0.8, 0);
}

static void
zipf_10 (struct maker *k)
{
  make_zipf (k, 1.0, 0);
}

static void
zipf_12 (struct maker *k)
{
  make_zipf (k, 1.2, 0);
}

static void
write_heavy (struct maker *k)
{
  make_zipf (k, 0.9, 70);
}

/* -- the working set moves ---------------------------------------------- */

/* Read in order, 6 passes, then another set. */
static void
shift_loop (struct maker *k)
{
  uint32_t set = k->m / 4 * 3;

  for (unsigned move = 0; move < 10; move++)
    for (unsigned pass = 0; pass < 6; pass++) {
      second (k, move > 0 && pass == 1);
      steady (k, pass >= 3);
      run_of (k, move * set, set, 0);
    }
}

/* Popular things become unpopular all at once, and others popular. */
static void
shift_zipf (struct maker *k)
{
  struct zipf z;

  zipf_init (k, &z, 0, k->t->slots, 1.0);
  for (unsigned move = 0; move < 6; move++) {
    for (unsigned pass = 0; pass < 16; pass++) {
      second (k, move > 0 && pass == 1);
      steady (k, pass >= 6);
      for (uint32_t i = 0; i < k->m; i++)
        add (k, zipf_next (k, &z), 0);
    }
    shuffle (k, &z);
  }
  zipf_free (&z);
}

/* The disk is written, then a third of memory read again and again. */
static void
fill_then_hot (struct maker *k)
{
  for (unsigned move = 0; move < 3; move++) {
    second (k, false);
    steady (k, false);
    run_of (k, 0, k->t->slots, OP_WRITE);
    for (unsigned pass = 0; pass < 8; pass++) {
      second (k, pass == 1);
      steady (k, pass >= 2);
      run_of (k, (3 + move) * k->m, k->m / 3, 0);
    }
  }
}

static void
fill_then_zipf (struct maker *k)
{
  struct zipf z;

  zipf_init (k, &z, 0, k->t->slots, 1.0);
  run_of (k, 0, k->t->slots, OP_WRITE);
  for (unsigned pass = 0; pass < 12; pass++) {
    second (k, pass == 1);
    steady (k, pass >= 6);
    for (uint32_t i = 0; i < 2 * k->m; i++)
      add (k, zipf_next (k, &z), 0);
  }
  zipf_free (&z);
}

/* After zipf reads, or a loop larger than memory, a set of half of memory;
 * then all that in another place.
 */
static void
make_then_set (struct maker *k, bool looped)
{
  uint32_t wide = k->m / 2 * 3;
  struct zipf z;

  for (unsigned move = 0; move < 4; move++) {
    zipf_init (k, &z, 2 * move * k->m, wide, 1.0);
    for (uint32_t i = 0; i < 10 * k->m; i++)
      add (k, looped ? z.slot[i % wide] : zipf_next (k, &z), 0);
    zipf_free (&z);
    for (unsigned pass = 0; pass < 6; pass++) {
      second (k, pass == 1);
      steady (k, pass >= 2);
      run_of (k, 2 * move * k->m + wide, k->m / 2, 0);
    }
    second (k, false);
    steady (k, false);
  }
}

static void
zipf_then_set (struct maker *k)
{
  make_then_set (k, false);
}

static void
loop_then_set (struct maker *k)
{
  make_then_set (k, true);
}

/* -- loops and scans ---------------------------------------------------- */

static void
loop (struct maker *k)
{
  for (unsigned pass = 0; pass < 24; pass++) {
    steady (k, pass >= 12);
    run_of (k, 0, k->m + k->m / 4, 0);
  }
}

/* A hot set of half of memory; beside it all else is gone through, slot by
 * slot.
 */
static void
make_beside (struct maker *k, uint32_t write)
{
  uint32_t hot = k->m / 2, rest = k->t->slots - hot, at = 0;
  struct zipf z;

  zipf_init (k, &z, 0, hot, 0.6);
  for (uint32_t i = 0; i < 24 * k->m; i++) {
    steady (k, i >= 12 * k->m);
    add (k, zipf_next (k, &z), 0);
    add (k, hot + at++ % rest, write);
  }
  zipf_free (&z);
}

static void
scan_beside (struct maker *k)
{
  make_beside (k, 0);
}

static void
write_beside (struct maker *k)
{
  make_beside (k, OP_WRITE);
}

/* A hot set of half of memory, 4 passes; then twice of memory is gone through
 * at once, of which no slot was used before.
 */
static void
make_bursts (struct maker *k, uint32_t write)
{
  uint32_t hot = k->m / 2, rest = k->t->slots - hot, at = 0;

  for (unsigned round = 0; round < 12; round++) {
    steady (k, round >= 4);
    for (unsigned pass = 0; pass < 4; pass++) {
      second (k, round >= 4 && pass == 1);
      for (uint32_t i = 0; i < hot; i++)
        add (k, below (k, hot), 0);
    }
    second (k, false);
    for (uint32_t i = 0; i < 2 * k->m; i++)
      add (k, hot + at++ % rest, write);
  }
}

static void
scan_bursts (struct maker *k)
{
  make_bursts (k, 0);
}

static void
write_bursts (struct maker *k)
{
  make_bursts (k, OP_WRITE);
}

/* -- in the shape of real ones ------------------------------------------ */

/* Guests boot one after the other from one image, each with a disk of its own
 * for what it writes.  Half of memory is read by all, in runs as read-ahead
 * makes them and nearly in the same order; each reads something of the rest
 * of the image; directories are read more than once; logs are written.
 */
static void
boot (struct maker *k)
{
  uint32_t run = 16, common = k->m / 2 / run, image = 4 * k->m / run;
  uint32_t own = k->m / 4, base = image * run;

  for (unsigned guest = 0; guest < 16; guest++) {
    uint32_t written = 0;

    steady (k, guest >= 4);
    second (k, guest == 1);
    for (uint32_t i = 0; i < common; i++) {
      uint32_t which = percent (k, 10) ? below (k, common) : i;

      run_of (k, which * 7 % image * run, run, 0);
      if (percent (k, 40))
        run_of (k, (common + below (k, image - common)) * 7 % image * run,
                1 + below (k, run), 0);
      run_of (k, image / 2 * run + below (k, k->m / 64), 1, 0);
      for (unsigned j = 0; j < 4 && percent (k, 70); j++)
        add (k, base + (guest * own + written++) % (k->t->slots - base),
             OP_WRITE);
      if (written > 16 && percent (k, 20))
        add (k,
             base + (guest * own + below (k, written)) % (k->t->slots - base),
             0);
    }
  }
}

/* A build, again and again: sources are read once, headers often and some
 * much oftener than others, objects written and read when all is linked,
 * what is temporary written and not read, a journal goes round.
 */
static void
build (struct maker *k)
{
  uint32_t sources = k->m * 2, objects = k->m, temporary = k->m;
  uint32_t headers = k->m / 3, journal = k->m / 32, at = 0, mark = 0;
  struct zipf z;

  zipf_init (k, &z, sources + objects, headers, 0.9);
  for (unsigned round = 0; round < 8; round++) {
    steady (k, round >= 2);
    second (k, round == 1);
    for (uint32_t i = 0; i < sources / 4; i++) {
      run_of (k, i * 4, 4, 0);
      for (unsigned j = 0; j < 6; j++)
        run_of (k, zipf_next (k, &z), 1, 0);
      run_of (k, sources + objects + headers + at++ * 2 % temporary, 2,
              OP_WRITE);
      run_of (k, sources + i * 2 % objects, 2, OP_WRITE);
      add (k, sources + objects + headers + temporary + mark++ % journal,
           OP_WRITE);
      /* A library of what was just compiled. */
      if (i % 64 == 63)
        run_of (k, sources + (i - 63) * 2 % objects, 128, 0);
    }
    for (unsigned programs = 0; programs < 3; programs++)
      run_of (k, sources + objects / 4 * programs, objects / 4, 0);
  }
  zipf_free (&z);
}

/* -- by name, and from a file ------------------------------------------- */

static const struct {
  const char *name;
  void (*make) (struct maker *k);
} patterns[] = {
  { "zipf-0.8", zipf_08 },
  { "zipf-1.0", zipf_10 },
  { "zipf-1.2", zipf_12 },
  { "write-heavy", write_heavy },
  { "shift-loop", shift_loop },
  { "shift-zipf", shift_zipf },
  { "fill-then-hot", fill_then_hot },
  { "fill-then-zipf", fill_then_zipf },
  { "zipf-then-set", zipf_then_set },
  { "loop-then-set", loop_then_set },
  { "loop", loop },
  { "scan-beside", scan_beside },
  { "write-beside", write_beside },
  { "scan-bursts", scan_bursts },
  { "write-bursts", write_bursts },
  { "boot", boot },
  { "build", build },
};

#define PATTERNS (sizeof patterns / sizeof patterns[0])

const char *
trace_name (unsigned number)
{
  return number < PATTERNS ? patterns[number].name : NULL;
}

bool
trace_make (struct trace *t, const char *name, uint32_t memory)
{
  struct maker k = { .t = t, .m = memory, .seed = 16 };

  *t = (struct trace){ .slots = 8 * memory };
  for (unsigned i = 0; i < PATTERNS; i++)
    if (strcmp (patterns[i].name, name) == 0) {
      patterns[i].make (&k);
      return true;
    }
  return false;
}

static int
compare (const void *a, const void *b)
{
  uint64_t x = *(const uint64_t *) a, y = *(const uint64_t *) b;

  return x < y ? -1 : x > y;
}

/* Slots that are never asked for need no place: they are numbered anew, in
 * their order.
 */
bool
trace_read (struct trace *t, FILE *f, const char *name)
{
  uint64_t *slots = NULL, *sorted;
  bool *writes = NULL;
  size_t n = 0, room = 0, different = 0;
  unsigned long long slot;
  char what;
  int got;

  while ((got = fscanf (f, " %c %llu", &what, &slot)) == 2 &&
         (what == 'r' || what == 'w')) {
    if (n == room) {
      room = room ? 2 * room : 1 << 16;
      slots = realloc (slots, room * sizeof *slots);
      writes = realloc (writes, room * sizeof *writes);
      if (!slots || !writes)
        abort ();
    }
    slots[n] = slot;
    writes[n++] = what == 'w';
  }
  if (got != EOF || n == 0) {
    fprintf (stderr,
             "cachesim: %s: entry %zu is not \"r SLOT\" or \"w SLOT\"\n", name,
             n + 1);
    free (slots);
    free (writes);
    return false;
  }
  sorted = must_alloc (n, sizeof *sorted);
  memcpy (sorted, slots, n * sizeof *sorted);
  qsort (sorted, n, sizeof *sorted, compare);
  for (size_t i = 0; i < n; i++)
    if (i == 0 || sorted[i] != sorted[i - 1])
      sorted[different++] = sorted[i];
  *t = (struct trace){ .slots = (uint32_t) different };
  struct maker k = { .t = t };
  for (size_t i = 0; i < n; i++) {
    const uint64_t *at = bsearch (&slots[i], sorted, different, sizeof *sorted,
                                  compare);

    steady (&k, i >= n / 2);
    add (&k, (uint32_t) (at - sorted), writes[i] ? OP_WRITE : 0);
  }
  free (sorted);
  free (slots);
  free (writes);
  return true;
}

void
trace_free (struct trace *t)
{
  free (t->ops);
}
