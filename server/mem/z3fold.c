/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Objects of z3fold: into a page, out of it, and pushed together inside.
 */

#include <config.h>

#include <errno.h>
#include <string.h>

#include "base/check.h"
#include "mem/z3_internal.h"

/* -- where objects lie; the page is locked ------------------------------ */

/* The entries in use, by place; returns how many. */
static unsigned
in_order (const struct z3page *z, unsigned *order)
{
  unsigned n = 0;

  for (unsigned e = 0; e < Z3_BUDDIES; e++) {
    unsigned at = n;

    if (!z->chunks[e])
      continue;
    for (; at > 0 && z->start[order[at - 1]] > z->start[e]; at--)
      order[at] = order[at - 1];
    order[at] = e;
    n++;
  }
  return n;
}

struct z3_gap
z3_largest_gap_locked (const struct z3_pool *pool, const struct z3page *z)
{
  unsigned order[Z3_BUDDIES], n = in_order (z, order);
  struct z3_gap best = { 0, 0 };
  uint32_t end = 0;

  if (n == Z3_BUDDIES)
    return best;
  for (unsigned i = 0; i <= n; i++) {
    uint32_t next = i < n ? z->start[order[i]] : pool->chunks;

    if (next - end > best.chunks)
      best = (struct z3_gap){ end, next - end };
    if (i < n)
      end = next + z->chunks[order[i]];
  }
  return best;
}

/* First at the front, last at the back, and the third behind what it follows.
 */
static uint32_t
place_in (const struct z3_pool *pool, struct z3_gap gap, uint32_t chunks)
{
  bool last = gap.start > 0 && gap.start + gap.chunks == pool->chunks;

  return last ? pool->chunks - chunks : gap.start;
}

/* Move the object to that chunk unless it is pinned. */
static void
push_locked (struct z3_pool *pool, struct z3page *z, unsigned e, uint32_t to)
  REQUIRES (z)
{
  if (z->start[e] == to)
    return;
  if (z->pins[e]) {
    z->untidy = 1;
    counter_add (&pool->base.counters, POOL_MOVER_SKIPS, 1);
    return;
  }
  memmove (z3_bytes (pool, z, to), z3_bytes (pool, z, z->start[e]),
           (size_t) z->chunks[e] * Z3_CHUNK);
  z->start[e] = (uint16_t) to;
  counter_add (&pool->base.counters, POOL_OBJECTS_MOVED, 1);
}

/* One gap of what were two or three.  The first goes to the front; a second
 * that is not at the back comes up to it.
 */
static void
compact_locked (struct z3_pool *pool, struct z3page *z) REQUIRES (z)
{
  unsigned order[Z3_BUDDIES], n = in_order (z, order);

  z->untidy = 0;
  if (n == Z3_BUDDIES)
    return;
  push_locked (pool, z, order[0], 0);
  if (n == 2) {
    uint32_t front = z->start[order[0]] + z->chunks[order[0]];

    if (z->start[order[1]] + z->chunks[order[1]] < pool->chunks)
      push_locked (pool, z, order[1], front);
  }
}

/* -- in ----------------------------------------------------------------- */

/* Put an object of so many chunks into the page; its entry, or -1 if the page
 * has no room any more.
 */
static int
take_entry_locked (struct z3_pool *pool, struct z3page *z, uint32_t chunks)
  REQUIRES (z)
{
  struct z3_gap gap = z3_largest_gap_locked (pool, z);
  int e = 0;

  if (z->state != Z3_LIVE || gap.chunks < chunks)
    return -1;
  while (z->chunks[e])
    e++;
  z->start[e] = (uint16_t) place_in (pool, gap, chunks);
  z->chunks[e] = (uint16_t) chunks;
  z->back[e] = NULL;
  z->pins[e] = 1; /* its maker's, until it is attached */
  z3_list_locked (pool, z, true);
  return e;
}

uint64_t
z3_alloc (struct z3_pool *pool, uint32_t size, void **mem)
{
  uint32_t chunks = z3_chunks_for (size);

  if (fault_hit ("z3.alloc")) {
    errno = ENOSPC;
    return 0;
  }
  for (;;) {
    struct z3page *z = z3_find_page (pool, chunks);

    if (z)
      fault_pause ("z3.alloc.found");
    else if (!(z = z3_new_page (pool)))
      return 0;
    z3_lock (z);
    int e = take_entry_locked (pool, z, chunks);
    if (e >= 0)
      *mem = z3_bytes (pool, z, z->start[e]);
    z3_unlock (z);
    z3_put (pool, z, 1);
    /* Else somebody else took the room, or the page died: another. */
    if (e >= 0)
      return z3_handle (z3_number (pool, z), (unsigned) e);
  }
}

void
z3_attach (struct z3_pool *pool, uint64_t handle, pool_cell *cell)
{
  struct z3page *z = z3_handle_page (pool, handle);

  z3_get (z);
  z3_lock (z);
  check_debug (!z->back[z3_handle_entry (handle)]);
  z->back[z3_handle_entry (handle)] = cell;
  z3_unlock (z);
  z3_unpin (pool, handle);
}

/* -- out ---------------------------------------------------------------- */

/* Returns the references to drop once the page is unlocked, the caller's own
 * included.
 */
static unsigned
free_locked (struct z3_pool *pool, struct z3page *z, unsigned e) REQUIRES (z)
{
  check_always (z->state == Z3_LIVE && z->chunks[e] && !z->pins[e]);
  z->chunks[e] = 0;
  z->back[e] = NULL;
  if (z3_objects_locked (z) == 0) {
    z3_kill_locked (pool, z);
    return 3;
  }
  compact_locked (pool, z);
  z3_list_locked (pool, z, false);
  return 1;
}

void
z3_drop (struct z3_pool *pool, uint64_t handle)
{
  struct z3page *z = z3_handle_page (pool, handle);
  unsigned e = z3_handle_entry (handle), refs;

  z3_get (z);
  z3_lock (z);
  check_always (!z->back[e] && z->pins[e] == 1);
  z->pins[e] = 0;
  refs = free_locked (pool, z, e);
  z3_unlock (z);
  z3_put (pool, z, refs);
}

void
z3_replace (struct z3_pool *pool, pool_cell *cell, uint64_t value)
{
  uint64_t handle = atomic_load_explicit (cell, memory_order_relaxed);
  struct z3page *z = z3_handle_page (pool, handle);
  unsigned e = z3_handle_entry (handle), refs;

  z3_get (z);
  z3_lock (z);
  check_always (z->back[e] == cell);
  atomic_store_explicit (cell, value, memory_order_relaxed);
  refs = free_locked (pool, z, e);
  z3_unlock (z);
  fault_pause ("z3.free.unlocked");
  z3_put (pool, z, refs);
}

/* -- looking at one ----------------------------------------------------- */

/* The handle cannot be out of date: it changes with the object only, and that
 * stays for as long as the cell's lock is held.  (The auditor pins what may not
 * be the cell's, and then asks z3_is_attached.)
 */
void *
z3_pin (struct z3_pool *pool, pool_cell *cell, uint64_t *handle)
{
  uint64_t h = atomic_load_explicit (cell, memory_order_relaxed);
  struct z3page *z = z3_handle_page (pool, h);
  unsigned e = z3_handle_entry (h);
  void *mem;

  z3_get (z);
  z3_lock (z);
  z->pins[e]++;
  mem = z3_bytes (pool, z, z->start[e]);
  z3_unlock (z);
  *handle = h;
  return mem;
}

void
z3_unpin (struct z3_pool *pool, uint64_t handle)
{
  struct z3page *z = z3_handle_page (pool, handle);
  unsigned e = z3_handle_entry (handle);

  z3_lock (z);
  check_always (z->pins[e] > 0);
  if (--z->pins[e] == 0 && z->untidy) {
    compact_locked (pool, z);
    z3_list_locked (pool, z, false);
  }
  z3_unlock (z);
  z3_put (pool, z, 1);
}

void
z3_used (struct z3_pool *pool, uint64_t handle)
{
  struct z3page *z = z3_handle_page (pool, handle);

  if (!atomic_load_explicit (&z->referenced, memory_order_relaxed))
    atomic_store_explicit (&z->referenced, 1, memory_order_relaxed);
}
