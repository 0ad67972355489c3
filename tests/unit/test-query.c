/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Looking at a disk from outside beside a model: single slots, idle marks,
 * the map, statistics; all of it while requests run, and the reset.
 */

#include <config.h>

#include "store-fixture.h"
#include "unbounded.h"
#include "store/query.h"

#define SLOT 4096u
#define SLOTS 3000u

static struct fixture f;
static char data[SLOT];

/* What the model knows of a slot. */
static struct known {
  bool stored, same, huge, idle;
  uint32_t at; /* second of the last access */
} known[SLOTS];

static void
write_slot (unsigned i, enum kind kind, uint32_t now, struct unit_rng *rng)
{
  /* Zeroes where the table has no leaf leave nothing. */
  bool stored = kind != KIND_ZERO || slot_table_peek (&f.disk->table, i);

  fill_kind (data, SLOT, kind, rng);
  assert_int_equal (slot_write (f.disk, i, data, now), 0);
  known[i] = (struct known){ .stored = stored,
                             .same = stored && kind <= KIND_SAME,
                             .huge = kind == KIND_RANDOM,
                             .at = now };
}

/* Some slots of every kind, some leaves without any; times up to 'now'. */
static void
fill (uint32_t now, struct unit_rng *rng)
{
  memset (known, 0, sizeof known);
  for (unsigned i = 0; i < SLOTS; i++)
    if (i / 600 % 2 == 0 && unit_below (rng, 3)) {
      static const enum kind kinds[] = { KIND_ZERO, KIND_SAME, KIND_TEXT,
                                         KIND_RANDOM };

      write_slot (i, kinds[unit_below (rng, 4)], now - unit_below (rng, 1000),
                  rng);
    }
}

/* -- one slot ------------------------------------------------------------ */

static void
test_slot_info (void **state)
{
  struct unit_rng rng = unit_rng (1);
  struct slot_info info;

  (void) state;
  fixture_open (&f, SLOT, "lz4", 1, SLOTS * SLOT);
  assert_false (disk_slot_info (f.disk, 1234, 5, &info));
  assert_int_equal (info.state, SLOT_EMPTY);
  fill (10000, &rng);
  for (unsigned i = 0; i < SLOTS; i++) {
    assert_int_equal (disk_slot_info (f.disk, i, 10001, &info),
                      known[i].stored);
    if (!known[i].stored)
      continue;
    assert_int_equal (info.state, known[i].same ? SLOT_SAME : SLOT_OBJECT);
    assert_int_equal (info.huge, known[i].huge);
    assert_int_equal (info.age_s, 10001 - known[i].at);
    assert_false (info.idle);
    uint32_t size = slot_meta_size (fixture_meta (&f, i));
    assert_int_equal (info.size, known[i].same   ? 0
                                 : known[i].huge ? SLOT
                                                 : size);
    assert_int_equal (info.codec, known[i].same || known[i].huge
                                    ? CODEC_RAW
                                    : codec_named ("lz4"));
  }
  fixture_close (&f);
}

static void
test_next_stored (void **state)
{
  struct unit_rng rng = unit_rng (2);

  (void) state;
  fixture_open (&f, SLOT, "lz4", 1, SLOTS * SLOT);
  assert_int_equal (disk_next_stored (f.disk, 0, SLOTS), SLOTS);
  fill (10000, &rng);
  for (unsigned i = 0; i < 20000; i++) {
    unsigned from = unit_below (&rng, SLOTS);
    unsigned end = from + unit_below (&rng, SLOTS - from + 1), want = from;

    while (want < end && !known[want].stored)
      want++;
    assert_int_equal (disk_next_stored (f.disk, from, end), want);
  }
  fixture_close (&f);
}

/* -- idle ---------------------------------------------------------------- */

static uint64_t
mark_known (unsigned from, unsigned end, uint32_t min_age, uint32_t now)
{
  uint64_t n = 0;

  for (unsigned i = from; i < end; i++) {
    if (known[i].stored && now - known[i].at >= min_age)
      known[i].idle = true;
    n += known[i].stored && known[i].idle;
  }
  return n;
}

static void
check_idle (uint32_t now)
{
  struct slot_info info;

  for (unsigned i = 0; i < SLOTS; i++)
    if (disk_slot_info (f.disk, i, now, &info))
      assert_int_equal (info.idle, known[i].idle);
}

/* An access of any kind ends it. */
static void
access_slot (unsigned i, unsigned how, uint32_t now, struct unit_rng *rng)
{
  char byte;

  if (!known[i].stored)
    return;
  if (how == 0)
    write_slot (i, KIND_TEXT, now, rng);
  else if (how == 1)
    assert_int_equal (slot_read (f.disk, i, data, 0, SLOT, now), 0);
  else if (how == 2)
    assert_int_equal (slot_read (f.disk, i, &byte, 77, 1, now), 0);
  else
    assert_int_equal (slot_write_part (f.disk, i, "x", 77, 1, now), 0);
  known[i].idle = false;
  known[i].at = now;
}

static void
test_idle (void **state)
{
  struct unit_rng rng = unit_rng (3);
  uint32_t now = 100000;

  (void) state;
  fixture_open (&f, SLOT, "lz4", 1, SLOTS * SLOT);
  fill (now, &rng);
  for (unsigned round = 0; round < 30; round++, now += 300) {
    unsigned from = unit_below (&rng, SLOTS);
    unsigned end = from + unit_below (&rng, SLOTS - from + 1);
    uint32_t min_age = round % 5 ? unit_below (&rng, 2000) : 0;

    assert_int_equal (disk_mark_idle (f.disk, from, end, min_age, now),
                      mark_known (from, end, min_age, now));
    check_idle (now);
    for (unsigned i = 0; i < 300; i++)
      access_slot (unit_below (&rng, SLOTS), i % 4, now, &rng);
    check_idle (now);
  }
  fixture_close (&f);
}

/* A slot that is locked is being accessed: it is not marked. */
static void
test_idle_and_locked (void **state) NO_THREAD_SAFETY_ANALYSIS
{
  struct unit_rng rng = unit_rng (4);

  (void) state;
  fixture_open (&f, SLOT, "lz4", 1, SLOTS * SLOT);
  for (unsigned i = 0; i < 3; i++)
    write_slot (i, KIND_TEXT, 10, &rng);
  struct slot *s = slot_table_read_lock (&f.disk->table, 1, 20);
  assert_int_equal (disk_mark_idle (f.disk, 0, 3, 0, 30), 2);
  assert_false (slot_is_idle (s));
  slot_read_unlock (s);
  s = slot_table_write_lock (&f.disk->table, 1);
  assert_int_equal (disk_mark_idle (f.disk, 0, 3, 0, 30), 2);
  slot_write_unlock (s);
  assert_int_equal (disk_mark_idle (f.disk, 0, 3, 0, 30), 3);
  fixture_close (&f);
}

/* -- map and statistics -------------------------------------------------- */

static void
check_map (unsigned cells)
{
  struct map_cell *map = must_alloc (cells * sizeof *map);
  uint64_t next = 0;

  disk_map (f.disk, cells, map);
  for (unsigned c = 0; c < cells; c++) {
    struct map_cell want = { .slots = map[c].slots };

    for (uint64_t i = next; i < next + map[c].slots; i++) {
      uint32_t meta = fixture_meta (&f, i);

      want.stored += known[i].stored;
      want.same += known[i].same;
      want.huge += known[i].huge;
      want.idle += known[i].idle;
      want.orig += known[i].stored ? SLOT : 0;
      if (slot_meta_state (meta) == SLOT_OBJECT)
        want.compr += slot_meta_size (meta);
    }
    assert_memory_equal (&map[c], &want, sizeof want);
    /* Equal parts, except for rounding. */
    assert_true (map[c].slots == SLOTS / cells ||
                 map[c].slots == SLOTS / cells + 1);
    next += map[c].slots;
  }
  assert_int_equal (next, SLOTS);
  free (map);
}

static void
test_map (void **state)
{
  static const unsigned cells[] = {
    1, 2, 3, 7, 64, 100, 2999, 3000, 3001, 7000
  };
  struct unit_rng rng = unit_rng (5);

  (void) state;
  fixture_open (&f, SLOT, "lz4", 1, SLOTS * SLOT);
  fill (1000, &rng);
  mark_known (0, 1000, 500, 1000);
  (void) disk_mark_idle (f.disk, 0, 1000, 500, 1000);
  for (unsigned i = 0; i < sizeof cells / sizeof *cells; i++)
    check_map (cells[i]);

  struct map_cell all;
  disk_map (f.disk, 1, &all);
  assert_int_equal (disk_sum (f.disk, DISK_SLOTS_STORED), all.stored);
  assert_int_equal (disk_orig_bytes (f.disk), all.orig);
  assert_int_equal (disk_compr_bytes (f.disk), all.compr);
  assert_int_equal (disk_sum (f.disk, DISK_SLOTS_SAME), all.same);
  assert_int_equal (disk_sum (f.disk, DISK_SLOTS_HUGE), all.huge);
  assert_int_equal (disk_sum (f.disk, DISK_OBJECTS), all.stored - all.same);
  assert_int_equal (atomic_load (&f.store->budget.used), fixture_used (&f));
  fixture_close (&f);
}

/* The largest disk: as quick as what is stored, and no number wraps. */
static void
test_map_of_largest (void **state)
{
  enum { CELLS = 1000 };
  static struct map_cell map[CELLS];
  uint64_t slots = 0, stored = 0;

  (void) state;
  fixture_open (&f, SLOT, "lz4", 1, LARGEST_DISK);
  must_write (&f, "a", 1, 0);
  must_write (&f, "b", 1, UINT64_C (1) << 62);
  must_write (&f, "c", 1, LARGEST_DISK - 1);
  disk_map (f.disk, CELLS, map);
  for (unsigned c = 0; c < CELLS; c++) {
    slots += map[c].slots;
    stored += map[c].stored;
  }
  assert_int_equal (slots, UINT64_C (1) << 51);
  assert_int_equal (stored, 3);
  assert_int_equal (map[0].stored, 1);
  assert_int_equal (map[CELLS / 2].stored, 1);
  assert_int_equal (map[CELLS - 1].stored, 1);
  assert_int_equal (disk_mark_idle (f.disk, 0, slots, 0, 0), 3);
  fixture_close (&f);
}

/* Requests and bytes, as they were asked for. */
static void
test_counts (void **state)
{
  char buf[10000];

  (void) state;
  memset (buf, 'x', sizeof buf);
  fixture_open (&f, SLOT, "lz4", 1, SLOTS * SLOT);
  must_write (&f, buf, 10000, 3);
  must_write (&f, "x", 1, 100000);
  must_read (&f, buf, 9, 50);
  must_discard (&f, 0, 5000);
  must_discard (&f, 8192, 4096);
  disk_flush (f.disk);
  assert_true (store_close (f.store, 0));
  assert_int_equal (disk_read (f.disk, buf, 5, 0), -1);
  assert_int_equal (disk_write (f.disk, buf, 6, 0), -1);
  assert_int_equal (disk_sum (f.disk, DISK_WRITE_REQUESTS), 3);
  assert_int_equal (disk_sum (f.disk, DISK_WRITE_BYTES), 10007);
  assert_int_equal (disk_sum (f.disk, DISK_READ_REQUESTS), 2);
  assert_int_equal (disk_sum (f.disk, DISK_READ_BYTES), 14);
  assert_int_equal (disk_sum (f.disk, DISK_DISCARD_REQUESTS), 2);
  assert_int_equal (disk_sum (f.disk, DISK_DISCARD_BYTES), 9096);
  assert_int_equal (disk_sum (f.disk, DISK_FLUSH_REQUESTS), 1);
  assert_int_equal (disk_sum (f.disk, DISK_FAILED_READS), 1);
  assert_int_equal (disk_sum (f.disk, DISK_FAILED_WRITES), 1);
  assert_int_equal (disk_sum (f.disk, DISK_SLOTS_FREED), 2);
  fixture_close (&f);
}

/* -- while requests run -------------------------------------------------- */

static atomic_bool stop;
static atomic_uint loads;

/* Each byte is 0 or what its place says: a reset may come at any time. */
static void *
load (void *arg)
{
  struct unit_rng rng = unit_rng (10 + *(unsigned *) arg);
  char buf[3 * SLOT];

  while (!atomic_load (&stop)) {
    uint64_t at = (uint64_t) unit_below (&rng, 4) * LEAF_SLOTS * SLOT +
                  unit_below (&rng, 2 * SLOT);
    uint32_t len = 1 + unit_below (&rng, SLOT);

    for (uint32_t i = 0; i < len; i++)
      buf[i] = (char) ((at + i) % 251 + 1);
    must_write (&f, buf, len, at);
    must_read (&f, buf, len, at);
    for (uint32_t i = 0; i < len; i++)
      check_always (buf[i] == 0 || buf[i] == (char) ((at + i) % 251 + 1));
    atomic_fetch_add (&loads, 1);
  }
  return NULL;
}

static void
test_under_load (void **state)
{
  unsigned id[2] = { 0, 1 };
  struct unit_thread t[2];
  struct slot_info info;
  struct map_cell map[5];

  (void) state;
  fixture_open (&f, SLOT, "lz4", 2, SLOTS * SLOT);
  atomic_store (&stop, false);
  atomic_store (&loads, 0);
  unit_start_all (t, 2, load, id, sizeof *id);
  for (unsigned i = 0; atomic_load (&loads) < UNIT_TIMES (10000); i++) {
    uint64_t stored = disk_next_stored (f.disk, 0, SLOTS);

    assert_true (stored <= SLOTS);
    if (stored < SLOTS)
      (void) disk_slot_info (f.disk, stored, i, &info);
    assert_true (disk_mark_idle (f.disk, 0, SLOTS, i % 5, i) <= SLOTS);
    disk_map (f.disk, 5, map);
    (void) disk_compr_bytes (f.disk);
    (void) pool_freeable_pages (f.store->pool);
    if (i % 8 == 0)
      disk_reset (f.disk);
  }
  atomic_store (&stop, true);
  unit_join_all (t, 2);
  fixture_audit (&f);
  disk_reset (f.disk);
  assert_int_equal (disk_sum (f.disk, DISK_SLOTS_STORED) +
                      disk_sum (f.disk, DISK_READ_REQUESTS) +
                      disk_sum (f.disk, DISK_WRITE_BYTES) +
                      disk_sum (f.disk, DISK_SLOTS_FREED) +
                      disk_sum (f.disk, DISK_FAILED_READS),
                    0);
  assert_int_equal (atomic_load (&f.store->budget.peak),
                    atomic_load (&f.store->budget.used));
  fixture_check_empty (&f);
  fixture_close (&f);
}

int
main (void)
{
  static const struct CMUnitTest tests[] = {
    UNIT_TEST (test_slot_info), UNIT_TEST (test_next_stored),
    UNIT_TEST (test_idle),      UNIT_TEST (test_idle_and_locked),
    UNIT_TEST (test_map),       UNIT_TEST (test_map_of_largest),
    UNIT_TEST (test_counts),    UNIT_TEST (test_under_load),
  };

  return UNIT_RUN (tests);
}
