/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Size classes, for every slot size that there is: each size finds the
 * smallest class that it fits, and every class lays out its objects inside
 * its pages, beside each other and beside their back pointers.
 */

#include <config.h>

#include "unit.h"

#include "mem/arena.h"
#include "mem/size_class.h"
#include "mem/zspage.h"

#define BACK sizeof (zs_back)

static void
for_all_slot_sizes (void (*check) (const struct size_classes *sc))
{
  static struct size_classes sc;

  for (uint32_t slot = 4096; slot <= 65536; slot *= 2) {
    size_classes_init (&sc, slot);
    check (&sc);
  }
}

/* What does not compress is stored in a class of its own, exactly. */
static void
check_limits (const struct size_classes *sc)
{
  const struct size_class_geometry *huge = &sc->g[size_class_huge (sc)];

  assert_int_equal (sc->step, sc->slot_size / 256);
  assert_in_range (sc->n, 2, CLASS_MAX);
  assert_in_range (sc->span_pages, 16, ARENA_MAX_SPAN_PAGES);
  assert_int_equal (huge->size, sc->slot_size);
  assert_int_equal (huge->first, 0);
  assert_int_equal (huge->objs * huge->size, huge->pages * MEM_PAGE);
  assert_int_equal (huge->pages, sc->span_pages);
  assert_int_equal (size_class_largest (sc), sc->g[sc->n - 2].size);
  assert_in_range (size_class_largest (sc), sc->slot_size * 9 / 10,
                   sc->slot_size - 1);
  assert_int_equal (size_class_of (sc, size_class_largest (sc)), sc->n - 2);
  assert_int_equal (size_class_of (sc, size_class_largest (sc) + 1),
                    size_class_huge (sc));
}

static void
test_limits (void **state)
{
  (void) state;
  for_all_slot_sizes (check_limits);
}

static void
check_sizes (const struct size_classes *sc)
{
  for (uint32_t size = 1; size <= sc->slot_size; size++) {
    unsigned c = size_class_of (sc, size);

    assert_true (c < sc->n);
    assert_true (sc->g[c].size >= size);
    assert_true (c == 0 || sc->g[c - 1].size < size);
  }
}

static void
test_sizes (void **state)
{
  (void) state;
  for_all_slot_sizes (check_sizes);
}

/* Object by object. */
static void
check_layout (const struct size_classes *sc)
{
  for (unsigned c = 0; c < sc->n; c++) {
    const struct size_class_geometry *g = &sc->g[c];
    bool huge = c == size_class_huge (sc);
    uint32_t end = huge ? 0 : g->objs * BACK;

    assert_true (g->objs >= 1);
    assert_in_range (g->pages, 1, sc->span_pages);
    assert_true (c == 0 || g->size > sc->g[c - 1].size);
    assert_true (g->first >= end);
    assert_int_equal (g->first % 16, 0);
    assert_int_equal (g->size % 16, 0);
    for (uint32_t obj = 0; obj < g->objs; obj++) {
      uint32_t from = g->first + obj * g->size;

      assert_true (from >= end);
      end = from + g->size;
    }
    assert_true (end <= g->pages * MEM_PAGE);
    assert_true (g->pages * MEM_PAGE - end < g->size);
    /* The last page is needed. */
    assert_true (end > (g->pages - 1u) * MEM_PAGE);
  }
}

static void
test_layout (void **state)
{
  (void) state;
  for_all_slot_sizes (check_layout);
}

/* Neighbours that would be laid out alike were made one; not the huge class,
 * which has its back pointers elsewhere.
 */
static void
check_merged (const struct size_classes *sc)
{
  for (unsigned c = 1; c < size_class_huge (sc); c++)
    assert_false (sc->g[c].pages == sc->g[c - 1].pages &&
                  sc->g[c].objs == sc->g[c - 1].objs);
  /* And they do not waste: no more than a twentieth in any class. */
  for (unsigned c = 0; c < size_class_huge (sc); c++)
    if (sc->g[c].size >= 4 * sc->step)
      assert_true (sc->g[c].objs * (uint64_t) (sc->g[c].size + BACK) * 20 >=
                   sc->g[c].pages * (uint64_t) MEM_PAGE * 19);
}

static void
test_merged (void **state)
{
  (void) state;
  for_all_slot_sizes (check_merged);
}

/* A handle has bits enough for all of them, and gives back what went in. */
static void
check_handles (const struct size_classes *sc)
{
  static const uint32_t spans[] = { 0, 1, 65535, UINT32_MAX - 2 };

  for (unsigned c = 0; c < sc->n; c++) {
    unsigned objs[] = { 0, sc->g[c].objs - 1u };

    for (unsigned i = 0; i < 2 * 4; i++) {
      uint64_t h = zs_handle (c, objs[i % 2], spans[i / 2]);

      assert_true (h & ZS_HANDLE_TAG);
      assert_int_equal (zs_handle_class (h), c);
      assert_int_equal (zs_handle_obj (h), objs[i % 2]);
      assert_int_equal (zs_handle_span (h), spans[i / 2]);
    }
  }
}

static void
test_handles (void **state)
{
  (void) state;
  for_all_slot_sizes (check_handles);
}

static const struct CMUnitTest tests[] = {
  UNIT_TEST (test_limits), UNIT_TEST (test_sizes),   UNIT_TEST (test_layout),
  UNIT_TEST (test_merged), UNIT_TEST (test_handles),
};

int
main (void)
{
  return UNIT_RUN (tests);
}
