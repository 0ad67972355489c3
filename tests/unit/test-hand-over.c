/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * An object gets another cell (pool_hand_over): its bytes stay, it moves with
 * the new cell from then on, and no thread touches the old one any more,
 * whatever that holds.  Beside movers and reclaim: test-pool-stress.
 *
 * ZRAM_TEST_ALLOCATOR chooses the pool.
 */

#include <config.h>

#include "pool-items.h"

#include "base/budget.h"

enum { PAGE = 4096, ITEMS = 600 };

static struct budget budget;
static struct pool *pool;
static struct item items[2 * ITEMS]; /* the first half has objects at first */

static void
open_pool (void)
{
  const char *name = getenv ("ZRAM_TEST_ALLOCATOR");

  memset (items, 0, sizeof items);
  budget_init (&budget, 0);
  pool = pool_create (name && *name ? name : pool_allocator (0), PAGE,
                      UINT64_C (1) << 30, &budget);
  assert_non_null (pool);
}

static void
audit (void)
{
  struct pool_audit a;
  uint64_t objects = 0;

  assert_null (pool_audit (pool, &a));
  for (unsigned i = 0; i < 2 * ITEMS; i++)
    objects += items[i].size != 0;
  assert_int_equal (a.objects, objects);
  assert_int_equal (a.resident_pages * MEM_PAGE, atomic_load (&budget.used));
}

static void
close_pool (void)
{
  items_check (pool, items, 2 * ITEMS);
  audit ();
  items_free (pool, items, 2 * ITEMS);
  audit ();
  (void) pool_give_back (pool);
  assert_int_equal (atomic_load (&budget.used), 0);
  pool_destroy (pool);
}

static void
fill (uint32_t step)
{
  for (unsigned i = 0; i < ITEMS; i++)
    assert_true (item_write (pool, &items[i], 1 + i * step % PAGE, i));
}

static void
move_all (void)
{
  struct pool_cursor at = { 0 };

  while (pool_compact_step (pool, &at))
    ;
  while (pool_migrate_step (pool, &at))
    ;
}

/* The object's old handle is the nastiest fill pattern. */
static void
test_old_handle_stays_a_pattern (void **state)
{
  (void) state;
  open_pool ();
  fill (7);
  for (unsigned i = 0; i < ITEMS; i++)
    item_hand_over (pool, &items[i], &items[ITEMS + i],
                    atomic_load (&items[i].cell));
  items_check (pool, items, 2 * ITEMS);
  audit ();
  /* Holes, so that what is left moves, with its new cell. */
  for (unsigned i = 0; i < ITEMS; i++)
    if (i % 3)
      item_free (pool, &items[ITEMS + i]);
  move_all ();
  assert_true (counter_sum (&pool->counters, POOL_OBJECTS_MOVED) > 0);
  close_pool ();
}

/* From hand to hand, over a cell that held a pattern, and back. */
static void
test_chain (void **state)
{
  (void) state;
  open_pool ();
  fill (911);
  for (unsigned round = 0; round < 4; round++)
    for (unsigned i = 0; i < ITEMS; i++) {
      struct item *from = &items[round % 2 ? ITEMS + i : i];
      struct item *to = &items[round % 2 ? i : ITEMS + i];

      item_set_value (pool, to, round * 3);
      item_hand_over (pool, from, to, i);
    }
  for (unsigned i = 0; i < ITEMS; i++) {
    assert_int_equal (items[i].tag, i);
    assert_true (items[i].size != 0 && items[ITEMS + i].size == 0);
  }
  close_pool ();
}

static bool
evict (void *ctx, pool_cell *cell)
{
  struct item *it = (struct item *) (void *) ((char *) cell -
                                              offsetof (struct item, cell));

  assert_ptr_equal (it, ctx);
  item_free (pool, it);
  return true;
}

static void
test_reclaim_asks_the_new_cell (void **state)
{
  (void) state;
  open_pool ();
  if (pool_has_lru (pool)) {
    assert_true (item_write (pool, &items[0], 1000, 1));
    item_hand_over (pool, &items[0], &items[1], 5);
    assert_int_equal (pool_reclaim (pool, evict, &items[1]), POOL_GOING);
    assert_int_equal (items[1].size, 0);
  }
  close_pool ();
}

static const struct CMUnitTest tests[] = {
  UNIT_TEST (test_old_handle_stays_a_pattern),
  UNIT_TEST (test_chain),
  UNIT_TEST (test_reclaim_asks_the_new_cell),
};

int
main (void)
{
  return UNIT_RUN (tests);
}
