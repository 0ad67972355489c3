/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Several disks in one store.  Each reads the data that were written to it,
 * whatever passes do with all of them.  One is removed while the other is busy,
 * and results in flight for it are dropped.
 */

#include <config.h>

#include "held-backing.h"

#include "maint/batch_writer.h"
#include "maint/compactor.h"
#include "maint/drainer.h"
#include "maint/evictor.h"
#include "maint/recompressor.h"
#include "maint/writeback.h"
#include "store/query.h"

#define SLOT 4096u
#define SLOTS 600u
#define DISK (UINT64_C (1) << 40)

static struct fixture f;
static struct disk *other; /* beside f.disk */

static void
open_two (void)
{
  fixture_open (&f, SLOT, "lz4", 2, DISK);
  other = disk_create (f.store, DISK / 2);
  assert_non_null (other);
  assert_int_not_equal (other->id, f.disk->id);
}

static void
close_two (void)
{
  fixture_audit (&f);
  disk_destroy (other);
  fixture_close (&f);
}

/* Slots far apart and side by side; the same places on both disks, with other
 * data.
 */
static uint64_t
place (unsigned i)
{
  return i % 30 ? i : (uint64_t) i * 7919;
}

static void
put (struct disk *disk, unsigned i, unsigned generation)
{
  char buf[SLOT];

  held_data (buf, SLOT, disk_slot (disk, place (i)), generation);
  check_always (disk_write (disk, buf, SLOT, place (i) * SLOT) == 0);
}

static void
look (struct disk *disk, unsigned i, unsigned generation)
{
  char want[SLOT], got[SLOT];

  held_data (want, SLOT, disk_slot (disk, place (i)), generation);
  check_always (disk_read (disk, got, SLOT, place (i) * SLOT) == 0);
  check_always (memcmp (want, got, SLOT) == 0);
}

static void
put_all (struct disk *disk, unsigned generation)
{
  for (unsigned i = 0; i < SLOTS; i++)
    put (disk, i, generation);
}

static void
look_all (struct disk *disk, unsigned generation)
{
  for (unsigned i = 0; i < SLOTS; i++)
    look (disk, i, generation);
}

/* -- apart ------------------------------------------------------------- */

static void
test_apart (void **state)
{

  (void) state;
  open_two ();
  put_all (f.disk, 1);
  put_all (other, 2);
  look_all (f.disk, 1);
  look_all (other, 2);
  assert_int_equal (disk_sum (f.disk, DISK_SLOTS_STORED), SLOTS);
  assert_int_equal (disk_sum (other, DISK_SLOTS_STORED), SLOTS);
  assert_int_equal (store_sum (f.store, DISK_SLOTS_STORED), 2 * SLOTS);
  check_always (disk_discard (f.disk, 0, DISK) == 0);
  assert_int_equal (disk_sum (f.disk, DISK_SLOTS_STORED), 0);
  look_all (other, 2);
  assert_int_equal (disk_sum (other, DISK_SLOTS_STORED), SLOTS);
  close_two ();
}

/* Numbers, names in the list, and ids that come back. */
static void
test_list (void **state)
{
  struct disk *more[20], *found;

  (void) state;
  open_two ();
  for (unsigned i = 0; i < 20; i++) {
    more[i] = disk_create (f.store, SLOT);
    assert_non_null (more[i]);
    assert_int_equal (disk_id_of (disk_slot (more[i], 0)), more[i]->id);
  }
  found = store_disk (f.store, more[7]->id);
  assert_ptr_equal (found, more[7]);
  unsigned id = found->id;
  disk_destroy (more[7]); /* except for our reference */
  assert_null (store_disk (f.store, id));
  struct disk *new = disk_create (f.store, SLOT);
  assert_int_not_equal (new->id, id); /* it is not free yet */
  disk_put (found);
  more[7] = disk_create (f.store, SLOT);
  assert_int_equal (more[7]->id, id);
  disk_destroy (new);
  for (unsigned i = 0; i < 20; i++)
    disk_destroy (more[i]);
  close_two ();
}

/* -- together ----------------------------------------------------------- */

static void
test_compaction (void **state)
{
  struct compactor *c;

  (void) state;
  open_two ();
  c = compactor_create (f.store, 1, 1);
  assert_non_null (c);
  put_all (f.disk, 1);
  put_all (other, 2);
  for (unsigned i = 0; i < SLOTS; i++)
    if (i % 4) {
      check_always (
        disk_discard (i % 2 ? f.disk : other, place (i) * SLOT, SLOT) == 0);
    }
  (void) compactor_run (c);
  for (unsigned i = 0; i < SLOTS; i++) {
    if (!(i % 4) || !(i % 2))
      look (f.disk, i, 1);
    if (!(i % 4) || i % 2)
      look (other, i, 2);
  }
  compactor_destroy (c);
  close_two ();
}

static void
test_recompression (void **state)
{
  const struct codec *zstd = codec_find ("zstd");
  const struct zcomp_method method = { codec_id (zstd), 9 };
  struct recompress_request all = { .priority = 0 }, one = { 0 };
  struct pass_progress progress = { 0 };
  struct recompress_totals totals;
  struct recompressor *r;
  struct pace pace;

  (void) state;
  open_two ();
  r = recompressor_create (f.store, &method, 1);
  assert_non_null (r);
  put_all (f.disk, 1);
  put_all (other, 2);
  pace_init (&pace, f.store, NULL, 100, 100);
  one.disk = other;
  assert_int_equal (recompressor_run (r, &one, &pace, &progress, &totals), 0);
  assert_int_equal (disk_sum (f.disk, DISK_RECOMPRESSED) +
                      disk_sum (f.disk, DISK_RECOMPRESS_VAIN),
                    0);
  assert_true (totals.recompressed + totals.vain > 0);
  assert_int_equal (recompressor_run (r, &all, &pace, &progress, &totals), 0);
  assert_true (disk_sum (f.disk, DISK_RECOMPRESSED) +
                 disk_sum (f.disk, DISK_RECOMPRESS_VAIN) >
               0);
  look_all (f.disk, 1);
  look_all (other, 2);
  recompressor_destroy (r);
  close_two ();
}

static void
test_writeback (void **state)
{
  struct writeback_request all = { 0 }, one = { 0 };
  struct pass_progress progress = { 0 };
  struct writeback_totals totals;
  struct writeback wb;
  struct pace pace;

  (void) state;
  open_two ();
  (void) held_attach (&f, 4096);
  writeback_init (&wb, f.store);
  put_all (f.disk, 1);
  put_all (other, 2);
  pace_init (&pace, f.store, NULL, 100, 100);
  one.disk = other;
  assert_int_equal (writeback_run (&wb, &one, &pace, &progress, &totals), 0);
  assert_int_equal (disk_sum (f.disk, DISK_SLOTS_BACKED), 0);
  assert_int_equal (disk_sum (other, DISK_SLOTS_BACKED), totals.written.slots);
  assert_int_equal (writeback_run (&wb, &all, &pace, &progress, &totals), 0);
  assert_true (disk_sum (f.disk, DISK_SLOTS_BACKED) > 0);
  look_all (f.disk, 1);
  look_all (other, 2);
  writeback_destroy (&wb);
  close_two ();
}

/* More than fits: both are evicted from, and both read back. */
static void
test_eviction (void **state)
{
  struct evictor *e;

  (void) state;
  open_two ();
  (void) held_attach (&f, 8192);
  e = evictor_create (f.store, 70, 80);
  assert_true (e && evictor_start (e) == 0);
  fixture_limit (&f, 2 * MiB);
  for (unsigned generation = 1; generation < 4; generation++)
    for (unsigned i = 0; i < SLOTS; i++) {
      put (f.disk, i, generation);
      put (other, i, generation + 10);
    }
  assert_true (evictor_stats (e).slots > 0);
  look_all (f.disk, 3);
  look_all (other, 13);
  evictor_stop (e);
  evictor_destroy (e);
  fixture_limit (&f, 0);
  close_two ();
}

static void
test_write_buffer (void **state)
{
  const atomic_bool never = false;
  struct pace pace;

  (void) state;
  open_two ();
  assert_int_equal (buffer_set_size (&f.store->buffer, 16 * MiB), 0);
  put_all (f.disk, 1);
  put_all (other, 2);
  assert_true (disk_sum (other, DISK_SLOTS_BUFFERED) > 0);
  put_all (other, 3);
  pace_init (&pace, f.store, NULL, 100, 100);
  drainer_empty (f.store, &pace, &never);
  assert_int_equal (buffer_used (&f.store->buffer), 0);
  assert_int_equal (disk_sum (f.disk, DISK_DRAINED),
                    disk_sum (other, DISK_DRAINED));
  look_all (f.disk, 1);
  look_all (other, 3);
  close_two ();
}

/* -- one goes ----------------------------------------------------------- */

/* Records of the disk are on their way to the store, and a read of one sleeps
 * there, when it goes: the blocks become free, and no slot of another disk gets
 * them.
 */
static void
test_removed_meanwhile (void **state)
{
  struct batch_writer *w;
  struct held *store;

  (void) state;
  open_two ();
  store = held_attach (&f, 4096);
  put_all (f.disk, 1);
  put_all (other, 2);
  w = batch_writer_create (f.store);
  assert_non_null (w);
  held_hold (store, true, false, false);
  for (unsigned i = 0; i < 50; i++) {
    uint32_t meta = slot_load_meta (slot_table_peek (&other->table, place (i)));

    assert_int_equal (batch_writer_put (w, other, place (i), meta), PUT_DONE);
    assert_int_equal (held_put (&f, w, place (i)), PUT_DONE);
  }
  batch_writer_flush (w);
  disk_destroy (other);
  /* With the old one's id and places, and none of its data. */
  other = disk_create (f.store, DISK / 2);
  assert_non_null (other);
  put_all (other, 9);
  held_release (store);
  batch_writer_drain (w);
  assert_true (batch_writer_totals (w).lost >= 50);
  look_all (other, 9);
  look_all (f.disk, 1);
  batch_writer_destroy (w);
  close_two ();
}

/* A walk is in the disk. */
static void
test_removed_under_a_walk (void **state)
{
  struct slot_walk w;
  unsigned n = 0;

  (void) state;
  open_two ();
  put_all (f.disk, 1);
  put_all (other, 2);
  slot_walk_from (&w, f.store, disk_slot (other, 0));
  while (slot_walk_next (&w))
    if (++n == 10) {
      assert_ptr_equal (w.disk, other);
      disk_destroy (other);
      other = disk_create (f.store, DISK / 2);
      assert_int_not_equal (other->id, w.disk->id);
    }
  slot_walk_end (&w);
  assert_int_equal (n, 10);
  look_all (f.disk, 1);
  close_two ();
}

/* -- many come and go, while one is busy --------------------------------- */

static atomic_bool stop;

static void *
be_busy (void *arg)
{
  struct unit_rng rng = unit_rng (3);
  unsigned generation[SLOTS];

  (void) arg;
  for (unsigned i = 0; i < SLOTS; i++)
    put (f.disk, i, generation[i] = 1);
  while (!atomic_load (&stop)) {
    unsigned i = unit_below (&rng, SLOTS);

    look (f.disk, i, generation[i]);
    put (f.disk, i, ++generation[i]);
  }
  for (unsigned i = 0; i < SLOTS; i++)
    look (f.disk, i, generation[i]);
  return NULL;
}

static void *
compact (void *arg)
{
  while (!atomic_load (&stop))
    (void) compactor_run (arg);
  return NULL;
}

static void *
walk (void *arg)
{
  (void) arg;
  while (!atomic_load (&stop)) {
    struct slot_walk w;

    slot_walk_all (&w, f.store);
    while (!atomic_load (&stop) && slot_walk_next (&w))
      check_always (w.index < w.disk->table.slots);
    slot_walk_end (&w);
  }
  return NULL;
}

static void
test_come_and_go (void **state)
{
  struct unit_thread busy, compactor, walker;
  struct compactor *c;
  struct evictor *e;

  (void) state;
  fixture_open (&f, SLOT, "lz4", 2, DISK);
  (void) held_attach (&f, 8192);
  fixture_limit (&f, 2 * MiB);
  c = compactor_create (f.store, 1, 1);
  e = evictor_create (f.store, 60, 70);
  assert_true (c && e && evictor_start (e) == 0);
  assert_int_equal (buffer_set_size (&f.store->buffer, MiB), 0);
  atomic_store (&stop, false);
  unit_start (&busy, be_busy, NULL);
  unit_start (&compactor, compact, c);
  unit_start (&walker, walk, NULL);
  for (unsigned round = 0; round < UNIT_TIMES (60) + 3; round++) {
    other = disk_create (f.store, DISK / 2);
    assert_non_null (other);
    for (unsigned i = 0; i < SLOTS; i += 2)
      put (other, i, round);
    for (unsigned i = 0; i < SLOTS; i += 2)
      look (other, i, round);
    disk_destroy (other);
  }
  atomic_store (&stop, true);
  unit_join (&busy);
  unit_join (&compactor);
  unit_join (&walker);
  evictor_stop (e);
  evictor_destroy (e);
  compactor_destroy (c);
  fixture_limit (&f, 0);
  assert_int_equal (store_sum (f.store, DISK_SLOTS_STORED), SLOTS);
  fixture_close (&f);
}

int
main (void)
{
  static const struct CMUnitTest tests[] = {
    UNIT_TEST (test_apart),
    UNIT_TEST (test_list),
    UNIT_TEST (test_compaction),
    UNIT_TEST (test_recompression),
    UNIT_TEST (test_writeback),
    UNIT_TEST (test_eviction),
    UNIT_TEST (test_write_buffer),
    UNIT_TEST (test_removed_meanwhile),
    UNIT_TEST (test_removed_under_a_walk),
    UNIT_TEST (test_come_and_go),
  };

  return UNIT_RUN (tests);
}
