/* SPDX-License-Identifier: BSD-3-Clause */
/* Arena: spans of addresses, and their memory.
 * Contract: mem/arena.h.
 */

#include <config.h>

#include <errno.h>
#include <string.h>
#include <time.h>

#include "base/fault.h"
#include "base/park.h"
#include "mem/arena.h"

#define ZSPAGES_PER_PAGE (MEM_PAGE / sizeof (struct zspage))

/* Hot memory is bounded by a 128th of all memory, but not below or above these.
 */
#define HOT_MIN_PAGES 64   /* 256 KiB */
#define HOT_MAX_PAGES 4096 /* 16 MiB */

/* How much of the recent requests is remembered; and how much of that an
 * expected size gets.  There are at most a few hundred size classes.
 */
#define ASKED_MAX 4096
#define EXPECTED_SHARE 4

/* Spans whose descriptors are made resident ahead of use: 4 pages of them. */
#define AHEAD_SPANS (4 * ZSPAGES_PER_PAGE)

int
arena_init (struct arena *a, uint32_t span_pages, uint64_t max_bytes,
            struct budget *budget)
{
  memset (a, 0, sizeof *a);
  check_always (span_pages <= ARENA_MAX_SPAN_PAGES);
  a->span_size = (size_t) span_pages * MEM_PAGE;
  a->budget = budget;
  if (reserve_open (&a->memory, max_bytes, 64 * a->span_size) == -1)
    return -1;
  a->max_spans = a->memory.reserved / a->span_size > UINT32_MAX - 1
                   ? UINT32_MAX - 1
                   : a->memory.reserved / a->span_size;
  size_t zspages = (size_t) a->max_spans * sizeof (struct zspage);
  size_t map = ((size_t) a->max_spans / 64 + 1) * sizeof (uint64_t);
  if (reserve_open (&a->zspages, zspages, zspages) == -1)
    goto fail_zspages;
  if (reserve_open (&a->cold_map, map, map) == -1)
    goto fail_map;
  mutex_init (&a->lock, RANK_ARENA);
  return 0;

fail_map:
  reserve_close (&a->zspages);
fail_zspages:
  reserve_close (&a->memory);
  return -1;
}

int
arena_set_beside (struct arena *a, size_t bytes)
{
  size_t all = (size_t) a->max_spans * bytes;

  if (reserve_open (&a->besides, all, all) == -1)
    return -1;
  a->beside_size = bytes;
  return 0;
}

void
arena_destroy (struct arena *a)
{
  uint64_t pages = 0;

  for (uint32_t s = 0; s < a->top; s++)
    pages += arena_zspage (a, s)->resident;
  budget_refund (a->budget, pages * MEM_PAGE);
  mutex_destroy (&a->lock);
  reserve_close (&a->besides);
  reserve_close (&a->cold_map);
  reserve_close (&a->zspages);
  reserve_close (&a->memory);
}

/* -- below this line the caller holds the arena lock -------------------- */

static uint64_t *
cold_word (struct arena *a, uint32_t word)
{
  return (uint64_t *) a->cold_map.base + word;
}

static void
cold_add_locked (struct arena *a, uint32_t span) REQUIRES (a->lock)
{
  *cold_word (a, span / 64) |= UINT64_C (1) << span % 64;
  a->cold_spans++;
  if (span / 64 < a->cold_hint)
    a->cold_hint = span / 64;
}

static void
cold_remove_locked (struct arena *a, uint32_t span) REQUIRES (a->lock)
{
  *cold_word (a, span / 64) &= ~(UINT64_C (1) << span % 64);
  a->cold_spans--;
}

static uint32_t
cold_take_lowest_locked (struct arena *a, uint32_t limit) REQUIRES (a->lock)
{
  if (a->cold_spans == 0)
    return ARENA_NO_SPAN;
  for (uint32_t w = a->cold_hint; w <= (a->top - 1) / 64; w++) {
    uint64_t bits = *cold_word (a, w);

    a->cold_hint = w;
    if (!bits)
      continue;
    uint32_t span = w * 64 + (uint32_t) __builtin_ctzll (bits);
    if (span >= limit)
      return ARENA_NO_SPAN;
    cold_remove_locked (a, span);
    return span;
  }
  return ARENA_NO_SPAN;
}

static void
hot_push_locked (struct arena *a, uint32_t span) REQUIRES (a->lock)
{
  struct zspage *z = arena_zspage (a, span);

  z->next = a->hot[z->resident];
  a->hot[z->resident] = span + 1;
  a->hot_spans[z->resident]++;
  a->hot_pages += z->resident;
}

static uint32_t
hot_pop_locked (struct arena *a, uint32_t resident) REQUIRES (a->lock)
{
  uint32_t span = a->hot[resident] - 1;
  struct zspage *z = arena_zspage (a, span);

  a->hot[resident] = z->next;
  a->hot_spans[resident]--;
  a->hot_pages -= resident;
  return span;
}

/* The nearest count from 'r' on that has hot spans; 0: none. */
static uint32_t
hot_from_locked (struct arena *a, uint32_t r, bool up) REQUIRES (a->lock)
{
  for (; r >= 1 && r <= a->span_size / MEM_PAGE; r += up ? 1 : UINT32_MAX)
    if (a->hot[r])
      return r;
  return 0;
}

/* Best is the same size.  Then the next smaller (the rest is touched later),
 * then a larger one (its surplus goes back to the system); or in the opposite
 * order if nothing may have to be touched later.
 */
static uint32_t
hot_take_locked (struct arena *a, uint32_t pages) REQUIRES (a->lock)
{
  bool up = arena_keeps (a);
  uint32_t r;

  if (a->hot_pages == 0)
    return ARENA_NO_SPAN;
  r = hot_from_locked (a, pages, up);
  if (!r)
    r = hot_from_locked (a, pages, !up);
  return r ? hot_pop_locked (a, r) : ARENA_NO_SPAN;
}

/* Remembered for arena_fill; older requests count less and less. */
static void
note_asked_locked (struct arena *a, uint32_t pages) REQUIRES (a->lock)
{
  a->asked[pages]++;
  if (++a->asked_total < ASKED_MAX)
    return;
  a->asked_total = 0;
  for (uint32_t r = 1; r <= a->span_size / MEM_PAGE; r++) {
    a->asked[r] = a->asked[r] / 2 + a->expected[r];
    a->asked_total += a->asked[r];
  }
}

/* How many pages the next hot span should have: the size with the most requests
 * and the fewest hot spans.  Before the first request, a whole span.  0: there
 * are enough.
 */
static uint32_t
wanted_pages_locked (struct arena *a) REQUIRES (a->lock)
{
  uint32_t whole = a->span_size / MEM_PAGE, best = whole;
  uint64_t sum = 0;
  double lacks_most = 0;

  if (a->hot_pages >= a->keep_pages)
    return 0;
  for (uint32_t r = 1; r <= whole; r++)
    sum += (uint64_t) a->asked[r] * r;
  for (uint32_t r = 1; r <= whole && sum; r++) {
    double lacks = (double) a->keep_pages * a->asked[r] * r / (double) sum -
                   (double) a->hot_spans[r] * r;

    if (lacks > lacks_most) {
      lacks_most = lacks;
      best = r;
    }
  }
  return best;
}

/* Can the first 'n' spans be used? */
static bool
commit_spans_locked (struct arena *a, uint64_t n) REQUIRES (a->lock)
{
  return reserve_commit (&a->memory, n * a->span_size) == 0 &&
         reserve_commit (&a->zspages, n * sizeof (struct zspage)) == 0 &&
         reserve_commit (&a->besides, n * a->beside_size) == 0 &&
         reserve_commit (&a->cold_map, (n / 64 + 1) * sizeof (uint64_t)) == 0;
}

static uint32_t
extend_locked (struct arena *a) REQUIRES (a->lock)
{
  uint32_t span = a->top;

  if (span >= a->max_spans) {
    errno = ENOMEM;
    return ARENA_NO_SPAN;
  }
  if (!commit_spans_locked (a, span + UINT64_C (1))) {
    errno = ENOMEM;
    return ARENA_NO_SPAN;
  }
  a->top++;
  return span;
}

/* -- below this line the caller holds no arena lock --------------------- */

void
arena_shrink (struct arena *a, struct zspage *z, uint32_t pages)
{
  size_t start = (size_t) arena_span_of (a, z) * a->span_size;

  if (z->resident <= pages)
    return;
  reserve_return (&a->memory, start + (size_t) pages * MEM_PAGE,
                  (size_t) (z->resident - pages) * MEM_PAGE);
  budget_refund (a->budget, (uint64_t) (z->resident - pages) * MEM_PAGE);
  z->resident = pages;
}

/* The reserve gets memory before we do, so wait for it: for at most a second,
 * because the thread that fills it may be told to end.
 */
static void
await_hot (struct arena *a, uint32_t pages)
{
  const struct timespec ms = { .tv_nsec = 1000000 };
  bool there;

  mutex_lock (&a->lock);
  note_asked_locked (a, pages);
  there = a->hot_pages > 0;
  mutex_unlock (&a->lock);
  for (unsigned i = 0; !there && i < 1000 && atomic_load (&a->filling); i++) {
    nanosleep (&ms, NULL);
    mutex_lock (&a->lock);
    there = a->hot_pages > 0;
    mutex_unlock (&a->lock);
  }
}

uint32_t
arena_alloc (struct arena *a, uint32_t pages)
{
  uint32_t span = ARENA_NO_SPAN;

  if (fault_hit ("arena.alloc")) {
    errno = ENOMEM;
    return ARENA_NO_SPAN;
  }
  if (arena_keeps (a))
    await_hot (a, pages);
  mutex_lock (&a->lock);
  span = hot_take_locked (a, pages);
  if (span == ARENA_NO_SPAN)
    span = cold_take_lowest_locked (a, UINT32_MAX);
  if (span == ARENA_NO_SPAN)
    span = extend_locked (a);
  if (span != ARENA_NO_SPAN)
    a->used_spans++;
  mutex_unlock (&a->lock);

  if (span != ARENA_NO_SPAN)
    arena_shrink (a, arena_zspage (a, span), pages);
  return span;
}

uint32_t
arena_alloc_below (struct arena *a, uint32_t limit)
{
  uint32_t span;

  mutex_lock (&a->lock);
  span = cold_take_lowest_locked (a, limit);
  if (span != ARENA_NO_SPAN)
    a->used_spans++;
  mutex_unlock (&a->lock);
  return span;
}

/* Return the memory of up to 'pages' hot pages, outside the lock. */
static uint64_t
return_hot (struct arena *a, uint64_t pages)
{
  uint64_t done = 0;

  for (;;) {
    uint32_t span = ARENA_NO_SPAN;

    mutex_lock (&a->lock);
    for (uint32_t r = a->span_size / MEM_PAGE;
         done < pages && r >= 1 && span == ARENA_NO_SPAN; r--)
      if (a->hot[r])
        span = hot_pop_locked (a, r);
    /* It is on no list while its memory goes back: count it as used. */
    if (span != ARENA_NO_SPAN)
      a->used_spans++;
    mutex_unlock (&a->lock);
    if (span == ARENA_NO_SPAN)
      return done;

    done += arena_zspage (a, span)->resident;
    arena_shrink (a, arena_zspage (a, span), 0);

    mutex_lock (&a->lock);
    a->used_spans--;
    cold_add_locked (a, span);
    mutex_unlock (&a->lock);
  }
}

void
arena_free (struct arena *a, uint32_t span)
{
  uint64_t all = atomic_load_explicit (&a->budget->used, memory_order_relaxed) /
                 MEM_PAGE;
  uint64_t keep = all / 128, over = 0;

  if (keep < HOT_MIN_PAGES)
    keep = HOT_MIN_PAGES;
  if (keep > HOT_MAX_PAGES)
    keep = HOT_MAX_PAGES;
  keep += a->keep_pages;

  mutex_lock (&a->lock);
  a->used_spans--;
  if (arena_zspage (a, span)->resident == 0)
    cold_add_locked (a, span);
  else
    hot_push_locked (a, span);
  /* A batch: down to three quarters, so that the next frees are free. */
  if (a->hot_pages > keep)
    over = a->hot_pages - a->keep_pages - (keep - a->keep_pages) * 3 / 4;
  mutex_unlock (&a->lock);
  if (over)
    return_hot (a, over);
}

bool
arena_charge (struct arena *a, struct zspage *z, uint32_t pages)
{
  check_debug (pages > z->resident);
  if (fault_hit ("arena.charge") ||
      !budget_charge (a->budget, (uint64_t) (pages - z->resident) * MEM_PAGE))
    return false;
  z->resident = pages;
  return true;
}

void
arena_populate (struct arena *a, uint32_t span, uint32_t from, uint32_t to)
{
  reserve_populate (&a->memory,
                    (size_t) span * a->span_size + (size_t) from * MEM_PAGE,
                    (size_t) (to - from) * MEM_PAGE);
}

void
arena_populate_beside (struct arena *a, uint32_t span)
{
  reserve_populate_from (&a->besides, span * a->beside_size,
                         (span + 1) * a->beside_size);
}

uint64_t
arena_return_hot (struct arena *a)
{
  return return_hot (a, UINT64_MAX) * MEM_PAGE;
}

uint64_t
arena_return_spare (struct arena *a)
{
  uint64_t hot = arena_stats (a).hot_pages;

  if (!arena_keeps (a))
    return arena_return_hot (a);
  return hot > a->keep_pages ? return_hot (a, hot - a->keep_pages) * MEM_PAGE
                             : 0;
}

/* -- a reserve of resident memory --------------------------------------- */

void
arena_keep (struct arena *a, uint64_t bytes)
{
  a->keep_pages = bytes / MEM_PAGE;
}

void
arena_expect (struct arena *a, uint32_t pages)
{
  mutex_lock (&a->lock);
  a->expected[pages] += EXPECTED_SHARE;
  a->asked[pages] += EXPECTED_SHARE;
  a->asked_total += EXPECTED_SHARE;
  mutex_unlock (&a->lock);
}

void
arena_fill_span (struct arena *a, uint32_t span, uint32_t pages)
{
  struct zspage *z = arena_zspage (a, span);
  uint32_t from = z->resident;

  if (from < pages && arena_charge (a, z, pages))
    arena_populate (a, span, from, pages);
}

/* The memory that the next spans after the end will need, outside the budget.
 */
static void
fill_ahead (struct arena *a)
{
  uint64_t top, end;
  bool can;

  mutex_lock (&a->lock);
  top = a->top;
  end = top + AHEAD_SPANS < a->max_spans ? top + AHEAD_SPANS : a->max_spans;
  can = commit_spans_locked (a, end);
  mutex_unlock (&a->lock);
  if (!can)
    return;
  reserve_populate_from (&a->zspages, top * sizeof (struct zspage),
                         end * sizeof (struct zspage));
  reserve_populate_from (&a->besides, top * a->beside_size,
                         end * a->beside_size);
  reserve_populate_from (&a->cold_map, top / 64 * sizeof (uint64_t),
                         (end / 64 + 1) * sizeof (uint64_t));
}

bool
arena_fill (struct arena *a)
{
  uint32_t pages, span = ARENA_NO_SPAN;
  bool filled;

  fill_ahead (a);
  mutex_lock (&a->lock);
  pages = wanted_pages_locked (a);
  if (pages && budget_has_headroom (a->budget, (uint64_t) pages * MEM_PAGE)) {
    span = cold_take_lowest_locked (a, UINT32_MAX);
    if (span == ARENA_NO_SPAN)
      span = extend_locked (a);
    if (span != ARENA_NO_SPAN)
      a->used_spans++; /* in no list while it is made resident */
  }
  mutex_unlock (&a->lock);
  atomic_store (&a->filling, span != ARENA_NO_SPAN);
  if (span == ARENA_NO_SPAN)
    return false;

  fault_pause ("pool.fill");
  arena_fill_span (a, span, pages);
  filled = arena_zspage (a, span)->resident > 0;
  mutex_lock (&a->lock);
  a->used_spans--;
  if (filled)
    hot_push_locked (a, span);
  else
    cold_add_locked (a, span);
  mutex_unlock (&a->lock);
  return filled;
}

/* A page of unused descriptors goes back to the system.  A thread with an
 * outdated handle may be about to take a lock in it, or have it for a moment.
 * So take all the locks; zeroing the page drops them.
 */
static void
return_zspage_descriptors (struct arena *a, uint32_t first)
  NO_THREAD_SAFETY_ANALYSIS
{
  struct zspage *z = arena_zspage (a, first);
  unsigned got = 0;

  while (got < ZSPAGES_PER_PAGE && rwword_try_write_lock (&z[got].lock))
    got++;
  if (got < ZSPAGES_PER_PAGE) {
    while (got--)
      rwword_write_unlock (&z[got].lock);
    return;
  }
  reserve_return (&a->zspages, (size_t) first * sizeof *z, MEM_PAGE);
  park_wake (z);
}

/* The bytes beside a free span are not used, so this needs no lock. */
static void
return_besides (struct arena *a, uint32_t first, uint32_t end)
{
  size_t from = (first * a->beside_size + MEM_PAGE - 1) / MEM_PAGE * MEM_PAGE;
  size_t to = end * a->beside_size / MEM_PAGE * MEM_PAGE;

  if (from < to)
    reserve_return (&a->besides, from, to - from);
}

/* Remove the cold spans at the arena's end from use; they count as used
 * meanwhile.  Returns the first of them; *end is where they end.
 */
static uint32_t
claim_cold_end (struct arena *a, uint32_t *end)
{
  uint32_t first;

  mutex_lock (&a->lock);
  first = *end = a->top;
  while (first > 0 &&
         (*cold_word (a, (first - 1) / 64) >> (first - 1) % 64 & 1)) {
    first--;
    cold_remove_locked (a, first);
    a->used_spans++;
  }
  mutex_unlock (&a->lock);
  return first;
}

void
arena_trim (struct arena *a)
{
  uint32_t end, first = claim_cold_end (a, &end);

  if (first == end)
    return;
  reserve_return_all (&a->memory, (size_t) first * a->span_size,
                      (size_t) (end - first) * a->span_size);
  for (uint32_t s =
         (first + ZSPAGES_PER_PAGE - 1) / ZSPAGES_PER_PAGE * ZSPAGES_PER_PAGE;
       s + ZSPAGES_PER_PAGE <= end; s += ZSPAGES_PER_PAGE)
    return_zspage_descriptors (a, s);
  return_besides (a, first, end);
  fault_pause ("arena.trim.returned");

  mutex_lock (&a->lock);
  a->used_spans -= end - first;
  if (a->top == end)
    a->top = first;
  else
    for (uint32_t s = first; s < end; s++)
      cold_add_locked (a, s);
  mutex_unlock (&a->lock);
}

struct arena_stats
arena_stats (struct arena *a)
{
  struct arena_stats st;

  mutex_lock (&a->lock);
  st.top = a->top;
  st.used_spans = a->used_spans;
  st.cold_spans = a->cold_spans;
  st.hot_pages = a->hot_pages;
  mutex_unlock (&a->lock);
  return st;
}

const char *
arena_audit (struct arena *a)
{
  uint64_t hot_spans = 0, hot_pages = 0, cold = 0;
  uint32_t of_size[ARENA_MAX_SPAN_PAGES + 1] = { 0 };
  const char *wrong = NULL;

  mutex_lock (&a->lock);
  for (uint32_t r = 0; r <= a->span_size / MEM_PAGE; r++)
    for (span_link l = a->hot[r]; l; l = arena_zspage (a, l - 1)->next) {
      hot_spans++;
      of_size[r]++;
      hot_pages += arena_zspage (a, l - 1)->resident;
    }
  for (uint32_t s = 0; s < a->top; s++)
    cold += *cold_word (a, s / 64) >> s % 64 & 1;
  for (uint32_t s = 0; s < a->top && !wrong; s++)
    if (!rwword_is_free (&arena_zspage (a, s)->lock))
      wrong = "a zspage is pinned or locked";
  if (cold != a->cold_spans)
    wrong = "cold spans miscounted";
  else if (hot_pages != a->hot_pages ||
           memcmp (of_size, a->hot_spans, sizeof of_size) != 0)
    wrong = "hot pages miscounted";
  else if (a->used_spans + hot_spans + cold != a->top)
    wrong = "used + hot + cold spans differ from top";
  mutex_unlock (&a->lock);
  return wrong;
}
