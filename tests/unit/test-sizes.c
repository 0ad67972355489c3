/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Devices of every size that goes wrong elsewhere: their first and last
 * bytes, and slots that would be one and the same if a number lost a bit.
 */

#include <config.h>

#include "store-fixture.h"

#define SLOTS_2_32 (UINT64_C (1) << 32)

static const uint32_t slot_sizes[] = { 4096, 16384, 65536 };

static int
last_extent (void *ctx, uint64_t offset, uint64_t length, enum extent_type type)
{
  (void) type;
  *(uint64_t *) ctx = offset + length;
  return 0;
}

/* Ends, and a place in the middle, of the disk. */
static void
check_ends (struct fixture *f, uint64_t size)
{
  char first[3] = "abc", last[3] = "xyz";
  uint32_t n = size < 3 ? (uint32_t) size : 3;
  uint64_t end = 0;

  must_hold (f, NULL, n, 0);
  must_hold (f, NULL, n, size - n);
  must_write (f, first, n, 0);
  must_hold (f, first, n, 0);
  must_write (f, last, n, size - n);
  must_hold (f, last, n, size - n);
  if (size >= 6)
    must_hold (f, first, 3, 0);
  assert_int_equal (disk_extents (f->disk, 0, size, false, last_extent, &end),
                    0);
  assert_int_equal (end, size);
  fixture_audit (f);

  uint64_t head = (n - 1) / f->slot_size, tail = (size - n) / f->slot_size;
  int64_t stored = head + 1 + ((size - 1) / f->slot_size - tail + 1) -
                   (head >= tail ? head - tail + 1 : 0);
  assert_int_equal (fixture_count (f, DISK_SLOTS_STORED), stored);
  assert_int_equal (fixture_count (f, DISK_OBJECTS) +
                      fixture_count (f, DISK_SLOTS_SAME),
                    stored);
}

static void
check_empty_again (struct fixture *f, uint64_t size)
{
  must_discard (f, 0, size);
  must_hold (f, NULL, 1, size - 1);
  fixture_check_empty (f);
}

static void
test_small (void **state)
{
  (void) state;
  for (unsigned s = 0; s < 3; s++) {
    uint32_t slot = slot_sizes[s];
    const uint64_t sizes[] = { 1,
                               2,
                               7,
                               511,
                               512,
                               513,
                               4095,
                               4096,
                               4097,
                               slot - 1,
                               slot,
                               slot + 1,
                               2 * slot - 1,
                               255 * slot + 1,
                               256 * slot - 1,
                               256 * slot,
                               256 * slot + 1,
                               512 * 256 * (uint64_t) slot + 1 };

    for (unsigned i = 0; i < sizeof sizes / sizeof *sizes; i++) {
      struct fixture f;

      fixture_open (&f, slot, "lz4", 1, sizes[i]);
      check_ends (&f, sizes[i]);
      check_empty_again (&f, sizes[i]);
      fixture_close (&f);
    }
  }
}

/* A tiny disk, byte by byte. */
static void
test_bytes (void **state)
{
  static char model[511];
  struct unit_rng rng = unit_rng (1);
  struct fixture f;

  (void) state;
  fixture_open (&f, 4096, "lz4", 1, sizeof model);
  for (unsigned i = 0; i < 2000; i++) {
    uint32_t at = unit_below (&rng, sizeof model);

    if (i % 3) {
      model[at] = (char) unit_below (&rng, 256);
      must_write (&f, &model[at], 1, at);
    }
    else {
      model[at] = 0;
      must_discard (&f, at, 1);
    }
    must_hold (&f, model, sizeof model, 0);
  }
  fixture_close (&f);
}

static void
test_large (void **state)
{
  (void) state;
  for (unsigned s = 0; s < 3; s++) {
    uint64_t slot = slot_sizes[s];
    const uint64_t sizes[] = { UINT32_MAX,
                               UINT64_C (1) << 32,
                               (UINT64_C (1) << 32) + 1,
                               (SLOTS_2_32 - 1) * slot - 1,
                               (SLOTS_2_32 - 1) * slot,
                               SLOTS_2_32 * slot - 1,
                               SLOTS_2_32 * slot,
                               SLOTS_2_32 * slot + 1,
                               (SLOTS_2_32 + 1) * slot,
                               UINT64_C (1) << 60,
                               LARGEST_DISK - 1,
                               LARGEST_DISK };

    for (unsigned i = 0; i < sizeof sizes / sizeof *sizes; i++) {
      struct fixture f;

      fixture_open (&f, slot_sizes[s], "lz4", 1, sizes[i]);
      check_ends (&f, sizes[i]);
      check_empty_again (&f, sizes[i]);
      fixture_close (&f);
    }
  }
}

/* Slot numbers and byte offsets that differ in one bit. */
static void
test_no_bit_lost (void **state)
{
  static char data[4096];
  struct fixture f;

  (void) state;
  fixture_open (&f, 4096, "lz4", 1, LARGEST_DISK);
  for (unsigned pass = 0; pass < 2; pass++)
    for (unsigned bit = 12; bit < 64; bit++) {
      uint64_t at = bit < 63 ? UINT64_C (1) << bit : 0;
      struct unit_rng mine = unit_rng (1000 + bit);

      fill_kind (data, sizeof data, bit % 2 ? KIND_TEXT : KIND_RANDOM, &mine);
      if (pass == 0)
        must_write (&f, data, 4096, at);
      else
        must_hold (&f, data, 4096, at);
    }
  assert_int_equal (fixture_count (&f, DISK_SLOTS_STORED), 52);

  /* Discard around one of them, and around 2^32 slots. */
  must_discard (&f, SLOTS_2_32 * 4096 - MiB, 2 * MiB);
  must_hold (&f, NULL, 4096, SLOTS_2_32 * 4096);
  assert_int_equal (fixture_count (&f, DISK_SLOTS_STORED), 51);
  must_discard (&f, 1, LARGEST_DISK - 2);
  assert_int_equal (fixture_count (&f, DISK_SLOTS_STORED), 1);
  struct unit_rng mine = unit_rng (1000 + 63);
  fill_kind (data, sizeof data, KIND_TEXT, &mine);
  must_hold (&f, data, 1, 0);
  fixture_audit (&f);
  fixture_close (&f);
}

/* Many disks come and go: each step of a life at a random length. */
static void
test_come_and_go (void **state)
{
  static const char *const codecs[] = { "lz4", "zstd", "deflate" };
  static char data[200000];
  struct unit_rng rng = unit_rng (3);

  (void) state;
  for (unsigned i = 0; i < UNIT_TIMES (150) + 5; i++) {
    uint64_t size = 1 + (unit_rand (&rng) & LARGEST_DISK) %
                          (UINT64_C (1) << unit_below (&rng, 63));
    uint32_t len = 1 + unit_below (&rng, sizeof data);
    struct fixture f;

    if (len > size)
      len = (uint32_t) size;
    uint64_t at = unit_rand (&rng) % (size - len + 1);
    fixture_open (&f, 4096u << unit_below (&rng, 5), codecs[i % 3],
                  1 + unit_below (&rng, 4), size);
    fill_any (data, len, &rng);
    must_write (&f, data, len, at);
    must_hold (&f, data, len, at);
    fixture_close (&f);
  }
}

int
main (void)
{
  static const struct CMUnitTest tests[] = {
    UNIT_TEST (test_small),       UNIT_TEST (test_bytes),
    UNIT_TEST (test_large),       UNIT_TEST (test_no_bit_lost),
    UNIT_TEST (test_come_and_go),
  };

  return UNIT_RUN (tests);
}
