/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The reserve for swap: while it lasts, writes make nothing resident that was
 * not; it is filled again, stays when memory is given back, and never stands
 * between the data and the limit.
 */

#include <config.h>

#include "maint/compactor.h"
#include "maint/refill.h"
#include "mem/z3fold.h"
#include "mem/zs_internal.h"
#include "store-fixture.h"

#define KEEP (16 * MiB) /* the default */
#define SIZE (UINT64_C (1) << 40)
#define SLOT 4096u

static struct fixture f;
static struct refill refill;
static struct unit_rng rng;

/* With the reserve full, and no thread to fill it again. */
static void
open_with (const char *allocator, uint64_t keep, uint64_t limit)
{
  struct store_config config = fixture_config (SLOT, codec_named ("lz4"), 1,
                                               SIZE);

  config.allocator = allocator;
  config.keep_ready = keep;
  config.mem_limit = limit;
  f.slot_size = SLOT;
  f.store = store_create (&config);
  check_always (f.store);
  f.disk = disk_create (f.store, SIZE);
  check_always (f.disk);
  check_always (store_start (f.store) == 0);
  refill_init (&refill, f.store);
  check_always (refill_start (&refill) == 0);
  refill_stop (&refill);
  rng = unit_rng (1);
}

static void
close_it (void)
{
  refill_destroy (&refill);
  pool_keep (f.store->pool, 0);
  fixture_close (&f);
}

static uint64_t
kept (void)
{
  return pool_kept (f.store->pool);
}

static uint64_t
all_of (const struct reserve *r)
{
  return reserve_resident (r, r->committed);
}

/* Bytes of all that a write may touch first. */
static uint64_t
resident (void)
{
  struct leaves *l = &f.store->leaves;
  struct zs_pool *zs = (struct zs_pool *) f.store->pool;
  struct z3_pool *z3 = (struct z3_pool *) f.store->pool;
  uint64_t table = all_of (&l->leaves) + all_of (&l->live) +
                   all_of (&l->links) + all_of (&l->places) +
                   all_of (&l->nodes) + all_of (&l->infos);

  if (strcmp (pool_name (f.store->pool), "z3fold") == 0)
    return table + all_of (&z3->memory) + all_of (&z3->pages) +
           all_of (&z3->cold);
  return table + all_of (&zs->arena.memory) + all_of (&zs->arena.zspages) +
         all_of (&zs->arena.cold_map) + all_of (&zs->arena.besides);
}

static void
write_kinds (uint64_t offset, uint64_t len, enum kind kind)
{
  char buf[SLOT];

  for (uint64_t at = 0; at < len; at += SLOT) {
    fill_kind (buf, SLOT, kind, &rng);
    must_write (&f, buf, SLOT, offset + at);
    must_hold (&f, buf, SLOT, offset + at);
  }
}

/* ------------------------------------------------------------------------ */

static void
check_writes (const char *allocator)
{
  uint64_t before;

  open_with (allocator, KEEP, 0);
  assert_true (kept () >= KEEP);
  fixture_audit (&f);

  before = resident ();
  write_kinds (0, 2 * MiB, KIND_RANDOM);
  assert_true (resident () <= before);
  assert_true (kept () < KEEP);
  fixture_audit (&f);

  /* As much again, filled in between: of other sizes, far away. */
  check_always (refill_start (&refill) == 0);
  refill_stop (&refill);
  assert_true (kept () >= KEEP);
  before = resident ();
  write_kinds (SIZE / 2, MiB, KIND_TEXT);
  write_kinds (SIZE / 2 + MiB, MiB / 2, KIND_MIXED);
  assert_true (resident () <= before);
  fixture_audit (&f);
  close_it ();
}

static void
test_writes_zsmalloc (void **state)
{
  (void) state;
  check_writes ("zsmalloc");
}

static void
test_writes_z3fold (void **state)
{
  (void) state;
  check_writes ("z3fold");
}

/* What the test above rests on: without a reserve there is something to see. */
static void
test_none (void **state)
{
  uint64_t before;

  (void) state;
  open_with ("zsmalloc", 0, 0);
  assert_int_equal (kept (), 0);
  before = resident ();
  write_kinds (0, 2 * MiB, KIND_RANDOM);
  assert_true (resident () >= before + 2 * MiB);
  close_it ();
}

/* With nothing left of it, a new zspage gets all of its pages at once: later,
 * when there is a reserve again, it need not grow.
 */
static void
test_whole_zspages (void **state)
{
  char buf[SLOT];
  uint64_t n = 0;

  (void) state;
  open_with ("zsmalloc", 256 * KiB, 0);
  for (; kept () > 0; n++) {
    fill_kind (buf, SLOT, KIND_RANDOM, &rng);
    must_write (&f, buf, SLOT, n * SLOT);
  }
  fill_kind (buf, SLOT, KIND_TEXT, &rng);
  for (unsigned i = 0; i < 200; i++) {
    uint64_t spans = pool_spread (f.store->pool).used, before = resident ();

    must_write (&f, buf, SLOT, (n + i) * SLOT);
    if (pool_spread (f.store->pool).used == spans)
      assert_true (resident () <= before);
  }
  close_it ();
}

/* ------------------------------------------------------------------------
 * It is filled with the sizes that were asked for, so that little is wasted:
 * the same kind of data takes no more from it than what it needs.
 */

static void
test_demand (void **state)
{
  uint64_t before, used;

  (void) state;
  open_with ("zsmalloc", KEEP, 0);
  for (unsigned i = 0; i < 16; i++) {
    write_kinds (i * 2 * MiB, 2 * MiB, KIND_TEXT);
    check_always (refill_start (&refill) == 0);
    refill_stop (&refill);
  }
  before = kept ();
  used = fixture_used (&f);
  write_kinds (32 * MiB, 2 * MiB, KIND_TEXT);
  /* Data and reserve together are as much as before: nothing went to the
   * system. Half of the data is noise.
   */
  assert_true (fixture_used (&f) + 64 * KiB >= used);
  assert_in_range (before - kept (), MiB, 2 * MiB);
  close_it ();
}

/* ------------------------------------------------------------------------ */

static void
check_limit (const char *allocator)
{
  const uint64_t limit = 16 * MiB;
  char buf[SLOT];
  uint64_t n = 0;

  open_with (allocator, 4 * MiB, limit);
  assert_true (kept () >= 4 * MiB);
  for (;; n++) {
    fill_kind (buf, SLOT, KIND_RANDOM, &rng);
    if (disk_write (f.disk, buf, SLOT, n * SLOT) == -1)
      break;
    if (n % 64 == 0) /* as the thread would, again and again */
      while (pool_fill (f.store->pool))
        ;
  }
  assert_int_equal (errno, ENOSPC);
  /* All but the table and less than a span of each size is data. */
  assert_true (n * SLOT >= limit - limit / 16);
  assert_false (pool_fill (f.store->pool));
  fixture_audit (&f);

  must_discard (&f, 0, n / 2 * SLOT);
  while (pool_fill (f.store->pool))
    ;
  assert_true (kept () >= 4 * MiB);
  close_it ();
}

static void
test_limit (void **state)
{
  (void) state;
  check_limit ("zsmalloc");
  check_limit ("z3fold");
}

/* ------------------------------------------------------------------------ */

static void
check_give_back (const char *allocator)
{
  struct compactor *compactor;
  uint64_t before;

  open_with (allocator, KEEP, 0);
  write_kinds (0, 16 * MiB, KIND_RANDOM);
  must_discard (&f, 0, 16 * MiB);
  pool_give_back (f.store->pool);
  assert_true (kept () >= KEEP - 128 * KiB && kept () <= KEEP + 128 * KiB);

  /* A pass by itself neither takes leaves nor believes that it should. */
  compactor = compactor_create (f.store, 1, 0);
  check_always (compactor);
  before = leaves_empty (&f.store->leaves);
  assert_int_equal (before, 16);
  assert_int_equal (compactor_run (compactor).leaves_freed, 0);
  assert_int_equal (leaves_empty (&f.store->leaves), before);
  assert_int_equal (pool_freeable_pages (f.store->pool), 0);
  compactor_destroy (compactor);
  close_it ();
}

static void
test_give_back (void **state)
{
  (void) state;
  check_give_back ("zsmalloc");
  check_give_back ("z3fold");
}

/* A few objects in each of many classes: nothing there could be freed. */
static void
test_not_freeable (void **state)
{
  (void) state;
  open_with ("zsmalloc", KEEP, 0);
  write_kinds (0, MiB, KIND_MIXED);
  assert_int_equal (pool_freeable_pages (f.store->pool), 0);
  close_it ();
}

/* ------------------------------------------------------------------------
 * How much is kept, where it is more than 32 bits can say.
 */

static void
set_hot_pages (uint64_t pages) NO_THREAD_SAFETY_ANALYSIS
{
  struct pool *pool = f.store->pool;

  if (strcmp (pool_name (pool), "z3fold") == 0)
    ((struct z3_pool *) pool)->hot_pages = (uint32_t) pages;
  else
    ((struct zs_pool *) pool)->arena.hot_pages = pages;
}

static void
check_large (const char *allocator)
{
  static const uint64_t sizes[] = { 4096 * MiB - SLOT, 4096 * MiB, 5120 * MiB,
                                    UINT64_C (1) << 40 };
  uint64_t before;

  open_with (allocator, 0, 0);
  before = kept () / SLOT;
  for (unsigned i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
    set_hot_pages (sizes[i] / SLOT);
    assert_int_equal (kept (), sizes[i]);
  }
  set_hot_pages (before);

  /* Asked for as much as that it goes on, and stops where memory does. */
  pool_keep (f.store->pool, UINT64_C (5) << 30);
  fixture_limit (&f, fixture_used (&f) + 4 * MiB);
  while (pool_fill (f.store->pool))
    ;
  assert_in_range (kept (), 2 * MiB, 4 * MiB);
  close_it ();
}

static void
test_large (void **state)
{
  (void) state;
  check_large ("zsmalloc");
  check_large ("z3fold");
}

/* ------------------------------------------------------------------------
 * The thread, while writers write.
 */

static void
test_thread (void **state)
{
  (void) state;
  open_with (pool_allocator (0), KEEP, 0);
  check_always (refill_start (&refill) == 0);
  for (unsigned round = 0; round < 4; round++) {
    write_kinds (0, 4 * MiB, KIND_RANDOM);
    must_discard (&f, 0, 3 * MiB);
    write_kinds (64 * MiB * round, 2 * MiB, KIND_TEXT);
  }
  while (kept () < KEEP) /* the watchdog ends it */
    sched_yield ();
  refill_stop (&refill);
  close_it ();
}

int
main (void)
{
  static const struct CMUnitTest tests[] = {
    UNIT_TEST (test_writes_zsmalloc),
    UNIT_TEST (test_writes_z3fold),
    UNIT_TEST (test_none),
    UNIT_TEST (test_whole_zspages),
    UNIT_TEST (test_demand),
    UNIT_TEST (test_limit),
    UNIT_TEST (test_give_back),
    UNIT_TEST (test_not_freeable),
    UNIT_TEST (test_large),
    UNIT_TEST (test_thread),
  };

  return UNIT_RUN (tests);
}
