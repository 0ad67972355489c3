/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One slot: whatever is in it, reading and writing it whole or in part gives
 * what a flat array gives; what its state and its counters are; how old it
 * is.  Writes that fail are in test-slot-fail.c.
 */

#include <config.h>

#include "sized-codec.h"

static const uint32_t slot_sizes[] = { 4096, 8192, 16384, 32768, 65536 };
static const char *const codecs[] = { "lz4", "lz4hc", "zstd", "deflate" };

#define SLOT_SIZES (sizeof slot_sizes / sizeof *slot_sizes)
#define CODECS (sizeof codecs / sizeof *codecs)
#define SLOTS 16 /* of a disk */

static unsigned char plain[MAX_SLOT], got[MAX_SLOT];

static void
open_disk (struct fixture *f, uint32_t slot_size, const char *codec)
{
  fixture_open (f, slot_size, codec, 1, SLOTS * (uint64_t) slot_size);
}

/* The whole slot and some parts of it read as 'plain'. */
static void
check_slot (struct fixture *f, uint64_t index, struct unit_rng *rng)
{
  memset (got, 0x5a, sizeof got);
  assert_int_equal (slot_read (f->disk, index, got, 0, f->slot_size, 1), 0);
  assert_memory_equal (got, plain, f->slot_size);
  for (unsigned i = 0; i < 4; i++) {
    uint32_t at = unit_below (rng, f->slot_size);
    uint32_t len = 1 + unit_below (rng, f->slot_size - at);

    if (i == 0)
      len = 1;
    got[len] = 0xa5;
    assert_int_equal (slot_read (f->disk, index, got, at, len, 1), 0);
    assert_memory_equal (got, plain + at, len);
    if (len < sizeof got)
      assert_int_equal (got[len], 0xa5);
  }
}

/* -- same-filled --------------------------------------------------------- */

static void
test_same_filled_function (void **state)
{
  static unsigned char mem[64 + 8];
  uint64_t word = UINT64_C (0x8877665544332211), seen;

  (void) state;
  for (unsigned from = 0; from < 8; from++)
    for (uint32_t len = 8; len <= 64; len += 8) {
      unsigned char *p = mem + from;

      for (uint32_t i = 0; i < len; i += 8)
        memcpy (p + i, &word, 8);
      assert_true (slot_same_filled (p, len, &seen));
      assert_int_equal (seen, word);
      for (uint32_t i = 0; i < len && len > 8; i++) {
        p[i] ^= 0x10;
        assert_false (slot_same_filled (p, len, &seen));
        p[i] ^= 0x10;
      }
    }
}

/* Any word costs no object, also one that looks like a handle; and it reads
 * the same from any byte on.
 */
static void
test_same_filled (void **state)
{
  /* Zeroes not first: they make no leaf (test_discard). */
  uint64_t words[] = { 1,
                       0,
                       UINT64_MAX,
                       UINT64_C (0x0102030405060708),
                       UINT64_C (1) << 63,
                       UINT64_C (1) << 63 | 0xff,
                       0x8000000000000000 | 5ull << 54 | 3ull << 41,
                       0x5555555555555555 };
  struct unit_rng rng = unit_rng (1);
  struct fixture f;

  (void) state;
  for (unsigned s = 0; s < SLOT_SIZES; s++) {
    open_disk (&f, slot_sizes[s], "lz4");
    for (unsigned w = 0; w < sizeof words / sizeof *words; w++) {
      for (uint32_t i = 0; i < f.slot_size; i += 8)
        memcpy (plain + i, &words[w], 8);
      assert_int_equal (slot_write (f.disk, w, plain, 1), 0);
      assert_int_equal (fixture_state (&f, w), SLOT_SAME);
      check_slot (&f, w, &rng);
      for (uint32_t at = 0; at < 24; at++)
        for (uint32_t len = 1; len < 40; len++) {
          got[len] = 0x5a;
          assert_int_equal (slot_read (f.disk, w, got, at, len, 1), 0);
          assert_memory_equal (got, plain + at, len);
          assert_int_equal (got[len], 0x5a);
        }
      assert_int_equal (fixture_count (&f, DISK_SLOTS_SAME), w + 1);
    }
    assert_int_equal (fixture_count (&f, DISK_OBJECTS), 0);
    fixture_close (&f);
  }
}

/* With one byte wrong, anywhere, it is an object; repaired, a fill again. */
static void
test_nearly_same_filled (void **state)
{
  struct unit_rng rng = unit_rng (2);
  struct fixture f;

  (void) state;
  open_disk (&f, 4096, "lz4");
  for (unsigned i = 0; i < 64; i++) {
    uint32_t at = i < 16   ? i
                  : i < 32 ? 4096 - 1 - (i - 16)
                           : unit_below (&rng, 4096);
    unsigned char byte = 0x37;

    memset (plain, 0x11, 4096);
    plain[at] = byte;
    assert_int_equal (slot_write (f.disk, 3, plain, 1), 0);
    assert_int_equal (fixture_state (&f, 3), SLOT_OBJECT);
    check_slot (&f, 3, &rng);
    plain[at] = byte = 0x11;
    assert_int_equal (slot_write_part (f.disk, 3, &byte, at, 1, 1), 0);
    assert_int_equal (fixture_state (&f, 3), SLOT_SAME);
    check_slot (&f, 3, &rng);
  }
  assert_int_equal (fixture_count (&f, DISK_OBJECTS), 0);
  assert_int_equal (fixture_count (&f, DISK_COMPR_BYTES), 0);
  fixture_close (&f);
}

/* -- sizes of objects ---------------------------------------------------- */

static void
check_stored_as (struct fixture *f, uint64_t index, bool huge)
{
  uint32_t meta = fixture_meta (f, index);

  assert_int_equal (slot_meta_state (meta), SLOT_OBJECT);
  if (huge) {
    assert_int_equal (slot_meta_format (meta), CODEC_RAW);
    assert_int_equal (slot_meta_size (meta), f->slot_size);
  }
  else {
    assert_int_equal (slot_meta_format (meta), f->store->config.primary.format);
    assert_true (slot_meta_size (meta) <= pool_largest (f->store->pool));
  }
}

/* Data that compresses less and less, byte by byte around the threshold of
 * huge slots.
 */
static void
test_huge_threshold (void **state)
{
  struct unit_rng rng = unit_rng (3);
  struct fixture f;

  (void) state;
  for (unsigned s = 0; s < SLOT_SIZES; s++)
    for (unsigned c = 0; c < CODECS; c++) {
      unsigned packed = 0, raw = 0;

      open_disk (&f, slot_sizes[s], codecs[c]);
      uint32_t largest = pool_largest (f.store->pool);
      uint32_t from = largest - largest / 32 - 40, to = largest + 40;
      uint32_t step = c == 0 && s == 0 ? 1 : (to - from) / 60;
      for (uint32_t n = from; n < to; n += step) {
        memset (plain, 0, f.slot_size);
        fill_kind (plain, n, KIND_RANDOM, &rng);
        assert_int_equal (slot_write (f.disk, 1, plain, 1), 0);
        bool huge = slot_meta_format (fixture_meta (&f, 1)) == CODEC_RAW;
        check_stored_as (&f, 1, huge);
        check_slot (&f, 1, &rng);
        assert_int_equal (fixture_count (&f, DISK_SLOTS_HUGE), huge);
        *(huge ? &raw : &packed) += 1;
      }
      assert_true (packed > 0 && raw > 0);
      fixture_close (&f);
    }
}

/* Every kind of data with every codec and slot size. */
static void
test_kinds (void **state)
{
  struct unit_rng rng = unit_rng (4);
  struct fixture f;

  (void) state;
  for (unsigned s = 0; s < SLOT_SIZES; s++)
    for (unsigned c = 0; c < CODECS; c++) {
      open_disk (&f, slot_sizes[s], codecs[c]);
      for (unsigned i = 0; i < 3 * KINDS; i++) {
        fill_kind (plain, f.slot_size, i % KINDS, &rng);
        assert_int_equal (slot_write (f.disk, i % 4, plain, 1), 0);
        check_slot (&f, i % 4, &rng);
      }
      fixture_close (&f);
    }
}

/* Every size that the pool tells apart, of every slot size: objects of it and a
 * byte less or more, in a disk that has them all at once.
 */
#ifdef ZRAM_FAULTS
static void
test_class_boundaries (void **state)
{
  struct fixture f;

  (void) state;
  for (unsigned s = 0; s < SLOT_SIZES; s++) {
    sized_open (&f, slot_sizes[s], 1, 4000 * (uint64_t) slot_sizes[s]);
    struct pool *pool = f.store->pool;
    uint32_t largest = pool_largest (pool), size;
    unsigned used = 0;
    uint64_t bytes = 0;

    for (size = pool_room_for (pool, 1); size <= largest;
         size = pool_room_for (pool, size + 1))
      for (int d = -1; d <= 1; d++, used++) {
        uint32_t n = size + (uint32_t) d;

        sized_slot (plain, f.slot_size, n, (uint8_t) used);
        assert_int_equal (slot_write (f.disk, used, plain, 1), 0);
        check_stored_as (&f, used, n > largest);
        bytes += n > largest ? f.slot_size : n;
        if (n <= largest)
          assert_int_equal (slot_meta_size (fixture_meta (&f, used)), n);
      }
    assert_int_equal (fixture_count (&f, DISK_SLOTS_HUGE), 1);
    assert_int_equal (fixture_count (&f, DISK_OBJECTS), used);
    assert_int_equal (fixture_count (&f, DISK_COMPR_BYTES), bytes);

    unsigned i = 0;
    for (size = pool_room_for (pool, 1); size <= largest;
         size = pool_room_for (pool, size + 1))
      for (int d = -1; d <= 1; d++, i++) {
        sized_slot (plain, f.slot_size, size + (uint32_t) d, (uint8_t) i);
        assert_int_equal (slot_read (f.disk, i, got, 0, f.slot_size, 1), 0);
        assert_memory_equal (got, plain, f.slot_size);
      }
    assert_int_equal (i, used);
    sized_close (&f);
  }
}
#endif

/* -- parts --------------------------------------------------------------- */

/* Writes of parts at every kind of edge, into every kind of slot. */
static void
test_parts (void **state)
{
  static const uint32_t edges[] = { 0, 1, 7, 8, 9, 511, 512, 513 };
  enum { E = sizeof edges / sizeof *edges };
  struct unit_rng rng = unit_rng (5);
  unsigned char part[MAX_SLOT];
  struct fixture f;

  (void) state;
  for (unsigned s = 0; s < SLOT_SIZES; s += 2)
    for (unsigned c = 0; c < CODECS; c++) {
      open_disk (&f, slot_sizes[s], codecs[c]);
      for (unsigned i = 0; i < E * E * 2; i += 1 + UNIT_SCALE / 4) {
        uint32_t at = edges[i % E], to = f.slot_size - edges[i / E % E];
        unsigned kind = unit_below (&rng, KINDS + 1);
        uint64_t index = i % SLOTS;
        bool zero = i % 3 == 0;

        if (i / E / E) { /* few bytes, near the other end */
          at = f.slot_size - 1 - at;
          to = at + 1;
        }
        memset (plain, 0, f.slot_size);
        slot_discard (f.disk, index);
        if (kind < KINDS) {
          fill_kind (plain, f.slot_size, kind, &rng);
          assert_int_equal (slot_write (f.disk, index, plain, 1), 0);
        }
        fill_kind (part, to - at, zero ? KIND_ZERO : KIND_RANDOM, &rng);
        memcpy (plain + at, part, to - at);
        assert_int_equal (
          slot_write_part (f.disk, index, zero ? NULL : part, at, to - at, 1),
          0);
        check_slot (&f, index, &rng);
      }
      fixture_close (&f);
    }
}

static void
test_discard (void **state)
{
  struct unit_rng rng = unit_rng (6);
  struct fixture f;
  char zeroes[4096] = { 0 };

  (void) state;
  fixture_open (&f, 4096, "lz4", 1, 8 * MiB);
  for (unsigned kind = KINDS; kind-- > 0;) { /* zeroes last: there is a leaf */
    fill_kind (plain, 4096, kind, &rng);
    assert_int_equal (slot_write (f.disk, kind, plain, 1), 0);
    slot_discard (f.disk, kind);
    assert_int_equal (fixture_meta (&f, kind), 0);
    slot_discard (f.disk, kind);
    assert_int_equal (fixture_count (&f, DISK_SLOTS_FREED), KINDS - kind);
    memset (plain, 0, 4096);
    check_slot (&f, kind, &rng);
  }
  assert_int_equal (fixture_count (&f, DISK_SLOTS_STORED), 0);

  /* A slot that was never written is discarded or zeroed without memory. */
  slot_discard (f.disk, 1000);
  assert_int_equal (slot_write_part (f.disk, 1000, NULL, 5, 50, 1), 0);
  assert_null (slot_table_peek (&f.disk->table, 1000));
  /* Nor do zeroes that are written there, in part or whole. */
  assert_int_equal (slot_write_part (f.disk, 1000, zeroes, 5, 50, 1), 0);
  assert_int_equal (slot_write (f.disk, 1000, zeroes, 1), 0);
  assert_null (slot_table_peek (&f.disk->table, 1000));
  /* Where the table has a place for them they are told from nothing. */
  assert_int_equal (slot_write_part (f.disk, 1000, "x", 5, 1, 1), 0);
  assert_int_equal (slot_write_part (f.disk, 1001, zeroes, 5, 50, 1), 0);
  assert_int_equal (slot_write (f.disk, 1002, zeroes, 1), 0);
  assert_int_equal (slot_write_part (f.disk, 1003, NULL, 5, 50, 1), 0);
  assert_int_equal (fixture_state (&f, 1001), SLOT_SAME);
  assert_int_equal (fixture_state (&f, 1002), SLOT_SAME);
  assert_int_equal (fixture_state (&f, 1003), SLOT_EMPTY);
  fixture_close (&f);
}

/* -- other codecs -------------------------------------------------------- */

/* A slot is read with the codec that it was written with, whole, in part and
 * for the part that a part-write keeps; what is written anew is the
 * primary's.
 */
static void
test_codec_of_slot (void **state)
{
  struct unit_rng rng = unit_rng (7);
  struct fixture f;

  (void) state;
  for (unsigned before = 0; before < CODECS; before++)
    for (unsigned after = 0; after < CODECS; after++) {
      unsigned id = codec_named (codecs[after]);
      struct zcomp_method m = { id, codec_by_id (id)->level_default };

      open_disk (&f, 4096, codecs[before]);
      fill_kind (plain, 4096, KIND_TEXT, &rng);
      assert_int_equal (slot_write (f.disk, 2, plain, 1), 0);
      assert_int_equal (store_set_primary (f.store, &m), 0);
      assert_int_equal (slot_meta_format (fixture_meta (&f, 2)),
                        codec_named (codecs[before]));
      check_slot (&f, 2, &rng);
      fixture_audit (&f);
      memset (plain + 100, 0x77, 1000);
      assert_int_equal (slot_write_part (f.disk, 2, plain + 100, 100, 1000, 1),
                        0);
      assert_int_equal (slot_meta_format (fixture_meta (&f, 2)), id);
      check_slot (&f, 2, &rng);
      fixture_close (&f);
    }
}

/* -- age ----------------------------------------------------------------- */

static uint32_t
age (struct fixture *f, uint32_t now)
{
  return slot_age (slot_table_peek (&f->disk->table, 4), now);
}

static void
test_age (void **state)
{
  const uint32_t later = SLOT_AGE_MASK - SLOT_AHEAD, wraps = SLOT_AGE_MASK + 1;
  struct unit_rng rng = unit_rng (8);
  struct fixture f;
  uint32_t now = 1000;

  (void) state;
  open_disk (&f, 4096, "zstd");
  must_write (&f, "leaf", 4, 0);
  for (unsigned kind = 0; kind < KINDS; kind++, now += 100) {
    fill_kind (plain, 4096, kind, &rng);
    assert_int_equal (slot_write (f.disk, 4, plain, now), 0);
    assert_int_equal (age (&f, now), 0);
    assert_int_equal (age (&f, now + later), later);
    assert_int_equal (slot_read (f.disk, 4, got, 0, 4096, now + 10), 0);
    assert_int_equal (age (&f, now + 15), 5);
    assert_int_equal (slot_read (f.disk, 4, got, 9, 1, now + 20), 0);
    assert_int_equal (age (&f, now + 25), 5);
    assert_int_equal (slot_write_part (f.disk, 4, "x", 9, 1, now + 30), 0);
    assert_int_equal (age (&f, now + 35), 5);
    /* Discarding is no access; neither is looking. */
    slot_discard (f.disk, 4);
    assert_int_equal (age (&f, now + 40), 10);
  }

  /* The clock's bits above the age's are dropped, the lock's untouched. */
  assert_int_equal (slot_write (f.disk, 4, plain, UINT32_MAX - 2), 0);
  assert_int_equal (age (&f, UINT32_MAX), 2);
  assert_int_equal (age (&f, 7), 10);
  assert_int_equal (slot_read (f.disk, 4, got, 0, 4096, UINT32_MAX), 0);
  assert_int_equal (age (&f, wraps - 1), 0);
  assert_int_equal (age (&f, wraps), 1);
  fixture_close (&f);
}

int
main (void)
{
  static const struct CMUnitTest tests[] = {
    UNIT_TEST (test_same_filled_function),
    UNIT_TEST (test_same_filled),
    UNIT_TEST (test_nearly_same_filled),
    UNIT_TEST (test_huge_threshold),
    UNIT_TEST (test_kinds),
#ifdef ZRAM_FAULTS
    UNIT_TEST (test_class_boundaries),
#endif
    UNIT_TEST (test_parts),
    UNIT_TEST (test_discard),
    UNIT_TEST (test_codec_of_slot),
    UNIT_TEST (test_age),
  };

  return UNIT_RUN (tests);
}
