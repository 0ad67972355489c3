/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Claims: background work that copies a slot out and comes back wins only if
 * nothing has changed the slot in between, whatever that was and however
 * often; it leaves no claim behind, and no trace of an access.
 */

#include <config.h>

#include "maint/compactor.h"
#include "recompress-fixture.h"
#include "unbounded.h"

#ifdef ZRAM_FAULTS

#define SLOT 4096u

static struct fixture f;

/* What claimed work would put: the same data at a higher level. */
static struct content
made (uint64_t index, uint32_t gen, uint32_t n1, uint32_t n2)
{
  unsigned char bytes[SLOT];
  struct levels_head head = { .magic = LEVELS_MAGIC,
                              .n = { n1, n2, n2, n2 },
                              .seed = (uint32_t) index * 1000003u + gen };
  struct packed packed = { .format = CODEC_TEST, .size = n2, .bytes = bytes };
  struct content new;

  levels_fill (bytes, n2, &head, 2);
  bytes[sizeof head] = 2;
  check_always (content_make (f.disk, &packed, &new) == 0);
  return new;
}

static void
put (uint64_t index, uint32_t gen)
{
  levels_put (&f, index, gen, 2000, 500, 500, 500);
}

static void
holds (uint64_t index, uint32_t gen)
{
  levels_hold (&f, index, gen, 2000, 500, 500, 500);
}

static bool
copy (uint64_t index, unsigned claim, void *buf)
{
  return claim_copy (f.disk, index, fixture_meta (&f, index), claim, buf);
}

static void
test_numbers (void **state)
{
  uint64_t seen = 0;
  unsigned claim;

  (void) state;
  levels_open (&f, SLOT, 1, 16);
  for (unsigned i = 1; i < SLOT_CLAIMS; i++) {
    claim = claim_take (f.store);
    assert_in_range (claim, 1, SLOT_CLAIMS - 1);
    assert_false (seen >> claim & 1);
    seen |= UINT64_C (1) << claim;
  }
  assert_int_equal (claim_take (f.store), 0);
  claim_release (f.store, 17);
  assert_int_equal (claim_take (f.store), 17);
  assert_int_equal (claim_take (f.store), 0);
  for (unsigned i = 1; i < SLOT_CLAIMS; i++)
    claim_release (f.store, i);

  /* The highest number fits its bits and touches no others. */
  for (unsigned i = 1; i < SLOT_CLAIMS; i++)
    claim = claim_take (f.store);
  put (3, 1);
  uint32_t meta = fixture_meta (&f, 3);
  char buf[SLOT];
  assert_true (copy (3, SLOT_CLAIMS - 1, buf));
  assert_int_equal (slot_meta_claim (fixture_meta (&f, 3)), SLOT_CLAIMS - 1);
  assert_int_equal (slot_meta_size (fixture_meta (&f, 3)), 2000);
  assert_int_equal (slot_meta_format (fixture_meta (&f, 3)), CODEC_TEST);
  assert_true (claim_end (f.disk, 3, SLOT_CLAIMS - 1, 0));
  assert_int_equal (fixture_meta (&f, 3), meta);
  for (unsigned i = 1; i < SLOT_CLAIMS; i++)
    claim_release (f.store, i);
  (void) claim;
  levels_close (&f);
}

static void *
take_and_release (void *arg)
{
  _Atomic uint64_t *owned = arg;

  for (unsigned i = 0; i < UNIT_TIMES (20000); i++) {
    unsigned claim = claim_take (f.store);
    uint64_t bit = UINT64_C (1) << claim;

    if (!claim)
      continue;
    check_always (!(atomic_fetch_or (owned, bit) & bit));
    check_always (atomic_fetch_and (owned, ~bit) & bit);
    claim_release (f.store, claim);
  }
  return NULL;
}

static void
test_numbers_are_exclusive (void **state)
{
  _Atomic uint64_t owned = 0;
  struct unit_thread t[4];

  (void) state;
  levels_open (&f, SLOT, 1, 16);
  for (unsigned i = 1; i < SLOT_CLAIMS - 2; i++) /* two are left for four */
    check_always (claim_take (f.store));
  unit_start_all (t, 4, take_and_release, &owned, 0);
  unit_join_all (t, 4);
  for (unsigned i = 1; i < SLOT_CLAIMS - 2; i++)
    claim_release (f.store, i);
  levels_close (&f);
}

/* -- what happens in between --------------------------------------------- */

#include "meanwhile.h"

static void
discard_and_rewrite (uint64_t i)
{
  discard (i);
  put (i, 1);
}

static void
same_filled (uint64_t i)
{
  char buf[SLOT];

  memset (buf, 0x77, SLOT);
  must_write (&f, buf, SLOT, i * SLOT);
}

static void
raw (uint64_t i)
{
  struct unit_rng rng = unit_rng (i);
  char buf[SLOT];

  fill_kind (buf, SLOT, KIND_RANDOM, &rng);
  must_write (&f, buf, SLOT, i * SLOT);
}

static void
reset_and_rewrite (uint64_t i)
{
  disk_reset (f.disk);
  put (i, 1);
}

/* Claimed and replaced by other work, before which it was rewritten. */
static void
other_work (uint64_t i)
{
  unsigned claim = claim_take (f.store);
  struct content new = made (i, 1, 2000, 500);
  char buf[SLOT];

  put (i, 1);
  check_always (copy (i, claim, buf));
  check_always (claim_replace (f.disk, i, claim, &new));
  claim_release (f.store, claim);
}

/* Claimed by other work at this moment. */
static unsigned left_claimed;

static void
other_claim (uint64_t i)
{
  char buf[SLOT];

  left_claimed = claim_take (f.store);
  put (i, 1);
  check_always (copy (i, left_claimed, buf));
}

static const struct {
  const char *name;
  void (*change) (uint64_t i);
} changes[] = {
  { "other data", other_data },
  { "the same data", same_data },
  { "a part", part },
  { "a part trimmed", trim_part },
  { "discarded", discard },
  { "discarded and rewritten", discard_and_rewrite },
  { "zeroes", zero },
  { "same-filled", same_filled },
  { "raw", raw },
  { "reset", reset },
  { "reset and rewritten", reset_and_rewrite },
  { "replaced by other work", other_work },
  { "claimed by other work", other_claim },
};

static void
overtaken_by (unsigned c, bool replace)
{
  unsigned claim = claim_take (f.store);
  char buf[SLOT], want[SLOT], old[SLOT];
  const uint64_t i = 5;

  put (i, 1);
  levels_data (&f, old, i, 1, 2000, 500, 500, 500);
  assert_true (copy (i, claim, buf));
  changes[c].change (i);
  uint32_t meta = fixture_meta (&f, i);
  must_read (&f, want, SLOT, i * SLOT);
  if (replace) {
    struct content new = made (i, 9, 2000, 500); /* stale data would show */

    if (claim_replace (f.disk, i, claim, &new))
      fail_msg ("%s: replaced all the same", changes[c].name);
  }
  else if (claim_end (f.disk, i, claim,
                      1u << SLOT_BY_SHIFT | SLOT_INCOMPRESSIBLE))
    fail_msg ("%s: ended all the same", changes[c].name);
  if (fixture_meta (&f, i) != meta)
    fail_msg ("%s: meta 0x%x became 0x%x", changes[c].name, meta,
              fixture_meta (&f, i));
  must_hold (&f, want, SLOT, i * SLOT);
  if (left_claimed) {
    assert_true (claim_end (f.disk, i, left_claimed, 0));
    claim_release (f.store, left_claimed);
    left_claimed = 0;
  }
  claim_release (f.store, claim);
  check_no_claims (&f);
  fixture_audit (&f);
}

static void
test_overtaken (void **state)
{
  (void) state;
  levels_open (&f, SLOT, 1, 1024);
  for (unsigned c = 0; c < sizeof changes / sizeof *changes; c++) {
    overtaken_by (c, true);
    overtaken_by (c, false);
  }
  levels_close (&f);
}

/* Reads do not mind, and the copy is the object. */
static void
test_replaced (void **state)
{
  unsigned claim;
  unsigned char buf[SLOT], want[SLOT];
  struct levels_head head = { .magic = LEVELS_MAGIC,
                              .n = { 2000, 500, 500, 500 },
                              .seed = 5 * 1000003u + 1 };
  struct content new;
  char part_of[100];

  (void) state;
  levels_open (&f, SLOT, 1, 1024);
  claim = claim_take (f.store);
  put (5, 1);
  memset (buf, 0xee, sizeof buf);
  assert_true (copy (5, claim, buf));
  levels_fill (want, 2000, &head, 1);
  want[sizeof head] = 1;
  assert_memory_equal (buf, want, 2000);
  assert_int_equal (buf[2000], 0xee);
  holds (5, 1);
  must_read (&f, part_of, 100, 5 * SLOT + 77);
  new = made (5, 1, 2000, 500);
  new.marks = 2u << SLOT_BY_SHIFT;
  assert_true (claim_replace (f.disk, 5, claim, &new));
  assert_int_equal (slot_meta_size (fixture_meta (&f, 5)), 500);
  assert_int_equal (slot_meta_by (fixture_meta (&f, 5)), 2);
  assert_int_equal (slot_meta_claim (fixture_meta (&f, 5)), 0);
  holds (5, 1);

  /* It is used up. */
  new = made (5, 9, 2000, 500);
  assert_false (claim_replace (f.disk, 5, claim, &new));
  assert_false (claim_end (f.disk, 5, claim, 0));
  holds (5, 1);
  claim_release (f.store, claim);
  levels_close (&f);
}

/* What cannot be claimed: another meta, claimed already, locked, nothing. */
static void
test_refused (void **state) NO_THREAD_SAFETY_ANALYSIS
{
  unsigned claim, other;
  uint32_t meta;
  char buf[SLOT];

  (void) state;
  levels_open (&f, SLOT, 1, 1024);
  claim = claim_take (f.store);
  other = claim_take (f.store);
  put (5, 1);
  meta = fixture_meta (&f, 5);
  assert_false (claim_copy (
    f.disk, 5, slot_meta (SLOT_OBJECT, CODEC_TEST, 1999), claim, buf));
  assert_false (claim_copy (f.disk, 6, meta, claim, buf));
  assert_false (claim_copy (f.disk, 700, meta, claim, buf)); /* no leaf */
  assert_false (claim_end (f.disk, 700, claim, 0));
  assert_int_equal (fixture_state (&f, 6), SLOT_EMPTY);

  assert_true (claim_copy (f.disk, 5, meta, claim, buf));
  assert_false (claim_copy (f.disk, 5, meta, other, buf));
  assert_false (claim_copy (f.disk, 5, fixture_meta (&f, 5), other, buf));
  assert_false (claim_end (f.disk, 5, other, 0));
  assert_int_equal (slot_meta_claim (fixture_meta (&f, 5)), claim);
  assert_true (claim_end (f.disk, 5, claim, 0));

  struct slot *s = slot_table_write_lock (&f.disk->table, 5);
  assert_non_null (s);
  assert_false (claim_copy (f.disk, 5, meta, claim, buf));
  slot_write_unlock (s);
  s = slot_table_read_lock (&f.disk->table, 5, 1);
  assert_non_null (s);
  assert_true (claim_copy (f.disk, 5, meta, claim, buf)); /* readers share */
  slot_read_unlock (s);
  assert_true (claim_end (f.disk, 5, claim, 0));
  claim_release (f.store, other);
  claim_release (f.store, claim);
  levels_close (&f);
}

/* The same size, format and number come round again and again. */
static void
test_come_round (void **state)
{
  const uint64_t i = 5;
  unsigned claim;
  char buf[SLOT];

  (void) state;
  levels_open (&f, SLOT, 1, 1024);
  claim = claim_take (f.store);
  put (i, 0);
  uint32_t meta = fixture_meta (&f, i);
  assert_true (copy (i, claim, buf));
  for (uint32_t gen = 1; gen <= 1000; gen++) {
    struct content new = made (i, 0, 2000, 500);

    put (i, gen);
    assert_int_equal (fixture_meta (&f, i), meta);
    if (gen % 7 == 0) { /* others work on it meanwhile */
      unsigned other = claim_take (f.store);

      assert_int_not_equal (other, claim);
      assert_true (copy (i, other, buf));
      if (gen % 2)
        assert_true (claim_end (f.disk, i, other, 0));
      else {
        struct content better = made (i, gen, 2000, 500);
        assert_true (claim_replace (f.disk, i, other, &better));
      }
      claim_release (f.store, other);
    }
    assert_false (claim_replace (f.disk, i, claim, &new));
    if (gen % 50 == 0)
      holds (i, gen);
  }
  claim_release (f.store, claim);
  levels_close (&f);
}

/* -- the object moves, the leaf goes ------------------------------------- */

static void
test_moved (void **state)
{
  const unsigned slots = 1500, step = 30;
  struct compactor *c;
  char buf[SLOT];
  unsigned claim, moved = 0;

  (void) state;
  levels_open (&f, SLOT, 1, slots);
  c = compactor_create (f.store, 0, 1);
  claim = claim_take (f.store);
  for (unsigned i = 0; i < slots; i++)
    put (i, 1);
  uint64_t *cells = must_alloc (slots * sizeof *cells);
  for (unsigned i = 0; i < slots; i += step) {
    assert_true (copy (i, claim, buf));
    cells[i] = slot_load_cell (slot_table_peek (&f.disk->table, i));
  }
  /* z3fold moves them now, zsmalloc when it is asked. */
  for (unsigned i = 0; i < slots; i++)
    if (i % step)
      must_discard (&f, (uint64_t) i * SLOT, SLOT);
  (void) compactor_run (c);
  assert_true (counter_sum (&f.store->pool->counters, POOL_OBJECTS_MOVED) > 0);
  for (unsigned i = 0; i < slots; i += step) {
    struct content new = made (i, 1, 2000, 500);

    moved += cells[i] != slot_load_cell (slot_table_peek (&f.disk->table, i));
    if (i % 4)
      assert_true (claim_replace (f.disk, i, claim, &new));
    else {
      content_drop (f.disk, &new);
      assert_true (claim_end (f.disk, i, claim, 0));
    }
    holds (i, 1);
  }
  /* Handles of z3fold do not say where in the page the object is. */
  assert_int_equal (moved > 0, fixture_is_zsmalloc ());
  free (cells);
  claim_release (f.store, claim);
  compactor_destroy (c);
  levels_close (&f);
}

static void
test_leaf_reused (void **state)
{
  const uint64_t a = 5, b = LEAF_SLOTS * 3 + 5;
  const struct slot *leaf;
  unsigned claim;
  char buf[SLOT];

  (void) state;
  levels_open (&f, SLOT, 1, LEAF_SLOTS * 8);
  claim = claim_take (f.store);
  for (unsigned round = 0; round < 20; round++) {
    struct content new = made (a, 9, 2000, 500);

    put (a, round);
    assert_true (copy (a, claim, buf));
    leaf = slot_table_peek (&f.disk->table, a);
    discard (a);
    (void) slot_table_reclaim (&f.disk->table, a);
    assert_null (slot_table_peek (&f.disk->table, a));
    put (b, round);
    assert_ptr_equal (slot_table_peek (&f.disk->table, b), leaf);
    uint32_t meta = fixture_meta (&f, b);
    assert_false (claim_replace (f.disk, a, claim, &new));
    assert_false (claim_end (f.disk, a, claim, SLOT_INCOMPRESSIBLE));
    assert_int_equal (fixture_meta (&f, b), meta);
    assert_null (slot_table_peek (&f.disk->table, a));
    holds (b, round);
    must_hold (&f, NULL, SLOT, a * SLOT);
    discard (b);
    (void) slot_table_reclaim (&f.disk->table, b);
  }
  claim_release (f.store, claim);
  levels_close (&f);
}

/* -- age and marks ------------------------------------------------------- */

static void
test_no_access (void **state)
{
  unsigned claim;
  char buf[SLOT];

  (void) state;
  levels_open (&f, SLOT, 1, 1024);
  claim = claim_take (f.store);
  for (unsigned idle = 0; idle < 2; idle++) {
    put (5, 1);
    set_stamp (&f, 5, 4711);
    if (idle)
      assert_int_equal (disk_mark_idle (f.disk, 0, 1024, 0, 4711), 1);
    uint32_t word = lock_word (&f, 5);
    assert_int_equal (!!(word & SLOT_IDLE), idle);
    assert_true (copy (5, claim, buf));
    assert_int_equal (lock_word (&f, 5), word);
    assert_true (claim_end (f.disk, 5, claim, 0));
    assert_int_equal (lock_word (&f, 5), word);
    assert_true (copy (5, claim, buf));
    struct content new = made (5, 1, 2000, 500);
    assert_true (claim_replace (f.disk, 5, claim, &new));
    assert_int_equal (lock_word (&f, 5), word);
  }
  claim_release (f.store, claim);
  levels_close (&f);
}

/* A walk whose clock is behind takes a new slot for new. */
static void
test_age_of_later (void **state)
{
  const struct slot *s;

  (void) state;
  levels_open (&f, SLOT, 1, 1024);
  put (5, 1);
  s = slot_table_peek (&f.disk->table, 5);
  set_stamp (&f, 5, 1000);
  assert_int_equal (slot_age (s, 1000), 0);
  assert_int_equal (slot_age (s, 1001), 1);
  assert_int_equal (slot_age (s, 999), 0);
  assert_int_equal (slot_age (s, 1000 - 3600), 0);
  assert_int_equal (slot_age (s, 1000 + SLOT_OLD + 3600), SLOT_OLD + 3600);
  set_stamp (&f, 5, 3); /* it has wrapped */
  assert_int_equal (slot_age (s, 65530), 0);
  set_stamp (&f, 5, 65530);
  assert_int_equal (slot_age (s, 65536 + 4), 10);
  assert_int_equal (disk_mark_idle (f.disk, 0, 1024, 1, 65529), 0);
  levels_close (&f);
}

static void
test_clear_marks (void **state)
{
  unsigned claim;
  char buf[SLOT];

  (void) state;
  levels_open (&f, SLOT, 1, 1024);
  claim = claim_take (f.store);
  for (unsigned i = 0; i < 8; i++) {
    put (i * 100, i);
    assert_true (copy (i * 100, claim, buf));
    assert_true (
      claim_end (f.disk, i * 100, claim,
                 (i & 3) << SLOT_BY_SHIFT | (i & 4 ? SLOT_INCOMPRESSIBLE : 0)));
    assert_int_equal (slot_meta_by (fixture_meta (&f, i * 100)), i & 3);
    assert_int_equal (slot_meta_incompressible (fixture_meta (&f, i * 100)),
                      i >= 4);
  }
  assert_true (copy (700, claim, buf)); /* it keeps its marks */
  claim_clear_marks (f.store);
  for (unsigned i = 0; i < 7; i++)
    assert_int_equal (fixture_meta (&f, i * 100) & SLOT_MARKS, 0);
  assert_int_equal (slot_meta_by (fixture_meta (&f, 700)), 3);
  assert_int_equal (slot_meta_claim (fixture_meta (&f, 700)), claim);
  assert_true (claim_end (f.disk, 700, claim, 0));
  for (unsigned i = 0; i < 8; i++)
    holds (i * 100, i);
  claim_release (f.store, claim);
  levels_close (&f);
}

/* -- all at once --------------------------------------------------------- */

#define RACED 4u

static _Atomic uint32_t newest[RACED], begun[RACED];
static atomic_bool stop;
static atomic_uint swapped, lost;

static void *
race_writer (void *arg)
{
  unsigned i = *(unsigned *) arg;

  /* Until the workers came to it too, however slow the machine is. */
  for (uint32_t gen = 1;
       gen < UNIT_TIMES (8000) || atomic_load (&swapped) == 0 ||
       atomic_load (&lost) == 0;
       gen++) {
    atomic_store (&begun[i], gen);
    if (gen % 5 == 0)
      discard (i);
    put (i, gen);
    atomic_store (&newest[i], gen);
  }
  return NULL;
}

static void *
race_worker (void *arg)
{
  struct unit_rng rng = unit_rng (*(unsigned *) arg + 40);
  unsigned char buf[SLOT];
  unsigned claim = claim_take (f.store);

  while (!atomic_load (&stop)) {
    unsigned i = unit_below (&rng, RACED);
    uint32_t meta = fixture_meta (&f, i);
    struct packed packed = { .format = slot_meta_format (meta),
                             .size = slot_meta_size (meta),
                             .bytes = buf };
    struct content new;

    if (slot_meta_state (meta) != SLOT_OBJECT ||
        !claim_copy (f.disk, i, meta, claim, buf))
      continue;
    if (unit_below (&rng, 2))
      sched_yield ();
    if (unit_below (&rng, 4) == 0) {
      (void) claim_end (f.disk, i, claim, 0);
      continue;
    }
    check_always (content_make (f.disk, &packed, &new) == 0);
    atomic_fetch_add (claim_replace (f.disk, i, claim, &new) ? &swapped : &lost,
                      1);
  }
  claim_release (f.store, claim);
  return NULL;
}

static void *
race_reader (void *arg)
{
  struct unit_rng rng = unit_rng (*(unsigned *) arg + 60);
  uint32_t seen[RACED] = { 0 };

  while (!atomic_load (&stop)) {
    unsigned i = unit_below (&rng, RACED);
    uint32_t least = atomic_load (&newest[i]), gen;
    char buf[SLOT], want[SLOT];
    struct levels_head head;

    must_read (&f, buf, SLOT, (uint64_t) i * SLOT);
    if (all_zero (buf, SLOT))
      continue;
    memcpy (&head, buf, sizeof head);
    gen = head.seed - i * 1000003u;
    check_always (gen >= least && gen >= seen[i] &&
                  gen <= atomic_load (&begun[i]));
    seen[i] = gen;
    levels_data (&f, want, i, gen, 2000, 500, 500, 500);
    check_always (memcmp (buf, want, SLOT) == 0);
  }
  return NULL;
}

static void
test_race (void **state)
{
  struct unit_thread writers[RACED], others[4];
  unsigned id[RACED] = { 0, 1, 2, 3 };

  (void) state;
  levels_open (&f, SLOT, 3, 1024);
  for (unsigned i = 0; i < RACED; i++) {
    atomic_store (&newest[i], 0);
    atomic_store (&begun[i], 0);
  }
  atomic_store (&stop, false);
  unit_start_all (writers, RACED, race_writer, id, sizeof *id);
  unit_start_all (others, 2, race_worker, id, sizeof *id);
  unit_start_all (others + 2, 2, race_reader, id, sizeof *id);
  unit_join_all (writers, RACED);
  atomic_store (&stop, true);
  unit_join_all (others, 4);
  assert_true (atomic_load (&swapped) > 0);
  assert_true (atomic_load (&lost) > 0);
  for (unsigned i = 0; i < RACED; i++)
    holds (i, atomic_load (&newest[i]));
  levels_close (&f);
}

int
main (void)
{
  static const struct CMUnitTest tests[] = {
    UNIT_TEST (test_numbers),     UNIT_TEST (test_numbers_are_exclusive),
    UNIT_TEST (test_overtaken),   UNIT_TEST (test_replaced),
    UNIT_TEST (test_refused),     UNIT_TEST (test_come_round),
    UNIT_TEST (test_moved),       UNIT_TEST (test_leaf_reused),
    UNIT_TEST (test_no_access),   UNIT_TEST (test_age_of_later),
    UNIT_TEST (test_clear_marks), UNIT_TEST (test_race),
  };

  return UNIT_RUN (tests);
}

#else

int
main (void)
{
  printf ("skipped: no fault points in this build\n");
  return 77;
}

#endif
