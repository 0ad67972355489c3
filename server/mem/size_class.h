/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Size classes: which object sizes share a zspage, and how a zspage of each
 * class is laid out in its span.
 *
 * A span is 'span_pages' pages of addresses; a class uses the first 'pages'
 * of them, the number that wastes the least:
 *
 *   0            first                                pages * 4096   span
 *   | back[objs] | object 0 | object 1 | … |  waste   |  not touched  |
 *
 *   first + objs * size <= pages * 4096,  waste < size
 *
 * back[i] names the cell that names object i (zspage.h).  The huge class,
 * whole slots that did not compress, keeps its back[] elsewhere, so that
 * its objects fill their pages exactly:  first == 0, objs * size == span.
 *
 * Sizes are slot_size / 256 bytes apart (16 for 4 KiB slots).  Neighbours
 * with the same pages and objs are one class, that of the larger size.
 */

#ifndef ZRAM_SIZE_CLASS_H
#define ZRAM_SIZE_CLASS_H

#include <stddef.h>
#include <stdint.h>

#include "mem/pool.h"

#define CLASS_STEPS 256u             /* size steps in a slot */
#define CLASS_MAX (CLASS_STEPS + 1u) /* and the huge class */

struct size_class_geometry {
  uint32_t size;  /* bytes of an object */
  uint32_t first; /* bytes from the span's start to object 0 */
  uint16_t objs;  /* objects a zspage */
  uint16_t pages; /* pages a zspage */
};

struct size_classes {
  uint32_t slot_size;
  uint32_t step;       /* bytes from one size to the next */
  uint32_t span_pages; /* pages of addresses a zspage is given */
  unsigned n;          /* classes, the huge one last */
  uint16_t of_step[CLASS_STEPS + 1];
  struct size_class_geometry g[CLASS_MAX];
};

/* slot_size: a power of two, 4 KiB to 64 KiB. */
void size_classes_init (struct size_classes *sc, uint32_t slot_size);

static inline unsigned
size_class_huge (const struct size_classes *sc)
{
  return sc->n - 1;
}

/* The class for an object of 'size' bytes, 1 to slot_size; only a whole
 * slot goes to the huge class.
 */
static inline unsigned
size_class_of (const struct size_classes *sc, uint32_t size)
{
  return sc->of_step[(size + sc->step - 1) / sc->step];
}

/* The largest object that is not huge.  Data that compress to more than this
 * are stored as they are.
 */
static inline uint32_t
size_class_largest (const struct size_classes *sc)
{
  return sc->g[sc->n - 2].size;
}

#endif /* ZRAM_SIZE_CLASS_H */
