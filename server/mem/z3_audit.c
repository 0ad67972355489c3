/* SPDX-License-Identifier: BSD-3-Clause */
/* z3fold: statistics, and the allocator's part of the audit.
 * Contract: mem/z3_internal.h.
 */

#include <config.h>

#include "mem/z3_internal.h"

struct pool_spread
z3_spread (struct pool *p)
{
  struct z3_pool *pool = z3_of (p);
  struct pool_spread s;

  mutex_lock (&pool->lock);
  s = (struct pool_spread){ .top = pool->top, .used = pool->live };
  mutex_unlock (&pool->lock);
  return s;
}

/* Two classes: pages for three objects, grouped by how many they have, and
 * headless ones, which are full.
 */
struct pool_class_stats
z3_class_stats (struct pool *p, unsigned id)
{
  struct z3_pool *pool = z3_of (p);
  struct pool_class_stats st = { .size = pool->page_size / (id ? 1 : 3),
                                 .pages = pool->page_size / MEM_PAGE,
                                 .objs = id ? 1 : 3 };
  const unsigned full = POOL_GROUPS - 1;

  mutex_lock (&pool->lock);
  if (id == 0) {
    st.zspages[4] = pool->shapes[1]; /* 33 % */
    st.zspages[7] = pool->shapes[2]; /* 66 % */
    st.zspages[full] = pool->shapes[3];
    st.inuse = pool->shapes[1] + UINT64_C (2) * pool->shapes[2] +
               UINT64_C (3) * pool->shapes[3];
    st.allocated = UINT64_C (3) *
                   (pool->shapes[1] + pool->shapes[2] + pool->shapes[3]);
  }
  else
    st.zspages[full] = st.inuse = st.allocated = pool->shapes[Z3_HEADLESS];
  mutex_unlock (&pool->lock);
  return st;
}

bool
z3_is_attached (struct pool *p, uint64_t handle, const pool_cell *cell)
{
  struct z3_pool *pool = z3_of (p);
  struct z3page *z = z3_handle_page (pool, handle);
  bool is;

  z3_lock (z);
  is = z->back[z3_handle_entry (handle)] == cell;
  z3_unlock (z);
  return is;
}

static const char *
audit_objects (const struct z3_pool *pool, const struct z3page *z,
               uint64_t *objects)
{
  for (unsigned e = 0; e < Z3_BUDDIES; e++) {
    if (!z->chunks[e])
      continue;
    if (!z->back[e])
      return "an object is in transit";
    if (z->pins[e])
      return "an object is pinned";
    if (atomic_load (z->back[e]) != z3_handle (z3_number (pool, z), e))
      return "an object's cell does not name it";
    if (z->start[e] + z->chunks[e] > pool->chunks)
      return "an object lies outside its page";
    for (unsigned o = 0; o < e; o++)
      if (z->chunks[o] && z->start[o] < z->start[e] + z->chunks[e] &&
          z->start[e] < z->start[o] + z->chunks[o])
        return "two objects overlap";
    ++*objects;
  }
  return NULL;
}

static const char *
audit_page (const struct z3_pool *pool, struct z3page *z, uint32_t list,
            z3_link prev, uint64_t *objects)
{
  z3_assume_locked (z);
  unsigned n = z3_objects_locked (z);
  uint32_t gap = z3_largest_gap_locked (pool, z).chunks;

  if (!rwword_is_free (&z->lock))
    return "a page is locked";
  if (z->state != Z3_LIVE || n == 0)
    return "a page without objects is on a list";
  if (z->list != list || gap != list || z->prev != prev)
    return "a page is on a list that is not its own";
  if (z->shape != (n == 1 && gap == 0 ? Z3_HEADLESS : n))
    return "a page's objects miscounted";
  const char *wrong = audit_objects (pool, z, objects);
  if (!wrong && atomic_load (&z->refs) != 2)
    return "a page has other references than its lists'";
  return wrong;
}

static const char *
audit_lru (const struct z3_pool *pool) REQUIRES (pool->lock)
{
  uint32_t n = 0;
  z3_link newer = 0;

  for (z3_link l = pool->newest; l && n <= pool->live; n++) {
    const struct z3page *z = z3_page (pool, l - 1);

    if (z->newer != newer || z->state != Z3_LIVE)
      return "the LRU is broken";
    newer = l;
    l = z->older;
  }
  return n == pool->live && pool->oldest == newer ? NULL
                                                  : "the LRU misses pages";
}

static const char *
audit_free (const struct z3_pool *pool) REQUIRES (pool->lock)
{
  const uint64_t *cold = (const uint64_t *) (const void *) pool->cold.base;
  uint32_t n = 0, bits = 0;

  for (z3_link l = pool->hot; l && n <= pool->hot_pages; n++) {
    const struct z3page *z = z3_page (pool, l - 1);

    if (z->state != Z3_FREE || atomic_load (&z->refs))
      return "a free page is in use";
    l = z->next;
  }
  for (uint32_t p = 0; p < pool->top; p++)
    bits += cold[p / 64] >> p % 64 & 1;
  if (n != pool->hot_pages || bits != pool->cold_pages)
    return "free pages miscounted";
  return pool->live + n + bits == pool->top
           ? NULL
           : "pages on lists + hot + cold differ from top";
}

static const char *
audit_locked (const struct z3_pool *pool, const atomic_bool *cancel,
              uint64_t *objects) REQUIRES (pool->lock)
{
  uint32_t pages = 0;

  for (uint32_t list = 0; list <= pool->chunks; list++) {
    z3_link prev = 0;

    if (!pool->lists[list] != !(pool->filled[list / 64] >> list % 64 & 1))
      return "a list is not known to have pages";
    for (z3_link l = pool->lists[list]; l; pages++) {
      struct z3page *z = z3_page (pool, l - 1);
      const char *wrong = pages < pool->live
                            ? audit_page (pool, z, list, prev, objects)
                            : "pages on lists miscounted";

      if (wrong)
        return wrong;
      if (cancel && atomic_load (cancel))
        return POOL_AUDIT_CANCELLED;
      prev = l;
      l = z->next;
    }
  }
  if (pages != pool->live)
    return "pages on lists miscounted";
  const char *wrong = audit_lru (pool);
  return wrong ? wrong : audit_free (pool);
}

const char *
z3_audit (struct pool *p, const atomic_bool *cancel, struct pool_audit *result)
{
  struct z3_pool *pool = z3_of (p);
  uint32_t unit = pool->page_size / MEM_PAGE;
  const char *wrong;

  result->objects = 0;
  mutex_lock (&pool->lock);
  wrong = audit_locked (pool, cancel, &result->objects);
  result->resident_pages = (uint64_t) (pool->live + pool->hot_pages) * unit +
                           pool->described;
  mutex_unlock (&pool->lock);
  return wrong;
}
