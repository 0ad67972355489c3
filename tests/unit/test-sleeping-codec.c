/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A codec that sleeps, in compress or in decompress, for as long as a test
 * wants: nothing but its own slot and stream waits.  That others do not wait
 * shows in that this ends; that somebody waits, in that the thread sleeps.
 */

#include <config.h>

#include "maint/compactor.h"
#include "sized-codec.h"

#ifdef ZRAM_FAULTS

#define SLOT 4096u
#define SLOTS 4096u
#define STANDS 222 /* the seed of data that the codec stands still with */
#define SIZE 1000

static struct fixture f;
static char old_data[SLOT], new_data[SLOT]; /* of the slot in question */

/* What slot i holds if it is none of those in question. */
static void
common (char *buf, unsigned i)
{
  sized_slot (buf, SLOT, 100 + i % 3000, (uint8_t) (i % 200));
}

static void
open_disk (unsigned workers)
{
  char data[SLOT];

  sized_open (&f, SLOT, workers, SLOTS * SLOT);
  for (unsigned i = 0; i < 40; i++) {
    common (data, i);
    must_write (&f, data, SLOT, i * SLOT);
  }
  sized_slot (old_data, SLOT, SIZE, STANDS);
  sized_slot (new_data, SLOT, SIZE, 201);
}

/* Everything that can be asked of the other slots. */
static void
use_others (void)
{
  char data[SLOT], got[SLOT];

  for (unsigned i = 10; i < 40; i++) {
    common (data, i);
    must_hold (&f, data, SLOT, i * SLOT);
    must_hold (&f, data + 100, 7, i * SLOT + 100);
    must_write (&f, "part", 4, i * SLOT + 1000);
    must_read (&f, got, SLOT, i * SLOT);
    assert_memory_equal (got + 1000, "part", 4);
    must_discard (&f, i * SLOT, SLOT);
    must_hold (&f, NULL, SLOT, i * SLOT);
    must_write (&f, data, SLOT, i * SLOT);
  }
}

static int
ignore (void *ctx, uint64_t offset, uint64_t length, enum extent_type type)
{
  (void) ctx;
  (void) offset;
  (void) length;
  (void) type;
  return 0;
}

/* What takes no slot lock, also of the slot in question. */
static void
look (void)
{
  assert_int_equal (disk_extents (f.disk, 0, SLOTS * SLOT, false, ignore, NULL),
                    0);
  assert_true (disk_sum (f.disk, DISK_OBJECTS) > 0);
}

/* -- one request, in a thread -------------------------------------------- */

enum request { READ, WRITE, WRITE_PART, DISCARD, WORKERS_1 };

struct asked {
  struct unit_thread thread;
  enum request what;
  unsigned slot;
  const char *data; /* to be read or written */
  atomic_bool done;
};

static void *
serve (void *arg)
{
  struct asked *a = arg;
  uint64_t at = a->slot * (uint64_t) SLOT;

  switch (a->what) {
  case READ:
    must_hold (&f, a->data, SLOT, at);
    break;
  case WRITE:
    must_write (&f, a->data, SLOT, at);
    break;
  case WRITE_PART:
    must_write (&f, a->data, 1, at + 3000);
    break;
  case DISCARD:
    must_discard (&f, at, SLOT);
    break;
  case WORKERS_1:
    check_always (store_set_workers (f.store, 1) == 0);
  }
  atomic_store (&a->done, true);
  return NULL;
}

static void
ask (struct asked *a, enum request what, unsigned slot, const char *data)
{
  a->what = what;
  a->slot = slot;
  a->data = data;
  atomic_init (&a->done, false);
  unit_start (&a->thread, serve, a);
}

/* It sleeps, so it waits for something. */
static void
expect_waiting (struct asked *a)
{
  unit_wait_asleep (&a->thread);
  assert_false (atomic_load (&a->done));
}

static void
finish (struct asked *a)
{
  unit_join (&a->thread);
  assert_true (atomic_load (&a->done));
}

static void
wait_inside (unsigned n)
{
  while (atomic_load (&sized_inside) < n)
    sched_yield ();
}

/* -- asleep in decompress ------------------------------------------------ */

/* Two readers stand in one slot.  The zspage that they are in stays where it
 * is, and compaction gets to its end; who wants to write the slot waits.
 */
static void
test_reading (void **state)
{
  struct asked readers[2], writer, discarder;
  struct compactor *c;
  char data[SLOT];

  (void) state;
  open_disk (4);
  must_write (&f, old_data, SLOT, 0);
  c = compactor_create (f.store, 1, 1);
  assert_non_null (c);
  atomic_store (&sized_stand, STANDS);
  fault_hold ("test.decompress");
  ask (&readers[0], READ, 0, old_data);
  ask (&readers[1], READ, 0, old_data);
  wait_inside (2);
  use_others ();
  look ();

  /* Neighbours in the zspage come and go, it is compacted around them. */
  for (unsigned i = 100; i < 400; i++) {
    sized_slot (data, SLOT, SIZE, (uint8_t) (i % 200));
    must_write (&f, data, SLOT, i * SLOT);
  }
  for (unsigned i = 100; i < 400; i++)
    if (i % 8)
      must_discard (&f, i * SLOT, SLOT);
  struct compactor_result r = compactor_run (c);
  if (fixture_is_zsmalloc ())
    assert_true (r.pages_freed > 0 && r.objects_moved > 0);
  else
    assert_true (counter_sum (&f.store->pool->counters, POOL_OBJECTS_MOVED) >
                 0);
  for (unsigned i = 104; i < 400; i += 8) {
    sized_slot (data, SLOT, SIZE, (uint8_t) (i % 200));
    must_hold (&f, data, SLOT, i * SLOT);
  }

  ask (&writer, WRITE, 0, new_data);
  expect_waiting (&writer);
  use_others ();
  fault_release ("test.decompress");
  finish (&readers[0]);
  finish (&readers[1]);
  finish (&writer);
  must_hold (&f, new_data, SLOT, 0);

  /* The same with a discard. */
  must_write (&f, old_data, SLOT, 0);
  fault_hold ("test.decompress");
  ask (&readers[0], READ, 0, old_data);
  wait_inside (1);
  ask (&discarder, DISCARD, 0, NULL);
  expect_waiting (&discarder);
  look ();
  use_others ();
  fault_release ("test.decompress");
  finish (&readers[0]);
  finish (&discarder);
  must_hold (&f, NULL, SLOT, 0);
  compactor_destroy (c);
  sized_close (&f);
}

/* Every zspage has a reader parked inside: compaction finds nothing to do and
 * says so; it does not wait.
 */
static void
test_all_parked (void **state)
{
  enum { N = 8 }; /* readers, each with a stream */
  struct asked readers[N];
  struct compactor *c;

  (void) state;
  fixture_only ("zsmalloc", "a pin in z3fold keeps an object, not its page");
  open_disk (N + 1);
  for (unsigned i = 0; i < 300; i++)
    must_write (&f, old_data, SLOT, (100 + i) * SLOT);
  uint32_t objs = fixture_zs (&f)
                    ->classes.g[size_class_of (&fixture_zs (&f)->classes, SIZE)]
                    .objs;
  assert_true (300 / objs + 1 <= N);
  /* Of each zspage one is left, and read. */
  for (unsigned i = 0; i < 300; i++)
    if (i % objs != objs / 2)
      must_discard (&f, (100 + i) * SLOT, SLOT);
  atomic_store (&sized_stand, STANDS);
  fault_hold ("test.decompress");
  unsigned n = 0;
  for (unsigned i = objs / 2; i < 300; i += objs)
    ask (&readers[n++], READ, 100 + i, old_data);
  wait_inside (n);

  c = compactor_create (f.store, 1, 1);
  assert_non_null (c);
  int64_t skips = counter_sum (&f.store->pool->counters, POOL_MOVER_SKIPS);
  assert_int_equal (compactor_run (c).objects_moved, 0);
  assert_true (counter_sum (&f.store->pool->counters, POOL_MOVER_SKIPS) >
               skips);
  fault_release ("test.decompress");
  for (unsigned i = 0; i < n; i++)
    finish (&readers[i]);
  assert_true (compactor_run (c).objects_moved > 0);
  compactor_destroy (c);
  sized_close (&f);
}

/* A part-write that stands while it reads the old data holds its slot: both
 * readers and writers of it wait, and then see both parts.
 */
static void
test_merging (void **state)
{
  struct asked writer, reader, other;
  char merged[SLOT];

  (void) state;
  open_disk (4);
  must_write (&f, old_data, SLOT, 0);
  memcpy (merged, old_data, SLOT);
  merged[3000] = 'm';
  atomic_store (&sized_stand, STANDS);
  fault_hold ("test.decompress");
  ask (&writer, WRITE_PART, 0, "m");
  wait_inside (1);
  ask (&reader, READ, 0, merged);
  expect_waiting (&reader);
  ask (&other, WRITE_PART, 1, "m"); /* another slot, not held up */
  finish (&other);
  use_others ();
  look ();
  fault_release ("test.decompress");
  finish (&writer);
  finish (&reader);
  must_hold (&f, merged, SLOT, 0);
  sized_close (&f);
}

/* -- asleep in compress -------------------------------------------------- */

/* Compressing a whole slot needs no lock on it: until it is done everybody
 * reads, writes and discards the slot as if nothing was under way.
 */
static void
test_writing (void **state)
{
  struct asked writer;

  (void) state;
  open_disk (2);
  atomic_store (&sized_stand, STANDS);
  fault_hold ("test.compress");
  ask (&writer, WRITE, 0, old_data);
  wait_inside (1);
  for (unsigned i = 0; i < 10; i++) {
    must_write (&f, new_data, SLOT, 0);
    must_hold (&f, new_data, SLOT, 0);
    must_write (&f, "m", 1, 3000);
    must_discard (&f, 0, SLOT);
    must_hold (&f, NULL, SLOT, 0);
  }
  use_others ();
  look ();
  must_write (&f, new_data, SLOT, 0);
  fault_release ("test.compress");
  finish (&writer);
  must_hold (&f, old_data, SLOT, 0);
  sized_close (&f);
}

/* -- no stream left ------------------------------------------------------ */

/* All streams stand.  What needs none goes on; what needs one waits, and is
 * served when one comes back.
 */
static void
test_all_standing (void **state)
{
  static const char zeroes[SLOT];
  struct asked standing[3], waiting[6];
  struct unit_rng rng = unit_rng (1);
  char random[SLOT];

  (void) state;
  open_disk (3);
  fill_kind (random, SLOT, KIND_RANDOM, &rng);
  must_write (&f, random, SLOT, 50 * SLOT); /* stored raw */
  must_write (&f, old_data, SLOT, 1 * SLOT);
  atomic_store (&sized_stand, STANDS);
  fault_hold ("test.compress");
  fault_hold ("test.decompress");
  ask (&standing[0], WRITE, 0, old_data);
  ask (&standing[1], READ, 1, old_data);
  ask (&standing[2], WRITE, 2, old_data);
  wait_inside (3);
  for (unsigned i = 0; i < 6; i++) {
    ask (&waiting[i], i % 2 ? WRITE_PART : WRITE, 3 + i, i % 2 ? "m" : random);
    expect_waiting (&waiting[i]);
  }

  for (unsigned i = 0; i < 20; i++) {
    must_write (&f, zeroes, SLOT, 60 * SLOT);
    must_hold (&f, NULL, SLOT, 60 * SLOT);
    must_hold (&f, NULL, SLOT, 70 * SLOT);
    must_hold (&f, random, SLOT, 50 * SLOT);
    must_hold (&f, random + 9, 99, 50 * SLOT + 9);
    must_discard (&f, 60 * SLOT, SLOT);
    look ();
  }
  for (unsigned i = 0; i < 6; i++)
    assert_false (atomic_load (&waiting[i].done));
  /* One stream back is enough for all of them. */
  fault_release ("test.decompress");
  finish (&standing[1]);
  for (unsigned i = 0; i < 6; i++)
    finish (&waiting[i]);
  use_others ();
  fault_release ("test.compress");
  finish (&standing[0]);
  finish (&standing[2]);
  sized_close (&f);
}

/* Streams are taken away: that of a sleeper when it wakes up, and till then
 * nobody waits but who takes it away.
 */
static void
test_fewer_streams (void **state)
{
  struct asked standing[3], fewer;

  (void) state;
  open_disk (4);
  atomic_store (&sized_stand, STANDS);
  fault_hold ("test.compress");
  for (unsigned i = 0; i < 3; i++)
    ask (&standing[i], WRITE, i, old_data);
  wait_inside (3);
  ask (&fewer, WORKERS_1, 0, NULL);
  expect_waiting (&fewer);
  look ();
  fault_release ("test.compress");
  for (unsigned i = 0; i < 3; i++)
    finish (&standing[i]);
  finish (&fewer);
  assert_int_equal (zcomp_workers (f.store->zcomp), 1);
  for (unsigned i = 0; i < 3; i++)
    must_hold (&f, old_data, SLOT, i * SLOT);
  use_others ();
  sized_close (&f);
}

/* A request inside the codec keeps the store from closing, until it is
 * through.
 */
static void
test_close_waits (void **state)
{
  struct asked standing;
  char c;

  (void) state;
  open_disk (2);
  atomic_store (&sized_stand, STANDS);
  fault_hold ("test.compress");
  ask (&standing, WRITE, 0, old_data);
  wait_inside (1);
  assert_false (store_freeze (f.store, 2));
  assert_false (store_close (f.store, 2));
  errno = 0;
  assert_int_equal (disk_read (f.disk, &c, 1, 0), -1);
  assert_int_equal (errno, ESHUTDOWN);
  fault_release ("test.compress");
  finish (&standing);
  assert_true (store_close (f.store, 1000));
  sized_close (&f);
}

int
main (void)
{
  static const struct CMUnitTest tests[] = {
    UNIT_TEST (test_reading),      UNIT_TEST (test_all_parked),
    UNIT_TEST (test_merging),      UNIT_TEST (test_writing),
    UNIT_TEST (test_all_standing), UNIT_TEST (test_fewer_streams),
    UNIT_TEST (test_close_waits),
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
