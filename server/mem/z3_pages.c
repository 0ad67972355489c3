/* SPDX-License-Identifier: BSD-3-Clause */
/* z3fold: free pages, the lists and the LRU.
 * Contract: mem/z3_internal.h.
 */

#include <config.h>

#include <errno.h>
#include <time.h>

#include "base/check.h"
#include "base/keep_errno.h"
#include "mem/z3_internal.h"

/* How many free pages keep their memory: a 128th of all pages, but not below or
 * above these.
 */
#define HOT_MIN (UINT64_C (256) << 10)
#define HOT_MAX (UINT64_C (16) << 20)

/* -- free pages --------------------------------------------------------- */

static uint64_t *
cold_word (struct z3_pool *pool, uint32_t word)
{
  return (uint64_t *) (void *) pool->cold.base + word;
}

static void
cold_add_locked (struct z3_pool *pool, uint32_t page) REQUIRES (pool->lock)
{
  *cold_word (pool, page / 64) |= UINT64_C (1) << page % 64;
  pool->cold_pages++;
  if (page / 64 < pool->cold_hint)
    pool->cold_hint = page / 64;
}

static bool
cold_take_locked (struct z3_pool *pool, uint32_t *page) REQUIRES (pool->lock)
{
  if (pool->cold_pages == 0)
    return false;
  while (!*cold_word (pool, pool->cold_hint))
    pool->cold_hint++;
  uint64_t *word = cold_word (pool, pool->cold_hint);
  *page = pool->cold_hint * 64 + (uint32_t) __builtin_ctzll (*word);
  *word &= *word - 1;
  pool->cold_pages--;
  return true;
}

static uint32_t
descriptor_pages (uint32_t top)
{
  return (uint32_t) ((top * sizeof (struct z3page) + MEM_PAGE - 1) / MEM_PAGE);
}

/* Can the first 'n' pages be used? */
static bool
commit_pages_locked (struct z3_pool *pool, size_t n) REQUIRES (pool->lock)
{
  return reserve_commit (&pool->memory, n * pool->page_size) == 0 &&
         reserve_commit (&pool->pages, n * sizeof (struct z3page)) == 0 &&
         reserve_commit (&pool->cold, (n / 64 + 1) * sizeof (uint64_t)) == 0;
}

static bool
extend_locked (struct z3_pool *pool, uint32_t *page) REQUIRES (pool->lock)
{
  uint32_t top = pool->top + 1, need = descriptor_pages (top);

  if (top > pool->max_pages || !commit_pages_locked (pool, top)) {
    errno = ENOMEM;
    return false;
  }
  if (need > pool->described) {
    if (!budget_charge (pool->budget, MEM_PAGE)) {
      errno = ENOSPC;
      return false;
    }
    pool->described++;
  }
  *page = pool->top++;
  return true;
}

/* *charged: the page has its memory already. */
static bool
take_free_locked (struct z3_pool *pool, uint32_t *page, bool *charged)
  REQUIRES (pool->lock)
{
  *charged = pool->hot != 0;
  if (!pool->hot)
    return cold_take_locked (pool, page) || extend_locked (pool, page);
  *page = pool->hot - 1;
  pool->hot = z3_page (pool, *page)->next;
  pool->hot_pages--;
  return true;
}

/* The reserve gets memory before we do, so wait for it: for at most a second,
 * because the thread that fills it may be told to end.
 */
static void
await_hot (struct z3_pool *pool)
{
  const struct timespec ms = { .tv_nsec = 1000000 };

  for (unsigned i = 0;
       i < 1000 && atomic_load (&pool->filling) && z3_kept (&pool->base) == 0;
       i++)
    nanosleep (&ms, NULL);
}

struct z3page *
z3_new_page (struct z3_pool *pool)
{
  uint32_t page;
  bool charged, got;

  if (fault_hit ("z3.page")) {
    errno = ENOMEM;
    return NULL;
  }
  if (pool->keep)
    await_hot (pool);
  mutex_lock (&pool->lock);
  got = take_free_locked (pool, &page, &charged);
  if (got && !charged && !budget_charge (pool->budget, pool->page_size)) {
    cold_add_locked (pool, page);
    got = false;
    errno = ENOSPC;
  }
  mutex_unlock (&pool->lock);
  if (!got)
    return NULL;
  if (!charged)
    reserve_populate (&pool->memory, (size_t) page * pool->page_size,
                      pool->page_size);

  struct z3page *z = z3_page (pool, page);
  check_debug (z->state == Z3_FREE && atomic_load (&z->refs) == 0);
  z->next = z->prev = z->newer = z->older = 0;
  z->shape = Z3_NO_SHAPE;
  z->untidy = 0;
  atomic_store_explicit (&z->referenced, 0, memory_order_relaxed);
  z->state = Z3_LIVE;
  atomic_store_explicit (&z->refs, 1, memory_order_relaxed);
  return z;
}

/* Return the memory of kept pages until 'keep' of them are left.  A page is on
 * no list while its memory goes back.
 */
static uint64_t
return_hot (struct z3_pool *pool, uint64_t keep)
{
  uint64_t bytes = 0;

  for (;;) {
    uint32_t page = 0;
    bool more;

    mutex_lock (&pool->lock);
    more = pool->hot_pages > keep;
    if (more) {
      page = pool->hot - 1;
      pool->hot = z3_page (pool, page)->next;
      pool->hot_pages--;
    }
    mutex_unlock (&pool->lock);
    if (!more)
      return bytes;

    reserve_return (&pool->memory, (size_t) page * pool->page_size,
                    pool->page_size);
    budget_refund (pool->budget, pool->page_size);
    bytes += pool->page_size;
    mutex_lock (&pool->lock);
    cold_add_locked (pool, page);
    mutex_unlock (&pool->lock);
  }
}

/* The last reference is gone: no other thread knows the page. */
static void
free_page (struct z3_pool *pool, struct z3page *z)
{
  uint64_t keep = atomic_load_explicit (&pool->budget->used,
                                        memory_order_relaxed) /
                  128;
  bool over;

  check_always (z->state == Z3_DEAD);
  keep = keep < HOT_MIN ? HOT_MIN : keep > HOT_MAX ? HOT_MAX : keep;
  keep /= pool->page_size;
  z->state = Z3_FREE;
  mutex_lock (&pool->lock);
  z->next = pool->hot;
  pool->hot = z3_number (pool, z) + 1;
  over = ++pool->hot_pages > keep + pool->keep;
  mutex_unlock (&pool->lock);
  if (over)
    return_hot (pool, keep * 3 / 4 + pool->keep);
}

void
z3_put (struct z3_pool *pool, struct z3page *z, unsigned n)
{
  /* Acquire and release: everything that others did with the page comes before.
   */
  unsigned before = atomic_fetch_sub_explicit (&z->refs, n,
                                               memory_order_acq_rel);

  check_always (before >= n);
  if (before == n)
    free_page (pool, z);
}

/* With the lock held, because pages below top may be handed out at any moment.
 */
static void
trim (struct z3_pool *pool)
{
  uint32_t end, keep;

  mutex_lock (&pool->lock);
  end = pool->top;
  while (
    pool->top > 0 &&
    (*cold_word (pool, (pool->top - 1) / 64) >> (pool->top - 1) % 64 & 1)) {
    pool->top--;
    *cold_word (pool, pool->top / 64) &= ~(UINT64_C (1) << pool->top % 64);
    pool->cold_pages--;
  }
  keep = descriptor_pages (pool->top);
  if (pool->top < end)
    reserve_return_all (&pool->memory, (size_t) pool->top * pool->page_size,
                        (size_t) (end - pool->top) * pool->page_size);
  if (keep < pool->described) {
    reserve_return (&pool->pages, (size_t) keep * MEM_PAGE,
                    (size_t) (pool->described - keep) * MEM_PAGE);
    budget_refund (pool->budget,
                   (uint64_t) (pool->described - keep) * MEM_PAGE);
    pool->described = keep;
  }
  mutex_unlock (&pool->lock);
}

uint64_t
z3_give_back (struct pool *p)
{
  struct z3_pool *pool = z3_of (p);
  uint64_t bytes = return_hot (pool, pool->keep);

  trim (pool);
  return bytes;
}

void
z3_keep (struct pool *p, uint64_t bytes)
{
  struct z3_pool *pool = z3_of (p);
  pool->keep = bytes / pool->page_size;
}

uint64_t
z3_kept (struct pool *p)
{
  struct z3_pool *pool = z3_of (p);
  uint64_t bytes;

  mutex_lock (&pool->lock);
  bytes = (uint64_t) pool->hot_pages * pool->page_size;
  mutex_unlock (&pool->lock);
  return bytes;
}

/* One page, and descriptors ahead of use, which are charged only when they are
 * in use.
 */
bool
z3_fill (struct pool *p)
{
  struct z3_pool *pool = z3_of (p);
  const uint32_t ahead = 4 * MEM_PAGE / sizeof (struct z3page);
  uint32_t page = 0;
  size_t described;
  bool got;

  mutex_lock (&pool->lock);
  described = (size_t) pool->described * MEM_PAGE;
  if (pool->top + ahead < pool->max_pages &&
      !commit_pages_locked (pool, pool->top + ahead))
    described = SIZE_MAX;
  got = pool->hot_pages < pool->keep &&
        budget_has_headroom (pool->budget, pool->page_size) &&
        budget_charge (pool->budget, pool->page_size);
  if (got && !cold_take_locked (pool, &page) && !extend_locked (pool, &page)) {
    budget_refund (pool->budget, pool->page_size);
    got = false;
  }
  mutex_unlock (&pool->lock);
  if (described != SIZE_MAX)
    reserve_populate_from (&pool->pages, described, described + 4 * MEM_PAGE);
  atomic_store (&pool->filling, got);
  if (!got)
    return false;

  fault_pause ("pool.fill");
  reserve_populate (&pool->memory, (size_t) page * pool->page_size,
                    pool->page_size);
  mutex_lock (&pool->lock);
  z3_page (pool, page)->next = pool->hot;
  pool->hot = page + 1;
  pool->hot_pages++;
  mutex_unlock (&pool->lock);
  return true;
}

/* -- lists, the pool's lock held ---------------------------------------- */

void
z3_lru_remove_locked (struct z3_pool *pool, struct z3page *z)
{
  if (z->newer)
    z3_page (pool, z->newer - 1)->older = z->older;
  else
    pool->newest = z->older;
  if (z->older)
    z3_page (pool, z->older - 1)->newer = z->newer;
  else
    pool->oldest = z->newer;
}

void
z3_lru_push_locked (struct z3_pool *pool, struct z3page *z)
{
  z3_link self = z3_number (pool, z) + 1;

  z->newer = 0;
  z->older = pool->newest;
  if (z->older)
    z3_page (pool, z->older - 1)->newer = self;
  else
    pool->oldest = self;
  pool->newest = self;
}

static void
unlist_locked (struct z3_pool *pool, struct z3page *z) REQUIRES (pool->lock)
{
  if (z->prev)
    z3_page (pool, z->prev - 1)->next = z->next;
  else
    pool->lists[z->list] = z->next;
  if (z->next)
    z3_page (pool, z->next - 1)->prev = z->prev;
  if (!pool->lists[z->list])
    pool->filled[z->list / 64] &= ~(UINT64_C (1) << z->list % 64);
  pool->shapes[z->shape]--;
}

static void
enlist_locked (struct z3_pool *pool, struct z3page *z, uint32_t list,
               unsigned shape) REQUIRES (pool->lock)
{
  z->list = (uint16_t) list;
  z->shape = (uint8_t) shape;
  z->prev = 0;
  z->next = pool->lists[list];
  if (z->next)
    z3_page (pool, z->next - 1)->prev = z3_number (pool, z) + 1;
  pool->lists[list] = z3_number (pool, z) + 1;
  pool->filled[list / 64] |= UINT64_C (1) << list % 64;
  pool->shapes[shape]++;
}

void
z3_list_locked (struct z3_pool *pool, struct z3page *z, bool fresh)
{
  uint32_t list = z3_largest_gap_locked (pool, z).chunks;
  unsigned n = z3_objects_locked (z);
  unsigned shape = n == 1 && list == 0 ? Z3_HEADLESS : n;

  mutex_lock (&pool->lock);
  bool is_new = z->shape == Z3_NO_SHAPE;
  if (is_new) {
    pool->live++;
    atomic_fetch_add_explicit (&z->refs, 2, memory_order_relaxed);
  }
  else
    unlist_locked (pool, z);
  enlist_locked (pool, z, list, shape);
  if (!is_new && fresh)
    z3_lru_remove_locked (pool, z);
  if (is_new || fresh)
    z3_lru_push_locked (pool, z);
  mutex_unlock (&pool->lock);
}

void
z3_kill_locked (struct z3_pool *pool, struct z3page *z)
{
  check_always (z->state == Z3_LIVE);
  z->state = Z3_DEAD;
  mutex_lock (&pool->lock);
  unlist_locked (pool, z);
  z3_lru_remove_locked (pool, z);
  z->shape = Z3_NO_SHAPE;
  pool->live--;
  mutex_unlock (&pool->lock);
}

/* The first list from 'from' on that has a page; 0: none. */
static uint32_t
next_filled_locked (const struct z3_pool *pool, uint32_t from)
  REQUIRES (pool->lock)
{
  uint32_t w = from / 64, last = pool->chunks / 64;
  uint64_t bits = pool->filled[w] & ~UINT64_C (0) << from % 64;

  while (!bits && w < last)
    bits = pool->filled[++w];
  return bits ? w * 64 + (uint32_t) __builtin_ctzll (bits) : 0;
}

struct z3page *
z3_find_page (struct z3_pool *pool, uint32_t chunks)
{
  struct z3page *z = NULL;

  mutex_lock (&pool->lock);
  uint32_t list = next_filled_locked (pool, chunks);
  if (list) {
    z = z3_page (pool, pool->lists[list] - 1);
    z3_get (z);
  }
  mutex_unlock (&pool->lock);
  return z;
}
