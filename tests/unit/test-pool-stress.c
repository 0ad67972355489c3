/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Many threads read, write, overwrite, hand over and free the same objects
 * while all that moves and reclaims runs without pause: compaction and
 * migration, or z3fold's compaction inside a page, its reclaim (which evicts
 * some objects, and cannot evict others) and pages that go back to the system.
 * Every read checks every byte, every fill pattern is an old handle, and the
 * auditor comes last.
 *
 * ZRAM_TEST_ALLOCATOR chooses the pool.
 */

#include <config.h>

#include <errno.h>

#include "pool-items.h"

#include "base/budget.h"

#define GIB (UINT64_C (1) << 30)

enum { WORKERS = 4, MOST_ITEMS = 3000, EVICTED = 3 };

struct world {
  struct budget budget;
  struct pool *pool;
  uint32_t slot_size;
  struct item items[MOST_ITEMS];
  unsigned n;
  uint32_t sizes;       /* how many different sizes, of the whole range */
  uint64_t total, each; /* steps of all workers, and one's */
  _Atomic uint64_t done;
  atomic_bool stop;
};

static struct world w;

struct worker {
  unsigned number;
  struct unit_rng rng;
};

static uint32_t
random_size (struct unit_rng *rng)
{
  uint32_t step = w.slot_size / w.sizes;

  return step * (1 + unit_below (rng, w.sizes)) - unit_below (rng, 8);
}

static struct item *
random_item (struct unit_rng *rng)
{
  return &w.items[unit_below (rng, w.n)];
}

/* -- the operations ----------------------------------------------------- */

static void
do_read (struct unit_rng *rng) NO_THREAD_SAFETY_ANALYSIS
{
  struct item *it = random_item (rng);
  bool stays = unit_below (rng, 8) == 0;
  uint64_t handle;

  rwword_read_lock (&it->lock, 0, 0);
  item_check (w.pool, it);
  if (stays && it->size) {
    void *mem = pool_pin (w.pool, &it->cell, &handle);
    sched_yield ();
    check_always (bytes_are_right (mem, it->size, it->tag));
    check_always (atomic_load (&it->cell) == handle);
    pool_unpin (w.pool, handle);
  }
  rwword_read_unlock (&it->lock);
}

/* As the store does it: the object first, without the lock. */
static void
do_write (struct unit_rng *rng) NO_THREAD_SAFETY_ANALYSIS
{
  struct item *it = random_item (rng);
  uint32_t size = random_size (rng);
  uint64_t tag = unit_rand (rng);
  uint64_t handle = make_object (w.pool, size, tag);

  if (!handle) {
    check_always (errno == ENOSPC || errno == ENOMEM);
    return;
  }
  if (unit_below (rng, 16) == 0) {
    pool_drop (w.pool, handle);
    return;
  }
  rwword_write_lock (&it->lock);
  item_set_value (w.pool, it, handle);
  it->size = size;
  it->tag = tag;
  pool_attach (w.pool, handle, &it->cell);
  rwword_write_unlock (&it->lock);
}

static void
do_overwrite_in_place (struct unit_rng *rng) NO_THREAD_SAFETY_ANALYSIS
{
  struct item *it = random_item (rng);
  uint64_t handle;

  rwword_write_lock (&it->lock);
  if (it->size) {
    it->tag = unit_rand (rng);
    write_bytes (pool_pin (w.pool, &it->cell, &handle), it->size, it->tag);
    pool_unpin (w.pool, handle);
  }
  rwword_write_unlock (&it->lock);
}

/* A fill pattern, and the nastiest there is: what this or another cell held
 * a moment ago.
 */
static void
do_fill (struct unit_rng *rng) NO_THREAD_SAFETY_ANALYSIS
{
  struct item *it = random_item (rng);

  rwword_write_lock (&it->lock);
  item_check (w.pool, it);
  uint64_t value = unit_below (rng, 2) ? atomic_load (&it->cell)
                                       : atomic_load (&random_item (rng)->cell);
  item_set_value (w.pool, it, value);
  rwword_write_unlock (&it->lock);
}

/* An object gets another cell, and its old one the nastiest pattern again. Both
 * locked, the lower first.
 */
static void
do_hand_over (struct unit_rng *rng) NO_THREAD_SAFETY_ANALYSIS
{
  struct item *from = random_item (rng), *to = random_item (rng);

  if (from == to)
    return;
  rwword_write_lock (from < to ? &from->lock : &to->lock);
  rwword_write_lock (from < to ? &to->lock : &from->lock);
  if (from->size) {
    item_set_value (w.pool, to, 0);
    item_hand_over (w.pool, from, to,
                    unit_below (rng, 2) ? atomic_load (&from->cell) : 0);
    item_check (w.pool, to);
  }
  rwword_write_unlock (&from->lock);
  rwword_write_unlock (&to->lock);
}

/* -- the threads -------------------------------------------------------- */

static bool
counted (enum pool_counter_id id)
{
  return counter_sum (&w.pool->counters, id) > 0;
}

/* Migration needs memory before it returns some: not for sure at a limit. */
static bool
movers_had_work (void)
{
  if (!counted (POOL_OBJECTS_MOVED))
    return false;
  if (pool_has_lru (w.pool))
    return counted (POOL_PAGES_RECLAIMED) && counted (POOL_RECLAIM_FAILURES);
  return atomic_load (&w.budget.limit) || counted (POOL_ZSPAGES_MIGRATED);
}

/* There are times when more is written, and times when more is freed. */
static void *
work (void *arg)
{
  struct worker *me = arg;
  struct unit_rng *rng = &me->rng;

  for (uint64_t i = 0; i < w.each || !movers_had_work (); i++) {
    bool growing = atomic_fetch_add (&w.done, 1) * 6 / w.total % 2 == 0;
    uint32_t what = unit_below (rng, 100);

    if (what < 35)
      do_read (rng);
    else if (what < 40)
      do_hand_over (rng);
    else if (what < 50)
      do_overwrite_in_place (rng);
    else if (what < (growing ? 95 : 60))
      do_write (rng);
    else
      do_fill (rng);
  }
  return NULL;
}

static void *
compact (void *arg)
{
  struct pool_cursor at = { 0 };

  (void) arg;
  while (!atomic_load (&w.stop))
    pool_compact_step (w.pool, &at);
  return NULL;
}

static void *
migrate (void *arg)
{
  struct pool_cursor at = { 0 };

  (void) arg;
  while (!atomic_load (&w.stop))
    pool_migrate_step (w.pool, &at);
  return NULL;
}

/* Of the page that is to go, one object in four cannot.  The cell is all that
 * is known, and may have got anything since.
 */
static bool
evict (void *ctx, pool_cell *cell) NO_THREAD_SAFETY_ANALYSIS
{
  struct item *it = (struct item *) (void *) ((char *) cell -
                                              offsetof (struct item, cell));
  bool goes = unit_below (ctx, 4) != 0;

  check_always (it >= w.items && it < w.items + w.n);
  if (!goes)
    return false;
  rwword_write_lock (&it->lock);
  item_check (w.pool, it);
  if (it->size)
    item_set_value (w.pool, it, EVICTED);
  rwword_write_unlock (&it->lock);
  return true;
}

/* Now and then, so that something is left; returns at once without an LRU. */
static void *
reclaim (void *arg)
{
  struct unit_rng rng = unit_rng (WORKERS + 1);

  (void) arg;
  while (!atomic_load (&w.stop) && pool_has_lru (w.pool)) {
    (void) pool_reclaim (w.pool, evict, &rng);
    if (unit_below (&rng, 64) == 0)
      (void) pool_give_back (w.pool);
    for (unsigned i = 0; i < 16; i++)
      sched_yield ();
  }
  return NULL;
}

#ifdef ZRAM_FAULTS
static void *
make_fail (void *arg)
{
  static const char *const points[] = { "arena.charge", "arena.alloc",
                                        "alloc",        "reserve.commit",
                                        "z3.alloc",     "z3.page" };
  enum { POINTS = sizeof points / sizeof *points };
  struct unit_rng rng = unit_rng (WORKERS);

  (void) arg;
  while (!atomic_load (&w.stop)) {
    fault_fail_nth (points[unit_below (&rng, POINTS)],
                    1 + unit_below (&rng, 50), false);
    sched_yield ();
  }
  return NULL;
}
#endif

/* -- the scenes --------------------------------------------------------- */

struct scene {
  uint32_t slot_size;
  unsigned items;
  uint32_t sizes;
  uint64_t steps; /* of each worker */
  uint64_t limit;
  void *(*beside) (void *); /* another thread, or NULL */
};

static void
audit (void)
{
  struct pool_audit a;
  const char *wrong = pool_audit (w.pool, &a);
  uint64_t objects = 0;

  if (wrong)
    fprintf (stderr, "pool_audit: %s\n", wrong);
  check_always (!wrong);
  for (unsigned i = 0; i < w.n; i++)
    objects += w.items[i].size != 0;
  check_always (a.objects == objects);
  check_always (a.resident_pages * MEM_PAGE == atomic_load (&w.budget.used));
}

static void
run_threads (const struct scene *s)
{
  struct unit_thread worker[WORKERS], mover[3], beside;
  struct worker arg[WORKERS];

  unit_start (&mover[0], compact, NULL);
  unit_start (&mover[1], migrate, NULL);
  unit_start (&mover[2], reclaim, NULL);
  if (s->beside)
    unit_start (&beside, s->beside, NULL);
  for (unsigned i = 0; i < WORKERS; i++)
    arg[i] = (struct worker){ i, unit_rng (i + s->steps) };
  unit_start_all (worker, WORKERS, work, arg, sizeof *arg);
  unit_join_all (worker, WORKERS);
  atomic_store (&w.stop, true);
  unit_join_all (mover, 3);
  if (s->beside)
    unit_join (&beside);
#ifdef ZRAM_FAULTS
  fault_clear ();
#endif
}

static void
run (const struct scene *s)
{
  const char *name = getenv ("ZRAM_TEST_ALLOCATOR");

  memset (&w, 0, sizeof w);
  budget_init (&w.budget, s->limit);
  w.slot_size = s->slot_size;
  w.pool = pool_create (name && *name ? name : pool_allocator (0), s->slot_size,
                        4 * GIB, &w.budget);
  check_always (w.pool);
  w.n = s->items;
  w.sizes = s->sizes;
  w.each = s->steps;
  w.total = s->steps * WORKERS;
  run_threads (s);

  items_check (w.pool, w.items, w.n);
  audit ();
  items_free (w.pool, w.items, w.n);
  audit ();
  (void) pool_give_back (w.pool);
  assert_int_equal (atomic_load (&w.budget.used), 0);
  pool_destroy (w.pool);
}

/* Everybody wants the same few. */
static void
test_few_items (void **state)
{
  static const struct scene s = {
    .slot_size = 4096, .items = 400, .sizes = 2, .steps = UNIT_TIMES (16000)
  };

  (void) state;
  run (&s);
}

static void
test_many_sizes (void **state)
{
  static const struct scene s = { .slot_size = 4096,
                                  .items = MOST_ITEMS,
                                  .sizes = 256,
                                  .steps = UNIT_TIMES (24000) };

  (void) state;
  run (&s);
}

static void
test_large_slots (void **state)
{
  static const struct scene s = {
    .slot_size = 65536, .items = 200, .sizes = 8, .steps = UNIT_TIMES (5000)
  };

  (void) state;
  run (&s);
}

/* Most of the time the next page is refused, and room has to be made. */
static void
test_at_the_limit (void **state)
{
  static const struct scene s = { .slot_size = 4096,
                                  .items = 1000,
                                  .sizes = 3,
                                  .steps = UNIT_TIMES (12000),
                                  .limit = 2 << 20 };

  (void) state;
  run (&s);
}

#ifdef ZRAM_FAULTS
static void
test_failures (void **state)
{
  static const struct scene s = { .slot_size = 4096,
                                  .items = MOST_ITEMS,
                                  .sizes = 16,
                                  .steps = UNIT_TIMES (12000),
                                  .beside = make_fail };

  (void) state;
  run (&s);
}
#endif

static const struct CMUnitTest tests[] = {
  UNIT_TEST (test_few_items),   UNIT_TEST (test_many_sizes),
  UNIT_TEST (test_large_slots), UNIT_TEST (test_at_the_limit),
#ifdef ZRAM_FAULTS
  UNIT_TEST (test_failures),
#endif
};

int
main (void)
{
  return UNIT_RUN (tests);
}
