/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What memory is left after overwriting, discarding and compacting: little
 * more than what is stored, and nothing for nothing.
 */

#include <config.h>

#include "compact-fixture.h"

#if UNIT_SCALE > 1
#define LARGE 6000u
#else
#define LARGE 24000u
#endif

static uint64_t
resident (void)
{
  uint64_t top = pool_spread (f.store->pool).top;
  uint64_t leaves = reserve_resident (&f.store->leaves.leaves,
                                      f.store->leaves.top * UINT64_C (4096));

  if (fixture_is_zsmalloc ()) {
    struct arena *a = &fixture_zs (&f)->arena;

    return leaves + reserve_resident (&a->memory, top * a->span_size);
  }
  /* Its descriptors are charged by the page. */
  struct z3_pool *z3 = fixture_z3 (&f);
  return leaves + reserve_resident (&z3->memory, top * z3->page_size) +
         reserve_resident (&z3->pages, z3->pages.reserved);
}

/* What is charged is in RAM, and what is in RAM is charged, within 2 %.  (A
 * page ahead in each class may not have been touched, where the kernel
 * cannot be asked to.)
 */
static void
check_charged (void)
{
  uint64_t ahead = pool_class_count (f.store->pool) * MEM_PAGE;
  uint64_t used = fixture_used (&f) -
                  f.store->leaves.node_count * UINT64_C (4096);
  uint64_t in_ram = resident ();

  if (in_ram > used || in_ram + used / 50 + ahead < used)
    fail_msg ("charged %" PRIu64 ", resident %" PRIu64, used, in_ram);
}

static uint64_t
process_rss (void)
{
  FILE *fp = fopen ("/proc/self/statm", "r");
  unsigned long size, pages;

  assert_non_null (fp);
  assert_int_equal (fscanf (fp, "%lu %lu", &size, &pages), 2);
  fclose (fp);
  return (uint64_t) pages * (uint64_t) sysconf (_SC_PAGESIZE);
}

static void
test_discard_everything (void **state)
{
  (void) state;
  open_disk (LARGE, 2, 1);
  fill (0, 100, true);
  must_discard (&f, 0, 100 * SLOT);
  uint64_t rss = process_rss ();
  for (unsigned round = 0; round < 3; round++) {
    fill (0, LARGE, true);
    check_charged ();
    if (round == 0)
      must_discard (&f, 0, (uint64_t) LARGE * SLOT);
    else
      thin_out (LARGE, UINT32_MAX);
    must_discard (&f, 0, (uint64_t) LARGE * SLOT);
    (void) compactor_run (compactor);
    pool_give_back (f.store->pool);
    fixture_check_empty (&f);
    assert_int_equal (resident (), 0);
    assert_int_equal (pool_spread (f.store->pool).top, 0);
    assert_int_equal (f.store->leaves.leaf_count, 0);
#if UNIT_SCALE == 1
    /* All of the process: generous, for the C library keeps some. */
    assert_true (process_rss () < rss + rss / 20 + 2 * MiB);
#endif
  }
  (void) rss;
  close_device ();
}

/* It comes to rest by itself, at what an empty disk costs. */
static void
test_rests (void **state)
{
  (void) state;
  open_disk (LARGE, 2, 1);
  assert_int_equal (compactor_start (compactor), 0);
  fill (0, LARGE, true);
  thin_out (LARGE, UINT32_MAX);
  must_discard (&f, 0, (uint64_t) LARGE * SLOT);
  while (fixture_used (&f) > f.store->leaves.node_count * 4096)
    unit_sleep_ms (1);
  compactor_stop (compactor);
  fixture_check_empty (&f);
  assert_int_equal (kept (), 0);
  close_device ();
}

/* Overwritten at random, then half discarded: little more memory than is
 * stored.  (Of 4 KiB slots of random sizes.)  z3fold has at most three objects
 * a page, and moves none to another: it is bounded too, if not as tightly.
 */
static void
test_little_waste (void **state)
{
  struct unit_rng rng = unit_rng (7);
  bool dense = fixture_is_zsmalloc ();
  char buf[SLOT];

  (void) state;
  open_disk (LARGE, 2, 1);
  fill (0, LARGE, false);
  for (unsigned i = 0; i < 2 * LARGE; i++) {
    unsigned at = unit_below (&rng, LARGE);

    fill_kind (buf, SLOT, i % 3 ? KIND_TEXT : KIND_RANDOM, &rng);
    must_write (&f, buf, SLOT, (uint64_t) at * SLOT);
  }
  (void) compactor_run (compactor);
  pool_give_back (f.store->pool);
  uint64_t stored = (uint64_t) fixture_count (&f, DISK_COMPR_BYTES);
  assert_true (fixture_used (&f) < stored + stored / (dense ? 20 : 2));
  check_charged ();
  thin_out (LARGE, 2);
  (void) compactor_run (compactor);
  pool_give_back (f.store->pool);
  stored = (uint64_t) fixture_count (&f, DISK_COMPR_BYTES);
  assert_true (fixture_used (&f) < stored + stored / (dense ? 10 : 1));
  check_charged ();
  close_device ();
}

/* A tenth is left, all over the arena: its end comes down to what is used,
 * and every slot reads as before.
 */
static void
test_migration (void **state)
{
  (void) state;
  fixture_only ("zsmalloc", "objects of z3fold stay in their page");
  open_disk (LARGE, 2, 1);
  fill (0, LARGE, false);
  uint32_t top = arena ().top;
  assert_true (top > 64);
  thin_out (LARGE, 10);
  struct compactor_result r = compactor_run (compactor);
  assert_true (r.zspages_migrated > 0);
  assert_true (arena ().top < top / 4);
  assert_true (arena ().top <= 2 * arena ().used_spans);
  check_thinned (LARGE, 10, false);
  check_charged ();
  close_device ();
}

int
main (void)
{
  static const struct CMUnitTest tests[] = {
    UNIT_TEST (test_discard_everything),
    UNIT_TEST (test_rests),
    UNIT_TEST (test_little_waste),
    UNIT_TEST (test_migration),
  };

  return UNIT_RUN (tests);
}
