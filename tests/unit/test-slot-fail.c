/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Writes of one slot that fail, for every reason there is: the slot holds
 * what it held, nothing is leaked or miscounted, and what can be done about
 * it (more memory, a discard) helps.  Objects that are damaged: an error of
 * that slot and no other.
 */

#include <config.h>

#include "mem/zs_internal.h"
#include "sized-codec.h"

#define SLOT 4096u
#define SLOTS 64u

static unsigned char model[SLOTS][SLOT], wanted[SLOT], got[SLOT];

static void
check_slot (struct fixture *f, unsigned index)
{
  memset (got, 0x5a, SLOT);
  assert_int_equal (slot_read (f->disk, index, got, 0, SLOT, 1), 0);
  assert_memory_equal (got, model[index], SLOT);
}

static void
check_all (struct fixture *f)
{
  for (unsigned i = 0; i < SLOTS; i++)
    check_slot (f, i);
}

/* Every kind of slot, twice; the last ones stay without a leaf. */
static void
fill_slots (struct fixture *f, struct unit_rng *rng)
{
  memset (model, 0, sizeof model);
  for (unsigned i = 0; i < SLOTS - 4; i++)
    if (i % (KINDS + 1) < KINDS) {
      fill_kind (model[i], SLOT, i % (KINDS + 1), rng);
      assert_int_equal (slot_write (f->disk, i, model[i], 1), 0);
    }
}

/* Some write or another.  Returns errno if it failed, after which the slot
 * must be as before.
 */
static int
attempt (struct fixture *f, unsigned index, struct unit_rng *rng)
{
  uint32_t at = unit_below (rng, SLOT), len = 1 + unit_below (rng, SLOT - at);
  unsigned how = unit_below (rng, 3);
  int r;

  if (how == 0)
    at = 0, len = SLOT;
  memcpy (wanted, model[index], SLOT);
  fill_any (wanted + at, len, rng);
  if (how == 2)
    memset (wanted + at, 0, len);
  errno = 0;
  if (how == 0)
    r = slot_write (f->disk, index, wanted, 1);
  else
    r = slot_write_part (f->disk, index, how == 2 ? NULL : wanted + at, at, len,
                         1);
  int err = errno;
  if (r == 0)
    memcpy (model[index], wanted, SLOT);
  check_slot (f, index);
  return r == 0 ? 0 : err;
}

/* -- the limit ----------------------------------------------------------- */

static void
test_limit (void **state)
{
  struct unit_rng rng = unit_rng (1);
  unsigned failed[SLOTS] = { 0 }, kinds_failed = 0;
  struct fixture f;

  (void) state;
  fixture_open (&f, SLOT, "lz4", 1, SLOTS * SLOT);
  fill_slots (&f, &rng);
  fixture_limit (&f, fixture_used (&f));
  for (unsigned i = 0; i < 40 * SLOTS; i++) {
    unsigned index = unit_below (&rng, SLOTS);
    int err = attempt (&f, index, &rng);

    assert_true (err == 0 || err == ENOSPC);
    failed[index] += err != 0;
    assert_true (fixture_used (&f) <= atomic_load (&f.store->budget.limit));
  }
  for (unsigned i = 0; i < SLOTS; i++)
    kinds_failed += failed[i] > 0;
  assert_true (kinds_failed > SLOTS / 2);
  check_all (&f);
  fixture_audit (&f);

  fixture_limit (&f, 0);
  for (unsigned i = 0; i < SLOTS; i++)
    assert_int_equal (attempt (&f, i, &rng), 0);
  check_all (&f);
  fixture_close (&f);
}

/* Full of incompressible slots; one discarded is one that can be written,
 * there or elsewhere, again and again.
 */
static void
test_freeing_helps (void **state)
{
  struct unit_rng rng = unit_rng (2);
  struct fixture f;
  unsigned n = 0;

  (void) state;
  fixture_open (&f, SLOT, "lz4", 1, 1000 * SLOT);
  fixture_limit (&f, MiB);
  do
    fill_kind (wanted, SLOT, KIND_RANDOM, &rng);
  while (slot_write (f.disk, n, wanted, 1) == 0 && ++n < 999);
  assert_int_equal (errno, ENOSPC);
  assert_true (n > 200);
  for (unsigned i = 0; i < 300; i++) {
    unsigned gone = unit_below (&rng, n);

    slot_discard (f.disk, gone);
    fill_kind (wanted, SLOT, KIND_RANDOM, &rng);
    assert_int_equal (slot_write (f.disk, i % 2 ? gone : n, wanted, 1), 0);
    if (i % 2 == 0) {
      slot_discard (f.disk, n);
      assert_int_equal (slot_write (f.disk, gone, wanted, 1), 0);
    }
    /* And over itself, without any discard. */
    assert_int_equal (slot_write (f.disk, gone, wanted, 1), 0);
  }
  fixture_close (&f);
}

static bool
in_huge_class (struct fixture *f, unsigned index)
{
  uint64_t cell = slot_load_cell (slot_table_peek (&f->disk->table, index));

  return pool_fits (f->store->pool, cell, f->slot_size);
}

/* What shrinks, or is as large as before, has room where it is: so parts of
 * slots can be zeroed, and slots be overwritten, with no memory left at all.
 */
static void
test_shrinking_never_fails (void **state)
{
  struct unit_rng rng = unit_rng (6);
  struct fixture f;
  unsigned n = 0;

  (void) state;
  fixture_open (&f, SLOT, "lz4", 1, 1000 * SLOT);
  fixture_limit (&f, 250 * KiB);
  for (;; n++) {
    fill_kind (wanted, SLOT, KIND_RANDOM, &rng);
    if (slot_write (f.disk, n, wanted, 1) == -1)
      break;
    if (n < SLOTS)
      memcpy (model[n], wanted, SLOT);
  }
  assert_true (n > 40);
  n = n < SLOTS ? n : SLOTS;
  for (unsigned i = 0; i < 10 * n; i++) {
    unsigned slot = unit_below (&rng, n), how = unit_below (&rng, 4);
    unsigned char *m = model[slot];

    if (!in_huge_class (&f, slot) || how == 0) {
      memset (m + 100, 0, SLOT - 100);
      assert_int_equal (
        slot_write_part (f.disk, slot, NULL, 100, SLOT - 100, 1), 0);
    }
    else if (how == 1) {
      fill_kind (m + 1000, 10, KIND_RANDOM, &rng);
      assert_int_equal (slot_write_part (f.disk, slot, m + 1000, 1000, 10, 1),
                        0);
    }
    else {
      fill_kind (m, SLOT, how == 2 ? KIND_RANDOM : KIND_TEXT, &rng);
      assert_int_equal (slot_write (f.disk, slot, m, 1), 0);
    }
    check_slot (&f, slot);
  }
  fixture_close (&f);
}

/* Half of all discarded here and there leaves no zspage empty: what comes
 * then, of another size, needs them to be compacted.
 */
static void
test_freeing_helps_others (void **state)
{
  struct unit_rng rng = unit_rng (3);
  struct fixture f;
  unsigned n = 0;

  (void) state;
  fixture_only ("zsmalloc", "objects of z3fold stay in their page");
  fixture_open (&f, SLOT, "lz4", 1, 4000 * SLOT);
  fixture_limit (&f, 4 * MiB);
  do
    fill_kind (wanted, SLOT, KIND_TEXT, &rng);
  while (slot_write (f.disk, n, wanted, 1) == 0 && ++n < 3500);
  assert_true (n > 1000 && n < 3500);
  for (unsigned i = 0; i < n; i++)
    if (unit_below (&rng, 2))
      slot_discard (f.disk, i);
  for (unsigned i = 0; i < MiB / SLOT; i++) {
    fill_kind (wanted, SLOT, KIND_RANDOM, &rng);
    assert_int_equal (slot_write (f.disk, n + i, wanted, 1), 0);
  }
  fixture_close (&f);
}

#ifdef ZRAM_FAULTS

/* -- fault points -------------------------------------------------------- */

static const struct {
  const char *allocator, *name; /* NULL: of both */
  int err;
} points[] = {
  { "zsmalloc", "zs.alloc", ENOSPC },     { "zsmalloc", "arena.alloc", ENOMEM },
  { "zsmalloc", "arena.charge", ENOSPC }, { "z3fold", "z3.alloc", ENOSPC },
  { "z3fold", "z3.page", ENOMEM },        { NULL, "reserve.commit", ENOMEM },
};

static void
test_faults (void **state)
{
  struct unit_rng rng = unit_rng (4);
  struct fixture f;

  (void) state;
  for (unsigned p = 0; p < sizeof points / sizeof *points; p++) {
    unsigned failed = 0;

    if (points[p].allocator &&
        strcmp (points[p].allocator, fixture_allocator ()) != 0)
      continue;
    /* The first of its kind may need some luck: go on until there was one. */
    for (unsigned nth = 1; nth < 12 || (failed == 0 && nth < 100); nth++) {
      fixture_open (&f, SLOT, "zstd", 1, SLOTS * SLOT);
      if (nth > 3 && nth < 12)
        fill_slots (&f, &rng);
      else
        memset (model, 0, sizeof model);
      fault_fail_nth (points[p].name, 1 + nth % 3, true);
      for (unsigned i = 0; i < SLOTS; i++) {
        int err = attempt (&f, unit_below (&rng, SLOTS), &rng);

        assert_true (err == 0 || err == points[p].err);
        failed += err != 0;
      }
      fault_clear ();
      check_all (&f);
      fixture_close (&f);
    }
    if (failed == 0)
      fail_msg ("%s did not fail anything", points[p].name);
  }
}

/* -- a codec that fails -------------------------------------------------- */

static void
test_compress_fails (void **state)
{
  struct fixture f;

  (void) state;
  sized_open (&f, SLOT, 1, SLOTS * SLOT);
  for (unsigned kind = 0; kind <= KINDS; kind++) {
    struct unit_rng rng = unit_rng (kind);

    memset (model[5], 0, SLOT);
    slot_discard (f.disk, 5);
    if (kind < KINDS) {
      fill_kind (model[5], SLOT, kind, &rng);
      assert_int_equal (slot_write (f.disk, 5, model[5], 1), 0);
    }
    sized_slot (wanted, SLOT, 1000, 66);
    atomic_store (&sized_fail_compress, 66);
    errno = 0;
    assert_int_equal (slot_write (f.disk, 5, wanted, 1), -1);
    assert_int_equal (errno, EIO);
    check_slot (&f, 5);

    /* A part whose addition makes the slot one that fails. */
    memcpy (model[5], wanted, SLOT);
    model[5][3000] ^= 1;
    assert_int_equal (slot_write (f.disk, 5, model[5], 1), 0);
    errno = 0;
    assert_int_equal (slot_write_part (f.disk, 5, wanted + 3000, 3000, 1, 1),
                      -1);
    assert_int_equal (errno, EIO);
    check_slot (&f, 5);
    atomic_store (&sized_fail_compress, SIZED_NONE);
    assert_int_equal (slot_write_part (f.disk, 5, wanted + 3000, 3000, 1, 1),
                      0);
    memcpy (model[5], wanted, SLOT);
    check_slot (&f, 5);
  }
  sized_close (&f);
}

static void
expect_unreadable (struct fixture *f, unsigned index)
{
  errno = 0;
  assert_int_equal (slot_read (f->disk, index, got, 0, SLOT, 1), -1);
  assert_int_equal (errno, EIO);
  errno = 0;
  assert_int_equal (slot_read (f->disk, index, got, 100, 7, 1), -1);
  assert_int_equal (errno, EIO);
  errno = 0;
  assert_int_equal (slot_write_part (f->disk, index, "x", 9, 1, 1), -1);
  assert_int_equal (errno, EIO);
  errno = 0;
  assert_int_equal (slot_write_part (f->disk, index, NULL, 9, 1, 1), -1);
  assert_int_equal (errno, EIO);
}

static void
test_decompress_fails (void **state)
{
  struct fixture f;

  (void) state;
  sized_open (&f, SLOT, 1, SLOTS * SLOT);
  memset (model, 0, sizeof model);
  for (unsigned i = 0; i < 8; i++) {
    sized_slot (model[i], SLOT, 100 + i, (uint8_t) i);
    assert_int_equal (slot_write (f.disk, i, model[i], 1), 0);
  }
  atomic_store (&sized_fail_decompress, 3);
  for (unsigned i = 0; i < 8; i++)
    i == 3 ? expect_unreadable (&f, i) : check_slot (&f, i);
  atomic_store (&sized_fail_decompress, SIZED_NONE);
  check_all (&f); /* unchanged */

  /* What needs no look at the old data goes on working. */
  atomic_store (&sized_fail_decompress, 3);
  sized_slot (model[3], SLOT, 200, 9);
  assert_int_equal (slot_write (f.disk, 3, model[3], 1), 0);
  check_slot (&f, 3);
  sized_slot (wanted, SLOT, 300, 3);
  assert_int_equal (slot_write (f.disk, 4, wanted, 1), 0);
  slot_discard (f.disk, 4);
  memset (model[4], 0, SLOT);
  check_all (&f);
  atomic_store (&sized_fail_decompress, SIZED_NONE);
  sized_close (&f);
}

#endif

/* -- damage -------------------------------------------------------------- */

/* The object's bytes, to be changed behind everybody's back. */
static unsigned char *
object_of (struct fixture *f, unsigned index) NO_THREAD_SAFETY_ANALYSIS
{
  struct slot *s = (struct slot *) slot_table_peek (&f->disk->table, index);
  uint64_t handle;
  unsigned char *p = pool_pin (f->store->pool, &s->cell, &handle);

  pool_unpin (f->store->pool, handle);
  return p;
}

static void
set_meta (struct fixture *f, unsigned index, uint32_t meta)
{
  struct slot *s = (struct slot *) slot_table_peek (&f->disk->table, index);

  atomic_store (&s->meta, meta);
}

/* Reads, or fails with EIO: nothing else. */
static bool
readable (struct fixture *f, unsigned index)
{
  errno = 0;
  if (slot_read (f->disk, index, got, 0, SLOT, 1) == 0)
    return true;
  assert_int_equal (errno, EIO);
  return false;
}

static void
test_damage (void **state)
{
  static const char *const codecs[] = { "lz4", "lz4hc", "zstd", "deflate" };
  struct unit_rng rng = unit_rng (5);
  struct fixture f;

  (void) state;
  for (unsigned c = 0; c < 4; c++) {
    unsigned unreadable = 0;

    fixture_open (&f, SLOT, codecs[c], 1, SLOTS * SLOT);
    memset (model, 0, sizeof model);
    for (unsigned i = 0; i < 8; i++) {
      fill_kind (model[i], SLOT, KIND_TEXT, &rng);
      assert_int_equal (slot_write (f.disk, i, model[i], 1), 0);
    }
    unsigned char *p = object_of (&f, 3);
    uint32_t meta = fixture_meta (&f, 3), size = slot_meta_size (meta);

    for (unsigned i = 0; i < UNIT_TIMES (4000); i++) {
      uint32_t at = i < size ? i : unit_below (&rng, size);
      uint8_t bit = (uint8_t) (1u << unit_below (&rng, 8));

      p[at] ^= bit;
      unreadable += !readable (&f, 3);
      p[at] ^= bit;
    }
    assert_true (unreadable > 0);

    for (uint32_t n = 1; n < size; n += 1 + size / 40) { /* cut short */
      set_meta (&f, 3, slot_meta (SLOT_OBJECT, slot_meta_format (meta), n));
      assert_false (readable (&f, 3));
    }
    for (unsigned id = 5; id < CODEC_IDS; id++) { /* no codec has it */
      set_meta (&f, 3, slot_meta (SLOT_OBJECT, id, size));
      assert_false (readable (&f, 3));
      errno = 0;
      assert_int_equal (slot_write_part (f.disk, 3, "x", 7, 1, 1), -1);
      assert_int_equal (errno, EIO);
    }
    set_meta (&f, 3, meta);
    check_all (&f);
    fixture_close (&f);
  }
}

int
main (void)
{
  static const struct CMUnitTest tests[] = {
    UNIT_TEST (test_limit),
    UNIT_TEST (test_freeing_helps),
    UNIT_TEST (test_shrinking_never_fails),
    UNIT_TEST (test_freeing_helps_others),
#ifdef ZRAM_FAULTS
    UNIT_TEST (test_faults),
    UNIT_TEST (test_compress_fails),
    UNIT_TEST (test_decompress_fails),
#endif
    UNIT_TEST (test_damage),
  };

  return UNIT_RUN (tests);
}
