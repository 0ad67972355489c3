/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Shared by the files of z3fold: a page's descriptor, its lock and its
 * references, and the lists.  The calls go:
 *
 *   z3fold.c (objects) --> z3_pages.c (free pages, lists, LRU) --> z3_page.c
 *            z3_reclaim.c, z3_audit.c -------^
 */

#ifndef ZRAM_Z3_INTERNAL_H
#define ZRAM_Z3_INTERNAL_H

#include <stddef.h>

#include "base/fault.h"
#include "base/rwword.h"
#include "mem/z3fold.h"

_Static_assert(offsetof (struct z3_pool, base) == 0, "cast below");

static inline struct z3_pool *
z3_of (struct pool *p)
{
  return (struct z3_pool *) p;
}

enum z3_state { Z3_FREE, Z3_LIVE, Z3_DEAD };
enum { Z3_NO_SHAPE, Z3_HEADLESS = 4 }; /* 1 to 3: so many objects */

/*
 * What guards each field.  "Page" is the page's own lock, "lists" the pool's.
 * "page, then lists": written with both held, read with either.
 *
 *   lock        itself (rank Z3_PAGE)
 *   refs        atomic; from 0 it is raised only by z3_new_page, which is alone
 *   next prev   lists; of a kept free page, next: lists
 *   newer older lists
 *   back        page; NULL: in transit.  The cell's content: the cell's lock
 *   pins        page; one in transit has its maker's
 *   start       page; and it does not change while pins is not 0
 *   chunks      page; and it does not change while the object lives, so it may
 *               be read with the cell's lock, which keeps the object alive
 *   state       page while LIVE; DEAD and FREE: the last reference, alone
 *   untidy      page
 *   list shape  page, then lists
 *   referenced  atomic, a hint
 *
 * A page without references belongs to the thread that took it off the free
 * pages.
 */
struct z3page {
  struct rwword lock;
  atomic_uint refs;     /* see z3fold.h; 0: free */
  z3_link next, prev;   /* of its list; next: of the free pages kept */
  z3_link newer, older; /* of the LRU */
  pool_cell *back[Z3_BUDDIES];
  uint32_t pins[Z3_BUDDIES];
  uint16_t start[Z3_BUDDIES], chunks[Z3_BUDDIES]; /* no chunks: entry free */
  uint8_t state;                                  /* enum z3_state */
  uint8_t untidy;          /* compaction was postponed because of a pin */
  uint16_t list;           /* chunks of its largest gap, when it was listed */
  uint8_t shape;           /* for statistics: objects, or Z3_HEADLESS */
  atomic_uchar referenced; /* since it was last the oldest */
};

_Static_assert(sizeof (struct z3page) == 80, "2 % of a page of 4 KiB");

#define Z3_HANDLE_TAG (UINT64_C (1) << 63)

static inline uint64_t
z3_handle (uint32_t page, unsigned entry)
{
  return Z3_HANDLE_TAG | (uint64_t) entry << 32 | page;
}

static inline unsigned
z3_handle_entry (uint64_t handle)
{
  return handle >> 32 & 3;
}

static inline struct z3page *
z3_page (const struct z3_pool *pool, uint32_t page)
{
  return (struct z3page *) (void *) pool->pages.base + page;
}

static inline struct z3page *
z3_handle_page (const struct z3_pool *pool, uint64_t handle)
{
  return z3_page (pool, (uint32_t) handle);
}

static inline uint32_t
z3_number (const struct z3_pool *pool, const struct z3page *z)
{
  return (uint32_t) (z - z3_page (pool, 0));
}

static inline char *
z3_bytes (const struct z3_pool *pool, const struct z3page *z, uint32_t chunk)
{
  return pool->memory.base + (size_t) z3_number (pool, z) * pool->page_size +
         (size_t) chunk * Z3_CHUNK;
}

static inline uint32_t
z3_chunks_for (uint32_t size)
{
  return (size + Z3_CHUNK - 1) / Z3_CHUNK;
}

/* -- the page's lock and references ------------------------------------- */

/* May sleep, so it counts as held only when it is. */
static inline void
z3_lock (struct z3page *z) ACQUIRE (z->lock)
{
  rank_acquire (RANK_Z3_PAGE);
  rank_release (RANK_Z3_PAGE);
  rwword_write_lock (&z->lock);
  rank_acquire_try (RANK_Z3_PAGE);
}

static inline void
z3_unlock (struct z3page *z) RELEASE (z->lock)
{
  rank_release (RANK_Z3_PAGE);
  rwword_write_unlock (&z->lock);
}

/* For clang: nothing runs, so the page counts as locked. */
static inline void
z3_assume_locked (const struct z3page *z) ASSERT_CAPABILITY (z->lock)
{
  (void) z;
}

/* One reference more, for a caller that knows that the page has one. */
static inline void
z3_get (struct z3page *z)
{
  atomic_fetch_add_explicit (&z->refs, 1, memory_order_relaxed);
}

/* Drop n; the last frees the page.  Takes the pool's lock then. */
void z3_put (struct z3_pool *pool, struct z3page *z, unsigned n);

/* -- the place of objects: z3_page.c ------------------------------------- */

struct z3_gap {
  uint32_t start, chunks;
};

/* The largest gap; no chunks if there are three objects. */
struct z3_gap z3_largest_gap_locked (const struct z3_pool *pool,
                                     const struct z3page *z) REQUIRES (z->lock);

static inline unsigned
z3_objects_locked (const struct z3page *z) REQUIRES (z->lock)
{
  return (z->chunks[0] != 0) + (z->chunks[1] != 0) + (z->chunks[2] != 0);
}

/* Where an object of so many chunks goes in that gap: the first at the front,
 * the last at the back, and the third behind the object that it follows.
 */
uint32_t z3_place_in (const struct z3_pool *pool, struct z3_gap gap,
                      uint32_t chunks);

/* Push the one or two objects together, so that there is one gap.  A pinned
 * object stays where it is, and the page is marked untidy then.
 */
void z3_compact_locked (struct z3_pool *pool, struct z3page *z)
  REQUIRES (z->lock);

/* -- pages: z3_pages.c -------------------------------------------------- */

/* A page of its own, charged and resident, LIVE, on no list, with one reference
 * that is the caller's.  NULL with errno ENOSPC or ENOMEM.
 */
struct z3page *z3_new_page (struct z3_pool *pool) MUST_USE;

/* The page of the smallest gap that is large enough, with a reference, or NULL.
 */
struct z3page *z3_find_page (struct z3_pool *pool, uint32_t chunks) MUST_USE;

/* Put the page on the list of its largest gap, and if 'fresh' at the front of
 * the LRU. A page that was on no list gets its lists' references.
 */
void z3_list_locked (struct z3_pool *pool, struct z3page *z, bool fresh)
  REQUIRES (z->lock);

/* The last object is gone: DEAD and off its lists.  The caller drops those two
 * references, after unlocking the page.
 */
void z3_kill_locked (struct z3_pool *pool, struct z3page *z) REQUIRES (z->lock);

/* -- the LRU, the pool's lock held: z3_pages.c -------------------------- */

void z3_lru_remove_locked (struct z3_pool *pool, struct z3page *z)
  REQUIRES (pool->lock);
void z3_lru_push_locked (struct z3_pool *pool, struct z3page *z)
  REQUIRES (pool->lock);

/* -- the pool's operations (pool.h) that have files of their own ---------- */

/* z3_pages.c */
uint64_t z3_give_back (struct pool *p);
void z3_keep (struct pool *p, uint64_t bytes);
bool z3_fill (struct pool *p);
uint64_t z3_kept (struct pool *p);

/* z3_reclaim.c */
enum pool_reclaimed z3_reclaim (struct pool *p, pool_evict *evict, void *ctx);

/* z3_audit.c */
struct pool_spread z3_spread (struct pool *p);
struct pool_class_stats z3_class_stats (struct pool *p, unsigned id);
bool z3_is_attached (struct pool *p, uint64_t handle, const pool_cell *cell);
const char *z3_audit (struct pool *p, const atomic_bool *cancel,
                      struct pool_audit *result);

#endif /* ZRAM_Z3_INTERNAL_H */
