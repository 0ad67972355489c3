/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Arena: hands out spans (stretches of addresses of one size) and gives their
 * memory back to the system.
 *
 *   span 0      1      2      3            top
 *   +------+------+------+------+- - - - - -+ - - - never used
 *   | used | hot  | used | cold |
 *   +------+------+------+------+- - - - - -+ - - -
 *
 *   used  a zspage in a class, or a span on its way there
 *   hot   free, its first 'resident' pages still in RAM: reused first, because
 *         the first touch of a page costs as much as decompressing it.  With
 *         arena_keep enough hot spans are kept and made that a request need not
 *         ask the system for memory.
 *   cold  free, without memory: the lowest address is reused first, so that the
 *         arena's end can sink
 *
 * Invariants:
 *   used + hot + cold == top
 *   budget's share of the arena == 4096 * sum of resident over all spans
 *   hot_pages == sum of resident over the hot spans
 *   hot_spans[r] == hot spans with r pages resident
 *
 * Locks: the arena's own (rank ARENA) protects the lists, the bitmap, top and
 * the descriptors of free spans.  It is not held during system calls, except to
 * commit more of the reserve.
 */

#ifndef ZRAM_ARENA_H
#define ZRAM_ARENA_H

#include "base/budget.h"
#include "base/mutex.h"
#include "base/reserve.h"
#include "mem/size_class.h"
#include "mem/zspage.h"

#define ARENA_MAX_SPAN_PAGES 128
#define ARENA_NO_SPAN UINT32_MAX

struct arena {
  size_t span_size; /* bytes */
  uint32_t max_spans;
  struct reserve memory;   /* the spans */
  struct reserve zspages;  /* struct zspage[]: the descriptors */
  struct reserve cold_map; /* uint64_t[]: a bit a span */
  struct reserve besides;  /* of each span some bytes: see arena_set_beside */
  size_t beside_size;      /* bytes; 0: none.  Set before use. */
  struct budget *budget;   /* charged for resident pages; not owned */

  struct mutex lock;
  uint32_t top GUARDED_BY (lock);
  uint32_t used_spans GUARDED_BY (lock);
  uint32_t cold_spans GUARDED_BY (lock);
  uint32_t cold_hint GUARDED_BY (lock); /* no cold span in lower words */
  uint64_t hot_pages GUARDED_BY (lock);
  span_link hot[ARENA_MAX_SPAN_PAGES + 1] GUARDED_BY (lock); /* by resident */
  uint32_t hot_spans[ARENA_MAX_SPAN_PAGES + 1] GUARDED_BY (lock);
  /* Recent requests, by pages: a guess of the next ones. */
  uint32_t asked[ARENA_MAX_SPAN_PAGES + 1] GUARDED_BY (lock);
  uint32_t asked_total GUARDED_BY (lock);
  uint32_t expected[ARENA_MAX_SPAN_PAGES + 1]; /* Set before use. */
  uint64_t keep_pages; /* hot, at least; 0: any number.  Set before use. */
  atomic_bool filling; /* arena_fill is trying to get there, and may */
};

/* Reserve at most 'max_bytes' of addresses.  0, or -1 with errno ENOMEM. */
int arena_init (struct arena *a, uint32_t span_pages, uint64_t max_bytes,
                struct budget *budget) MUST_USE;

/* Give each span so many bytes beside it, for data that have no place in it.
 * Their contents are undefined when the span is handed out.  They take no
 * memory before they are written, and are kept ready if spans are.  Call it
 * before use.  0, or -1 with errno ENOMEM.
 */
int arena_set_beside (struct arena *a, size_t bytes) MUST_USE;

/* Spans may be in use; their charges are refunded. */
void arena_destroy (struct arena *a);

static inline struct zspage *
arena_zspage (const struct arena *a, uint32_t span)
{
  return (struct zspage *) a->zspages.base + span;
}

static inline uint32_t
arena_span_of (const struct arena *a, const struct zspage *z)
{
  return z - (struct zspage *) a->zspages.base;
}

static inline char *
arena_address (const struct arena *a, uint32_t span)
{
  return a->memory.base + (size_t) span * a->span_size;
}

static inline void *
arena_beside (const struct arena *a, uint32_t span)
{
  return a->besides.base + span * a->beside_size;
}

/* Make these bytes resident, so that a write to them does not wait for memory.
 */
void arena_populate_beside (struct arena *a, uint32_t span);

/* A span for a zspage of 'pages' pages.  The caller owns its descriptor, whose
 * 'resident' is at most 'pages'.  ARENA_NO_SPAN with errno ENOMEM. Takes the
 * arena lock; may do system calls.  If the reserve is used up and is being
 * filled, it waits for a moment.
 */
uint32_t arena_alloc (struct arena *a, uint32_t pages) MUST_USE;

/* The lowest cold span (resident 0), if it is below 'limit'; else
 * ARENA_NO_SPAN, errno not set.
 */
uint32_t arena_alloc_below (struct arena *a, uint32_t limit) MUST_USE;

/* Takes the span back.  Takes the arena lock; may do system calls. */
void arena_free (struct arena *a, uint32_t span);

/* Raise the span's resident pages to 'pages', charging the budget.  False
 * with nothing changed if that is over the limit.  Takes no lock; the caller
 * owns the descriptor or holds its class lock.  The pages become resident
 * when they are touched.
 */
bool arena_charge (struct arena *a, struct zspage *z, uint32_t pages) MUST_USE;

/* The reverse: give the memory of all but the first 'pages' pages back and
 * refund it.  Ownership as for arena_charge; does a system call.
 */
void arena_shrink (struct arena *a, struct zspage *z, uint32_t pages);

/* Make the pages [from, to) of a span resident at once. */
void arena_populate (struct arena *a, uint32_t span, uint32_t from,
                     uint32_t to);

/* Give the memory of all hot spans back.  Returns the bytes given back. */
uint64_t arena_return_hot (struct arena *a);

/* The same, except for the memory that arena_keep keeps. */
uint64_t arena_return_spare (struct arena *a);

/* -- a reserve of resident memory --------------------------------------- */

/* Keep at least so many bytes hot.  Call it before the arena is used. */
void arena_keep (struct arena *a, uint64_t bytes);

/* Always keep a span of so many pages, whatever was asked for lately; two if
 * called twice.  Call it before the arena is used.
 */
void arena_expect (struct arena *a, uint32_t pages);

static inline bool
arena_keeps (const struct arena *a)
{
  return a->keep_pages != 0;
}

/* One step towards that, by one thread: makes a span hot, and the descriptors
 * of the next ones resident.  True if there is more to do.  Does nothing near
 * the budget's limit.  Does system calls, and waits if the system has no
 * memory, with no lock held.
 */
bool arena_fill (struct arena *a);

/* Make all pages of a span that the caller owns resident, if the budget allows:
 * then it need not grow later.
 */
void arena_fill_span (struct arena *a, uint32_t span, uint32_t pages);

/* Let the arena's end sink over the cold spans there: their page tables and
 * descriptors go back to the system too.  Takes zspage locks (trying) and
 * the arena lock, one after the other.
 */
void arena_trim (struct arena *a);

struct arena_stats {
  uint32_t top, used_spans, cold_spans;
  uint64_t hot_pages;
};

struct arena_stats arena_stats (struct arena *a);

/* For the auditor, with nothing running: recompute the invariants above from
 * the lists.  A static message about one that does not hold, or NULL.
 */
const char *arena_audit (struct arena *a);

#endif /* ZRAM_ARENA_H */
