/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * zsmalloc on one thread: against a model, at the limit of its budget, and
 * with every request for memory failing in turn.
 */

#include <config.h>

#include <malloc.h>

#include "zs-fixture.h"

/* ------------------------------------------------------------------------
 * One object.
 */

static void
check_size (struct fixture *f, uint32_t size)
{
  struct item it = { 0 };
  uint64_t handle, in_transit;
  void *mem, *pinned;

  in_transit = pool_alloc (f->any, size, &mem);
  assert_true (in_transit & ZS_HANDLE_TAG);
  assert_int_equal ((uintptr_t) mem % 16, 0);
  write_bytes (mem, size, size);
  atomic_store (&it.cell, in_transit);
  it.size = size;
  it.tag = size;
  assert_false (pool_is_attached (f->any, in_transit, &it.cell));
  pool_attach (f->any, in_transit, &it.cell);

  pinned = pool_pin (f->any, &it.cell, &handle);
  assert_ptr_equal (pinned, mem);
  assert_int_equal (handle, in_transit);
  pool_unpin (f->any, handle);
  item_check (f->any, &it);
  fixture_audit (f, &it, 1);

  item_set_value (f->any, &it, UINT64_C (0x123456789abcdef0));
  assert_int_equal (atomic_load (&it.cell), UINT64_C (0x123456789abcdef0));
  fixture_audit (f, &it, 1);
}

static void
test_sizes (void **state)
{
  struct fixture f;

  (void) state;
  for (uint32_t slot = 4096; slot <= 65536; slot *= 2) {
    fixture_open (&f, slot, 0);
    const struct size_classes *sc = &f.pool->classes;
    uint32_t largest = size_class_largest (sc);
    uint32_t sizes[] = {
      1,           7,       8,           sc->step - 1, sc->step, sc->step + 1,
      largest - 1, largest, largest + 1, slot - 1,     slot
    };

    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
      check_size (&f, sizes[i]);
    for (unsigned c = 0; c < sc->n; c++)
      check_size (&f, sc->g[c].size);
    fixture_close (&f);
  }
}

/* What was allocated and not wanted: given back without ever having had a
 * cell.
 */
static void
test_drop (void **state)
{
  enum { N = 100 };
  struct fixture f;
  struct pool_audit audit;
  uint64_t handle[N];

  (void) state;
  fixture_open (&f, 4096, 0);
  for (unsigned i = 0; i < N; i++) {
    handle[i] = make_object (f.any, 1000, i);
    assert_true (handle[i]);
  }
  assert_string_equal (pool_audit (f.any, &audit), "an object is in transit");
  for (unsigned i = 0; i < N; i++)
    pool_drop (f.any, handle[i]);
  fixture_audit (&f, NULL, 0);
  assert_int_equal (pool_class_stats (f.any, zs_handle_class (handle[0])).inuse,
                    0);
  fixture_close (&f);
}

/* The list that a zspage with so many objects in use is on. */
static unsigned
group_for (unsigned inuse, unsigned objs)
{
  if (inuse == 0 || inuse == objs)
    return inuse ? ZS_INUSE_RATIO_100 : ZS_INUSE_RATIO_0;
  for (unsigned g = ZS_INUSE_RATIO_10; g <= ZS_INUSE_RATIO_90; g++)
    if (inuse * 10 < objs * g)
      return g;
  return ZS_INUSE_RATIO_99;
}

static void
test_groups (void **state)
{
  static struct item items[2000];
  struct fixture f;

  (void) state;
  memset (items, 0, sizeof items);
  fixture_open (&f, 4096, 0);
  unsigned class_id = size_class_of (&f.pool->classes, 100);
  unsigned objs = zs_geometry (f.pool, class_id)->objs;
  assert_in_range (objs, 100, 2000);
  for (unsigned i = 1; i <= objs; i++) {
    assert_true (item_write (f.any, &items[i - 1], 100, i));
    assert_int_equal (zspage_group (arena_zspage (&f.pool->arena, 0)),
                      group_for (i, objs));
  }
  for (unsigned i = objs; i > 0; i--) {
    assert_int_equal (zspage_group (arena_zspage (&f.pool->arena, 0)),
                      group_for (i, objs));
    item_free (f.any, &items[i - 1]);
  }
  assert_int_equal (zspage_group (arena_zspage (&f.pool->arena, 0)),
                    ZS_NO_GROUP);
  fixture_close (&f);
}

/* Objects of one class fill one zspage after the other, and a freed one is
 * the next to be used.
 */
static void
test_packed (void **state)
{
  enum { N = 3 };
  static struct item items[N * 64];
  struct fixture f;

  (void) state;
  memset (items, 0, sizeof items);
  fixture_open (&f, 4096, 0);
  unsigned class_id = size_class_of (&f.pool->classes, 2000);
  uint32_t objs = zs_geometry (f.pool, class_id)->objs;
  assert_in_range (objs, 2, 64);
  for (unsigned i = 0; i < N * objs; i++) {
    assert_true (item_write (f.any, &items[i], 2000, i));
    assert_int_equal (zs_handle_span (atomic_load (&items[i].cell)), i / objs);
    assert_int_equal (zs_handle_obj (atomic_load (&items[i].cell)), i % objs);
  }
  struct pool_class_stats st = pool_class_stats (f.any, class_id);
  assert_int_equal (st.zspages[ZS_INUSE_RATIO_100], N);
  assert_int_equal (st.inuse, N * objs);
  assert_int_equal (st.allocated, N * objs);
  assert_int_equal (st.freeable_pages, 0);
  uint64_t handle = atomic_load (&items[objs].cell);
  item_free (f.any, &items[objs]);
  assert_true (item_write (f.any, &items[objs], 2000, 99));
  assert_int_equal (atomic_load (&items[objs].cell), handle);
  items_check (f.any, items, N * objs);
  fixture_audit (&f, items, N * objs);
  items_free (f.any, items, N * objs);
  fixture_audit (&f, items, N * objs);
  assert_int_equal (arena_stats (&f.pool->arena).used_spans, 0);
  fixture_close (&f);
}

/* ------------------------------------------------------------------------
 * Against a model.
 */

#define ITEMS 3000

static struct item items[ITEMS];

/* Mostly a few sizes, so that classes fill; else anything. */
static uint32_t
random_size (struct unit_rng *rng, uint32_t slot_size)
{
  switch (unit_below (rng, 4)) {
  case 0:
    return slot_size / 4 * (1 + unit_below (rng, 4));
  case 1:
    return 1 + unit_below (rng, 64);
  default:
    return 1 + unit_below (rng, slot_size);
  }
}

/* 'full': percent of the steps that write rather than free. */
static void
model_step (struct fixture *f, struct unit_rng *rng, unsigned full)
{
  uint32_t slot_size = f->pool->classes.slot_size;
  struct item *it = &items[unit_below (rng, ITEMS)];
  struct pool_cursor at = { 0 };

  item_check (f->any, it);
  if (unit_below (rng, 100) < full) {
    uint64_t old = atomic_load (&it->cell);

    if (!item_write (f->any, it, random_size (rng, slot_size),
                     unit_rand (rng))) {
      /* An object may have moved meanwhile: at the limit pages are packed. */
      check_always (errno == ENOSPC &&
                    (it->size || atomic_load (&it->cell) == old));
      item_check (f->any, it);
    }
  }
  else
    item_set_value (f->any, it, unit_rand (rng));
  if (unit_below (rng, 200) == 0)
    pool_compact_step (f->any, &at);
  if (unit_below (rng, 1000) == 0)
    migrate_all (f->pool);
}

static void
run_model (uint32_t slot_size, unsigned steps, uint64_t limit)
{
  static const unsigned full[] = { 90, 50, 20, 70 };
  struct unit_rng rng = unit_rng (slot_size + limit);
  struct fixture f;

  memset (items, 0, sizeof items);
  fixture_open (&f, slot_size, limit);
  for (unsigned phase = 0; phase < 4; phase++) {
    for (unsigned i = 0; i < steps; i++) {
      model_step (&f, &rng, full[phase]);
      if (i % 1000 == 0)
        fixture_audit (&f, items, ITEMS);
    }
    items_check (f.any, items, ITEMS);
    fixture_audit (&f, items, ITEMS);
  }
  items_free (f.any, items, ITEMS);
  arena_return_hot (&f.pool->arena);
  fixture_audit (&f, items, ITEMS);
  assert_int_equal (atomic_load (&f.budget.used), 0);
  assert_int_equal (pool_freeable_pages (f.any), 0);
  fixture_close (&f);
}

static void
test_model (void **state)
{
  (void) state;
  run_model (4096, UNIT_TIMES (20000), 0);
  run_model (16384, UNIT_TIMES (10000), 0);
  run_model (65536, UNIT_TIMES (4000), 0);
}

static void
test_model_at_limit (void **state)
{
  (void) state;
  run_model (4096, UNIT_TIMES (20000), 3 << 20);
}

/* ------------------------------------------------------------------------
 * At the limit.
 */

static unsigned
fill_up (struct fixture *f, uint32_t size, unsigned from)
{
  unsigned i = from;

  while (i < ITEMS && item_write (f->any, &items[i], size, i))
    i++;
  assert_true (i < ITEMS);
  assert_int_equal (errno, ENOSPC);
  return i;
}

static void
test_full (void **state)
{
  struct unit_rng rng = unit_rng (1);
  struct fixture f;

  (void) state;
  memset (items, 0, sizeof items);
  fixture_open (&f, 4096, 2 << 20);
  unsigned n = fill_up (&f, 1500, 0);
  assert_in_range (n * 1500, (2 << 20) * 9 / 10, 2 << 20);
  uint32_t spans = arena_stats (&f.pool->arena).used_spans;
  assert_false (item_write (f.any, &items[n], 4096, 1)); /* a new class */
  assert_int_equal (arena_stats (&f.pool->arena).used_spans, spans);
  items_check (f.any, items, ITEMS);
  fixture_audit (&f, items, ITEMS);
  assert_true (atomic_load (&f.budget.used) <= 2 << 20);

  /* Every other one goes: there is room for as many again, of this size at
   * once, and of another after compaction.
   */
  for (unsigned i = 0; i < n; i += 2)
    item_free (f.any, &items[i]);
  for (unsigned i = 0; i < n; i += 4)
    assert_true (item_write (f.any, &items[i], 1500, i));
  compact_all (f.pool);
  for (unsigned i = 2; i < n * 9 / 10; i += 4)
    assert_true (item_write (f.any, &items[i], 1300, i));
  items_check (f.any, items, ITEMS);
  fixture_audit (&f, items, ITEMS);

  for (unsigned i = 0; i < UNIT_TIMES (5000); i++)
    model_step (&f, &rng, 60);
  items_free (f.any, items, ITEMS);
  fill_up (&f, 4096, 0);
  items_check (f.any, items, ITEMS);
  fixture_audit (&f, items, ITEMS);
  fixture_close (&f);
}

/* A free object of the class is found also where the fullest zspage would
 * have to grow for one, and may not.
 */
static void
test_full_beside_room (void **state)
{
  enum { SIZE = 1000, SPANS = 4 };
  struct fixture f;
  unsigned n = 0;

  (void) state;
  memset (items, 0, sizeof items);
  fixture_open (&f, 4096, 0);
  unsigned objs =
    zs_geometry (f.pool, size_class_of (&f.pool->classes, SIZE))->objs;
  /* Full ones, and one that has a good deal of its pages. */
  while (n < SPANS * objs + objs * 4 / 5)
    n += item_write (f.any, &items[n], SIZE, n);
  arena_return_hot (&f.pool->arena);
  atomic_store (&f.budget.limit, atomic_load (&f.budget.used));
  n = fill_up (&f, SIZE, n);

  /* A few less than a zspage's in an older one, so that it is emptier. */
  int64_t moved = counter_sum (&f.pool->base.counters, POOL_OBJECTS_MOVED);
  for (unsigned i = 0; i < objs / 2; i++)
    item_free (f.any, &items[objs + i]);
  for (unsigned i = 0; i < objs / 2; i++)
    assert_true (item_write (f.any, &items[objs + i], SIZE, i));
  /* And not because compaction came to help. */
  assert_int_equal (counter_sum (&f.pool->base.counters, POOL_OBJECTS_MOVED),
                    moved);
  items_check (f.any, items, ITEMS);
  fixture_audit (&f, items, ITEMS);
  fill_up (&f, SIZE, n);
  fixture_close (&f);
}

/* The limit comes down below what is used, and goes up again. */
static void
test_limit_moves (void **state)
{
  struct fixture f;

  (void) state;
  memset (items, 0, sizeof items);
  fixture_open (&f, 4096, 4 << 20);
  unsigned n = fill_up (&f, 4096, 0);
  atomic_store (&f.budget.limit, 1 << 20);
  assert_false (item_write (f.any, &items[n], 10, 1));
  items_check (f.any, items, ITEMS);
  fixture_audit (&f, items, ITEMS);
  atomic_store (&f.budget.limit, 0);
  for (unsigned i = 0; i < 100; i++)
    assert_true (item_write (f.any, &items[n + i], 4096, i));
  fixture_audit (&f, items, ITEMS);
  fixture_close (&f);
}

/* ------------------------------------------------------------------------
 * What the system says.
 */

#if UNIT_SCALE == 1 /* a sanitizer's shadow is memory too */
static size_t
anonymous_bytes (void)
{
  FILE *fp = fopen ("/proc/self/smaps_rollup", "r");
  unsigned long kib = 0;
  char line[256];

  check_always (fp);
  while (fgets (line, sizeof line, fp))
    if (sscanf (line, "Anonymous: %lu kB", &kib) == 1)
      break;
  fclose (fp);
  return kib * 1024;
}

static void
test_process_shrinks (void **state)
{
  const size_t slack = 256 << 10; /* descriptors, malloc, stdio */
  struct fixture f;

  (void) state;
  memset (items, 0, sizeof items);
  fixture_open (&f, 4096, 0);
  size_t before = anonymous_bytes ();
  for (unsigned i = 0; i < ITEMS; i++)
    assert_true (item_write (f.any, &items[i], 3000 + i % 3 * 500, i));
  size_t used = atomic_load (&f.budget.used);
  assert_in_range (anonymous_bytes () - before, used, used + slack);

  for (unsigned i = 0; i < ITEMS; i++)
    if (i % 8)
      item_free (f.any, &items[i]);
  compact_all (f.pool);
  migrate_all (f.pool);
  assert_in_range (atomic_load (&f.budget.used), 0, used / 6);
  assert_in_range (anonymous_bytes () - before, atomic_load (&f.budget.used),
                   atomic_load (&f.budget.used) + slack);
  items_free (f.any, items, ITEMS);
  migrate_all (f.pool);
  assert_in_range (anonymous_bytes (), 0, before + slack);
  fixture_close (&f);
}
#endif

/* ------------------------------------------------------------------------
 * The end.
 */

/* Bytes of memory that is malloc's, where that can be told. */
static size_t
allocated (void)
{
#if UNIT_SCALE == 1
  return mallinfo2 ().uordblks;
#else
  return 0; /* the sanitizer looks for leaks itself */
#endif
}

static void
test_destroy_alive (void **state)
{
  enum { ROUNDS = 64 / UNIT_SCALE, SLACK = 4096 };
  struct fixture f;
  size_t before = 0;

  (void) state;
  for (unsigned round = 0; round < ROUNDS; round++) {
    memset (items, 0, sizeof items);
    fixture_open (&f, 4096, 0);
    for (unsigned i = 0; i < ITEMS; i++)
      assert_true (item_write (f.any, &items[i], 1 + i * 7 % 4096, i));
    for (unsigned i = 0; i < ITEMS; i++) /* whole zspages, and some of all */
      if (i % 3 == 0 || i < ITEMS / 2)
        item_free (f.any, &items[i]);
    assert_true (make_object (f.any, 4096, 1)); /* in transit */
    fixture_close (&f);
    if (round == 3)
      before = allocated ();
  }
  /* The C library keeps some freed blocks for itself, but not from each. */
  assert_in_range (allocated (), 0, before + SLACK);
  pool_destroy (NULL);
}

/* ------------------------------------------------------------------------
 * Every request for memory fails, the first, the second, …, until there is
 * none left to fail.
 */

#ifdef ZRAM_FAULTS

enum { OLD = 60, FAULT_ITEMS = 100 };

static uint32_t
size_of_item (unsigned i)
{
  return i % 5 == 0 ? 4096 : 1 + i * 397 % 4000;
}

/* Something of everything.  Returns whether anything failed; the items are
 * good in any case.
 */
static bool
do_everything (struct fixture *f)
{
  bool failed = false;

  for (unsigned i = OLD / 2; i < FAULT_ITEMS; i++)
    failed |= !item_write (f->any, &items[i], size_of_item (i + 1), i);
  for (unsigned i = 0; i < OLD; i += 3)
    item_set_value (f->any, &items[i], i);
  compact_all (f->pool);
  migrate_all (f->pool);
  for (unsigned i = 0; i < OLD; i += 3)
    failed |= !item_write (f->any, &items[i], size_of_item (i), i);
  return failed;
}

static bool
fail_nth (unsigned nth, bool ever_after)
{
  struct fixture f;
  bool reached;

  memset (items, 0, sizeof items);
  fixture_open (&f, 4096, 0);
  for (unsigned i = 0; i < OLD; i++)
    check_always (item_write (f.any, &items[i], size_of_item (i), i));

  fault_fail_nth (NULL, nth, ever_after);
  bool failed = do_everything (&f);
  reached = fault_reached (NULL) >= nth;
  fault_clear ();

  assert_true (reached || !failed);
  items_check (f.any, items, FAULT_ITEMS);
  fixture_audit (&f, items, FAULT_ITEMS);
  assert_false (do_everything (&f)); /* and it works again */
  items_check (f.any, items, FAULT_ITEMS);
  fixture_audit (&f, items, FAULT_ITEMS);
  items_free (f.any, items, FAULT_ITEMS);
  arena_return_hot (&f.pool->arena);
  assert_int_equal (atomic_load (&f.budget.used), 0);
  fixture_audit (&f, items, FAULT_ITEMS);
  fixture_close (&f);
  return reached;
}

static void
test_fail_nth (void **state)
{
  unsigned nth = 1, step = UNIT_SCALE > 1 ? 3 : 1;

  (void) state;
  while (fail_nth (nth, false))
    nth += step;
  assert_true (nth > 100);
}

static void
test_fail_ever_after (void **state)
{
  unsigned nth = 1, step = UNIT_SCALE > 1 ? 3 : 1;

  (void) state;
  while (fail_nth (nth, true))
    nth += step;
  assert_true (nth > 100);
}

static void
test_fail_create (void **state)
{
  struct budget budget;
  unsigned nth = 0;
  struct pool *pool;

  (void) state;
  budget_init (&budget, 0);
  do {
    fault_fail_nth (NULL, ++nth, true);
    errno = 0;
    pool = zs_create (4096, 1 << 21, &budget);
    assert_true (pool || errno == ENOMEM);
  } while (!pool);
  assert_in_range (nth, 6, 20);
  fault_clear ();
  pool_destroy (pool);
}

#endif

static const struct CMUnitTest tests[] = {
  UNIT_TEST (test_sizes),
  UNIT_TEST (test_drop),
  UNIT_TEST (test_groups),
  UNIT_TEST (test_packed),
  UNIT_TEST (test_model),
  UNIT_TEST (test_model_at_limit),
  UNIT_TEST (test_full),
  UNIT_TEST (test_full_beside_room),
  UNIT_TEST (test_limit_moves),
  UNIT_TEST (test_destroy_alive),
#if UNIT_SCALE == 1
  UNIT_TEST (test_process_shrinks),
#endif
#ifdef ZRAM_FAULTS
  UNIT_TEST (test_fail_nth),
  UNIT_TEST (test_fail_ever_after),
  UNIT_TEST (test_fail_create),
#endif
};

int
main (void)
{
  return UNIT_RUN (tests);
}
