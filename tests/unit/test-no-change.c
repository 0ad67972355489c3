/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What leaves the data as they are takes nothing and needs nothing: zeroes into
 * what is zero, a part that is so already; on a full disk too, with the write
 * buffer and without.  And advice never fails for what it can leave out: the
 * edges of a trim that cannot be made zero stay, while a zero request fails.
 */

#include <config.h>

#include "held-backing.h"

#define SLOT 4096u
#define LEAF (LEAF_SLOTS * (uint64_t) SLOT)
#define LEAVES 64u
#define DISK (LEAVES * LEAF - 1000) /* the last slot is a part of one */

static struct fixture f;
static char buf[MiB], zeroes[MiB];

static uint64_t
buffer_of (unsigned on)
{
  return on ? 4 * MiB : 0;
}

static void
open_disk (unsigned buffered)
{
  fixture_open (&f, SLOT, "lz4", 2, DISK);
  check_always (buffer_set_size (&f.store->buffer, buffer_of (buffered)) == 0);
}

/* Noise until nothing more fits; returns the first slot that did not. */
static uint64_t
fill_up (struct unit_rng *rng)
{
  uint64_t n = 1;

  fixture_limit (&f, fixture_used (&f) + MiB);
  do
    fill_kind (buf, SLOT, KIND_RANDOM, rng);
  while (disk_write (f.disk, buf, SLOT, n++ * SLOT) == 0);
  check_always (errno == ENOSPC);
  return n - 1;
}

/* -- zeroes into nothing ------------------------------------------------- */

static void
zero_writes (uint64_t from)
{
  static const uint32_t lengths[] = { 1,        100,        SLOT, SLOT + 7,
                                      3 * SLOT, 100 * 1024, MiB };

  for (unsigned i = 0; i < sizeof lengths / sizeof *lengths; i++)
    for (unsigned at = 0; at < 3; at++) {
      uint64_t offset = from + (10 * i + at) * SLOT + at * 1234;

      must_write (&f, zeroes, lengths[i], offset);
      must_discard (&f, offset, lengths[i]);
      check_always (disk_trim (f.disk, offset, lengths[i]) == 0);
    }
}

/* Here and there, and up to the end of the disk. */
static void
test_zeroes_into_nothing (void **state)
{
  struct unit_rng rng = unit_rng (1);

  (void) state;
  for (unsigned buffered = 0; buffered < 2; buffered++)
    for (unsigned full = 0; full < 2; full++) {
      open_disk (buffered);
      must_write (&f, "data", 4, 0);
      if (full)
        fill_up (&rng);
      uint64_t used = fixture_used (&f);
      uint64_t leaves = f.store->leaves.leaf_count;

      for (unsigned leaf = 5; leaf < LEAVES - 1; leaf++)
        must_write (&f, zeroes, SLOT, leaf * LEAF + leaf * SLOT);
      zero_writes (20 * LEAF);
      zero_writes (40 * LEAF - 5 * SLOT);
      must_write (&f, zeroes, 3000, DISK - 3000);
      must_write (&f, zeroes, MiB, DISK - MiB);
      must_hold (&f, NULL, MiB, DISK - MiB);
      assert_int_equal (fixture_used (&f), used);
      assert_int_equal (f.store->leaves.leaf_count, leaves);
      assert_int_equal (fixture_count (&f, DISK_SLOTS_SAME), 0);
      assert_int_equal (fixture_count (&f, DISK_FAILED_WRITES), full);
      must_hold (&f, "data", 4, 0);
      fixture_close (&f);
    }
}

/* What is told of a hole must not tell of the next write: data in the same
 * request as the zeroes around it.
 */
static void
test_zeroes_around_data (void **state)
{
  (void) state;
  for (unsigned buffered = 0; buffered < 2; buffered++) {
    open_disk (buffered);
    memset (buf, 0, sizeof buf);
    memset (buf + 5 * SLOT + 17, 'x', 100);
    must_write (&f, buf, MiB, 7 * LEAF + 100);
    must_hold (&f, buf, MiB, 7 * LEAF + 100);
    must_write (&f, zeroes, SLOT, 7 * LEAF + 100 + 5 * SLOT);
    must_hold (&f, NULL, MiB, 7 * LEAF + 100);
    fixture_close (&f);
  }
}

/* -- a part that is so already ------------------------------------------- */

/* With room the write buffer may use some of its own to find out. */
static void
write_again (uint64_t slot, uint32_t at, uint32_t len, bool room)
{
  bool measured = fixture_state (&f, slot) == SLOT_SAME || !room;
  uint64_t used = fixture_used (&f);
  int64_t objects = fixture_count (&f, DISK_OBJECTS);
  int64_t same = fixture_count (&f, DISK_SLOTS_SAME);
  uint64_t cell = held_cell (&f, slot);

  must_read (&f, buf, len, slot * SLOT + at);
  must_write (&f, buf, len, slot * SLOT + at);
  must_hold (&f, buf, len, slot * SLOT + at);
  if (measured)
    assert_int_equal (fixture_used (&f), used);
  assert_int_equal (fixture_count (&f, DISK_OBJECTS), objects);
  assert_int_equal (fixture_count (&f, DISK_SLOTS_SAME), same);
  assert_int_equal (held_cell (&f, slot), cell);
}

/* Zeroes, a word, text with zeroes in it, noise; all of it and every part. */
static void
test_same_part (void **state)
{
  static const uint32_t parts[][2] = { { 0, 1 },      { 0, 8 },    { 3, 5 },
                                       { 5, 100 },    { 4095, 1 }, { 1, 4094 },
                                       { 2048, 2048 } };
  struct unit_rng rng = unit_rng (2);

  (void) state;
  for (unsigned how = 0; how < 4; how++) {
    unsigned buffered = how & 1;
    bool room = how & 2;

    open_disk (0);
    for (uint64_t slot = KINDS; slot-- > 0;) {
      fill_kind (buf, SLOT, (enum kind) slot, &rng);
      if (slot == KIND_TEXT)
        memset (buf + 2000, 0, 1000);
      must_write (&f, buf, SLOT, slot * SLOT);
    }
    check_always (buffer_set_size (&f.store->buffer, buffer_of (buffered)) ==
                  0);
    if (!room)
      fixture_limit (&f, fixture_used (&f)); /* not a byte more */
    for (uint64_t slot = 0; slot < KINDS; slot++)
      for (unsigned i = 0; i < sizeof parts / sizeof *parts; i++)
        write_again (slot, parts[i][0], parts[i][1], room);
    must_discard (&f, KIND_TEXT * SLOT + 2000, 1000);
    must_discard (&f, KIND_ZERO * SLOT + 5, 77);
    assert_int_equal (fixture_count (&f, DISK_OBJECTS), KINDS - 2);
    fixture_close (&f);
  }
}

/* -- zeroes beside writes of the same leaf ------------------------------- */

/* Each has a slot of its own; the leaf comes and goes with what they all do. */
static void *
owner (void *arg)
{
  uint64_t slot = 9 * LEAF_SLOTS + (uint64_t) (uintptr_t) arg;
  struct unit_rng rng = unit_rng (slot);
  char model[SLOT] = "", data[SLOT];

  for (unsigned i = 0; i < UNIT_TIMES (20000); i++) {
    uint32_t at = unit_below (&rng, SLOT);
    uint32_t len = 1 + unit_below (&rng, SLOT - at);

    if (unit_below (&rng, 2)) {
      at = 0;
      len = SLOT;
    }
    memset (data, unit_below (&rng, 3) ? 0 : (int) unit_below (&rng, 256), len);
    if (unit_below (&rng, 3)) {
      must_write (&f, data, len, slot * SLOT + at);
      memcpy (model + at, data, len);
    }
    else {
      must_discard (&f, slot * SLOT + at, len);
      memset (model + at, 0, len);
    }
    must_hold (&f, model, SLOT, slot * SLOT);
  }
  return NULL;
}

static void
test_own_writes (void **state)
{
  struct unit_thread t[3];

  (void) state;
  for (unsigned buffered = 0; buffered < 2; buffered++) {
    open_disk (buffered);
    for (uintptr_t i = 0; i < 3; i++)
      unit_start (&t[i], owner, (void *) i);
    unit_join_all (t, 3);
    fixture_close (&f);
  }
}

/* -- advice -------------------------------------------------------------- */

enum { HEAD = 10, TAIL = 20 };

/* Slots HEAD to TAIL, all of them text, and the given ones in the store. */
static struct held *
open_backed (unsigned buffered, bool head, bool tail)
{
  open_disk (0);
  struct held *h = held_attach (&f, 256);
  for (uint64_t i = HEAD; i <= TAIL; i++)
    held_write (&f, i, 1);
  if (head)
    held_write_back (&f, HEAD, HEAD + 1);
  if (tail)
    held_write_back (&f, TAIL, TAIL + 1);
  check_always (buffer_set_size (&f.store->buffer, buffer_of (buffered)) == 0);
  return h;
}

/* The slot is unchanged, except for zeroes in [at, at + len). */
static void
expect_zeroed (uint64_t slot, uint32_t at, uint32_t len)
{
  char want[SLOT];

  held_data (want, SLOT, slot, 1);
  memset (want + at, 0, len);
  must_hold (&f, want, SLOT, slot * SLOT);
}

/* The range from the middle of HEAD to that of TAIL. */
static void
check_range (bool head_done, bool tail_done)
{
  expect_zeroed (HEAD, 2000, head_done ? SLOT - 2000 : 0);
  for (uint64_t i = HEAD + 1; i < TAIL; i++)
    assert_int_equal (fixture_state (&f, i), SLOT_EMPTY);
  expect_zeroed (TAIL, 0, tail_done ? 1000 : 0);
}

static const uint64_t range_from = HEAD * SLOT + 2000;
static const uint64_t range_bytes = (TAIL - HEAD) * SLOT - 1000;

/* The store cannot be read. */
static void
test_edges_unreadable (void **state)
{
  (void) state;
  for (unsigned how = 0; how < 16; how++) {
    bool head = how & 1, tail = how & 2, trim = how & 4;
    struct held *h = open_backed (how / 8, head, tail);

    held_fail_reads (h, UINT32_MAX, EIO);
    int r = trim ? disk_trim (f.disk, range_from, range_bytes)
                 : disk_discard (f.disk, range_from, range_bytes);
    if (trim || !(head || tail))
      assert_int_equal (r, 0);
    else {
      assert_int_equal (r, -1);
      assert_int_equal (errno, EIO);
    }
    assert_int_equal (fixture_count (&f, DISK_FAILED_WRITES), r == -1);
    /* Within one slot. */
    r = trim ? disk_trim (f.disk, HEAD * SLOT + 5, 50)
             : disk_discard (f.disk, HEAD * SLOT + 5, 50);
    assert_int_equal (r, trim || !head ? 0 : -1);
    held_fail_reads (h, 0, 0);
    if (!head)
      held_write (&f, HEAD, 1);
    check_range (false, !tail);
    fixture_close (&f);
  }
}

static unsigned asked;

static void
no_room (void *ctx)
{
  (void) ctx;
  asked++;
  (void) room_answer (&f.store->room);
  room_hopeless (&f.store->room, true);
}

/* Memory is out, and what is in the store would have to come back. */
static void
test_edges_without_room (void **state)
{
  (void) state;
  for (unsigned how = 0; how < 4; how++) {
    bool trim = how & 1;

    open_backed (how / 2, true, true);
    room_open (&f.store->room, no_room, NULL);
    /* What comes free is taken at once. */
    must_discard (&f, (HEAD + 1) * SLOT, (TAIL - HEAD - 1) * SLOT);
    pool_give_back (f.store->pool);
    fixture_limit (&f, 1);
    asked = 0;
    int r = trim ? disk_trim (f.disk, range_from, range_bytes)
                 : disk_discard (f.disk, range_from, range_bytes);
    assert_int_equal (r, trim ? 0 : -1);
    assert_true (trim || errno == ENOSPC);
    /* The second edge did not wait once more. */
    assert_int_equal (fixture_count (&f, DISK_WRITE_STALLS), 1);
    assert_true (asked > 0);
    check_range (false, false);
    room_close (&f.store->room);
    fixture_close (&f);
  }
}

/* With nothing in the way both do all of it, in the store or not. */
static void
test_edges (void **state)
{
  (void) state;
  for (unsigned how = 0; how < 4; how++) {
    open_backed (how / 2, true, how & 1);
    assert_int_equal (disk_trim (f.disk, range_from, range_bytes), 0);
    check_range (true, true);
    fixture_close (&f);
  }
}

int
main (void)
{
  static const struct CMUnitTest tests[] = {
    UNIT_TEST (test_zeroes_into_nothing),
    UNIT_TEST (test_zeroes_around_data),
    UNIT_TEST (test_same_part),
    UNIT_TEST (test_own_writes),
    UNIT_TEST (test_edges_unreadable),
    UNIT_TEST (test_edges_without_room),
    UNIT_TEST (test_edges),
  };

  return UNIT_RUN (tests);
}
