/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The write buffer: what is written is read back at every moment, also while a
 * drain stands between its copy and its install; whatever fails, nothing is
 * lost; and what it takes of memory is charged, bounded and given back.
 */

#include <config.h>

#include "store-fixture.h"

#include "maint/drainer.h"
#include "store/query.h"

#define SLOT 4096u
#define SLOTS 4096u
#define DISK (SLOTS * (uint64_t) SLOT)
#define BUFFER (4 * MiB)

static struct fixture f;

static void
set_size (uint64_t buffer)
{
  check_always (buffer_set_size (&f.store->buffer, buffer) == 0);
}

static void
open_size (uint32_t slot_size, uint64_t buffer)
{
  fixture_open (&f, slot_size, "lz4", 2, DISK);
  set_size (buffer);
}

static void
open_buffered (void)
{
  open_size (SLOT, BUFFER);
}

static void
make (char *data, uint64_t index, unsigned gen, enum kind kind)
{
  struct unit_rng rng = { .s = index * 1000003 + gen };

  fill_kind (data, SLOT, kind, &rng);
  data[0] |= 1; /* never zeroes */
}

static void
put_kind (uint64_t index, unsigned gen, enum kind kind)
{
  char data[SLOT];

  make (data, index, gen, kind);
  must_write (&f, data, SLOT, index * SLOT);
}

static void
put (uint64_t index, unsigned gen)
{
  put_kind (index, gen, KIND_TEXT);
}

static void
holds_kind (uint64_t index, unsigned gen, enum kind kind)
{
  char data[SLOT];

  make (data, index, gen, kind);
  must_hold (&f, data, SLOT, index * SLOT);
}

static void
holds (uint64_t index, unsigned gen)
{
  holds_kind (index, gen, KIND_TEXT);
}

static uint64_t
cell (uint64_t index)
{
  return slot_load_cell (slot_table_peek (&f.disk->table, index));
}

/* Once around. */
static struct drain_totals
drain_once (uint32_t min_age_ms)
{
  uint32_t left = buffer_entries (&f.store->buffer), n = 1;
  struct drain_totals totals = { 0 };

  drain_hold (f.store);
  for (; left > 0 && n > 0; left -= n)
    n = drain_step_locked (f.store, min_age_ms, left, DRAIN_BATCH, &totals);
  drain_unhold (f.store);
  return totals;
}

static void
trim (void)
{
  drain_hold (f.store);
  (void) buffer_trim (&f.store->buffer);
  drain_unhold (f.store);
}

static void
close_empty (void)
{
  must_discard (&f, 0, DISK);
  assert_int_equal (buffer_used (&f.store->buffer), 0);
  trim ();
  fixture_check_empty (&f);
  fixture_close (&f);
}

/* -- in and out ---------------------------------------------------------- */

static int
one_extent (void *ctx, uint64_t offset, uint64_t length, enum extent_type type)
{
  (void) offset;
  (void) length;
  *(enum extent_type *) ctx = type;
  return 0;
}

static void
test_written (void **state)
{
  enum extent_type type = EXTENT_HOLE;
  struct slot_info info;
  char data[SLOT];

  (void) state;
  open_buffered ();
  put (5, 1);
  assert_int_equal (fixture_state (&f, 5), SLOT_BUFFERED);
  holds (5, 1);
  make (data, 5, 1, KIND_TEXT);
  must_hold (&f, data + 1000, 77, 5 * SLOT + 1000);
  assert_int_equal (slot_read_unnoticed (f.disk, 5, data), 0);

  assert_true (disk_slot_info (f.disk, 5, 0, &info));
  assert_int_equal (info.state, SLOT_BUFFERED);
  assert_int_equal (info.size, SLOT);
  assert_false (info.huge || info.incompressible || info.recompressed);
  assert_int_equal (
    disk_extents (f.disk, 5 * SLOT, SLOT, true, one_extent, &type), 0);
  assert_int_equal (type, EXTENT_DATA);
  assert_int_equal (disk_sum (f.disk, DISK_SLOTS_STORED), 1);
  assert_int_equal (disk_sum (f.disk, DISK_SLOTS_BUFFERED), 1);
  assert_int_equal (disk_sum (f.disk, DISK_BUFFER_WRITES), 1);
  assert_int_equal (disk_sum (f.disk, DISK_BUFFER_HITS), 0);
  assert_int_equal (disk_sum (f.disk, DISK_OBJECTS), 0);
  assert_int_equal (disk_compr_bytes (f.disk), SLOT);
  assert_int_equal (buffer_memory (&f.store->buffer), BUFFER_CHUNK);
  assert_int_equal (buffer_capacity (&f.store->buffer), BUFFER / SLOT);
  fixture_audit (&f);
  close_empty ();
}

/* Again and again: in the same place, and nothing is compressed. */
static void
test_overwritten (void **state)
{
  (void) state;
  open_buffered ();
  put (5, 1);
  uint64_t entry = cell (5);
  for (unsigned gen = 2; gen < 100; gen++) {
    put (5, gen);
    holds (5, gen);
    assert_int_equal (cell (5), entry);
    assert_int_equal (fixture_state (&f, 5), SLOT_BUFFERED);
  }
  assert_int_equal (fixture_count (&f, DISK_BUFFER_HITS), 98);
  assert_int_equal (fixture_count (&f, DISK_BUFFER_WRITES), 1);
  assert_int_equal (buffer_used (&f.store->buffer), 1);
  close_empty ();
}

/* Whatever a slot was, and whatever it becomes. */
static void
test_from_and_to (void **state)
{
  static const enum kind kinds[] = { KIND_ZERO, KIND_SAME, KIND_TEXT,
                                     KIND_RANDOM };
  char data[SLOT];

  (void) state;
  open_buffered ();
  put (8, 1); /* so that there is a leaf */
  for (unsigned before = 0; before <= 4; before++)
    for (unsigned after = 0; after < 4; after++) {
      struct unit_rng rng = unit_rng (before * 10 + after);

      set_size (before % 2 ? 0 : BUFFER);
      must_discard (&f, 7 * SLOT, SLOT);
      if (before < 4) {
        fill_kind (data, SLOT, kinds[before], &rng);
        must_write (&f, data, SLOT, 7 * SLOT);
      }
      set_size (BUFFER);
      fill_kind (data, SLOT, kinds[after], &rng);
      must_write (&f, data, SLOT, 7 * SLOT);
      must_hold (&f, data, SLOT, 7 * SLOT);
      assert_int_equal (fixture_state (&f, 7) == SLOT_SAME, after < 2);
      assert_int_equal (fixture_state (&f, 7) == SLOT_BUFFERED, after >= 2);
      fixture_audit (&f);
    }
  close_empty ();
}

static void
test_parts (void **state)
{
  char data[SLOT];

  (void) state;
  open_buffered ();
  for (unsigned before = 0; before < 4; before++) {
    memset (data, 0, SLOT);
    must_discard (&f, 9 * SLOT, SLOT);
    if (before == 1) {
      memset (data, 0x33, SLOT);
      must_write (&f, data, SLOT, 9 * SLOT);
    }
    if (before >= 2) {
      make (data, 9, before, KIND_TEXT);
      must_write (&f, data, SLOT, 9 * SLOT);
    }
    if (before == 3)
      assert_int_equal (drain_once (0).done, 1);
    memset (data + 100, 'x', 50);
    must_write (&f, data + 100, 50, 9 * SLOT + 100);
    assert_int_equal (fixture_state (&f, 9), SLOT_BUFFERED);
    must_hold (&f, data, SLOT, 9 * SLOT);
    memset (data + 90, 0, 20);
    must_discard (&f, 9 * SLOT + 90, 20);
    must_hold (&f, data, SLOT, 9 * SLOT);
    assert_int_equal (drain_once (0).done, 1);
    must_hold (&f, data, SLOT, 9 * SLOT);
    assert_int_equal (fixture_state (&f, 9), SLOT_OBJECT);
    fixture_audit (&f);
  }

  /* Piece by piece until nothing is left: then it is no more in the buffer. */
  put (9, 1);
  for (unsigned at = 0; at < SLOT; at += 512) {
    assert_int_equal (fixture_state (&f, 9), SLOT_BUFFERED);
    must_discard (&f, 9 * SLOT + at, 512);
  }
  assert_int_equal (fixture_state (&f, 9), SLOT_SAME);
  assert_int_equal (buffer_used (&f.store->buffer), 0);
  must_hold (&f, NULL, SLOT, 9 * SLOT);
  close_empty ();
}

/* A part that turns one repeated word into another is merged in an entry, which
 * the slot then does not need.
 */
static void
test_part_of_same (void **state)
{
  char one[SLOT], other[SLOT];

  (void) state;
  open_buffered ();
  memset (one, 'a', sizeof one);
  memset (other, 'b', sizeof other);
  for (unsigned i = 7; i < SLOT; i += 8)
    one[i] = other[i] = 'c';
  must_write (&f, one, SLOT, 5 * SLOT);
  must_write (&f, other, SLOT - 1, 5 * SLOT); /* not its last byte */
  assert_int_equal (fixture_state (&f, 5), SLOT_SAME);
  assert_int_equal (buffer_used (&f.store->buffer), 0);
  assert_int_equal (fixture_count (&f, DISK_BUFFER_WRITES), 0);
  must_hold (&f, other, SLOT, 5 * SLOT);
  close_empty ();
}

static void
test_drained (void **state)
{
  struct drain_totals totals;

  (void) state;
  open_buffered ();
  for (unsigned i = 0; i < 500; i++)
    put_kind (i, 1, i % 10 ? KIND_TEXT : KIND_RANDOM);
  totals = drain_once (0);
  assert_int_equal (totals.done, 500);
  assert_int_equal (totals.lost + totals.failed, 0);
  assert_int_equal (buffer_used (&f.store->buffer), 0);
  assert_int_equal (fixture_count (&f, DISK_DRAINED), 500);
  assert_int_equal (fixture_count (&f, DISK_SLOTS_HUGE), 50);
  for (unsigned i = 0; i < 500; i++) {
    char data[SLOT];

    assert_int_equal (fixture_state (&f, i), SLOT_OBJECT);
    make (data, i, 1, i % 10 ? KIND_TEXT : KIND_RANDOM);
    must_hold (&f, data, SLOT, i * SLOT);
  }
  assert_int_equal (drain_once (0).done, 0);
  fixture_audit (&f);
  trim ();
  assert_int_equal (buffer_memory (&f.store->buffer), 0);
  close_empty ();
}

/* Only what was not written for so long, and a rewrite counts. */
static void
test_age (void **state)
{
  struct buffer *b;
  uint32_t now = clock_coarse_ms ();

  (void) state;
  open_buffered ();
  b = &f.store->buffer;
  for (unsigned i = 0; i < 100; i++) {
    put (i, 1);
    buffer_stamp (b, (uint32_t) cell (i), now - 50000);
  }
  for (unsigned i = 0; i < 40; i++)
    put (i, 2);
  buffer_stamp (b, (uint32_t) cell (0), now + 5000); /* a walk's clock lags */
  assert_int_equal (drain_once (40000).done, 60);
  for (unsigned i = 0; i < 100; i++)
    assert_int_equal (fixture_state (&f, i),
                      i < 40 ? SLOT_BUFFERED : SLOT_OBJECT);
  assert_int_equal (drain_once (0).done, 40);
  close_empty ();
}

/* The age that is due: by how full it is, and whether memory is. */
static void
test_due (void **state)
{
  struct buffer *b;
  uint32_t n, last = DRAIN_AGE_MS;

  (void) state;
  open_buffered ();
  b = &f.store->buffer;
  n = buffer_capacity (b);
  for (unsigned i = 0; i < n; i++) {
    uint32_t due = drainer_due (b);

    assert_true (due <= last && due >= DRAIN_LEAST_AGE_MS);
    assert_true (i > n - n / 4 || due == DRAIN_AGE_MS);
    last = due;
    put (i, 1);
  }
  assert_int_equal (drainer_due (b), DRAIN_LEAST_AGE_MS);
  fixture_limit (&f, fixture_used (&f) + MiB / 4);
  assert_int_equal (drainer_due (b), 0);
  fixture_limit (&f, 0);
  close_empty ();
}

/* -- full, off, small ---------------------------------------------------- */

static void
test_full (void **state)
{
  unsigned n = MiB / SLOT;

  (void) state;
  open_size (SLOT, MiB);
  for (unsigned i = 0; i < 2 * n; i++)
    put (i, 1);
  for (unsigned i = 0; i < 2 * n; i++) {
    assert_int_equal (fixture_state (&f, i),
                      i < n ? SLOT_BUFFERED : SLOT_OBJECT);
    holds (i, 1);
  }
  assert_int_equal (fixture_count (&f, DISK_BUFFER_PASSED), n);
  assert_int_equal (buffer_memory (&f.store->buffer), MiB);
  for (unsigned i = 0; i < 2 * n; i++) /* what is there still can change */
    put (i, 2);
  assert_int_equal (fixture_count (&f, DISK_BUFFER_HITS), n);
  char part = 'y';
  must_write (&f, &part, 1, (2 * n - 1) * (uint64_t) SLOT + 77);
  assert_int_equal (fixture_state (&f, 2 * n - 1), SLOT_OBJECT);
  fixture_audit (&f);

  must_discard (&f, 3 * SLOT, SLOT);
  put (2 * n - 1, 3);
  assert_int_equal (fixture_state (&f, 2 * n - 1), SLOT_BUFFERED);

  /* Smaller: no new ones until it has come down to that; off: none at all. */
  set_size (MiB / 2);
  put (3, 4);
  assert_int_equal (fixture_state (&f, 3), SLOT_OBJECT);
  assert_int_equal (drain_once (0).done, n);
  put (3, 5);
  assert_int_equal (fixture_state (&f, 3), SLOT_BUFFERED);
  set_size (0);
  put (4, 5);
  put (3, 6);
  assert_int_equal (fixture_state (&f, 4), SLOT_OBJECT);
  assert_int_equal (fixture_state (&f, 3), SLOT_BUFFERED);
  holds (3, 6);
  close_empty ();
}

static void
test_slot_sizes (void **state)
{
  char *data = must_alloc (MAX_SLOT);

  (void) state;
  for (uint32_t size = 4096; size <= MAX_SLOT; size *= 2) {
    struct unit_rng rng = unit_rng (size);
    unsigned n = (unsigned) (MiB / size);

    open_size (size, MiB);
    for (unsigned turn = 0; turn < 2; turn++) {
      for (unsigned i = 0; i < n + 1; i++) {
        fill_kind (data, size, i % 2 ? KIND_TEXT : KIND_RANDOM, &rng);
        must_write (&f, data, size, i * (uint64_t) size);
        must_hold (&f, data, size, i * (uint64_t) size);
        assert_int_equal (fixture_state (&f, i),
                          i < n ? SLOT_BUFFERED : SLOT_OBJECT);
      }
      must_hold (&f, data, size, n * (uint64_t) size);
      fixture_audit (&f);
      assert_int_equal (drain_once (0).done, n);
      fixture_audit (&f);
    }
    close_empty ();
  }
  free (data);
}

/* A request of many slots, the first and last in part. */
static void
test_large_requests (void **state)
{
  struct unit_rng rng = unit_rng (8);
  uint32_t len = 3 * MiB + 1000;
  char *data = must_alloc (len);

  (void) state;
  open_buffered ();
  for (size_t i = 0; i + 8 <= len; i += 8) {
    uint64_t word = unit_rand (&rng) >> 32;

    memcpy (data + i, &word, 8);
  }
  must_write (&f, data, len, 500);
  must_hold (&f, data, len, 500);
  assert_true (buffer_used (&f.store->buffer) > 3 * MiB / SLOT);
  drain_once (0);
  must_hold (&f, data, len, 500);
  must_write (&f, data, 5 * SLOT, 1234);
  must_hold (&f, data, 5 * SLOT, 1234);
  free (data);
  close_empty ();
}

/* -- memory -------------------------------------------------------------- */

static void
test_given_back (void **state)
{
  struct buffer *b;
  uint64_t before;

  (void) state;
  open_buffered ();
  b = &f.store->buffer;
  put (3000, 1); /* its leaf */
  must_discard (&f, 3001 * SLOT, SLOT);
  drain_once (0);
  trim ();
  before = fixture_used (&f);
  for (unsigned i = 3001; i < 3001 + 64; i++)
    put (i, 1);
  assert_int_equal (fixture_used (&f) - before, 64 * SLOT);
  assert_int_equal (buffer_memory (b), 64 * SLOT);
  assert_true (reserve_resident (&b->data, 8 * BUFFER_CHUNK) >= 64 * SLOT);
  must_discard (&f, 3001 * SLOT, 64 * SLOT);

  /* Kept for the next burst, and gone after a while without one. */
  assert_int_equal (buffer_memory (b), 64 * SLOT);
  assert_int_equal (buffer_trim_unneeded (b), 0);
  put (3001, 1);
  must_discard (&f, 3001 * SLOT, SLOT);
  assert_int_equal (buffer_trim_unneeded (b), 3 * BUFFER_CHUNK);
  assert_int_equal (buffer_memory (b), BUFFER_CHUNK);
  assert_int_equal (buffer_trim_unneeded (b), BUFFER_CHUNK);
  assert_int_equal (fixture_used (&f), before);
  assert_int_equal (reserve_resident (&b->data, 8 * BUFFER_CHUNK), 0);
  fixture_audit (&f);
  close_empty ();
}

/* Fill with that until there is no more room; returns how many slots. */
static unsigned
fill_up (enum kind kind)
{
  char data[SLOT];

  for (unsigned i = 0; i < SLOTS; i++) {
    make (data, i, 1, kind);
    errno = 0;
    int r = disk_write (f.disk, data, SLOT, i * (uint64_t) SLOT);

    check_always (fixture_used (&f) <= atomic_load (&f.store->budget.limit));
    if (r == -1) {
      check_always (errno == ENOSPC);
      return i;
    }
  }
  return SLOTS;
}

/* At the limit it costs nothing but the spare: what could be compressed is,
 * before anybody is told that there is no room.
 */
static void
test_limit (void **state)
{
  static const enum kind kinds[] = { KIND_TEXT, KIND_RANDOM, KIND_MIXED };
  const uint64_t limit = 4 * MiB;

  (void) state;
  for (unsigned k = 0; k < 3; k++) {
    unsigned n[2];

    for (unsigned on = 0; on < 2; on++) {
      open_size (SLOT, on ? BUFFER : 0);
      fixture_limit (&f, limit);
      n[on] = fill_up (kinds[k]);
      assert_true (n[on] > 0 && n[on] < SLOTS);
      fixture_audit (&f);
      assert_true (!on || fixture_count (&f, DISK_BUFFER_WRITES) > 0);
      for (unsigned i = 0; i < n[on]; i++) {
        char data[SLOT];

        make (data, i, 1, kinds[k]);
        must_hold (&f, data, SLOT, i * (uint64_t) SLOT);
      }
      close_empty ();
    }
    if (n[1] < n[0] - n[0] / 8)
      fail_msg ("kind %d: %u slots without a buffer, %u with", kinds[k], n[0],
                n[1]);
  }
}

/* The buffer is full of what compresses, and then there is no room: a write
 * drains as much as it needs.
 */
static void
test_drained_for_room (void **state)
{
  (void) state;
  open_buffered ();
  for (unsigned i = 0; i < 512; i++)
    put_kind (i, 1, KIND_SPARSE);
  store_set_mem_limit (f.store, fixture_used (&f)); /* the spare is used */
  for (unsigned i = 1000; i < 1100; i++)
    put_kind (i, 1, KIND_SPARSE);
  assert_true (fixture_count (&f, DISK_DRAINED) > 0);
  assert_true (buffer_memory (&f.store->buffer) < 512 * SLOT);
  for (unsigned i = 0; i < 512; i++)
    holds_kind (i, 1, KIND_SPARSE);
  for (unsigned i = 1000; i < 1100; i++)
    holds_kind (i, 1, KIND_SPARSE);
  fixture_audit (&f);

  /* Also a leaf, and a part. */
  put (2000, 1);
  must_write (&f, "part", 4, 2500 * SLOT + 3);
  close_empty ();
}

/* The limit is lowered below what is used. */
static void
test_lowered_limit (void **state)
{
  (void) state;
  open_buffered ();
  for (unsigned i = 0; i < 1000; i++)
    put_kind (i, 1, KIND_SPARSE);
  uint64_t used = fixture_used (&f);

  store_set_mem_limit (f.store, 7 * MiB / 2);
  assert_true (used > 7 * MiB / 2);
  for (unsigned i = 1000; i < 1120; i++)
    put_kind (i, 1, KIND_SPARSE);
  assert_true (fixture_used (&f) <= 7 * MiB / 2);
  for (unsigned i = 0; i < 1120; i++)
    holds_kind (i, 1, KIND_SPARSE);
  fixture_audit (&f);
  close_empty ();
}

/* It takes its share of the limit, and nothing when memory is nearly used up.
 */
static void
test_share (void **state)
{
  (void) state;
  open_buffered ();
  fixture_limit (&f, 8 * MiB);
  for (unsigned i = 0; i < 600; i++)
    put (i, 1);
  assert_int_equal (buffer_memory (&f.store->buffer), MiB);
  assert_int_equal (buffer_used (&f.store->buffer), MiB / SLOT);
  assert_int_equal (drain_once (0).done, MiB / SLOT);
  fixture_limit (&f, fixture_used (&f) + MiB / 16);
  assert_true (buffer_is_closed (&f.store->buffer));
  put (0, 2);
  assert_int_equal (fixture_state (&f, 0), SLOT_OBJECT);
  holds (0, 2);
  fixture_limit (&f, 0);
  close_empty ();
}

/* -- the thread ---------------------------------------------------------- */

static void
test_thread (void **state)
{
  struct drainer *d;

  (void) state;
  open_buffered ();
  d = drainer_create (f.store);
  assert_non_null (d);
  assert_int_equal (drainer_start (d), 0);
  for (unsigned i = 0; i < 600; i++)
    put (i, 1);
  while (buffer_used (&f.store->buffer) > 0)
    unit_sleep_ms (20);
  while (buffer_memory (&f.store->buffer) > 0)
    unit_sleep_ms (100);
  for (unsigned i = 0; i < 600; i++) {
    assert_int_equal (fixture_state (&f, i), SLOT_OBJECT);
    holds (i, 1);
  }
  drainer_stop (d);
  fixture_audit (&f);

  atomic_bool cancel = true;
  struct pace pace;
  put (1, 2);
  pace_init (&pace, f.store, NULL, 100, 100);
  drainer_empty (f.store, &pace, &cancel);
  assert_int_equal (fixture_state (&f, 1), SLOT_BUFFERED);
  cancel = false;
  drainer_empty (f.store, &pace, &cancel);
  assert_int_equal (fixture_state (&f, 1), SLOT_OBJECT);
  assert_int_equal (buffer_memory (&f.store->buffer), 0);
  holds (1, 2);
  drainer_destroy (d);
  close_empty ();
}

/* -- the auditor --------------------------------------------------------- */

static void
audit_says (const char *what)
{
  struct reason why = { "nothing" };

  assert_int_equal (store_audit (f.store, false, &why), -1);
  if (!strstr (why.text, what))
    fail_msg ("expected \"%s\", got \"%s\"", what, why.text);
}

static void
test_audit (void **state) NO_THREAD_SAFETY_ANALYSIS
{
  struct buffer *b;
  struct buffer_entry *e;

  (void) state;
  open_buffered ();
  b = &f.store->buffer;
  for (unsigned i = 0; i < 40; i++)
    put (i, 1);
  put (40, 1);
  must_discard (&f, 40 * SLOT, SLOT);
  e = buffer_entry (b, (uint32_t) cell (20));
  atomic_store (&e->slot, 21);
  audit_says ("slot 20: its entry in the write buffer is not its own");
  atomic_store (&e->slot, 20);
  fixture_audit (&f);

  struct slot *s = (struct slot *) slot_table_peek (&f.disk->table, 20);
  uint64_t was = cell (20);
  atomic_store (&s->cell, cell (21)); /* two slots in one entry */
  audit_says ("slot 20: its entry");
  atomic_store (&s->cell, UINT64_C (1) << 40);
  audit_says ("slot 20: its entry");
  atomic_store (&s->cell, was);

  disk_count (f.disk, DISK_SLOTS_BUFFERED, 1);
  audit_says ("buffered: counted 41");
  disk_count (f.disk, DISK_SLOTS_BUFFERED, -1);

  uint32_t entry = buffer_take (b, 99); /* no slot's */
  audit_says ("entries of the write buffer: counted 41");
  buffer_put (b, entry);

  atomic_fetch_add (&f.store->budget.used, BUFFER_CHUNK);
  audit_says ("bytes charged");
  atomic_fetch_sub (&f.store->budget.used, BUFFER_CHUNK);

  b->empties++;
  audit_says ("write buffer: empty chunks miscounted");
  b->empties--;
  atomic_fetch_add (&b->top, 1);
  audit_says ("write buffer: resident chunks miscounted");
  atomic_fetch_sub (&b->top, 1);
  uint32_t partial = b->partial;
  b->partial = 0;
  audit_says ("write buffer: entries miscounted");
  b->partial = partial;
  struct buffer_chunk *c = (struct buffer_chunk *) b->infos.base + partial - 1;
  uint32_t next = c->next;
  c->next = partial;
  audit_says ("write buffer: a list of chunks is broken");
  c->next = next;
  uint32_t bits = c->free;
  c->free = 0;
  audit_says ("write buffer: a chunk on the wrong list");
  c->free = bits;
  fixture_audit (&f);
  close_empty ();
}

#ifdef ZRAM_FAULTS

/* -- a drain that is overtaken -------------------------------------------- */

#include "meanwhile.h"

/* The free list is LIFO: it gets the same entry. */
static void
discard_and_rewrite (uint64_t i)
{
  uint64_t entry = cell (i);

  discard (i);
  put (i, 2);
  check_always (cell (i) == entry);
}

static void
discard_and_others (uint64_t i)
{
  uint64_t entry = cell (i);

  discard (i);
  put (i + 1, 7);
  check_always (cell (i + 1) == entry);
}

static void
direct (uint64_t i)
{
  discard (i);
  set_size (0);
  put (i, 2);
  set_size (BUFFER);
}

static void
nothing (uint64_t i)
{
  (void) i;
}

static const struct {
  const char *name;
  void (*change) (uint64_t i);
  bool wins;
} changes[] = {
  { "other data", other_data, true },
  { "the same data", same_data, true },
  { "a part", part, true },
  { "a part trimmed", trim_part, true },
  { "discarded", discard, true },
  { "discarded and rewritten", discard_and_rewrite, true },
  { "discarded, and its entry reused", discard_and_others, true },
  { "zeroes", zero, true },
  { "written past the buffer", direct, true },
  { "reset", reset, true },
  { "only read", nothing, false },
};

static void *
drain_in_thread (void *arg)
{
  *(struct drain_totals *) arg = drain_once (0);
  return NULL;
}

static void
no_claims (void)
{
  check_always (atomic_load (&f.store->claims) == 0);
  for (uint64_t i = 0; i < SLOTS; i++)
    check_always (slot_meta_claim (fixture_meta (&f, i)) == 0);
}

static void
overtake (const char *where, unsigned c)
{
  struct drain_totals totals;
  struct unit_thread t;
  char want[SLOT], again[SLOT];
  const uint64_t i = 5;

  put (i, 1);
  fault_hold (where);
  unit_start (&t, drain_in_thread, &totals);
  fault_wait_held (where);
  holds (i, 1);
  changes[c].change (i);
  must_read (&f, want, SLOT, i * SLOT);
  uint32_t meta = fixture_meta (&f, i);
  fault_release (where);
  unit_join (&t);
  must_read (&f, again, SLOT, i * SLOT);
  if (memcmp (want, again, SLOT) != 0)
    fail_msg ("%s at %s: an earlier write came back", changes[c].name, where);
  if (changes[c].wins && totals.lost != 1)
    fail_msg ("%s at %s: was not noticed", changes[c].name, where);
  if (changes[c].wins && fixture_meta (&f, i) != meta)
    fail_msg ("%s at %s: meta changed", changes[c].name, where);
  if (!changes[c].wins)
    assert_int_equal (fixture_state (&f, i), SLOT_OBJECT);
  no_claims ();
  fixture_audit (&f);
  must_discard (&f, 0, DISK);
}

static void
test_overtaken (void **state)
{
  static const char *const where[] = { "drain.copied", "drain.packed",
                                       "drain.made" };

  (void) state;
  open_buffered ();
  for (unsigned w = 0; w < 3; w++)
    for (unsigned c = 0; c < sizeof changes / sizeof *changes; c++)
      overtake (where[w], c);
  close_empty ();
}

/* Others are not kept waiting by one that stands there. */
static void
test_others_go_on (void **state)
{
  struct drain_totals totals;
  struct unit_thread t;

  (void) state;
  open_buffered ();
  for (unsigned i = 0; i < 100; i++)
    put (i, 1);
  fault_hold_first ("drain.made");
  unit_start (&t, drain_in_thread, &totals);
  fault_wait_held ("drain.made");
  for (unsigned gen = 2; gen < 5; gen++)
    for (unsigned i = 0; i < 300; i++) {
      put (i, gen);
      holds (i, gen);
    }
  assert_int_equal (buffer_trim (&f.store->buffer), 0);
  fault_release ("drain.made");
  unit_join (&t);
  assert_true (totals.lost >= 1); /* another lane may have met one too */
  for (unsigned i = 0; i < 300; i++)
    holds (i, 4);
  no_claims ();
  close_empty ();
}

static bool
drained_within_seconds (int64_t n)
{
  for (unsigned ms = 0; ms < 3000; ms++) {
    if (fixture_count (&f, DISK_DRAINED) >= n)
      return true;
    unit_sleep_ms (1);
  }
  return false;
}

/* A step's entries are shared with idle workers: while one lane stands, the
 * other does its half.
 */
static void
test_lanes (void **state)
{
  bool shared = false;

  (void) state;
  open_buffered ();
  /* A worker that has just started is not idle yet, so not at once. */
  for (unsigned try = 0; try < 10 && !shared; try++) {
    int64_t before = fixture_count (&f, DISK_DRAINED);
    struct drain_totals totals;
    struct unit_thread t;

    for (unsigned i = 0; i < DRAIN_BATCH; i++)
      put (i, try);
    fault_hold_first ("drain.made");
    unit_start (&t, drain_in_thread, &totals);
    fault_wait_held ("drain.made");
    shared = drained_within_seconds (before + DRAIN_BATCH / 2);
    fault_release ("drain.made");
    unit_join (&t);
    assert_int_equal (totals.done, DRAIN_BATCH);
    for (unsigned i = 0; i < DRAIN_BATCH; i++)
      holds (i, try);
  }
  assert_true (shared);
  no_claims ();
  fixture_audit (&f);
  close_empty ();
}

/* -- failures ------------------------------------------------------------ */

/* No memory for what is compressed: it stays as it is, and goes later. */
static void
test_drain_fails (void **state)
{
  static const char *const why[] = { "zs.alloc", "arena.charge", "z3.alloc",
                                     "z3.page" };
  const bool z3fold = !fixture_is_zsmalloc ();

  (void) state;
  for (unsigned w = z3fold ? 2 : 0; w < (z3fold ? 4 : 2); w++) {
    open_buffered ();
    for (unsigned i = 0; i < 20; i++)
      put (i, 1);
    fault_fail_nth (why[w], 1, true);
    struct drain_totals totals = drain_once (0);
    assert_true (fault_reached (why[w]) > 0);
    fault_clear ();
    assert_int_equal (totals.failed, 20);
    assert_int_equal (totals.done, 0);
    assert_int_equal (fixture_count (&f, DISK_DRAIN_FAILED), 20);
    for (unsigned i = 0; i < 20; i++) {
      assert_int_equal (fixture_state (&f, i), SLOT_BUFFERED);
      holds (i, 1);
    }
    no_claims ();
    fixture_audit (&f);
    assert_int_equal (drain_once (0).done, 20);
    for (unsigned i = 0; i < 20; i++)
      holds (i, 1);
    close_empty ();
  }
}

/* No memory for an entry: the direct way. */
static void
test_take_fails (void **state)
{
  static const char *const why[] = { "buffer.charge", "reserve.commit" };

  (void) state;
  for (unsigned w = 0; w < 2; w++) {
    open_size (SLOT, 0);
    put (1, 1); /* the pool and the table have what they need */
    set_size (BUFFER);
    fault_fail_nth (why[w], 1, true);
    put (2, 1);
    assert_true (fault_reached (why[w]) > 0);
    fault_clear ();
    assert_int_equal (fixture_state (&f, 2), SLOT_OBJECT);
    assert_int_equal (buffer_memory (&f.store->buffer), 0);
    holds (2, 1);
    fixture_audit (&f);
    put (3, 1);
    assert_int_equal (fixture_state (&f, 3), SLOT_BUFFERED);
    close_empty ();
  }
}

/* The way to the leaf cannot be made: the entry is free again. */
static void
test_leaf_fails (void **state)
{
  const uint64_t far = UINT64_C (1) << 39;
  char data[SLOT];

  (void) state;
  fixture_open (&f, SLOT, "lz4", 2, 2 * far);
  set_size (BUFFER);
  make (data, far / SLOT, 1, KIND_TEXT);
  /* Of the first write: later ones find what was committed for it. */
  fault_fail_nth ("reserve.commit", 1, true);
  errno = 0;
  assert_int_equal (disk_write (f.disk, data, SLOT, far), -1);
  assert_int_equal (errno, ENOMEM);
  fault_clear ();
  assert_int_equal (buffer_used (&f.store->buffer), 0);
  must_hold (&f, NULL, SLOT, far);
  fixture_audit (&f);
  must_write (&f, data, SLOT, far);
  must_hold (&f, data, SLOT, far);
  fixture_close (&f);
}

/* A part of a slot that cannot be read: it is as it was, and no entry lost. */
static void
test_damaged (void **state)
{
  uint64_t handle;

  (void) state;
  open_buffered ();
  put (5, 1);
  drain_once (0);
  struct slot *s = (struct slot *) slot_table_peek (&f.disk->table, 5);
  char *object = pool_pin (f.store->pool, &s->cell, &handle);
  char saved[64];

  memcpy (saved, object, sizeof saved);
  memset (object, 0xff, sizeof saved);
  pool_unpin (f.store->pool, handle);
  errno = 0;
  assert_int_equal (disk_write (f.disk, "x", 1, 5 * SLOT + 9), -1);
  assert_int_equal (errno, EIO);
  assert_int_equal (fixture_state (&f, 5), SLOT_OBJECT);
  assert_int_equal (buffer_used (&f.store->buffer), 0);
  object = pool_pin (f.store->pool, &s->cell, &handle);
  memcpy (object, saved, sizeof saved);
  pool_unpin (f.store->pool, handle);
  holds (5, 1);
  fixture_audit (&f);
  close_empty ();
}

static void
test_create_fails (void **state)
{
  struct store_config config;
  struct store *store;
  unsigned n;

  (void) state;
  config = fixture_config (SLOT, codec_named ("lz4"), 1, DISK);
  store = store_create (&config);
  assert_non_null (store);
  for (n = 1;; n++) {
    fault_fail_nth (NULL, n, false);
    struct disk *disk = disk_create (store, DISK);
    fault_clear ();
    if (disk) {
      disk_destroy (disk);
      break;
    }
    assert_int_equal (errno, ENOMEM);
  }
  assert_true (n > 4);
  assert_int_equal (atomic_load (&store->budget.used), 0);

  /* Switched on later: what cannot be had leaves it off. */
  struct disk *disk = disk_create (store, DISK);
  assert_non_null (disk);
  for (n = 1;; n++) {
    fault_fail_nth ("reserve.open", n, true);
    int r = buffer_set_size (&disk->store->buffer, BUFFER);
    fault_clear ();
    if (r == 0)
      break;
    assert_int_equal (errno, ENOMEM);
    assert_false (buffer_is_on (&disk->store->buffer));
    assert_null (disk->store->buffer.data.base);
  }
  assert_int_equal (n, 4);
  disk_destroy (disk);
  store_destroy (store);
}

#endif /* ZRAM_FAULTS */

int
main (void)
{
  static const struct CMUnitTest tests[] = {
    UNIT_TEST (test_written),
    UNIT_TEST (test_overwritten),
    UNIT_TEST (test_from_and_to),
    UNIT_TEST (test_parts),
    UNIT_TEST (test_part_of_same),
    UNIT_TEST (test_drained),
    UNIT_TEST (test_age),
    UNIT_TEST (test_due),
    UNIT_TEST (test_full),
    UNIT_TEST (test_slot_sizes),
    UNIT_TEST (test_large_requests),
    UNIT_TEST (test_given_back),
    UNIT_TEST (test_limit),
    UNIT_TEST (test_drained_for_room),
    UNIT_TEST (test_lowered_limit),
    UNIT_TEST (test_share),
    UNIT_TEST (test_thread),
    UNIT_TEST (test_audit),
#ifdef ZRAM_FAULTS
    UNIT_TEST (test_overtaken),
    UNIT_TEST (test_others_go_on),
    UNIT_TEST (test_lanes),
    UNIT_TEST (test_drain_fails),
    UNIT_TEST (test_take_fails),
    UNIT_TEST (test_leaf_fails),
    UNIT_TEST (test_damaged),
    UNIT_TEST (test_create_fails),
#endif
  };

  return UNIT_RUN (tests);
}
