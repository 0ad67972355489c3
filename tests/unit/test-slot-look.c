/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Looking at slots without their locks: each look sees one state.  A slot that
 * has data at every moment, but not zeroes, is never reported as zeroes or a
 * hole, whatever it turns into and whatever happens beside it.  And a report
 * about a slot is never about another slot that had its leaf before.
 */

#include <config.h>

#include "held-backing.h"
#include "store/query.h"

#define SLOT 4096u
#define LEAF (LEAF_SLOTS * (uint64_t) SLOT)
#define LEAVES 6u
#define DISK (LEAVES * LEAF)

static struct fixture f;
static struct held *held;
static char text[SLOT], word[SLOT], zeroes[SLOT];

static void
open_all (void)
{
  struct unit_rng rng = unit_rng (1);

  fixture_open (&f, SLOT, "lz4", 2, DISK);
  held = held_attach (&f, 64);
  check_always (buffer_set_size (&f.store->buffer, MiB) == 0);
  fill_kind (text, SLOT, KIND_TEXT, &rng);
  memset (word, 0x5a, SLOT);
}

static int
first_type (void *ctx, uint64_t offset, uint64_t length, enum extent_type type)
{
  (void) offset;
  (void) length;
  *(enum extent_type *) ctx = type;
  return 0;
}

static enum extent_type
type_of_slot (uint64_t index)
{
  enum extent_type type = EXTENT_HOLE;

  check_always (
    disk_extents (f.disk, index * SLOT, SLOT, true, first_type, &type) == 0);
  return type;
}

static bool
is_stored (uint64_t index)
{
  struct slot_info info;

  return disk_slot_info (f.disk, index, 0, &info);
}

/* Compress what is in the write buffer. */
static void
drain_all (void)
{
  struct drain_totals totals = { 0 };

  drain_hold (f.store);
  (void) drain_step_locked (f.store, 0, UINT32_MAX, DRAIN_BATCH, &totals);
  drain_unhold (f.store);
}

/* -- each state, with nothing else going on ------------------------------ */

static void
test_told (void **state)
{
  (void) state;
  open_all ();
  assert_int_equal (type_of_slot (0), EXTENT_HOLE);
  must_write (&f, word, SLOT, 0);
  assert_int_equal (type_of_slot (0), EXTENT_DATA);
  must_write (&f, text, SLOT, 0);
  assert_int_equal (fixture_state (&f, 0), SLOT_BUFFERED);
  assert_int_equal (held_cell (&f, 0), 0); /* which says nothing */
  assert_int_equal (type_of_slot (0), EXTENT_DATA);
  drain_all ();
  assert_int_equal (type_of_slot (0), EXTENT_DATA);
  held_write_back (&f, 0, 1);
  assert_int_equal (type_of_slot (0), EXTENT_DATA);
  must_write (&f, zeroes, SLOT, 0);
  assert_int_equal (type_of_slot (0), EXTENT_ZERO);
  assert_true (is_stored (0));
  /* Into zeroes and out of them by parts, in the buffer and not. */
  for (unsigned buffered = 0; buffered < 2; buffered++) {
    check_always (buffer_set_size (&f.store->buffer, buffered * MiB) == 0);
    must_write (&f, "x", 1, 77);
    assert_int_equal (type_of_slot (0), EXTENT_DATA);
    must_discard (&f, 70, 10);
    assert_int_equal (type_of_slot (0), EXTENT_ZERO);
  }
  must_write (&f, text, SLOT, SLOT);
  must_discard (&f, 0, SLOT);
  assert_int_equal (type_of_slot (0), EXTENT_HOLE);
  assert_false (is_stored (0));
  fixture_close (&f);
}

/* The auditor sees a slot that says of its word what is not so. */
static void
test_audited (void **state)
{
  struct reason why;

  (void) state;
  open_all ();
  for (unsigned i = 0; i < 2; i++) {
    must_write (&f, text, SLOT, SLOT);
    must_write (&f, i ? zeroes : word, SLOT, 0);
    struct slot *s = (struct slot *) slot_table_peek (&f.disk->table, 0);
    uint64_t cell = slot_load_cell (s);
    atomic_store (&s->cell, cell ? 0 : 1);
    assert_int_equal (store_audit (f.store, false, &why), -1);
    assert_non_null (strstr (why.text, "another word"));
    atomic_store (&s->cell, cell);
    fixture_audit (&f);
  }
  fixture_close (&f);
}

/* -- held in the middle -------------------------------------------------- */

#ifdef ZRAM_FAULTS

static void *
write_text (void *arg)
{
  (void) arg;
  must_write (&f, text, SLOT, 0);
  return NULL;
}

/* The cell is the new one and the meta the old: from a word to entry 0. */
static void
test_between_cell_and_meta (void **state)
{
  struct slot_info info;
  struct unit_thread t;

  (void) state;
  open_all ();
  must_write (&f, word, SLOT, 0);
  fault_hold ("slot.set.cell");
  unit_start (&t, write_text, NULL);
  fault_wait_held ("slot.set.cell");
  assert_int_equal (held_cell (&f, 0), 0);
  enum extent_type type = type_of_slot (0);
  bool stored = disk_slot_info (f.disk, 0, 0, &info);
  fault_release ("slot.set.cell");
  unit_join (&t);
  assert_int_equal (type, EXTENT_DATA);
  assert_true (stored);
  assert_int_equal (info.state, SLOT_SAME);
  assert_int_equal (type_of_slot (0), EXTENT_DATA);
  fixture_close (&f);
}

struct look {
  enum extent_type type;
  bool stored;
};

static void *
look_extents (void *arg)
{
  struct look *l = arg;

  l->type = type_of_slot (3);
  return NULL;
}

static void *
look_info (void *arg)
{
  struct look *l = arg;

  l->stored = is_stored (3);
  return NULL;
}

/* Between its two looks at the directory the leaf goes to another place, which
 * has at 'there' what slot 3 never was.
 */
static struct look
look_at_moved (void *(*how) (void *), const void *there)
{
  const uint64_t from = 3, to = 2 * LEAF_SLOTS + 3;
  struct look l = { 0 };
  struct unit_thread t;

  open_all ();
  must_write (&f, text, SLOT, (from + 1) * SLOT);
  const struct slot *s = slot_table_peek (&f.disk->table, from);
  fault_hold ("table.peeked");
  unit_start (&t, how, &l);
  fault_wait_held ("table.peeked");
  must_discard (&f, 0, LEAF);
  must_write (&f, text, SLOT, (to + 1) * SLOT);
  must_write (&f, there, SLOT, to * SLOT);
  check_always (slot_table_peek (&f.disk->table, to) == s);
  fault_release ("table.peeked");
  unit_join (&t);
  fault_clear ();
  fixture_close (&f);
  return l;
}

static void
test_moved_leaf (void **state)
{
  (void) state;
  assert_int_equal (look_at_moved (look_extents, text).type, EXTENT_HOLE);
  assert_int_equal (look_at_moved (look_extents, word).type, EXTENT_HOLE);
  assert_int_equal (look_at_moved (look_extents, zeroes).type, EXTENT_HOLE);
  assert_false (look_at_moved (look_info, text).stored);
  assert_false (look_at_moved (look_info, zeroes).stored);
}

#endif

/* -- while it turns ------------------------------------------------------ */

static atomic_bool stop;

/* Never zeroes: the slots [0, 2) turn from one state into the other.  The first
 * has entry 0 whenever it is buffered.
 */
static void *
turner (void *arg)
{
  (void) arg;
  for (unsigned n = 0; n < UNIT_TIMES (100000); n++)
    for (unsigned i = 0; i < 2; i++) {
      must_write (&f, word, SLOT, i * SLOT);
      must_write (&f, text, SLOT, i * SLOT);
      if (n % 4 == 0)
        must_write (&f, "part", 4, i * SLOT + 1000);
      if (n % 8 == 0)
        drain_all ();
      if (n % 64 == 0)
        held_write_back (&f, i, i + 1);
    }
  return NULL;
}

/* Leaves come and go beside it, and in them data, words, zeroes and nothing. */
static void *
churner (void *arg)
{
  struct unit_rng rng = unit_rng (2);
  const char *kinds[] = { text, word, zeroes };

  (void) arg;
  while (!atomic_load (&stop)) {
    uint64_t leaf = 1 + unit_below (&rng, LEAVES - 2);

    must_write (&f, word, SLOT, leaf * LEAF + 9 * SLOT);
    must_write (&f, kinds[unit_below (&rng, 3)], SLOT, leaf * LEAF);
    must_discard (&f, leaf * LEAF, LEAF);
  }
  return NULL;
}

static int
steady (void *ctx, uint64_t offset, uint64_t length, enum extent_type type)
{
  uint64_t end = offset + length, *next = ctx;

  check_always (offset == *next && length > 0);
  *next = end;
  /* Slots 0 and 1, and the last leaf's first, hold data all the time. */
  check_always (type == EXTENT_DATA ||
                (offset >= 2 * SLOT &&
                 (end <= DISK - LEAF || offset >= DISK - LEAF + SLOT)));
  return 0;
}

static void *
looker (void *arg)
{
  (void) arg;
  while (!atomic_load (&stop)) {
    uint64_t next = 0;

    for (unsigned i = 0; i < 50; i++) {
      check_always (type_of_slot (0) == EXTENT_DATA);
      check_always (type_of_slot (1) == EXTENT_DATA);
      check_always (is_stored (0) && is_stored (1));
    }
    check_always (disk_extents (f.disk, 0, DISK, false, steady, &next) == 0);
    check_always (next == DISK);
    check_always (disk_next_stored (f.disk, 0, DISK / SLOT) == 0);
    check_always (disk_next_stored (f.disk, 1, DISK / SLOT) == 1);
  }
  return NULL;
}

static void
test_turning (void **state)
{
  struct unit_thread turns, churns, looks[2];

  (void) state;
  open_all ();
  must_write (&f, word, SLOT, 0);
  must_write (&f, word, SLOT, SLOT);
  must_write (&f, text, SLOT, DISK - LEAF);
  atomic_store (&stop, false);
  unit_start_all (looks, 2, looker, NULL, 0);
  unit_start (&churns, churner, NULL);
  unit_start (&turns, turner, NULL);
  unit_join (&turns);
  atomic_store (&stop, true);
  unit_join (&churns);
  unit_join_all (looks, 2);
  fixture_close (&f);
}

int
main (void)
{
  static const struct CMUnitTest tests[] = {
    UNIT_TEST (test_told),
    UNIT_TEST (test_audited),
#ifdef ZRAM_FAULTS
    UNIT_TEST (test_between_cell_and_meta),
    UNIT_TEST (test_moved_leaf),
#endif
    UNIT_TEST (test_turning),
  };

  return UNIT_RUN (tests);
}
