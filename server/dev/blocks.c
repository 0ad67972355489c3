/* SPDX-License-Identifier: BSD-3-Clause */
/* The space of a backing store, block by block.
 * Contract: dev/blocks.h.
 */

#include <config.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/check.h"
#include "base/keep_errno.h"
#include "base/mutex.h"
#include "base/reserve.h"
#include "dev/blocks.h"

#define GROUP_SHIFT 12
#define GROUP_BLOCKS (1u << GROUP_SHIFT)
#define LOOKAHEAD (4 * GROUP_BLOCKS)
#define MAX_GROUPS_READ 64

enum { FREE = 0, WAITING = 254, PUNCHING = 255 };

struct group {
  uint16_t used;     /* blocks that are counted or being punched */
  uint16_t waiting;  /* blocks */
  uint16_t resident; /* its page of counts may be in RAM: 0 or 1 */
};

struct blocks {
  uint64_t total;        /* blocks */
  struct mutex lock;     /* rank BACKING: everything below */
  struct reserve counts; /* uint8_t[total] */
  struct reserve groups; /* struct group[]; committed whole at once */
  uint64_t cursor;       /* where the last allocation ended */
  uint64_t punch_cursor;
  uint64_t used, waiting, punching; /* blocks */
  uint64_t live_bytes;
  uint64_t resident; /* groups */
  bool punch;
};

struct run {
  uint64_t first;
  unsigned n;
};

struct blocks_audit {
  struct blocks *b;
  struct reserve counts; /* uint8_t[]: as counted by the audit */
  uint64_t live_bytes;
  uint64_t faults;
  struct reason why; /* the first fault */
};

static uint8_t *
counts (struct blocks *b)
{
  return (uint8_t *) b->counts.base;
}

static struct group *
group_of (struct blocks *b, uint64_t block)
{
  return (struct group *) b->groups.base + (block >> GROUP_SHIFT);
}

static uint64_t
groups_in (uint64_t total)
{
  return (total + GROUP_BLOCKS - 1) >> GROUP_SHIFT;
}

/* The first block after the group that 'block' is in. */
static uint64_t
group_end (const struct blocks *b, uint64_t block)
{
  uint64_t end = (block | (GROUP_BLOCKS - 1)) + 1;

  return end < b->total ? end : b->total;
}

struct blocks *
blocks_open (uint64_t total, bool punch)
{
  struct blocks *b;
  size_t groups = groups_in (total) * sizeof (struct group);

  if (total == 0 || total > BLOCKS_MAX) {
    errno = EINVAL;
    return NULL;
  }
  b = alloc_zeroed (CACHE_LINE, sizeof *b);
  if (!b)
    return NULL;
  b->total = total;
  b->punch = punch;
  mutex_init (&b->lock, RANK_BACKING);
  if (reserve_open (&b->counts, total, total) == -1 ||
      reserve_open (&b->groups, groups, groups) == -1 ||
      reserve_commit (&b->groups, groups) == -1) {
    blocks_close (b);
    errno = ENOMEM;
    return NULL;
  }
  return b;
}

void
blocks_close (struct blocks *b)
{
  KEEP_ERRNO;

  if (!b)
    return;
  reserve_close (&b->counts);
  reserve_close (&b->groups);
  mutex_destroy (&b->lock);
  free (b);
}

/* -- below this line the caller holds the lock -------------------------- */

/* Blocks of the group that hold 'value', FREE or WAITING. */
static unsigned
group_has_locked (struct blocks *b, uint64_t block, uint8_t value)
{
  const struct group *g = group_of (b, block);
  uint64_t all = group_end (b, block) -
                 (block & ~(GROUP_BLOCKS - UINT64_C (1)));

  return value == WAITING ? g->waiting : (unsigned) all - g->used - g->waiting;
}

/* Extend 'run', which ends at 'at' or is empty, by the blocks of [at, end) that
 * follow it, or begin a new one.  Returns where the run ended, which is 'end'
 * if there was none.
 */
static uint64_t
scan_locked (struct blocks *b, uint64_t at, uint64_t end, uint8_t value,
             unsigned want, struct run *run)
{
  if (group_of (b, at)->resident) {
    const uint8_t *c = counts (b);

    if (run->n == 0 || c[at] != value) {
      const uint8_t *hit = memchr (c + at, value, end - at);

      run->n = 0;
      if (!hit)
        return end;
      at = (uint64_t) (hit - c);
    }
    if (run->n == 0)
      run->first = at;
    while (at < end && run->n < want && c[at] == value) {
      at++;
      run->n++;
    }
    return at;
  }
  /* The whole group is free; find that without touching its page. */
  if (run->n == 0)
    run->first = at;
  if (end - at > want - run->n)
    end = at + (want - run->n);
  run->n += (unsigned) (end - at);
  return end;
}

/* A run of 'want' blocks with 'value', or else the longest (no shorter than
 * 'least') that is not far behind the first one.  Starts at 'from' and wraps
 * around the end. n is 0 if no run was found.
 */
static struct run
find_locked (struct blocks *b, uint64_t from, unsigned least, unsigned want,
             uint8_t value)
{
  struct run best = { 0, 0 }, run = { 0, 0 };
  uint64_t at = from, left = b->total, since = 0;
  unsigned groups = 0;

  /* Follow a run that still grows to its end. */
  while (left && best.n < want &&
         (since < LOOKAHEAD || (run.n && run.first == best.first)) &&
         (best.n || groups < MAX_GROUPS_READ)) {
    uint64_t end, next;

    if (at == b->total) {
      at = 0;
      run.n = 0;
    }
    end = group_end (b, at);
    if (end - at > left)
      end = at + left;
    if (group_has_locked (b, at, value) == 0) {
      next = end;
      run.n = 0;
    }
    else {
      next = scan_locked (b, at, end, value, want, &run);
      groups += next == end;
    }
    if (run.n >= least && run.n > best.n)
      best = run;
    if (best.n)
      since += next - at;
    left -= next - at;
    at = next;
  }
  if (value == WAITING)
    b->punch_cursor = best.n ? best.first + best.n : at;
  return best;
}

static void
make_resident_locked (struct blocks *b, struct group *g)
{
  b->resident += !g->resident;
  g->resident = 1;
}

/* Change the n blocks from value 'from' to 'to' and keep the sums right. */
static void
move_locked (struct blocks *b, uint64_t first, unsigned n, uint8_t from,
             uint8_t to)
{
  for (uint64_t at = first; at < first + n; at++) {
    struct group *g = group_of (b, at);

    check_always (counts (b)[at] == from);
    counts (b)[at] = to;
    make_resident_locked (b, g);
    g->waiting = (uint16_t) (g->waiting - (from == WAITING) + (to == WAITING));
    g->used = (uint16_t) (g->used - (from != WAITING && from != FREE) +
                          (to != WAITING && to != FREE));
  }
  b->waiting += (to == WAITING ? n : 0) - (uint64_t) (from == WAITING ? n : 0);
  b->punching += (to == PUNCHING ? n : 0) -
                 (uint64_t) (from == PUNCHING ? n : 0);
  b->used += (to == 1 ? n : 0) - (uint64_t) (from == 1 ? n : 0);
}

/* A block of the group of 'block' became free.  If the whole group is free, its
 * page of counts goes back, unless the next blocks will be taken there.
 */
static void
return_group_locked (struct blocks *b, uint64_t block)
{
  struct group *g = group_of (b, block);
  size_t start = block >> GROUP_SHIFT << GROUP_SHIFT;

  if (g->used || g->waiting || !g->resident ||
      b->cursor >> GROUP_SHIFT == block >> GROUP_SHIFT)
    return;
  reserve_return (&b->counts, start, GROUP_BLOCKS);
  g->resident = 0;
  b->resident--;
}

/* One reference less; the last makes the block free, or wait. */
static void
drop_locked (struct blocks *b, uint64_t block)
{
  uint8_t *c = &counts (b)[block];

  check_always (*c >= 1 && *c <= BLOCK_COUNT_MAX);
  if (*c > 1) {
    --*c;
    return;
  }
  move_locked (b, block, 1, 1, b->punch ? WAITING : FREE);
  if (!b->punch)
    return_group_locked (b, block);
}

/* -- below this line the caller holds no lock of blocks ----------------- */

static void
check_range (const struct blocks *b, uint64_t first, uint64_t n)
{
  check_always (n > 0 && first < b->total && n <= b->total - first);
}

unsigned
blocks_alloc (struct blocks *b, unsigned want, uint64_t *first)
{
  struct run run = { 0, 0 };
  uint8_t from = FREE;

  check_always (want >= 1 && want <= 65536);
  mutex_lock (&b->lock);
  if (b->used + b->waiting + b->punching < b->total)
    run = find_locked (b, b->cursor, 1, want, FREE);
  if (run.n == 0 && b->waiting) {
    from = WAITING;
    run = find_locked (b, b->cursor, 1, want, WAITING);
  }
  if (fault_hit ("blocks.alloc") ||
      (run.n && reserve_commit (&b->counts, run.first + run.n) == -1))
    run.n = 0;
  if (run.n) {
    move_locked (b, run.first, run.n, from, 1);
    b->cursor = run.first + run.n == b->total ? 0 : run.first + run.n;
    *first = run.first;
  }
  mutex_unlock (&b->lock);
  return run.n;
}

void
blocks_ref (struct blocks *b, uint64_t at, uint64_t len)
{
  uint64_t first = at >> BLOCK_SHIFT, last = (at + len - 1) >> BLOCK_SHIFT;

  check_always (len > 0);
  check_range (b, first, last - first + 1);
  mutex_lock (&b->lock);
  for (uint64_t i = first; i <= last; i++) {
    check_always (counts (b)[i] >= 1 && counts (b)[i] < BLOCK_COUNT_MAX);
    counts (b)[i]++;
  }
  b->live_bytes += len;
  mutex_unlock (&b->lock);
}

void
blocks_unref (struct blocks *b, uint64_t at, uint64_t len)
{
  uint64_t first = at >> BLOCK_SHIFT, last = (at + len - 1) >> BLOCK_SHIFT;

  check_always (len > 0);
  check_range (b, first, last - first + 1);
  mutex_lock (&b->lock);
  check_always (b->live_bytes >= len);
  b->live_bytes -= len;
  for (uint64_t i = first; i <= last; i++)
    drop_locked (b, i);
  mutex_unlock (&b->lock);
}

void
blocks_release (struct blocks *b, uint64_t first, unsigned n)
{
  if (n == 0)
    return;
  check_range (b, first, n);
  mutex_lock (&b->lock);
  for (uint64_t i = first; i < first + n; i++)
    drop_locked (b, i);
  mutex_unlock (&b->lock);
}

unsigned
blocks_punch_begin (struct blocks *b, unsigned least, unsigned most,
                    uint64_t *first)
{
  struct run run = { 0, 0 };

  check_always (least >= 1 && least <= most && most <= 65536);
  mutex_lock (&b->lock);
  if (b->punch && b->waiting >= least)
    run = find_locked (b, b->punch_cursor, least, most, WAITING);
  if (run.n) {
    move_locked (b, run.first, run.n, WAITING, PUNCHING);
    *first = run.first;
  }
  mutex_unlock (&b->lock);
  return run.n;
}

void
blocks_punch_end (struct blocks *b, uint64_t first, unsigned n)
{
  check_range (b, first, n);
  mutex_lock (&b->lock);
  move_locked (b, first, n, PUNCHING, FREE);
  for (uint64_t at = first; at < first + n; at = group_end (b, at))
    return_group_locked (b, at);
  mutex_unlock (&b->lock);
}

void
blocks_set_punch (struct blocks *b, bool punch)
{
  mutex_lock (&b->lock);
  b->punch = punch;
  mutex_unlock (&b->lock);
}

void
blocks_get_stats (struct blocks *b, struct blocks_stats *s)
{
  mutex_lock (&b->lock);
  s->total = b->total;
  s->used = b->used;
  s->waiting = b->waiting;
  s->punching = b->punching;
  s->free = b->total - b->used - b->waiting - b->punching;
  s->live_bytes = b->live_bytes;
  s->memory = sizeof *b + (b->resident << GROUP_SHIFT) +
              groups_in (b->total) * sizeof (struct group);
  mutex_unlock (&b->lock);
}

/* -- audit -------------------------------------------------------------- */

struct blocks_audit *
blocks_audit_begin (struct blocks *b)
{
  struct blocks_audit *a = alloc_zeroed (sizeof (void *), sizeof *a);
  size_t committed = b->counts.committed;

  if (!a)
    return NULL;
  a->b = b;
  if (committed && (reserve_open (&a->counts, committed, committed) == -1 ||
                    reserve_commit (&a->counts, committed) == -1)) {
    reserve_close (&a->counts);
    free (a);
    errno = ENOMEM;
    return NULL;
  }
  return a;
}

static void
fault_found (struct blocks_audit *a, const char *what, uint64_t where,
             uint64_t is, uint64_t should_be)
{
  if (a->faults++ == 0)
    reason_set (&a->why, "%s %llu: %llu, recounted %llu", what,
                (unsigned long long) where, (unsigned long long) is,
                (unsigned long long) should_be);
}

static void
audit_touch (struct blocks_audit *a, uint64_t first, uint64_t last)
{
  uint8_t *c = (uint8_t *) a->counts.base;

  if (last < first || last >= a->b->total || last >= a->counts.committed) {
    fault_found (a, "object past the end, in block", last, 0, 0);
    return;
  }
  for (uint64_t i = first; i <= last; i++)
    if (c[i] < UINT8_MAX)
      c[i]++;
}

void
blocks_audit_object (struct blocks_audit *a, uint64_t at, uint64_t len)
{
  a->live_bytes += len;
  audit_touch (a, at >> BLOCK_SHIFT, (at + len - 1) >> BLOCK_SHIFT);
}

void
blocks_audit_writer (struct blocks_audit *a, uint64_t first, unsigned n)
{
  if (n)
    audit_touch (a, first, first + n - 1);
}

struct sums {
  uint64_t used, waiting, punching, resident;
};

/* Compares one group with its bytes, and these with the recounted values. */
static void
audit_group (struct blocks_audit *a, uint64_t start, struct sums *all)
{
  struct blocks *b = a->b;
  struct group *g = group_of (b, start);
  const uint8_t *is = counts (b), *recounted = (uint8_t *) a->counts.base;
  struct sums s = { 0, 0, 0, 0 };

  for (uint64_t i = start; i < group_end (b, start); i++) {
    uint8_t should_be = i < a->counts.committed ? recounted[i] : 0;
    uint8_t c = g->resident ? is[i] : FREE;

    s.waiting += c == WAITING;
    s.punching += c == PUNCHING;
    s.used += c != FREE && c != WAITING && c != PUNCHING;
    if ((c == WAITING || c == PUNCHING ? FREE : c) != should_be)
      fault_found (a, "references to block", i, c, should_be);
  }
  if (g->used != s.used + s.punching)
    fault_found (a, "used blocks of group", start, g->used, s.used);
  if (g->waiting != s.waiting)
    fault_found (a, "waiting blocks of group", start, g->waiting, s.waiting);
  all->used += s.used;
  all->waiting += s.waiting;
  all->punching += s.punching;
  all->resident += g->resident;
}

/* Blocks beyond the committed part are free. */
static void
audit_all (struct blocks_audit *a)
{
  struct blocks *b = a->b;
  struct sums s = { 0, 0, 0, 0 };
  uint64_t end = b->counts.committed < b->total ? b->counts.committed
                                                : b->total;

  for (uint64_t at = 0; at < end; at = group_end (b, at))
    audit_group (a, at, &s);
  if (s.used != b->used)
    fault_found (a, "used blocks of", b->total, b->used, s.used);
  if (s.waiting != b->waiting)
    fault_found (a, "waiting blocks of", b->total, b->waiting, s.waiting);
  if (s.punching != b->punching)
    fault_found (a, "punched blocks of", b->total, b->punching, s.punching);
  if (s.resident != b->resident)
    fault_found (a, "resident groups of", b->total, b->resident, s.resident);
  if (a->live_bytes != b->live_bytes)
    fault_found (a, "live bytes of", b->total, b->live_bytes, a->live_bytes);
}

uint64_t
blocks_audit_end (struct blocks_audit *a, struct reason *why)
{
  struct blocks *b = a->b;
  uint64_t faults;

  mutex_lock (&b->lock);
  audit_all (a);
  mutex_unlock (&b->lock);
  *why = a->why;
  faults = a->faults;
  reserve_close (&a->counts);
  free (a);
  return faults;
}
