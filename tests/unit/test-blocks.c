/* SPDX-License-Identifier: BSD-3-Clause */

#include <config.h>

#include <errno.h>

#include "unit.h"

#include "dev/blocks.h"

static void
assert_audit (struct blocks_audit *a, uint64_t faults)
{
  struct reason why;
  uint64_t found = blocks_audit_end (a, &why);

  if (found != faults)
    fail_msg ("%llu faults, not %llu: %s", (unsigned long long) found,
              (unsigned long long) faults, why.text);
}

static void
assert_all_free (struct blocks *b)
{
  struct blocks_stats s;

  blocks_get_stats (b, &s);
  assert_int_equal (s.free, s.total);
  assert_int_equal (s.live_bytes, 0);
  assert_audit (blocks_audit_begin (b), 0);
}

static struct blocks *
open_blocks (uint64_t total, bool punch)
{
  struct blocks *b = blocks_open (total, punch);

  assert_non_null (b);
  return b;
}

static void
test_objects_share_blocks (void **state)
{
  struct blocks *b = open_blocks (1000, false);
  struct blocks_audit *a;
  struct blocks_stats s;
  uint64_t first;

  (void) state;
  assert_int_equal (blocks_alloc (b, 4, &first), 4);
  assert_int_equal (first, 0);
  blocks_ref (b, 0, 4096);        /* block 0 */
  blocks_ref (b, 4095, 2);        /* 0, 1 */
  blocks_ref (b, 4097, 4096 * 2); /* 1, 2, 3 */
  blocks_release (b, first, 4);
  blocks_get_stats (b, &s);
  assert_int_equal (s.used, 4);
  assert_int_equal (s.live_bytes, 4096 + 2 + 8192);

  blocks_unref (b, 0, 4096);
  blocks_unref (b, 4097, 4096 * 2);
  blocks_get_stats (b, &s);
  assert_int_equal (s.used, 2); /* the straddler holds 0 and 1 */
  a = blocks_audit_begin (b);
  blocks_audit_object (a, 4095, 2);
  assert_audit (a, 0);
  blocks_unref (b, 4095, 2);
  assert_all_free (b);
  blocks_close (b);
}

/* All objects of a batch may go before the writer is through with it. */
static void
test_the_writer_keeps_its_blocks (void **state)
{
  struct blocks *b = open_blocks (256, false);
  uint64_t first, other;

  (void) state;
  assert_int_equal (blocks_alloc (b, 255, &first), 255);
  blocks_ref (b, 100, 50);
  blocks_unref (b, 100, 50);
  assert_int_equal (blocks_alloc (b, 2, &other), 1);
  assert_int_equal (other, 255);
  assert_int_equal (blocks_alloc (b, 1, &other), 0);
  blocks_release (b, 255, 1);
  blocks_release (b, first + 10, 245); /* the tail that was not needed */
  blocks_release (b, first, 10);
  assert_all_free (b);
  blocks_close (b);
}

static void
test_runs (void **state)
{
  struct blocks *b = open_blocks (20000, false);
  uint64_t first;

  (void) state;
  assert_int_equal (blocks_alloc (b, 3000, &first), 3000);
  assert_int_equal (first, 0);
  assert_int_equal (blocks_alloc (b, 3000, &first), 3000);
  assert_int_equal (first, 3000); /* across the border of a group */
  blocks_release (b, 0, 3000);
  assert_int_equal (blocks_alloc (b, 14000, &first), 14000);
  assert_int_equal (first, 6000);
  assert_int_equal (blocks_alloc (b, 10, &first), 10);
  assert_int_equal (first, 0);
  /* Holes of 1, 2 and 8: the run that is enough, else the longest. */
  blocks_release (b, 7000, 1);
  blocks_release (b, 7010, 2);
  blocks_release (b, 7020, 8);
  assert_int_equal (blocks_alloc (b, 2990, &first), 2990);
  assert_int_equal (first, 10);
  assert_int_equal (blocks_alloc (b, 2, &first), 2);
  assert_int_equal (first, 7010);
  assert_int_equal (blocks_alloc (b, 20, &first), 8);
  assert_int_equal (first, 7020);
  assert_int_equal (blocks_alloc (b, 20, &first), 1);
  assert_int_equal (first, 7000);
  assert_int_equal (blocks_alloc (b, 20, &first), 0);
  blocks_release (b, 0, 20000);
  assert_all_free (b);
  blocks_close (b);
}

static void
test_punching (void **state)
{
  struct blocks *b = open_blocks (5000, true);
  struct blocks_stats s;
  uint64_t first, other;

  (void) state;
  assert_int_equal (blocks_alloc (b, 5000, &first), 5000);
  blocks_release (b, 4090, 10); /* over a border */
  blocks_release (b, 10, 3);
  assert_int_equal (blocks_punch_begin (b, 4, 100, &first), 10);
  assert_int_equal (first, 4090);
  assert_int_equal (blocks_punch_begin (b, 4, 100, &first), 0);

  /* Nothing is free: those that wait can be had, those in the punch not. */
  assert_int_equal (blocks_alloc (b, 100, &other), 3);
  assert_int_equal (other, 10);
  assert_int_equal (blocks_alloc (b, 100, &other), 0);
  blocks_get_stats (b, &s);
  assert_int_equal (s.punching, 10);
  assert_int_equal (s.used, 4990);
  blocks_punch_end (b, 4090, 10);
  blocks_release (b, 10, 3);
  /* What is free goes before what waits. */
  assert_int_equal (blocks_alloc (b, 10, &other), 10);
  assert_int_equal (other, 4090);
  blocks_set_punch (b, false);
  assert_int_equal (blocks_punch_begin (b, 1, 100, &first), 0);
  assert_int_equal (blocks_alloc (b, 10, &other), 3);
  blocks_release (b, 0, 5000);
  assert_all_free (b);
  blocks_close (b);
}

/* Each of many short runs is found, however they lie, and each once. */
static void
test_punching_bits (void **state)
{
  struct blocks *b = open_blocks (5 * 4096 + 7, true);
  struct blocks_stats s;
  uint64_t first, at, waiting = 0, n;

  (void) state;
  blocks_get_stats (b, &s);
  for (at = 0; at < s.total; at += n) {
    n = blocks_alloc (b, 65536, &first);
    assert_true (n > 0 && first == at);
  }
  for (at = 3; at + 15 < s.total; at += 700) {
    n = 1 + at % 15;
    blocks_release (b, at, (unsigned) n);
    waiting += n;
  }
  assert_int_equal (blocks_punch_begin (b, 16, 4096, &first), 0);
  while ((n = blocks_punch_begin (b, 1, 4096, &first)) > 0) {
    assert_int_equal ((first - 3) % 700, 0);
    assert_int_equal (n, 1 + first % 15);
    blocks_punch_end (b, first, (unsigned) n);
    waiting -= n;
  }
  assert_int_equal (waiting, 0);
  blocks_get_stats (b, &s);
  assert_int_equal (s.waiting + s.punching, 0);
  blocks_close (b);
}

static void
test_memory_is_for_what_is_used (void **state)
{
  struct blocks *b = open_blocks (UINT64_C (1) << 32, false);
  struct blocks_stats before, s;
  uint64_t first;

  (void) state;
  blocks_get_stats (b, &before);
  for (unsigned i = 0; i < 4; i++) {
    assert_int_equal (blocks_alloc (b, 65536, &first), 65536);
    assert_int_equal (first, i * 65536);
  }
  blocks_get_stats (b, &s);
  assert_int_equal (s.memory - before.memory, 65536 * 4);
  blocks_release (b, 0, 65536);
  blocks_release (b, 65536, 65536);
  blocks_get_stats (b, &s);
  assert_int_equal (s.memory - before.memory, 65536 * 2);
  blocks_release (b, 131072, 65536);
  blocks_release (b, 196608, 65536);
  assert_all_free (b);
  blocks_close (b);
}

static void
test_audit_finds_faults (void **state)
{
  struct blocks *b = open_blocks (300, false);
  struct blocks_audit *a;
  uint64_t first;

  (void) state;
  assert_int_equal (blocks_alloc (b, 3, &first), 3);
  blocks_ref (b, 10, 20);
  a = blocks_audit_begin (b);
  blocks_audit_writer (a, 0, 3);
  blocks_audit_object (a, 10, 20);
  assert_audit (a, 0);
  a = blocks_audit_begin (b); /* the object is lost: its block and its bytes */
  blocks_audit_writer (a, 0, 3);
  assert_audit (a, 2);
  a = blocks_audit_begin (b); /* one object at two places */
  blocks_audit_writer (a, 0, 3);
  blocks_audit_object (a, 10, 10);
  blocks_audit_object (a, 20, 10);
  assert_audit (a, 1);
  a = blocks_audit_begin (b); /* nowhere */
  blocks_audit_writer (a, 0, 3);
  blocks_audit_object (a, 300 * 4096, 20);
  assert_audit (a, 2);
  blocks_close (b);
}

/* -- random operations against a plain model ---------------------------- */

#define MODEL_BLOCKS 9000
#define MODEL_OBJECTS 500

struct object {
  uint64_t at, len; /* len 0: none */
};

static void
put_objects (struct blocks *b, struct unit_rng *rng, struct object *o,
             uint8_t *owned)
{
  uint64_t first, at, end;
  unsigned n = blocks_alloc (b, 1 + unit_below (rng, 64), &first);

  for (uint64_t i = first; n && i < first + n; i++)
    assert_int_equal (owned[i], 0);
  at = first * 4096;
  end = at + n * UINT64_C (4096);
  for (unsigned i = 0; i < MODEL_OBJECTS; i++) {
    uint64_t len = 32 + unit_below (rng, 9000);

    if (o[i].len || at + len > end)
      continue;
    o[i] = (struct object){ at, len };
    blocks_ref (b, at, len);
    for (uint64_t k = at / 4096; k <= (at + len - 1) / 4096; k++)
      owned[k]++;
    at += len;
  }
  blocks_release (b, first, n);
}

static void
test_random_against_model (void **state)
{
  struct blocks *b = open_blocks (MODEL_BLOCKS, true);
  struct object o[MODEL_OBJECTS] = { { 0, 0 } };
  static uint8_t owned[MODEL_BLOCKS];
  struct unit_rng rng = unit_rng (1);
  struct blocks_audit *a;
  uint64_t first;

  (void) state;
  memset (owned, 0, sizeof owned);
  for (unsigned step = 0; step < UNIT_TIMES (30000); step++) {
    unsigned i = unit_below (&rng, MODEL_OBJECTS);

    if (step % 8 == 0)
      put_objects (b, &rng, o, owned);
    if (o[i].len) {
      blocks_unref (b, o[i].at, o[i].len);
      for (uint64_t k = o[i].at / 4096; k <= (o[i].at + o[i].len - 1) / 4096;
           k++)
        owned[k]--;
      o[i].len = 0;
    }
    if (step % 16 == 3) {
      unsigned n = blocks_punch_begin (b, 1, 32, &first);

      for (uint64_t k = first; n && k < first + n; k++)
        assert_int_equal (owned[k], 0);
      if (n)
        blocks_punch_end (b, first, n);
    }
    if (step % 500 == 0) {
      a = blocks_audit_begin (b);
      for (unsigned k = 0; k < MODEL_OBJECTS; k++)
        if (o[k].len)
          blocks_audit_object (a, o[k].at, o[k].len);
      assert_audit (a, 0);
    }
  }
  blocks_close (b);
}

/* -- threads: no block has two owners ----------------------------------- */

#define RACE_BLOCKS 6000
#define RACE_THREADS 4

static atomic_uint race_owner[RACE_BLOCKS]; /* 0: none */

struct racer {
  struct blocks *b;
  unsigned id;
};

static void
change_owner (uint64_t first, unsigned n, unsigned from, unsigned to)
{
  for (uint64_t i = first; i < first + n; i++)
    check_always (atomic_exchange (&race_owner[i], to) == from);
}

static void *
race_write (void *arg)
{
  struct racer *r = arg;
  struct unit_rng rng = unit_rng (10 + r->id);
  struct {
    uint64_t first;
    unsigned n;
  } held[16] = { { 0, 0 } };

  for (unsigned i = 0; i < UNIT_TIMES (80000); i++) {
    unsigned k = unit_below (&rng, 16);

    if (held[k].n) {
      uint64_t at = held[k].first * 4096, len = held[k].n * UINT64_C (4096);

      blocks_ref (r->b, at + 7, len - 7);
      blocks_release (r->b, held[k].first, held[k].n);
      change_owner (held[k].first, held[k].n, r->id, 0);
      blocks_unref (r->b, at + 7, len - 7);
    }
    held[k].n = blocks_alloc (r->b, 1 + unit_below (&rng, 200), &held[k].first);
    change_owner (held[k].first, held[k].n, 0, r->id);
  }
  for (unsigned k = 0; k < 16; k++) {
    change_owner (held[k].first, held[k].n, r->id, 0);
    blocks_release (r->b, held[k].first, held[k].n);
  }
  return NULL;
}

static void *
race_punch (void *arg)
{
  struct racer *r = arg;
  uint64_t first;

  for (unsigned i = 0; i < UNIT_TIMES (80000); i++) {
    unsigned n = blocks_punch_begin (r->b, 1, 100, &first);

    if (n) {
      change_owner (first, n, 0, r->id);
      change_owner (first, n, r->id, 0);
      blocks_punch_end (r->b, first, n);
    }
  }
  return NULL;
}

static void
test_race (void **state)
{
  struct blocks *b = open_blocks (RACE_BLOCKS, true);
  struct racer r[RACE_THREADS];
  struct unit_thread t[RACE_THREADS];
  struct blocks_stats s;
  uint64_t first;
  unsigned n;

  (void) state;
  for (unsigned i = 0; i < RACE_THREADS; i++) {
    r[i] = (struct racer){ b, i + 1 };
    unit_start (&t[i], i ? race_write : race_punch, &r[i]);
  }
  unit_join_all (t, RACE_THREADS);
  while ((n = blocks_punch_begin (b, 1, 65536, &first)))
    blocks_punch_end (b, first, n);
  blocks_get_stats (b, &s);
  assert_int_equal (s.waiting, 0);
  assert_all_free (b);
  blocks_close (b);
}

int
main (void)
{
  static const struct CMUnitTest tests[] = {
    UNIT_TEST (test_objects_share_blocks),
    UNIT_TEST (test_the_writer_keeps_its_blocks),
    UNIT_TEST (test_runs),
    UNIT_TEST (test_punching),
    UNIT_TEST (test_punching_bits),
    UNIT_TEST (test_memory_is_for_what_is_used),
    UNIT_TEST (test_audit_finds_faults),
    UNIT_TEST (test_random_against_model),
    UNIT_TEST (test_race),
  };

  return UNIT_RUN (tests);
}
