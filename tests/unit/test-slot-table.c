/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The slot table beside a model: which slots have a leaf, what is in them,
 * what the table costs, and what remains of a leaf that could not be made.
 * What threads do to each other is in test-leaf-reclaim.c.
 */

#include <config.h>

#include "store-fixture.h"

#define NODE_BYTES 4096u

struct table {
  struct leaves l;
  struct slot_table t;
  struct budget budget;
};

/* Not the first of the store: what loses the place of its disk is found. */
#define FIRST (UINT64_C (3) << 51)

static void
open_table (struct table *x, uint64_t slots)
{
  budget_init (&x->budget, 0);
  assert_int_equal (leaves_init (&x->l, slots, &x->budget), 0);
  assert_int_equal (slot_table_init (&x->t, &x->l, FIRST, slots), 0);
  assert_int_equal (atomic_load (&x->budget.used), 0);
}

static void
check_table (struct table *x)
{
  struct leaves_audit counted = { 0 };
  const char *wrong = slot_table_audit (&x->t, &counted);

  if (!wrong)
    wrong = leaves_audit (&x->l, &counted);
  if (wrong)
    fail_msg ("%s", wrong);
  assert_int_equal (leaves_memory (&x->l), x->l.leaf_count * LEAF_BYTES +
                                             x->l.node_count * NODE_BYTES);
  assert_int_equal (atomic_load (&x->budget.used), leaves_memory (&x->l));
}

/* The slot holds 'word' from now on; 0: it is EMPTY.  False if there is no
 * memory.
 */
static bool
put (struct table *x, uint64_t index, uint64_t word) NO_THREAD_SAFETY_ANALYSIS
{
  struct slot *s = word ? slot_table_write_lock_new (&x->t, index)
                        : slot_table_write_lock (&x->t, index);
  uint32_t meta = word ? slot_meta (SLOT_SAME, 0, 1) : 0;

  if (!s)
    return !word;
  int live = !!word - !!slot_load_meta (s);
  atomic_store (&s->cell, word);
  atomic_store (&s->meta, meta);
  if (live)
    leaves_count_live (&x->l, s, live);
  slot_write_unlock (s);
  return true;
}

static uint64_t
get (struct table *x, uint64_t index) NO_THREAD_SAFETY_ANALYSIS
{
  struct slot *s = slot_table_read_lock (&x->t, index, 0);
  uint64_t word = s ? slot_load_cell (s) : 0;

  if (s)
    slot_read_unlock (s);
  return word;
}

/* A table that goes has nothing in it. */
static void
empty_all (struct table *x)
{
  for (uint64_t i = slot_table_next_present (&x->t, 0, x->t.slots);
       i < x->t.slots; i = slot_table_next_present (&x->t, i + 1, x->t.slots))
    if (get (x, i))
      assert_true (put (x, i, 0));
}

static void
close_table (struct table *x)
{
  check_table (x);
  empty_all (x);
  slot_table_destroy (&x->t);
  assert_int_equal (atomic_load (&x->budget.used), 0);
  slot_table_destroy (&x->t); /* harmless */
  leaves_destroy (&x->l);
  leaves_destroy (&x->l); /* harmless */
}

static bool
present (struct table *x, uint64_t index)
{
  return slot_table_peek (&x->t, index) != NULL;
}

/* -- the shape ----------------------------------------------------------- */

static void
test_empty (void **state)
{
  struct table x;

  (void) state;
  open_table (&x, UINT64_C (1) << 51);
  for (unsigned bit = 0; bit < 51; bit++) {
    assert_int_equal (get (&x, UINT64_C (1) << bit), 0);
    assert_true (put (&x, UINT64_C (1) << bit, 0));
    assert_false (slot_table_reclaim (&x.t, UINT64_C (1) << bit));
    assert_false (slot_table_leaf_is_empty (&x.t, UINT64_C (1) << bit));
  }
  assert_int_equal (slot_table_next_present (&x.t, 0, x.t.slots), x.t.slots);
  assert_int_equal (slot_table_next_present (&x.t, 5, 7), 7);
  assert_int_equal (leaves_memory (&x.l), 0);
  close_table (&x);
}

/* Every size a table can have trouble with; the slots that would be one and
 * the same if an index lost a bit.
 */
static void
test_sizes (void **state)
{
  static const uint64_t sizes[] = { 1,
                                    2,
                                    255,
                                    256,
                                    257,
                                    512 * 256 - 1,
                                    512 * 256,
                                    512 * 256 + 1,
                                    UINT64_C (512) * 512 * 256,
                                    UINT64_C (512) * 512 * 256 + 1,
                                    (UINT64_C (1) << 32) - 1,
                                    UINT64_C (1) << 32,
                                    (UINT64_C (1) << 32) + 1,
                                    (UINT64_C (1) << 35) + 1,
                                    (UINT64_C (1) << 44) + 1,
                                    (UINT64_C (1) << 51) - 1,
                                    UINT64_C (1) << 51 };

  (void) state;
  for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
    uint64_t slots = sizes[i];
    struct table x;

    open_table (&x, slots);
    for (unsigned bit = 0; bit < 52; bit++) {
      uint64_t at = bit < 51 ? UINT64_C (1) << bit : slots - 1;

      if (at < slots)
        assert_true (put (&x, at, at + 1));
    }
    assert_true (put (&x, 0, 1));
    for (unsigned bit = 0; bit < 51 && UINT64_C (1) << bit < slots; bit++)
      assert_int_equal (get (&x, UINT64_C (1) << bit),
                        (UINT64_C (1) << bit) + 1);
    assert_int_equal (get (&x, slots - 1), slots);
    assert_int_equal (get (&x, 0), 1);
    assert_int_equal (slot_table_next_present (&x.t, slots - 1, slots),
                      slots - 1);
    close_table (&x);
  }
}

/* Two tables of 2^51 slots at once cost next to nothing. */
static void
test_costs_nothing (void **state)
{
  struct table x, y;

  (void) state;
  open_table (&x, UINT64_C (1) << 51);
  open_table (&y, UINT64_C (1) << 51);
  assert_int_equal (reserve_resident (&x.l.leaves, 16 * MiB), 0);
  assert_true (put (&x, 12345678901234, 1));
  assert_int_equal (x.l.leaf_count, 1);
  assert_true (x.l.node_count < x.t.levels);
  assert_int_equal (reserve_resident (&x.l.leaves, 16 * MiB), LEAF_BYTES);
  close_table (&x);
  close_table (&y);
}

/* -- beside a model ------------------------------------------------------ */

#define LEAVES 64 /* of the model, strewn over the table */

struct model {
  uint64_t leaf[LEAVES]; /* ascending, each another */
  bool there[LEAVES];
  uint64_t word[LEAVES][LEAF_SLOTS];
  unsigned live[LEAVES];
};

static int
ascending (const void *a, const void *b)
{
  const uint64_t *x = a, *y = b;

  return *x < *y ? -1 : *x > *y;
}

/* Some side by side, some far apart. */
static void
strew (struct model *m, uint64_t slots, struct unit_rng *rng)
{
  uint64_t leaves = (slots + LEAF_SLOTS - 1) / LEAF_SLOTS, at = 0;

  memset (m, 0, sizeof *m);
  for (unsigned i = 0; i < LEAVES; i++) {
    at = i % 4 ? at + 1 + unit_below (rng, 3) : unit_rand (rng) % leaves;
    m->leaf[i] = at % leaves;
  }
  m->leaf[0] = 0;
  m->leaf[1] = leaves - 1;
  qsort (m->leaf, LEAVES, sizeof m->leaf[0], ascending);
  for (unsigned i = 1; i < LEAVES; i++)
    if (m->leaf[i] <= m->leaf[i - 1])
      m->leaf[i] = m->leaf[i - 1] + 1;
}

static uint64_t
model_next (const struct model *m, uint64_t index, uint64_t end)
{
  for (unsigned i = 0; i < LEAVES; i++) {
    uint64_t first = m->leaf[i] << LEAF_SHIFT;

    if (!m->there[i] || first + LEAF_SLOTS <= index)
      continue;
    if (first < index)
      first = index;
    return first < end ? first : end;
  }
  return end;
}

static void
check_next (struct table *x, const struct model *m, struct unit_rng *rng)
{
  uint64_t from = unit_rand (rng) % x->t.slots;
  uint64_t end = from + unit_rand (rng) % (x->t.slots - from) + 1;
  unsigned leaf = unit_below (rng, LEAVES);

  if (unit_below (rng, 2)) { /* near a leaf */
    from = (m->leaf[leaf] << LEAF_SHIFT) + unit_below (rng, 600);
    from = from > 300 ? from - 300 : 0;
    end = from + 1 + unit_below (rng, 1000);
  }
  if (end > x->t.slots)
    end = x->t.slots;
  if (from < end)
    assert_int_equal (slot_table_next_present (&x->t, from, end),
                      model_next (m, from, end));
}

static void
random_step (struct table *x, struct model *m, struct unit_rng *rng)
{
  unsigned leaf = unit_below (rng, LEAVES);
  unsigned at = unit_below (rng, 3) ? unit_below (rng, 4)
                                    : unit_below (rng, LEAF_SLOTS);
  uint64_t index = (m->leaf[leaf] << LEAF_SHIFT) + at, word = 0;

  if (index >= x->t.slots)
    return;
  switch (unit_below (rng, 4)) {
  case 0:
    word = unit_rand (rng) | 1;
    m->there[leaf] = true;
    /* fall through */
  case 1:
    assert_true (put (x, index, word));
    m->live[leaf] += !!word - !!m->word[leaf][at];
    m->word[leaf][at] = word;
    break;
  case 2: {
    bool can = m->there[leaf] && m->live[leaf] == 0;

    assert_int_equal (slot_table_leaf_is_empty (&x->t, index), can);
    assert_int_equal (slot_table_reclaim (&x->t, index), can);
    m->there[leaf] = m->there[leaf] && !can;
    break;
  }
  default:
    assert_int_equal (get (x, index), m->word[leaf][at]);
    assert_int_equal (present (x, index), m->there[leaf]);
    check_next (x, m, rng);
  }
}

static void
test_model (void **state)
{
  static const uint64_t sizes[] = { 100 * 256 + 17, 512 * 256 + 300,
                                    (UINT64_C (1) << 32) + 1,
                                    UINT64_C (1) << 51 };
  struct unit_rng rng = unit_rng (1);
  struct model *m = must_alloc (sizeof *m);

  (void) state;
  for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
    struct table x;
    unsigned there = 0;

    open_table (&x, sizes[i]);
    strew (m, sizes[i], &rng);
    for (unsigned step = 0; step < UNIT_TIMES (40000); step++)
      random_step (&x, m, &rng);
    for (unsigned l = 0; l < LEAVES; l++)
      there += m->there[l];
    assert_int_equal (x.l.leaf_count, there);
    close_table (&x);
  }
  free (m);
}

/* -- memory comes back --------------------------------------------------- */

static void
test_memory_returns (void **state)
{
  enum { MANY = 1000 };
  struct table x;

  (void) state;
  open_table (&x, MANY * LEAF_SLOTS);
  for (unsigned round = 0; round < 3; round++) {
    for (uint64_t i = 0; i < MANY; i++)
      assert_true (put (&x, i * LEAF_SLOTS + i % LEAF_SLOTS, i + 1));
    check_table (&x);
    assert_int_equal (x.l.leaf_count, MANY);
    assert_true (reserve_resident (&x.l.leaves, MANY * LEAF_BYTES) ==
                 MANY * LEAF_BYTES);

    for (uint64_t i = 0; i < MANY; i++)
      assert_true (put (&x, i * LEAF_SLOTS + i % LEAF_SLOTS, 0));
    assert_int_equal (leaves_empty (&x.l), MANY);
    for (uint64_t i = 0; i < MANY; i++)
      assert_true (slot_table_reclaim (&x.t, i * LEAF_SLOTS));
    assert_int_equal (leaves_empty (&x.l), 0);
    assert_int_equal (reserve_resident (&x.l.leaves, MANY * LEAF_BYTES), 0);
    assert_int_equal (x.l.leaf_count, 0);
    assert_int_equal (leaves_memory (&x.l), 0); /* the nodes went too */
    assert_int_equal (reserve_resident (&x.l.nodes, 2 * NODE_BYTES), 0);
  }
  assert_int_equal (x.l.top, MANY); /* used again, not more and more */
  close_table (&x);
}

/* What holds a leaf: a slot that is not EMPTY, a lock by reader or writer. */
static void
test_reclaim_refused (void **state) NO_THREAD_SAFETY_ANALYSIS
{
  struct table x;
  struct slot *s;

  (void) state;
  open_table (&x, 1000);
  assert_true (put (&x, 300, 7));
  assert_false (slot_table_reclaim (&x.t, 300));
  assert_false (slot_table_reclaim (&x.t, 256));
  assert_int_equal (get (&x, 300), 7);

  assert_true (put (&x, 300, 0));
  for (unsigned at = 256; at < 512; at += 51) {
    s = slot_table_read_lock (&x.t, at, 0);
    assert_non_null (s);
    assert_false (slot_table_reclaim (&x.t, 300));
    slot_read_unlock (s);
    s = slot_table_write_lock (&x.t, at);
    assert_non_null (s);
    assert_false (slot_table_reclaim (&x.t, 300));
    slot_write_unlock (s);
  }
  check_table (&x);
  assert_true (slot_table_reclaim (&x.t, 511));
  assert_false (slot_table_reclaim (&x.t, 511));
  assert_false (present (&x, 300));
  close_table (&x);
}

/* At ever new places of a large disk, more than fit: trimmed slots leave room
 * for what comes, nodes included.
 */
static void
test_ever_other_places (void **state)
{
  struct unit_rng rng = unit_rng (7);
  struct table x;

  (void) state;
  open_table (&x, UINT64_C (1) << 34); /* 64 TiB */
  atomic_store (&x.budget.limit, 64 * NODE_BYTES);
  for (unsigned i = 0; i < UNIT_TIMES (20000); i++) {
    uint64_t index = unit_rand (&rng) % x.t.slots;

    assert_true (put (&x, index, i + 1));
    assert_int_equal (get (&x, index), i + 1);
    assert_true (put (&x, index, 0));
    assert_true (slot_table_reclaim (&x.t, index));
  }
  assert_int_equal (atomic_load (&x.budget.used), 0);
  assert_true (x.l.top == 1 && x.l.node_top <= NODE_LEVELS);
  close_table (&x);
}

/* Two tables over the same leaves, each with its own slots. */
static void
test_two_tables (void **state) NO_THREAD_SAFETY_ANALYSIS
{
  struct table x;
  struct slot_table other;
  struct leaves_audit counted = { 0 };

  (void) state;
  open_table (&x, UINT64_C (1) << 40);
  assert_int_equal (
    slot_table_init (&other, &x.l, UINT64_C (5) << 51, UINT64_C (1) << 51), 0);
  assert_true (put (&x, 77, 1));
  struct slot *s = slot_table_write_lock_new (&other, 77);
  assert_non_null (s);
  assert_int_equal (leaves_slot_of (&x.l, &s->cell), (UINT64_C (5) << 51) + 77);
  slot_write_unlock (s);
  assert_int_equal (leaves_slot_of (&x.l, &slot_table_peek (&x.t, 77)->cell),
                    FIRST + 77);
  assert_int_equal (get (&x, 77), 1);
  assert_null (slot_table_audit (&other, &counted));
  assert_null (slot_table_audit (&x.t, &counted));
  assert_null (leaves_audit (&x.l, &counted));
  slot_table_destroy (&other);
  close_table (&x);
}

/* -- no memory ----------------------------------------------------------- */

/* One page of budget after the other: until the leaf can be had ENOSPC, and
 * nothing is there that was not before.
 */
static void
test_budget (void **state)
{
  const uint64_t far = UINT64_C (1) << 50;
  struct table x;

  (void) state;
  open_table (&x, UINT64_C (1) << 51);
  assert_true (put (&x, 0, 1));
  uint64_t before = atomic_load (&x.budget.used);
  for (uint64_t limit = before; limit < before + x.t.levels * NODE_BYTES;
       limit += NODE_BYTES) {
    atomic_store (&x.budget.limit, limit);
    errno = 0;
    assert_false (put (&x, far, 1));
    assert_int_equal (errno, ENOSPC);
    assert_false (present (&x, far));
    assert_int_equal (x.l.leaf_count, 1);
    assert_int_equal (slot_table_next_present (&x.t, 256, x.t.slots),
                      x.t.slots);
    assert_int_equal (atomic_load (&x.budget.used), before);
    check_table (&x);
  }
  atomic_store (&x.budget.limit, before + x.t.levels * NODE_BYTES);
  assert_true (put (&x, far, 2));
  assert_int_equal (get (&x, far), 2);
  assert_int_equal (get (&x, 0), 1);
  close_table (&x);
}

#ifdef ZRAM_FAULTS

static void
test_no_memory (void **state)
{
  static const char *const points[] = { "table.node", "reserve.commit" };
  struct table x;

  (void) state;
  for (unsigned p = 0; p < 2; p++)
    for (unsigned nth = 1; nth <= 6; nth++)
      for (unsigned ever = 0; ever < 2; ever++) {
        open_table (&x, UINT64_C (1) << 51);
        fault_fail_nth (points[p], nth, ever);
        errno = 0;
        if (!put (&x, UINT64_C (1) << 50, 3)) {
          assert_int_equal (errno, ENOMEM);
          assert_false (present (&x, UINT64_C (1) << 50));
          assert_int_equal (x.l.leaf_count, 0);
          assert_int_equal (leaves_empty (&x.l), 0);
          check_table (&x);
        }
        else
          assert_true (fault_reached (points[p]) < nth);
        fault_clear ();
        assert_true (put (&x, UINT64_C (1) << 50, 4));
        assert_int_equal (get (&x, UINT64_C (1) << 50), 4);
        close_table (&x);
      }
}

/* Each step of setting up fails, once (then a table may still come of it,
 * with fewer addresses) and for good.
 */
static void
test_no_table (void **state)
{
  static const char *const points[] = { "reserve.open", "reserve.commit" };
  struct table x;
  unsigned failed = 0;

  (void) state;
  for (unsigned p = 0; p < 2; p++)
    for (unsigned nth = 1; nth <= 5; nth++)
      for (unsigned ever = 0; ever < 2; ever++) {
        budget_init (&x.budget, 0);
        fault_fail_nth (points[p], nth, ever);
        errno = 0;
        if (leaves_init (&x.l, UINT64_C (1) << 51, &x.budget) == -1) {
          assert_int_equal (errno, ENOMEM);
          failed++;
        }
        else if (slot_table_init (&x.t, &x.l, FIRST, UINT64_C (1) << 51) ==
                 -1) {
          assert_int_equal (errno, ENOMEM);
          leaves_destroy (&x.l);
          failed++;
        }
        else {
          fault_clear ();
          assert_true (put (&x, UINT64_C (1) << 50, 4));
          close_table (&x);
        }
        fault_clear ();
        assert_int_equal (atomic_load (&x.budget.used), 0);
      }
  assert_true (failed >= 3 + 5); /* it commits nothing before it is used */
}

#endif

int
main (void)
{
  static const struct CMUnitTest tests[] = {
    UNIT_TEST (test_empty),
    UNIT_TEST (test_sizes),
    UNIT_TEST (test_costs_nothing),
    UNIT_TEST (test_model),
    UNIT_TEST (test_memory_returns),
    UNIT_TEST (test_reclaim_refused),
    UNIT_TEST (test_ever_other_places),
    UNIT_TEST (test_two_tables),
    UNIT_TEST (test_budget),
#ifdef ZRAM_FAULTS
    UNIT_TEST (test_no_memory),
    UNIT_TEST (test_no_table),
#endif
  };

  return UNIT_RUN (tests);
}
