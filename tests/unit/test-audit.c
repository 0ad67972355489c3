/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The auditor can fail: one thing after the other is made wrong behind the
 * engine's back, seen by name, and put right again.
 */

#include <config.h>

#include "mem/z3_internal.h"
#include "mem/zs_internal.h"
#include "store-fixture.h"

#define SLOT 4096u

static struct fixture f;

/* Slots of every kind, in three leaves, one of them all EMPTY; holes in the
 * zspages.
 */
static void
open_disk (void)
{
  static char data[SLOT];
  struct unit_rng rng = unit_rng (1);

  fixture_open (&f, SLOT, "lz4", 2, 4 * MiB);
  for (unsigned i = 0; i < 600; i++) {
    fill_kind (data, SLOT, i % KINDS, &rng);
    must_write (&f, data, SLOT, i * SLOT);
  }
  for (unsigned i = 0; i < 256; i += 3)
    slot_discard (f.disk, i);
  for (unsigned i = 512; i < 600; i++)
    slot_discard (f.disk, i);
  fixture_audit (&f);
}

/* Not cmocka's asserts: also used in a thread. */
static void
expect_wrong (bool deep, const char *what)
{
  struct reason why = { "" };

  check_always (store_audit (f.store, deep, &why) == -1);
  if (!strstr (why.text, what)) {
    fprintf (stderr, "expected \"%s\", the auditor says \"%s\"\n", what,
             why.text);
    abort ();
  }
}

static struct slot *
slot_at (uint64_t index)
{
  return (struct slot *) slot_table_peek (&f.disk->table, index);
}

/* The first slot from 'index' on with a compressed object. */
static uint64_t
an_object (uint64_t index)
{
  while (fixture_state (&f, index) != SLOT_OBJECT ||
         slot_meta_format (fixture_meta (&f, index)) == CODEC_RAW)
    index++;
  return index;
}

static struct zspage *
zspage_of (uint64_t index)
{
  return arena_zspage (&fixture_zs (&f)->arena,
                       zs_handle_span (slot_load_cell (slot_at (index))));
}

static struct z3page *
z3page_of (uint64_t index)
{
  return z3_handle_page (fixture_z3 (&f), slot_load_cell (slot_at (index)));
}

/* Make the slot's object say that this cell names it; returns which did. */
static pool_cell *
set_back (uint64_t index, pool_cell *cell)
{
  uint64_t handle = slot_load_cell (slot_at (index));
  pool_cell *before;

  if (!fixture_is_zsmalloc ()) {
    unsigned e = z3_handle_entry (handle);

    before = z3page_of (index)->back[e];
    z3page_of (index)->back[e] = cell;
    return before;
  }
  zs_back *b = &zs_backs (fixture_zs (&f),
                          zspage_of (index))[zs_handle_obj (handle)];
  return (pool_cell *) atomic_exchange (b, (uintptr_t) cell);
}

static struct zs_class *
class_of (uint64_t index)
{
  return &fixture_zs (&f)
            ->class[zs_handle_class (slot_load_cell (slot_at (index)))];
}

/* What a thread holds it does not find held (a stream it may not even try
 * for): it is held here, and audited there.
 */
static void *
audit_there (void *what)
{
  expect_wrong (false, what);
  return NULL;
}

static void
expect_wrong_there (const char *what)
{
  struct unit_thread t;

  unit_start (&t, audit_there, (void *) what);
  unit_join (&t);
}

/* -- what the disk counts ---------------------------------------------- */

static void
test_counters (void **state)
{
  static const struct {
    enum disk_counter id;
    const char *name;
  } counters[] = {
    { DISK_SLOTS_STORED, "slots stored" },
    { DISK_SLOTS_SAME, "same-filled" },
    { DISK_SLOTS_HUGE, "huge" },
    { DISK_OBJECTS, "objects" },
    { DISK_COMPR_BYTES, "compressed bytes" },
  };

  (void) state;
  open_disk ();
  for (unsigned i = 0; i < sizeof counters / sizeof *counters; i++)
    for (int d = -1; d <= 1; d += 2) {
      disk_count (f.disk, counters[i].id, d);
      expect_wrong (false, counters[i].name);
      disk_count (f.disk, counters[i].id, -d);
    }
  fixture_close (&f);
}

static void
test_requests (void **state)
{
  (void) state;
  open_disk ();
  assert_int_equal (store_request_begin (f.store), 0);
  expect_wrong (false, "requests in flight");
  store_request_end (f.store);
  fixture_close (&f);
}

static void
test_budget (void **state)
{
  (void) state;
  open_disk ();
  assert_true (budget_charge (&f.store->budget, 4096));
  expect_wrong (false, "bytes charged");
  budget_refund (&f.store->budget, 8192);
  expect_wrong (false, "bytes charged");
  assert_true (budget_charge (&f.store->budget, 4096));
  fixture_close (&f);
}

/* -- the slot table ------------------------------------------------------ */

static void
test_table (void **state)
{
  struct leaves *l;

  (void) state;
  open_disk ();
  l = &f.store->leaves;
  leaves_count_live (l, slot_at (5), 1);
  expect_wrong (false, "live slots");
  leaves_count_live (l, slot_at (5), -1);

  atomic_fetch_add (&l->empty, 1);
  expect_wrong (false, "empty leaves");
  atomic_fetch_sub (&l->empty, 1);

  l->leaf_count++;
  expect_wrong (false, "leaves miscounted");
  l->leaf_count--;

  l->node_count++;
  expect_wrong (false, "nodes miscounted");
  l->node_count--;

  /* A leaf that is named twice, or elsewhere than it says. */
  _Atomic uint64_t *place = leaf_place (l, slot_at (5));
  uint64_t was = atomic_load (place);
  atomic_store (place, was + 1);
  expect_wrong (false, "a leaf's place");
  atomic_store (place, was);
  fixture_close (&f);
}

/* A slot that changed its state past all counters. */
static void
test_slot_state (void **state)
{
  uint64_t index;
  uint32_t meta;

  (void) state;
  open_disk ();
  for (index = 0; fixture_state (&f, index) != SLOT_SAME;)
    index++;
  meta = slot_load_meta (slot_at (index));
  atomic_store (&slot_at (index)->meta, 0);
  expect_wrong (false, "live slots");
  /* Neither kind 3 nor a format of no object is a state, and EMPTY and SAME
   * have no size.
   */
  static const uint32_t none[] = { 3, 3 << SLOT_FORMAT_SHIFT,
                                   UINT32_C (1) << 16,
                                   SLOT_SAME | UINT32_C (2) << 16 };
  for (unsigned i = 0; i < sizeof none / sizeof *none; i++) {
    atomic_store (&slot_at (index)->meta, none[i]);
    expect_wrong (false, "in no state");
  }
  atomic_store (&slot_at (index)->meta, meta);

  /* The size of an object. */
  index = an_object (0);
  meta = slot_load_meta (slot_at (index));
  atomic_store (&slot_at (index)->meta,
                slot_meta (SLOT_OBJECT, slot_meta_format (meta),
                           slot_meta_size (meta) + 1));
  expect_wrong (false, "compressed bytes");
  atomic_store (&slot_at (index)->meta, meta);
  fixture_close (&f);
}

static void
test_slot_locked (void **state) NO_THREAD_SAFETY_ANALYSIS
{
  (void) state;
  open_disk ();
  slot_read_lock (slot_at (7), 0);
  expect_wrong (false, "a slot is locked");
  slot_read_unlock (slot_at (7));
  slot_write_lock (slot_at (511));
  expect_wrong (false, "a slot is locked");
  slot_write_unlock (slot_at (511));
  fixture_close (&f);
}

/* -- objects ------------------------------------------------------------- */

static void
test_back_pointer (void **state)
{
  uint64_t a, b;
  pool_cell *back;

  (void) state;
  open_disk ();
  a = an_object (0);
  b = an_object (a + 1);
  back = set_back (a, &slot_at (b)->cell);
  assert_ptr_equal (back, &slot_at (a)->cell);
  expect_wrong (false, "its object is not its own");
  (void) set_back (a, NULL);
  expect_wrong (false, "its object is not its own");
  (void) set_back (a, back);
  fixture_audit (&f);

  /* Two slots, one object. */
  uint64_t cell = slot_load_cell (slot_at (a));
  atomic_store (&slot_at (a)->cell, slot_load_cell (slot_at (b)));
  expect_wrong (false, "its object is not its own");
  atomic_store (&slot_at (a)->cell, cell);
  fixture_close (&f);
}

/* An object that nobody owns: one never attached, one of a cell that is in
 * no slot.
 */
static void
test_lost_object (void **state)
{
  zs_cell cell;
  void *mem;

  (void) state;
  open_disk ();
  uint64_t handle = pool_alloc (f.store->pool, 1000, &mem);
  assert_true (handle);
  expect_wrong (false, "in transit");
  atomic_init (&cell, handle);
  pool_attach (f.store->pool, handle, &cell);
  expect_wrong (false, "attached objects");
  pool_replace (f.store->pool, &cell, 0);
  fixture_close (&f);
}

/* Bytes changed: only a deep audit looks. */
static void
test_damaged (void **state)
{
  uint64_t index, handle;

  (void) state;
  open_disk ();
  index = an_object (0);
  unsigned char *p = pool_pin (f.store->pool, &slot_at (index)->cell, &handle);
  pool_unpin (f.store->pool, handle);
  unsigned char first = p[0];
  p[0] = 0xff; /* lz4: literals, more of them than there are */
  struct reason why;
  assert_int_equal (store_audit (f.store, false, &why), 0);
  expect_wrong (true, "cannot be read");
  p[0] = first;
  fixture_close (&f);
}

/* -- zsmalloc ------------------------------------------------------------ */

#define OF_Z3FOLD "what z3fold has instead is damaged in tests of its own"

static void
test_zspage (void **state)
{
  struct zs_class *c;
  struct zspage *z;

  (void) state;
  fixture_only ("zsmalloc", OF_Z3FOLD);
  open_disk ();
  c = class_of (an_object (0));
  z = zspage_of (an_object (0));
  z->inuse++;
  expect_wrong (false, "pool: ");
  z->inuse--;
  z->fresh++;
  expect_wrong (false, "pool: ");
  z->fresh--;
  unsigned saved = z->free_head;
  z->free_head = saved ? 0 : 1;
  expect_wrong (false, "pool: ");
  z->free_head = (uint16_t) saved;
  atomic_fetch_add (&z->class_id, 1);
  expect_wrong (false, "list that is not its own");
  atomic_fetch_sub (&z->class_id, 1);
  saved = z->resident;
  z->resident = 0;
  expect_wrong (false, "not charged");
  z->resident = (uint8_t) saved;
  z->resident++;
  expect_wrong (false, "objects or pages of a class miscounted");
  c->resident++;
  expect_wrong (false, "bytes charged");
  c->resident--;
  z->resident--;
  fixture_close (&f);
}

static void
test_class (void **state)
{
  struct zs_class *c;

  (void) state;
  fixture_only ("zsmalloc", OF_Z3FOLD);
  open_disk ();
  c = class_of (an_object (0));
  c->inuse++;
  expect_wrong (false, "objects or pages of a class miscounted");
  c->inuse--;
  c->fresh--;
  expect_wrong (false, "objects or pages of a class miscounted");
  c->fresh++;
  for (unsigned g = 0; g < ZS_GROUPS; g++) {
    c->zspages[g]++;
    expect_wrong (false, "wrong length");
    c->zspages[g]--;
  }
  /* Off its list. */
  unsigned g = 0;
  while (!c->group[g])
    g++;
  span_link head = c->group[g];
  c->group[g] = 0;
  expect_wrong (false, "wrong length");
  c->group[g] = head;
  fixture_close (&f);
}

static void
test_arena (void **state)
{
  struct arena *a;

  (void) state;
  fixture_only ("zsmalloc", OF_Z3FOLD);
  open_disk ();
  a = &fixture_zs (&f)->arena;
  a->used_spans++;
  expect_wrong (false, "pool: ");
  a->used_spans--;
  a->cold_spans++;
  expect_wrong (false, "cold spans");
  a->cold_spans--;
  a->hot_pages++;
  expect_wrong (false, "hot pages");
  a->hot_pages--;
  a->top++;
  expect_wrong (false, "differ from top");
  a->top--;
  fixture_close (&f);
}

/* -- z3fold -------------------------------------------------------------- */

#define OF_ZSMALLOC "what zsmalloc has instead is damaged in tests of its own"

static void
test_z3_page (void **state)
{
  struct z3page *z;
  uint64_t index;

  (void) state;
  fixture_only ("z3fold", OF_ZSMALLOC);
  open_disk ();
  index = an_object (0);
  z = z3page_of (index);
  unsigned e = z3_handle_entry (slot_load_cell (slot_at (index)));

  z3_get (z);
  expect_wrong (false, "other references than its lists'");
  atomic_fetch_sub (&z->refs, 1);
  z->state = Z3_DEAD;
  expect_wrong (false, "a page without objects is on a list");
  z->state = Z3_LIVE;
  z->list++;
  expect_wrong (false, "list that is not its own");
  z->list--;
  z->shape ^= 1;
  expect_wrong (false, "a page's objects miscounted");
  z->shape ^= 1;
  uint16_t chunks = z->chunks[e];
  z->chunks[e] = 0;
  expect_wrong (false, "pool: ");
  z->chunks[e] = chunks;
  fixture_close (&f);
}

/* A page with three objects is on list 0 wherever they lie. */
static void
test_z3_places (void **state)
{
  struct z3_pool *z3;
  struct z3page *z;

  (void) state;
  fixture_only ("z3fold", OF_ZSMALLOC);
  open_disk ();
  z3 = fixture_z3 (&f);
  for (z = z3_page (z3, z3->lists[0] - 1); z->shape != 3;
       z = z3_page (z3, z->next - 1))
    assert_true (z->next);
  uint16_t start = z->start[0], other = z->start[1];
  z->start[0] = z->start[1] = 0;
  expect_wrong (false, "two objects overlap");
  z->start[1] = other;
  z->start[0] = (uint16_t) z3->chunks;
  expect_wrong (false, "an object lies outside its page");
  z->start[0] = start;
  fixture_close (&f);
}

/* The lists, the LRU and the free pages. */
static void
test_z3_lists (void **state)
{
  struct z3_pool *z3;

  (void) state;
  fixture_only ("z3fold", OF_ZSMALLOC);
  open_disk ();
  z3 = fixture_z3 (&f);
  z3_link saved = z3->lists[0];
  z3->lists[0] = 0;
  expect_wrong (false, "a list is not known to have pages");
  z3->filled[0] ^= 1;
  expect_wrong (false, "pages on lists miscounted");
  z3->filled[0] ^= 1;
  z3->lists[0] = saved;

  struct z3page *oldest = z3_page (z3, z3->oldest - 1);
  saved = oldest->newer;
  oldest->newer = 0;
  expect_wrong (false, "the LRU is broken");
  oldest->newer = saved;
  saved = z3->oldest;
  z3->oldest = oldest->newer;
  expect_wrong (false, "the LRU misses pages");
  z3->oldest = saved;

  z3->hot_pages++;
  expect_wrong (false, "free pages miscounted");
  z3->hot_pages--;
  z3->cold_pages++;
  expect_wrong (false, "free pages miscounted");
  z3->cold_pages--;
  z3->top++;
  expect_wrong (false, "differ from top");
  z3->top--;
  z3->described++;
  expect_wrong (false, "bytes charged");
  z3->described--;
  fixture_close (&f);
}

/* -- it only looks -------------------------------------------------------- */

static void
test_leaves_no_trace (void **state)
{
  static uint32_t before[600];

  (void) state;
  open_disk ();
  for (unsigned i = 0; i < 512; i++) {
    char byte;

    assert_int_equal (slot_read (f.disk, i, &byte, 5, 1, 1000 + i), 0);
    if (i % 3 == 0)
      (void) slot_mark_idle (slot_at (i));
    before[i] = atomic_load (&slot_at (i)->lock.v);
  }
  for (unsigned deep = 0; deep < 2; deep++) {
    struct reason why;

    assert_int_equal (store_audit (f.store, deep, &why), 0);
    for (unsigned i = 0; i < 512; i++)
      assert_int_equal (atomic_load (&slot_at (i)->lock.v), before[i]);
  }
  fixture_close (&f);
}

/* Nor is it a use: the order of reclaim is what clients made it. */
static void
test_is_no_use (void **state)
{
  struct z3page *z;
  uint64_t index;
  char byte;

  (void) state;
  fixture_only ("z3fold", "zsmalloc has no order of use");
  open_disk ();
  index = an_object (0);
  z = z3page_of (index);
  atomic_store (&z->referenced, 0);
  struct reason why;
  assert_int_equal (store_audit (f.store, true, &why), 0);
  assert_int_equal (atomic_load (&z->referenced), 0);
  assert_int_equal (slot_read (f.disk, index, &byte, 5, 1, 1), 0);
  assert_int_equal (atomic_load (&z->referenced), 1);
  fixture_close (&f);
}

/* -- held ----------------------------------------------------------------- */

static void
test_held (void **state)
{
  uint64_t handle, index;

  (void) state;
  open_disk ();
  struct zcomp_stream *stream = zcomp_stream_get (f.store->zcomp);
  expect_wrong_there ("a stream is held");
  zcomp_stream_put (stream);

  index = an_object (0);
  assert_non_null (pool_pin (f.store->pool, &slot_at (index)->cell, &handle));
  expect_wrong_there (fixture_is_zsmalloc () ? "pinned or locked"
                                             : "an object is pinned");
  pool_unpin (f.store->pool, handle);
  fixture_close (&f);
}

int
main (void)
{
  static const struct CMUnitTest tests[] = {
    UNIT_TEST (test_counters),
    UNIT_TEST (test_requests),
    UNIT_TEST (test_budget),
    UNIT_TEST (test_table),
    UNIT_TEST (test_slot_state),
    UNIT_TEST (test_slot_locked),
    UNIT_TEST (test_held),
    UNIT_TEST (test_back_pointer),
    UNIT_TEST (test_lost_object),
    UNIT_TEST (test_damaged),
    UNIT_TEST (test_zspage),
    UNIT_TEST (test_class),
    UNIT_TEST (test_arena),
    UNIT_TEST (test_z3_page),
    UNIT_TEST (test_z3_places),
    UNIT_TEST (test_z3_lists),
    UNIT_TEST (test_leaves_no_trace),
    UNIT_TEST (test_is_no_use),
  };

  return UNIT_RUN (tests);
}
