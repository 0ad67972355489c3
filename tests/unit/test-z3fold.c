/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * z3fold: three objects a page, pages that die once, compaction inside a page,
 * and reclaim.  The faults that its review on linux-mm named, and the races
 * that it worried about, are a test each; those hold a thread at a fault point
 * where there are any.
 */

#include <config.h>

#include <errno.h>

#include "unit.h"

#include "mem/z3_internal.h"

enum { PAGE = 4096, CHUNKS = PAGE / Z3_CHUNK };

struct item {
  pool_cell cell;
  uint32_t size; /* 0: none */
  uint8_t tag;
};

static struct budget budget;
static struct pool *pool;
static struct z3_pool *z3;

static void
open_pool (uint32_t slot_size, uint64_t limit)
{
  budget_init (&budget, limit);
  pool = pool_create ("z3fold", slot_size, UINT64_C (1) << 30, &budget);
  assert_non_null (pool);
  z3 = (struct z3_pool *) pool;
}

static void
audit (uint64_t objects)
{
  struct pool_audit a;
  const char *wrong = pool_audit (pool, &a);

  if (wrong)
    fprintf (stderr, "z3_audit: %s\n", wrong);
  assert_null (wrong);
  assert_int_equal (a.objects, objects);
  assert_int_equal (a.resident_pages * MEM_PAGE, atomic_load (&budget.used));
}

/* With nothing in it, nothing is kept. */
static void
close_pool (void)
{
  audit (0);
  pool_give_back (pool);
  assert_int_equal (atomic_load (&budget.used), 0);
  assert_int_equal (pool_spread (pool).top, 0);
  pool_destroy (pool);
}

/* In threads too. */
static bool
put (struct item *it, uint32_t size, uint8_t tag)
{
  void *mem;
  uint64_t handle = pool_alloc (pool, size, &mem);

  if (!handle)
    return false;
  memset (mem, tag, size);
  atomic_store (&it->cell, handle);
  pool_attach (pool, handle, &it->cell);
  it->size = size;
  it->tag = tag;
  return true;
}

static bool
is_right (const struct item *it, const void *mem)
{
  const uint8_t *p = mem;

  return p[0] == it->tag && memcmp (p, p + 1, it->size - 1) == 0;
}

static void
look (struct item *it)
{
  uint64_t handle;
  void *mem = pool_pin (pool, &it->cell, &handle);

  check_always (is_right (it, mem));
  check_always (pool_is_attached (pool, handle, &it->cell));
  pool_unpin (pool, handle);
}

static void
drop (struct item *it)
{
  if (it->size)
    pool_replace (pool, &it->cell, 0);
  it->size = 0;
}

static struct z3page *
page_of (const struct item *it)
{
  return z3_handle_page (z3, atomic_load (&it->cell));
}

static uint32_t
start_of (const struct item *it)
{
  return page_of (it)->start[z3_handle_entry (atomic_load (&it->cell))];
}

static uint32_t
live (void)
{
  return (uint32_t) pool_spread (pool).used;
}

/* -- pages and lists ---------------------------------------------------- */

static void
test_three_share_a_page (void **state)
{
  struct item it[4] = { 0 };

  (void) state;
  open_pool (PAGE, 0);
  for (unsigned i = 0; i < 4; i++)
    assert_true (put (&it[i], 1200, (uint8_t) (i + 1)));
  assert_ptr_equal (page_of (&it[0]), page_of (&it[2]));
  assert_ptr_not_equal (page_of (&it[0]), page_of (&it[3]));
  assert_int_equal (start_of (&it[0]), 0);
  assert_int_equal (start_of (&it[1]), CHUNKS - 19); /* last, then middle */
  assert_int_equal (start_of (&it[2]), 19);
  assert_int_equal (live (), 2);
  audit (4);
  for (unsigned i = 0; i < 4; i++)
    look (&it[i]);
  for (unsigned i = 0; i < 4; i++)
    drop (&it[i]);
  assert_int_equal (live (), 0);
  close_pool ();
}

/* The tightest gap is used: by what the list of that length holds. */
static void
test_unbuddied_by_gap (void **state)
{
  struct item large = { 0 }, small = { 0 }, third = { 0 };

  (void) state;
  open_pool (PAGE, 0);
  assert_true (put (&large, 3000, 1));
  assert_true (put (&small, 2000, 2));
  assert_ptr_not_equal (page_of (&large), page_of (&small));
  assert_true (put (&third, 1000, 3));
  assert_ptr_equal (page_of (&third), page_of (&large));
  audit (3);
  drop (&large);
  drop (&small);
  drop (&third);
  close_pool ();
}

static void
test_headless (void **state)
{
  static const uint32_t sizes[] = { PAGE - Z3_CHUNK, PAGE - Z3_CHUNK + 1,
                                    PAGE };
  struct item it[3] = { 0 }, tiny = { 0 };

  (void) state;
  open_pool (PAGE, 0);
  for (unsigned i = 0; i < 3; i++)
    assert_true (put (&it[i], sizes[i], (uint8_t) i));
  assert_int_equal (pool_class_stats (pool, 1).inuse, 2);
  assert_true (put (&tiny, 1, 9));
  assert_ptr_equal (page_of (&tiny), page_of (&it[0]));
  audit (4);
  for (unsigned i = 0; i < 3; i++) {
    look (&it[i]);
    drop (&it[i]);
  }
  drop (&tiny);
  close_pool ();
}

/* All that fits in a slot of any size, in pages of that size. */
static void
test_slot_sizes (void **state)
{
  (void) state;
  for (uint32_t slot = 4096; slot <= 65536; slot *= 2) {
    struct item it[64] = { 0 };

    open_pool (slot, 0);
    for (unsigned i = 0; i < 64; i++)
      assert_true (put (&it[i], slot / 64 * (i + 1), (uint8_t) i));
    audit (64);
    for (unsigned i = 0; i < 64; i += 2)
      drop (&it[i]);
    audit (32);
    for (unsigned i = 0; i < 64; i++) {
      if (it[i].size)
        look (&it[i]);
      drop (&it[i]);
    }
    close_pool ();
  }
}

static void
test_sizes_asked_for (void **state)
{
  struct item it = { 0 };

  (void) state;
  open_pool (PAGE, 0);
  assert_int_equal (pool_largest (pool), PAGE - Z3_CHUNK);
  assert_int_equal (pool_room_for (pool, 65), 128);
  assert_int_equal (pool_smaller_than (pool, 65), 64);
  assert_int_equal (pool_smaller_than (pool, 64), 0);
  assert_true (put (&it, 65, 1));
  assert_true (pool_fits (pool, it.cell, 128));
  assert_false (pool_fits (pool, it.cell, 129));
  drop (&it);
  close_pool ();
}

static void
test_limit (void **state)
{
  struct item it[16] = { 0 };
  unsigned n = 0;

  (void) state;
  open_pool (PAGE, 8 * PAGE);
  while (n < 16 && put (&it[n], PAGE, 1))
    n++;
  assert_int_equal (errno, ENOSPC);
  assert_int_equal (n, 7); /* and a page of descriptors */
  drop (&it[0]);
  assert_true (put (&it[0], PAGE, 2));
  audit (7);
  for (unsigned i = 0; i < n; i++)
    drop (&it[i]);
  close_pool ();
}

/* -- compaction in the page --------------------------------------------- */

/* What is left makes one gap, and its handle is as it was. */
static void
test_compaction (void **state)
{
  (void) state;
  for (unsigned gone = 0; gone < 8; gone++) {
    struct item it[3] = { 0 }, filler = { 0 };
    uint32_t gap = CHUNKS;
    unsigned left = 0;

    open_pool (PAGE, 0);
    for (unsigned i = 0; i < 3; i++)
      assert_true (put (&it[i], 1000 + i * 200, (uint8_t) (i + 1)));
    struct z3page *z = page_of (&it[0]);
    for (unsigned i = 0; i < 3; i++)
      if (gone >> i & 1)
        drop (&it[i]);
    for (unsigned i = 0; i < 3; i++)
      if (it[i].size) {
        look (&it[i]);
        gap -= z3_chunks_for (it[i].size);
        left++;
      }
    audit (left);
    if (left && left < 3) {
      assert_true (put (&filler, gap * Z3_CHUNK, 7));
      assert_ptr_equal (page_of (&filler), z);
      audit (left + 1);
    }
    for (unsigned i = 0; i < 3; i++) {
      if (it[i].size)
        look (&it[i]);
      drop (&it[i]);
    }
    drop (&filler);
    close_pool ();
  }
}

/* The middle is mapped: it stays where it is until it is let go. */
static void
test_pinned_middle_stays (void **state)
{
  struct item it[3] = { 0 }, filler = { 0 };
  uint64_t handle;

  (void) state;
  open_pool (PAGE, 0);
  for (unsigned i = 0; i < 3; i++)
    assert_true (put (&it[i], 1200, (uint8_t) (i + 1)));
  const void *mem = pool_pin (pool, &it[2].cell, &handle);
  drop (&it[0]);
  assert_int_equal (start_of (&it[2]), 19);
  assert_true (is_right (&it[2], mem));
  /* The gap before it can be used meanwhile. */
  assert_true (put (&filler, 1200, 8));
  assert_ptr_equal (page_of (&filler), page_of (&it[2]));
  assert_true (is_right (&it[2], mem));
  drop (&filler);
  assert_int_equal (counter_sum (&pool->counters, POOL_OBJECTS_MOVED), 0);
  pool_unpin (pool, handle);
  assert_int_equal (start_of (&it[2]), 0);
  look (&it[2]);
  audit (2);
  assert_true (put (&filler, (CHUNKS - 38) * Z3_CHUNK, 9));
  assert_ptr_equal (page_of (&filler), page_of (&it[2]));
  drop (&it[1]);
  drop (&it[2]);
  drop (&filler);
  close_pool ();
}

/* An object in transit stays, for its maker writes into it. */
static void
test_transit_stays (void **state)
{
  struct item first = { 0 }, it = { 0 };
  void *mem;

  (void) state;
  open_pool (PAGE, 0);
  assert_true (put (&first, 1000, 1));
  uint64_t handle = pool_alloc (pool, 1000, &mem), other;
  void *mem2;
  other = pool_alloc (pool, 500, &mem2);
  drop (&first);
  memset (mem, 5, 1000);
  pool_drop (pool, other);
  atomic_store (&it.cell, handle);
  it.size = 1000;
  it.tag = 5;
  pool_attach (pool, handle, &it.cell);
  look (&it);
  audit (1);
  drop (&it);
  close_pool ();
}

/* -- reclaim ------------------------------------------------------------ */

struct evictor {
  pool_cell *seen[64];
  unsigned n;
  pool_cell *refuse; /* this one cannot go */
};

static bool
evict (void *ctx, pool_cell *cell)
{
  struct evictor *e = ctx;

  e->seen[e->n++] = cell;
  if (cell == e->refuse)
    return false;
  pool_replace (pool, cell, 0);
  return true;
}

/* Fault 1 of the review: the LRU is empty, or becomes so. */
static void
test_reclaim_empty (void **state)
{
  struct evictor e = { 0 };
  struct item it = { 0 };

  (void) state;
  open_pool (PAGE, 0);
  assert_int_equal (pool_reclaim (pool, evict, &e), POOL_NOTHING);
  assert_true (put (&it, 100, 1));
  assert_int_equal (pool_reclaim (pool, evict, &e), POOL_GOING);
  assert_int_equal (pool_reclaim (pool, evict, &e), POOL_NOTHING);
  assert_int_equal (e.n, 1);
  audit (0);
  close_pool ();
}

/* Whole pages, the least recently used first; pages that were read later. */
static void
test_reclaim_order (void **state)
{
  struct evictor e = { 0 };
  struct item it[9] = { 0 };
  uint64_t handle;

  (void) state;
  open_pool (PAGE, 0);
  for (unsigned i = 0; i < 9; i++)
    assert_true (put (&it[i], 1200, (uint8_t) i));
  assert_non_null (pool_pin (pool, &it[1].cell, &handle));
  pool_used (pool, handle);
  pool_unpin (pool, handle);
  for (unsigned page = 0; page < 3; page++)
    assert_int_equal (pool_reclaim (pool, evict, &e), POOL_GOING);
  assert_int_equal (e.n, 9);
  for (unsigned i = 0; i < 9; i++)
    assert_true (e.seen[i] >= &it[(i / 3 + 1) % 3 * 3].cell &&
                 e.seen[i] <= &it[(i / 3 + 1) % 3 * 3 + 2].cell);
  close_pool ();
}

/* Faults 2 to 4: a headless page, and a page of three, that cannot go.  Neither
 * loses its locks nor keeps them, however often eviction is tried: the auditor
 * checks every lock, and a thread that needs one goes on.
 */
static void
try_in_vain (uint32_t size, unsigned n)
{
  struct item it[3] = { 0 };
  struct evictor e = { .refuse = &it[0].cell };

  open_pool (PAGE, 0);
  for (unsigned i = 0; i < n; i++)
    assert_true (put (&it[i], size, (uint8_t) (i + 1)));
  for (unsigned i = 0; i < 5; i++) {
    assert_int_equal (pool_reclaim (pool, evict, &e), POOL_FAILED);
    audit (
      1); /* the others went; this one is readable, its page on its lists */
    look (&it[0]);
  }
  assert_int_equal (live (), 1);
  e.refuse = NULL;
  assert_int_equal (pool_reclaim (pool, evict, &e), POOL_GOING);
  assert_int_equal (live (), 0);
  close_pool ();
}

static void
test_reclaim_fails_headless (void **state)
{
  (void) state;
  try_in_vain (PAGE, 1);
}

static void
test_reclaim_fails_buddies (void **state)
{
  (void) state;
  try_in_vain (1200, 3);
}

/* Fault 4: many pages that cannot go, in a row; all can be used afterwards. */
static void
test_reclaim_retries (void **state)
{
  struct item it[8] = { 0 };
  struct evictor e = { 0 };

  (void) state;
  open_pool (PAGE, 0);
  for (unsigned i = 0; i < 8; i++)
    assert_true (put (&it[i], i % 2 ? PAGE : 2500, (uint8_t) i));
  for (unsigned i = 0; i < 24; i++) {
    e.n = 0;
    e.refuse = &it[i % 8].cell;
    assert_int_equal (pool_reclaim (pool, evict, &e), POOL_FAILED);
    assert_ptr_equal (e.seen[0], e.refuse);
  }
  audit (8);
  for (unsigned i = 0; i < 8; i++) {
    look (&it[i]);
    drop (&it[i]);
  }
  close_pool ();
}

/* A page with an object in transit is not said to go. */
static void
test_reclaim_transit (void **state)
{
  struct evictor e = { 0 };
  struct item it = { 0 };
  void *mem;

  (void) state;
  open_pool (PAGE, 0);
  assert_true (put (&it, 1000, 1));
  uint64_t handle = pool_alloc (pool, 1000, &mem);
  assert_int_equal (pool_reclaim (pool, evict, &e), POOL_FAILED);
  assert_int_equal (e.n, 1);
  pool_drop (pool, handle);
  close_pool ();
}

#ifdef ZRAM_FAULTS

/* -- races -------------------------------------------------------------- */

static void *
put_thread (void *arg)
{
  check_always (put (arg, 1000, 42));
  return NULL;
}

static void *
drop_thread (void *arg)
{
  drop (arg);
  return NULL;
}

static void *
reclaim_thread (void *arg)
{
  (void) pool_reclaim (pool, evict, arg);
  return NULL;
}

/* An allocation has found a page; its last object is freed before it has the
 * page's lock.  The page dies, and the allocation takes another.
 */
static void
test_alloc_meets_free (void **state)
{
  struct item old = { 0 }, new = { 0 };
  struct unit_thread t;

  (void) state;
  open_pool (PAGE, 0);
  assert_true (put (&old, 1000, 1));
  struct z3page *z = page_of (&old);
  fault_hold ("z3.alloc.found");
  unit_start (&t, put_thread, &new);
  fault_wait_held ("z3.alloc.found");
  drop (&old);
  assert_int_equal (z->state, Z3_DEAD); /* and not free: it is looked at */
  assert_int_equal (live (), 0);
  fault_release ("z3.alloc.found");
  unit_join (&t);
  fault_clear ();
  assert_int_equal (live (), 1);
  look (&new);
  audit (1);
  drop (&new);
  close_pool ();
}

/* As above, but one object stays: the page lives, and is used. */
static void
test_alloc_meets_free_of_one (void **state)
{
  struct item old[2] = { 0 }, new = { 0 };
  struct unit_thread t;

  (void) state;
  open_pool (PAGE, 0);
  assert_true (put (&old[0], 1000, 1));
  assert_true (put (&old[1], 1000, 2));
  fault_hold ("z3.alloc.found");
  unit_start (&t, put_thread, &new);
  fault_wait_held ("z3.alloc.found");
  drop (&old[0]);
  fault_release ("z3.alloc.found");
  unit_join (&t);
  fault_clear ();
  assert_ptr_equal (page_of (&new), page_of (&old[1]));
  look (&new);
  look (&old[1]);
  audit (2);
  drop (&old[1]);
  drop (&new);
  close_pool ();
}

/* Two found the same page, which has room for one. */
static void
test_alloc_meets_alloc (void **state)
{
  struct item old[2] = { 0 }, a = { 0 }, b = { 0 };
  struct unit_thread t;

  (void) state;
  open_pool (PAGE, 0);
  assert_true (put (&old[0], 1500, 1));
  assert_true (put (&old[1], 1500, 2));
  fault_hold_first ("z3.alloc.found");
  unit_start (&t, put_thread, &a);
  fault_wait_held ("z3.alloc.found");
  assert_true (put (&b, 1000, 3));
  assert_ptr_equal (page_of (&b), page_of (&old[0]));
  fault_release ("z3.alloc.found");
  unit_join (&t);
  fault_clear ();
  assert_ptr_not_equal (page_of (&a), page_of (&old[0]));
  audit (4);
  drop (&old[0]);
  drop (&old[1]);
  drop (&a);
  drop (&b);
  close_pool ();
}

/* Reclaim has chosen a page, and all its objects are freed before it looks. */
static void
test_reclaim_meets_free (void **state)
{
  struct item it[3] = { 0 };
  struct evictor e = { 0 };
  struct unit_thread t;

  (void) state;
  open_pool (PAGE, 0);
  for (unsigned i = 0; i < 3; i++)
    assert_true (put (&it[i], 1200, (uint8_t) i));
  struct z3page *z = page_of (&it[0]);
  fault_hold ("z3.reclaim.taken");
  unit_start (&t, reclaim_thread, &e);
  fault_wait_held ("z3.reclaim.taken");
  for (unsigned i = 0; i < 3; i++)
    drop (&it[i]);
  assert_int_equal (z->state, Z3_DEAD);
  fault_release ("z3.reclaim.taken");
  unit_join (&t);
  fault_clear ();
  assert_int_equal (e.n, 0);
  assert_int_equal (z->state, Z3_FREE);
  close_pool ();
}

/* Takes only what is there, as an evictor must. */
static bool
evict_what_is_there (void *ctx, pool_cell *cell)
{
  struct evictor *e = ctx;

  e->seen[e->n++] = cell;
  if (atomic_load (cell) & Z3_HANDLE_TAG)
    pool_replace (pool, cell, 0);
  return true;
}

static void *
reclaim_there_thread (void *arg)
{
  (void) pool_reclaim (pool, evict_what_is_there, arg);
  return NULL;
}

/* The cells were copied before the page was unlocked; then one object is freed,
 * and its place taken by another, which must not be evicted.
 */
static void
test_reclaim_cells_before_unlock (void **state)
{
  struct item it[3] = { 0 }, new = { 0 };
  struct evictor e = { 0 };
  struct unit_thread t;

  (void) state;
  open_pool (PAGE, 0);
  for (unsigned i = 0; i < 3; i++)
    assert_true (put (&it[i], 1200, (uint8_t) i));
  fault_hold ("z3.reclaim.copied");
  unit_start (&t, reclaim_there_thread, &e);
  fault_wait_held ("z3.reclaim.copied");
  drop (&it[0]);
  assert_true (put (&new, 1200, 77));
  assert_ptr_equal (page_of (&new), page_of (&it[1]));
  fault_release ("z3.reclaim.copied");
  unit_join (&t);
  fault_clear ();
  assert_int_equal (e.n, 3);
  look (&new);
  audit (1);
  drop (&new);
  close_pool ();
}

/* The thread that freed the last object still holds the page when reclaim's
 * evictions and other allocations go on: it becomes free once.
 */
static void
test_last_reference_frees (void **state)
{
  struct item it = { 0 }, new = { 0 };
  struct unit_thread t;

  (void) state;
  open_pool (PAGE, 0);
  assert_true (put (&it, 1000, 1));
  struct z3page *z = page_of (&it);
  fault_hold ("z3.free.unlocked");
  unit_start (&t, drop_thread, &it);
  fault_wait_held ("z3.free.unlocked");
  assert_int_equal (z->state, Z3_DEAD);
  assert_true (put (&new, 1000, 2));
  assert_ptr_not_equal (page_of (&new), z);
  fault_release ("z3.free.unlocked");
  unit_join (&t);
  fault_clear ();
  assert_int_equal (z->state, Z3_FREE);
  audit (1);
  drop (&new);
  close_pool ();
}

/* -- no memory ---------------------------------------------------------- */

static void
test_no_page (void **state)
{
  struct item it = { 0 };

  (void) state;
  open_pool (PAGE, 0);
  fault_fail_nth ("z3.page", 1, false);
  assert_false (put (&it, 100, 1));
  assert_int_equal (errno, ENOMEM);
  fault_fail_nth ("reserve.commit", 1, false);
  assert_false (put (&it, 100, 1));
  assert_int_equal (errno, ENOMEM);
  fault_clear ();
  assert_true (put (&it, 100, 1));
  drop (&it);
  close_pool ();
}

#endif

static const struct CMUnitTest tests[] = {
  UNIT_TEST (test_three_share_a_page),
  UNIT_TEST (test_unbuddied_by_gap),
  UNIT_TEST (test_headless),
  UNIT_TEST (test_slot_sizes),
  UNIT_TEST (test_sizes_asked_for),
  UNIT_TEST (test_limit),
  UNIT_TEST (test_compaction),
  UNIT_TEST (test_pinned_middle_stays),
  UNIT_TEST (test_transit_stays),
  UNIT_TEST (test_reclaim_empty),
  UNIT_TEST (test_reclaim_order),
  UNIT_TEST (test_reclaim_fails_headless),
  UNIT_TEST (test_reclaim_fails_buddies),
  UNIT_TEST (test_reclaim_retries),
  UNIT_TEST (test_reclaim_transit),
#ifdef ZRAM_FAULTS
  UNIT_TEST (test_alloc_meets_free),
  UNIT_TEST (test_alloc_meets_free_of_one),
  UNIT_TEST (test_alloc_meets_alloc),
  UNIT_TEST (test_reclaim_meets_free),
  UNIT_TEST (test_reclaim_cells_before_unlock),
  UNIT_TEST (test_last_reference_frees),
  UNIT_TEST (test_no_page),
#endif
};

int
main (void)
{
  return UNIT_RUN (tests);
}
