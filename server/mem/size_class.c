/* SPDX-License-Identifier: BSD-3-Clause */
/* Size classes: how the zspages of each are laid out.
 * Contract: mem/size_class.h.
 */

#include <config.h>

#include <string.h>

#include "base/check.h"
#include "mem/size_class.h"

#define BACK_SIZE sizeof (uint64_t)

/* 128 KiB. The more pages a zspage may have, the better a whole number of
 * objects fills it.  With system files in 4 KiB slots, 16 pages waste 1.6 % in
 * the average class, including back pointers, and 32 pages 1.0 %.  Pages cost
 * nothing before they are touched.  More pages would mean that a mover copies
 * more under one lock.
 */
#define SPAN_PAGES_MIN 32

/* The cost of a zspage besides its pages: the descriptor, and the page table
 * entries of the whole span.
 */
static uint32_t
zspage_overhead (const struct size_classes *sc)
{
  return 32 + sc->span_pages * 8;
}

static uint32_t
first_offset (uint32_t objs)
{
  return (objs * BACK_SIZE + 15) & ~UINT32_C (15);
}

/* Fill in how many objects of g->size fit in 'pages' pages. */
static void
fit (struct size_class_geometry *g, uint32_t pages)
{
  uint32_t objs = pages * MEM_PAGE / (g->size + BACK_SIZE);

  while (objs && first_offset (objs) + objs * g->size > pages * MEM_PAGE)
    objs--;
  g->objs = objs;
  g->pages = pages;
  g->first = first_offset (objs);
}

/* The number of pages with the lowest cost for each byte of object. */
static void
choose_pages (const struct size_classes *sc, struct size_class_geometry *g)
{
  struct size_class_geometry best = *g, tried = *g;
  double best_cost = 0;

  best.objs = 0;
  for (uint32_t pages = 1; pages <= sc->span_pages; pages++) {
    fit (&tried, pages);
    if (!tried.objs)
      continue;
    double cost = (pages * MEM_PAGE + zspage_overhead (sc)) /
                  ((double) tried.objs * tried.size);
    if (!best.objs || cost < best_cost) {
      best = tried;
      best_cost = cost;
    }
  }
  check_always (best.objs);
  *g = best;
}

void
size_classes_init (struct size_classes *sc, uint32_t slot_size)
{
  struct size_class_geometry huge = { .size = slot_size };

  memset (sc, 0, sizeof *sc);
  sc->slot_size = slot_size;
  sc->step = slot_size / CLASS_STEPS;
  sc->span_pages = 8 * slot_size / MEM_PAGE;
  if (sc->span_pages < SPAN_PAGES_MIN)
    sc->span_pages = SPAN_PAGES_MIN;

  /* An object within 1/32 of the slot's size saves too little to be worth
   * decompressing.
   */
  for (uint32_t step = 1; step <= CLASS_STEPS - CLASS_STEPS / 32; step++) {
    struct size_class_geometry g = { .size = step * sc->step };

    choose_pages (sc, &g);
    if (sc->n && sc->g[sc->n - 1].pages == g.pages &&
        sc->g[sc->n - 1].objs == g.objs)
      sc->n--; /* merge: the larger size takes the place */
    sc->g[sc->n++] = g;
  }

  huge.pages = sc->span_pages;
  huge.objs = sc->span_pages * MEM_PAGE / slot_size;
  sc->g[sc->n++] = huge;

  for (uint32_t step = 0, c = 0; step <= CLASS_STEPS; step++) {
    while (sc->g[c].size < step * sc->step)
      c++;
    sc->of_step[step] = c;
  }
}
