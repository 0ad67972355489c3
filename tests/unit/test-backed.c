/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Slots in a backing store: a read returns the data written or an error, for
 * that slot only; they are read, part-written, discarded and brought back into
 * memory like others; and their blocks are given back exactly once.
 */

#include <config.h>

#include "held-backing.h"

#define SLOT 4096u
#define DISK (16 * MiB)

static struct fixture f;
static struct held *store;

static void
setup (uint64_t blocks)
{
  fixture_open (&f, SLOT, "lz4", 2, DISK);
  store = held_attach (&f, blocks);
}

/* -- records ------------------------------------------------------------ */

static void
test_record (void **state)
{
  enum { SIZE = 1000, AT = 5 * 4096 + 100 };
  char record[RECORD_HEADER + SIZE];
  struct unit_rng rng = unit_rng (1);
  struct backed *b, *other;

  (void) state;
  setup (16);
  b = f.store->backed;
  fill_kind (record + RECORD_HEADER, SIZE, KIND_RANDOM, &rng);
  record_seal (b, record, AT, 77, 3, SIZE);
  assert_true (record_check (b, record, AT, 77, 3, SIZE));
  for (unsigned bit = 0; bit < 8 * sizeof record; bit++) {
    record[bit / 8] = (char) (record[bit / 8] ^ 1 << bit % 8);
    assert_false (record_check (b, record, AT, 77, 3, SIZE));
    record[bit / 8] = (char) (record[bit / 8] ^ 1 << bit % 8);
  }
  assert_false (record_check (b, record, AT, 78, 3, SIZE));
  assert_false (
    record_check (b, record, AT, 77 + (UINT64_C (1) << 32), 3, SIZE));
  assert_false (record_check (b, record, AT, 77, 4, SIZE));
  assert_false (record_check (b, record, AT, 77, 3, SIZE - 1));
  for (unsigned bit = 0; bit < 63; bit++)
    assert_false (
      record_check (b, record, AT ^ UINT64_C (1) << bit, 77, 3, SIZE));
  assert_true (record_check (b, record, AT, 77, 3, SIZE));
  /* Of an earlier process. */
  other = backed_create (&held_open (16)->base);
  assert_non_null (other);
  assert_false (record_check (other, record, AT, 77, 3, SIZE));
  backed_destroy (other);
  fixture_close (&f);
}

/* -- damage ------------------------------------------------------------- */

#define DAMAGED 7u
#define SLOTS 20u

static void
expect_damage (int64_t times)
{
  char buf[SLOT];

  errno = 0;
  assert_int_equal (disk_read (f.disk, buf, SLOT, DAMAGED * SLOT), -1);
  assert_int_equal (errno, EIO);
  assert_int_equal (fixture_count (&f, DISK_BD_DAMAGED), times);
  assert_int_equal (fixture_count (&f, DISK_BD_READ_ERRORS), times);
  for (unsigned i = 0; i < SLOTS; i++)
    if (i != DAMAGED)
      held_expect (&f, i, 1);
}

static void
test_flipped_bits (void **state)
{
  struct unit_rng rng = unit_rng (2);
  int64_t times = 0;
  char buf[100] = { 0 };

  (void) state;
  setup (64);
  for (unsigned i = 0; i < SLOTS; i++)
    held_write (&f, i, 1);
  held_write_back (&f, 0, SLOTS);
  uint64_t at = held_cell (&f, DAMAGED);
  uint32_t size = record_bytes (slot_meta_size (fixture_meta (&f, DAMAGED)));
  for (unsigned i = 0; i < 200; i++) {
    /* Each byte of the header, then any. */
    uint64_t byte = at + (i < RECORD_HEADER ? i : unit_below (&rng, size));
    unsigned bit = unit_below (&rng, 8);

    held_flip (store, byte, bit);
    expect_damage (++times);
    held_flip (store, byte, bit);
  }
  held_expect (&f, DAMAGED, 1);
  /* Nothing can be merged into what cannot be read. */
  held_flip (store, at + 20, 3);
  assert_int_equal (disk_write (f.disk, buf, sizeof buf, DAMAGED * SLOT + 9),
                    -1);
  assert_int_equal (errno, EIO);
  assert_int_equal (disk_discard (f.disk, DAMAGED * SLOT + 9, 100), -1);
  assert_int_equal (errno, EIO);
  assert_int_equal (fixture_state (&f, DAMAGED), SLOT_BACKED);
  /* But it can be replaced. */
  held_write (&f, DAMAGED, 2);
  held_expect (&f, DAMAGED, 2);
  must_discard (&f, 0, DISK);
  assert_int_equal (held_blocks (&f).used, 0);
  fixture_close (&f);
}

/* A block that holds what another slot, or this one before, had in it. */
static void
test_misplaced_writes (void **state)
{
  char old[BACKING_BLOCK];
  int64_t times = 0;

  (void) state;
  setup (64);
  for (unsigned i = 0; i < SLOTS; i++)
    held_write (&f, i, 1);
  held_write_back (&f, 0, SLOTS);
  uint64_t block = held_cell (&f, DAMAGED) / BLOCK_SIZE * BLOCK_SIZE;
  memcpy (old, store->bytes + block, BLOCK_SIZE);
  /* The old record comes back, whole and valid in itself. */
  must_discard (&f, 0, DISK);
  for (unsigned i = 0; i < SLOTS; i++)
    held_write (&f, i, 2);
  held_write_back (&f, 0, SLOTS);
  memcpy (store->bytes + block, old, BLOCK_SIZE);
  for (unsigned i = 0; i < SLOTS; i++) {
    char buf[SLOT], want[SLOT];

    held_data (want, SLOT, i, 2);
    if (disk_read (f.disk, buf, SLOT, (uint64_t) i * SLOT) == 0)
      assert_memory_equal (buf, want, SLOT);
    else
      times++;
  }
  assert_int_equal (fixture_count (&f, DISK_BD_DAMAGED), times);
  must_discard (&f, 0, DISK);
  fixture_close (&f);
}

/* -- reads -------------------------------------------------------------- */

static void
test_reads_fail (void **state)
{
  static const int errors[] = { EIO, ENOSPC, ETIMEDOUT };
  char buf[SLOT];

  (void) state;
  setup (64);
  for (unsigned i = 0; i < SLOTS; i++)
    held_write (&f, i, 1);
  held_write_back (&f, 0, SLOTS);
  for (unsigned i = 0; i < 3; i++) {
    held_fail_reads (store, 3, errors[i]);
    assert_int_equal (disk_read (f.disk, buf, SLOT, 0), -1);
    assert_int_equal (disk_read (f.disk, buf, 100, SLOT + 5), -1);
    assert_int_equal (disk_write (f.disk, buf, 100, 2 * SLOT + 5), -1);
    for (unsigned s = 0; s < SLOTS; s++)
      held_expect (&f, s, 1);
  }
  assert_int_equal (fixture_count (&f, DISK_BD_READ_ERRORS), 9);
  assert_int_equal (fixture_count (&f, DISK_BD_DAMAGED), 0);
  assert_int_equal (fixture_count (&f, DISK_SLOTS_BACKED), SLOTS);
  fixture_close (&f);
}

/* Every part of a slot, and parts over the edges of slots. */
static void
test_parts (void **state)
{
  static char disk[SLOTS * SLOT], buf[SLOTS * SLOT];
  struct unit_rng rng = unit_rng (3);

  (void) state;
  setup (256);
  for (unsigned i = 0; i < SLOTS; i++)
    held_data (disk + i * SLOT, SLOT, i, 1);
  must_write (&f, disk, sizeof disk, 0);
  for (unsigned i = 0; i < UNIT_TIMES (2000); i++) {
    uint32_t at = unit_below (&rng, sizeof disk - 1), s = i % SLOTS;
    uint32_t len = 1 + unit_below (&rng, 3 * SLOT);

    if (fixture_state (&f, s) == SLOT_OBJECT)
      held_write_back (&f, s, s + 1);
    if (len > sizeof disk - at)
      len = (uint32_t) sizeof disk - at;
    must_hold (&f, disk + at, len, at);
    switch (unit_below (&rng, 4)) {
    case 0:
      fill_any (disk + at, len, &rng);
      must_write (&f, disk + at, len, at);
      break;
    case 1:
      memset (disk + at, 0, len);
      must_discard (&f, at, len);
      break;
    default:
      break;
    }
  }
  must_read (&f, buf, sizeof buf, 0);
  assert_memory_equal (buf, disk, sizeof disk);
  assert_true (fixture_count (&f, DISK_BD_READS) > 0);
  fixture_close (&f);
}

/* -- back into memory --------------------------------------------------- */

static void
test_promotion (void **state)
{
  (void) state;
  setup (64);
  for (unsigned i = 0; i < SLOTS; i++)
    held_write (&f, i, 1);
  held_write_back (&f, 0, SLOTS);
  for (unsigned i = 0; i < SLOTS; i++)
    held_expect (&f, i, 1);
  assert_int_equal (fixture_count (&f, DISK_PROMOTED), 0);
  atomic_store (&f.store->promote, true);
  /* No room below the low mark. */
  room_set_marks (&f.store->room, fixture_used (&f), UINT64_MAX);
  held_expect (&f, 0, 1);
  assert_int_equal (fixture_count (&f, DISK_PROMOTED), 0);
  room_set_marks (&f.store->room, UINT64_MAX, UINT64_MAX);
  for (unsigned i = 0; i < SLOTS; i++) {
    held_expect (&f, i, 1);
    assert_int_equal (fixture_state (&f, i), SLOT_OBJECT);
    held_expect (&f, i, 1);
  }
  assert_int_equal (fixture_count (&f, DISK_PROMOTED), SLOTS);
  assert_int_equal (fixture_count (&f, DISK_BD_READS), 2 * SLOTS + 1);
  assert_int_equal (held_blocks (&f).used, 0);
  assert_int_equal (atomic_load (&f.store->claims), 0);
  fixture_close (&f);
}

/* A part that is read brings the slot, not the part. */
static void
test_promotion_of_a_part (void **state)
{
  char want[SLOT];

  (void) state;
  setup (64);
  atomic_store (&f.store->promote, true);
  for (unsigned i = 0; i < SLOTS; i++)
    held_write (&f, i, 1);
  held_write_back (&f, 0, SLOTS);
  for (unsigned i = 0; i < SLOTS; i++) {
    held_data (want, SLOT, i, 1);
    must_hold (&f, want + 333, 10, (uint64_t) i * SLOT + 333);
    assert_int_equal (fixture_state (&f, i), SLOT_OBJECT);
    held_expect (&f, i, 1);
  }
  fixture_close (&f);
}

/* What cannot be brought stays where it is. */
static void
test_promotion_fails (void **state)
{
  char buf[SLOT];

  (void) state;
  setup (64);
  atomic_store (&f.store->promote, true);
  for (unsigned i = 0; i < SLOTS; i++)
    held_write (&f, i, 1);
  held_write_back (&f, 0, SLOTS);
  held_fail_reads (store, 1, EIO);
  assert_int_equal (disk_read (f.disk, buf, SLOT, 0), -1);
  assert_int_equal (fixture_state (&f, 0), SLOT_BACKED);
  pool_give_back (f.store->pool);
  fixture_limit (&f, fixture_used (&f));
  for (unsigned i = 0; i < SLOTS; i++)
    held_expect (&f, i, 1);
  assert_int_equal (fixture_count (&f, DISK_PROMOTED), 0);
  fixture_limit (&f, 0);
  held_expect (&f, 0, 1);
  assert_int_equal (fixture_count (&f, DISK_PROMOTED), 1);
  fixture_close (&f);
}

static void *
read_first (void *arg)
{
  (void) arg;
  held_expect (&f, 0, 1);
  return NULL;
}

static void *
rewrite_first (void *arg)
{
  (void) arg;
  held_write (&f, 0, 2);
  return NULL;
}

static void *
discard_first (void *arg)
{
  (void) arg;
  must_discard (&f, 0, SLOT);
  return NULL;
}

/* Several read it at once and one brings it; somebody changes it as soon as
 * they let go of it, which may be before it is brought.
 */
static void
test_promotion_races (void **state)
{
  struct unit_thread readers[3], other;

  (void) state;
  setup (64);
  atomic_store (&f.store->promote, true);
  for (unsigned i = 0; i < 60; i++) {
    held_write (&f, 0, 1);
    held_write (&f, 1, 1);
    held_write_back (&f, 0, 1);
    held_hold (store, false, false, true);
    for (unsigned r = 0; r < 3; r++)
      unit_start (&readers[r], read_first, NULL);
    held_wait_readers (store, 3);
    if (i % 3)
      unit_start (&other, i % 3 == 1 ? rewrite_first : discard_first, NULL);
    if (i % 3)
      unit_wait_asleep (&other);
    held_hold (store, false, false, false);
    unit_join_all (readers, 3);
    if (i % 3)
      unit_join (&other);
    if (i % 3 == 2)
      must_hold (&f, NULL, SLOT, 0);
    else
      held_expect (&f, 0, i % 3 + 1);
    assert_true (fixture_state (&f, 0) != SLOT_BACKED);
    assert_int_equal (held_blocks (&f).used, 0);
    assert_int_equal (atomic_load (&f.store->claims), 0);
    fixture_audit (&f);
  }
  fixture_close (&f);
}

/* -- blocks ------------------------------------------------------------- */

static void
test_punches (void **state)
{
  (void) state;
  setup (512);
  atomic_store (&store->base.can_punch, true);
  blocks_set_punch (f.store->backed->blocks, true);
  for (unsigned i = 0; i < 300; i++)
    held_write (&f, i, 1);
  held_write_back (&f, 0, 300);
  uint64_t used = held_blocks (&f).used;
  held_hold (store, false, true, false);
  must_discard (&f, 0, DISK);
  while (backed_tidy (f.store->backed))
    ;
  assert_true (held_blocks (&f).punching >= used / 2);
  fixture_audit (&f);
  /* Its own failure, and its coming too late, are no loss. */
  held_complete (store, 0, EIO);
  store->resent = true;
  if (held_count (store))
    held_complete (store, 0, -1);
  store->resent = false;
  held_release (store);
  for (unsigned i = 0; i < 300; i++)
    held_write (&f, i, 2);
  held_write_back (&f, 0, 300);
  for (unsigned i = 0; i < 300; i++)
    held_expect (&f, i, 2);
  /* It can no more: blocks are used again all the same. */
  atomic_store (&store->base.can_punch, false);
  assert_false (backed_tidy (f.store->backed));
  must_discard (&f, 0, DISK);
  for (unsigned i = 0; i < 300; i++)
    held_write (&f, i, 3);
  held_write_back (&f, 0, 300);
  for (unsigned i = 0; i < 300; i++)
    held_expect (&f, i, 3);
  fixture_close (&f);
}

/* Punch all that waits; at the start so much does. */
static void
expect_all_punched (unsigned waiting)
{
  assert_int_equal (held_blocks (&f).waiting, waiting);
  while (held_blocks (&f).waiting) { /* within a second or two */
    (void) backed_tidy (f.store->backed);
    unit_sleep_ms (10);
  }
  assert_int_equal (held_blocks (&f).punching, 0);
}

/* Blocks that are free alone, and those whose neighbours have gone before. */
static void
test_bits_are_punched (void **state)
{
  struct blocks *b;
  uint64_t first;

  (void) state;
  setup (700);
  b = f.store->backed->blocks;
  atomic_store (&store->base.can_punch, true);
  blocks_set_punch (b, true);
  assert_int_equal (blocks_alloc (b, 700, &first), 700);
  for (unsigned i = 0; i < 600; i += 2)
    blocks_release (b, i, 1);
  expect_all_punched (300);
  blocks_release (b, 600, 15);
  expect_all_punched (15);
  blocks_release (b, 615, 85); /* 64 KiB and more at once */
  assert_false (backed_tidy (f.store->backed));
  assert_int_equal (held_blocks (&f).waiting, 0);
  for (unsigned i = 1; i < 600; i += 2)
    blocks_release (b, i, 1);
  expect_all_punched (300);
  assert_int_equal (held_blocks (&f).free, 700);
  fixture_audit (&f);
  fixture_close (&f);
}

/* 64 KiB slots: records longer than a block, and longer than a short run. */
static void
test_large_slots (void **state)
{
  (void) state;
  fixture_open (&f, MAX_SLOT, "zstd", 2, DISK);
  store = held_attach (&f, 400);
  for (unsigned round = 0; round < 5; round++) {
    for (unsigned i = 0; i < 16; i++)
      held_write (&f, i, round);
    held_write_back (&f, 0, 16);
    for (unsigned i = 0; i < 16; i++)
      held_expect (&f, i, round);
    fixture_audit (&f);
  }
  fixture_close (&f);
}

int
main (void)
{
  static const struct CMUnitTest tests[] = {
    UNIT_TEST (test_record),
    UNIT_TEST (test_flipped_bits),
    UNIT_TEST (test_misplaced_writes),
    UNIT_TEST (test_reads_fail),
    UNIT_TEST (test_parts),
    UNIT_TEST (test_promotion),
    UNIT_TEST (test_promotion_of_a_part),
    UNIT_TEST (test_promotion_fails),
    UNIT_TEST (test_promotion_races),
    UNIT_TEST (test_punches),
    UNIT_TEST (test_bits_are_punched),
    UNIT_TEST (test_large_slots),
  };

  return UNIT_RUN (tests);
}
