/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One entry of the slot table: 16 bytes in all.
 *
 *            63                                                    0
 *   cell     | EMPTY: 0; SAME: the repeated word; OBJECT: its handle |
 *            | BACKED: the address of its record; BUFFERED: its entry |
 *            +-----------------------------------------------------+
 *             31 30 29 28....17 16  15......0
 *   lock     | W  Q  P  readers | idle | age |   rwword.h
 *            +-------------------------------+
 *             31......16 15....11 10....5 4...3  2  1..0
 *   meta     | size - 1 | format | claim |  by   | I | kind |
 *            +----------------------------------------------+
 *
 *      state       kind   format            size - 1
 *      EMPTY         0      0                 0        (and so is all of meta)
 *      SAME          0      1                 zero
 *      BUFFERED      0      2                 of a slot
 *      OBJECT        1      of the object     of the object
 *      BACKED        2      of the object     of the object
 *
 *   age    second of the last access, modulo 2^16 (18 hours).  Readers set it
 *          and clear idle in the compare-and-swap that takes the lock
 *   idle   set by hand, or by the compactor's sweep before the age wraps:
 *          not accessed since then, or for at least SLOT_OLD seconds
 *   kind   0: no object; then the format field tells the state.  Kind 3 is
 *          unused, and so are the format field's numbers from 3 on
 *   format what the object was compressed with (comp/zcomp.h).
 *          CODEC_RAW: not compressed; then size == slot size (huge)
 *   claim  number of the background work that has copied this content and
 *          may come back to replace it; 0: none.  See below
 *   by     priority, 1 to 3, of the secondary method with which
 *          recompression packed this content; 0: none
 *   I      incompressible: the last of the secondary methods did not help
 *   zero   1: the word that SAME repeats is 0
 *
 * The lock protects cell and meta, and the life of the object.  While it is
 * held, shared or exclusive, the object stays, though it may move.  Cell and
 * meta are written only with the lock held exclusively, with two exceptions:
 * the pool rewrites the cell when it moves the object (zspage.h), and a holder
 * of the shared lock may change claim, by and I by compare-and-swap.
 *
 * They are atomic so that a slot can be looked at without its lock.  Cell and
 * meta are two words: such a look may get one of them from before a change and
 * the other from after it.  So every answer without the lock comes from meta
 * alone (slot_look_meta): each of its values is the state at one moment.  A
 * cell that was read without the lock is only a hint.  slot_table.h says how to
 * tell whether the slot is still the one that was looked up.
 *
 * The claim identifies a content, instead of a generation number.  Background
 * work copies the content out, works on it unlocked, and replaces the content
 * only if the slot still bears its claim.  Every change of the content writes a
 * meta without a claim.  One piece of work at a time uses a number, so no other
 * can have put the same number there meanwhile, however often the slot was
 * rewritten.  A generation number of so few bits could wrap around.
 *
 * All zero = unlocked and EMPTY, so a page of zeroes is a leaf of the table.
 */

#ifndef ZRAM_SLOT_H
#define ZRAM_SLOT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/rank.h"
#include "base/rwword.h"

struct CAPABILITY ("slot") slot {
  _Atomic uint64_t cell;
  struct rwword lock;
  _Atomic uint32_t meta;
};

_Static_assert(sizeof (struct slot) == 16, "a byte a slot is a GiB a TiB");

#define SLOT_KIND_MASK UINT32_C (3)
#define SLOT_FORMAT_SHIFT 11
#define SLOT_FORMAT_MASK (UINT32_C (31) << SLOT_FORMAT_SHIFT)

/* As bits of meta: the kind, or the format field if there is no object. */
enum slot_state {
  SLOT_EMPTY = 0,
  SLOT_SAME = 1 << SLOT_FORMAT_SHIFT,
  SLOT_BUFFERED = 2 << SLOT_FORMAT_SHIFT, /* store/buffer.h */
  SLOT_OBJECT = 1,
  SLOT_BACKED = 2,
};

#define SLOT_STAMP_MASK RW_OWNER /* the bits that an access sets */
#define SLOT_AGE_MASK UINT32_C (0xffff)
#define SLOT_IDLE UINT32_C (0x10000)
#define SLOT_OLD 32768u   /* seconds: older slots are marked idle */
#define SLOT_AHEAD 16384u /* seconds that a stamp may be ahead of a walk */

#define SLOT_CLAIMS 64 /* claims are below this */
#define SLOT_SIZE_SHIFT 16
#define SLOT_CLAIM_SHIFT 5
#define SLOT_BY_SHIFT 3
#define SLOT_INCOMPRESSIBLE UINT32_C (4)
#define SLOT_MARKS (UINT32_C (3) << SLOT_BY_SHIFT | SLOT_INCOMPRESSIBLE)

/* 'format' is 0 without an object. */
static inline uint32_t
slot_meta (enum slot_state state, unsigned format, uint32_t size)
{
  return (size - 1) << SLOT_SIZE_SHIFT | format << SLOT_FORMAT_SHIFT | state;
}

/* The meta of a slot that repeats the word. */
static inline uint32_t
slot_meta_same (uint64_t word)
{
  return (uint32_t) (word == 0) << SLOT_SIZE_SHIFT | SLOT_SAME;
}

static inline enum slot_state
slot_meta_state (uint32_t meta)
{
  uint32_t kind = meta & SLOT_KIND_MASK;

  return kind ? kind : meta & SLOT_FORMAT_MASK;
}

/* OBJECT or BACKED: it has a format. */
static inline bool
slot_meta_has_object (uint32_t meta)
{
  return (meta & SLOT_KIND_MASK) != 0;
}

/* SAME, and the word is 0. */
static inline bool
slot_meta_is_zero (uint32_t meta)
{
  return meta == slot_meta_same (0);
}

/* Has no meaning without an object. */
static inline unsigned
slot_meta_format (uint32_t meta)
{
  return meta >> SLOT_FORMAT_SHIFT & 31;
}

static inline unsigned
slot_meta_claim (uint32_t meta)
{
  return meta >> SLOT_CLAIM_SHIFT & (SLOT_CLAIMS - 1);
}

static inline unsigned
slot_meta_by (uint32_t meta)
{
  return meta >> SLOT_BY_SHIFT & 3;
}

static inline bool
slot_meta_incompressible (uint32_t meta)
{
  return meta & SLOT_INCOMPRESSIBLE;
}

/* Bytes of the object or of BUFFERED data; otherwise without meaning. */
static inline uint32_t
slot_meta_size (uint32_t meta)
{
  return (meta >> SLOT_SIZE_SHIFT) + 1;
}

/* Is this meta one of the rows of the table above? */
static inline bool
slot_meta_is_valid (uint32_t meta)
{
  switch (slot_meta_state (meta)) {
  case SLOT_EMPTY:
    return meta == 0;
  case SLOT_SAME:
    return meta == slot_meta_same (0) || meta == slot_meta_same (1);
  case SLOT_BUFFERED:
  case SLOT_OBJECT:
  case SLOT_BACKED:
    return true;
  }
  return false;
}

static inline uint32_t
slot_load_meta (const struct slot *s)
{
  return atomic_load_explicit (&s->meta, memory_order_relaxed);
}

/* Without the lock, for an answer and not only a hint.  Acquire: the caller
 * then sees the directory as it was when the slot got this state, or later
 * (slot_table_is_still).
 */
static inline uint32_t
slot_look_meta (const struct slot *s)
{
  return atomic_load_explicit (&s->meta, memory_order_acquire);
}

/* The caller holds the exclusive lock.  Release: see slot_look_meta. */
static inline void
slot_store_meta (struct slot *s, uint32_t meta)
{
  atomic_store_explicit (&s->meta, meta, memory_order_release);
}

static inline uint64_t
slot_load_cell (const struct slot *s)
{
  return atomic_load_explicit (&s->cell, memory_order_relaxed);
}

/* Seconds since the last access, when the clock shows 'now'.  A walk may have
 * read its 'now' some time ago, and find slots with a later access.  Their age
 * is 0, not the highest.
 */
static inline uint32_t
slot_age (const struct slot *s, uint32_t now)
{
  uint32_t v = atomic_load_explicit (&s->lock.v, memory_order_relaxed);
  uint32_t age = (now - v) & SLOT_AGE_MASK;

  return age > SLOT_AGE_MASK - SLOT_AHEAD ? 0 : age;
}

static inline bool
slot_is_idle (const struct slot *s)
{
  return atomic_load_explicit (&s->lock.v, memory_order_relaxed) & SLOT_IDLE;
}

/* Mark the slot idle unless it is being accessed.  Needs no lock: the bit is
 * one of the lock word's owner bits, and an access clears it in the step that
 * takes the lock.
 */
static inline bool
slot_mark_idle (struct slot *s)
{
  uint32_t old = atomic_load_explicit (&s->lock.v, memory_order_relaxed);

  while (!(old & (RW_HELD | SLOT_IDLE)))
    if (atomic_compare_exchange_weak_explicit (
          &s->lock.v, &old, old | SLOT_IDLE, memory_order_relaxed,
          memory_order_relaxed))
      return true;
  return false;
}

/* -- the lock; 'now' (clock_coarse_s) becomes the time of access --------- */

static inline void
slot_read_lock (struct slot *s, uint32_t now) ACQUIRE_SHARED (s)
  NO_THREAD_SAFETY_ANALYSIS
{
  rank_acquire (RANK_SLOT);
  rwword_read_lock (&s->lock, SLOT_STAMP_MASK, now & SLOT_AGE_MASK);
}

/* Does not count as an access: neither stamps the age nor clears the mark. */
static inline bool MUST_USE
slot_try_read_lock (struct slot *s) TRY_ACQUIRE_SHARED (true, s)
  NO_THREAD_SAFETY_ANALYSIS
{
  if (!rwword_try_read_lock (&s->lock))
    return false;
  rank_acquire_try (RANK_SLOT);
  return true;
}

static inline void
slot_read_unlock (struct slot *s) RELEASE_SHARED (s) NO_THREAD_SAFETY_ANALYSIS
{
  rank_release (RANK_SLOT);
  rwword_read_unlock (&s->lock);
}

static inline void
slot_write_lock (struct slot *s) ACQUIRE (s) NO_THREAD_SAFETY_ANALYSIS
{
  rank_acquire (RANK_SLOT);
  rwword_write_lock (&s->lock);
}

static inline bool MUST_USE
slot_try_write_lock (struct slot *s) TRY_ACQUIRE (true, s)
  NO_THREAD_SAFETY_ANALYSIS
{
  if (!rwword_try_write_lock (&s->lock))
    return false;
  rank_acquire_try (RANK_SLOT);
  return true;
}

static inline void
slot_write_unlock (struct slot *s) RELEASE (s) NO_THREAD_SAFETY_ANALYSIS
{
  rank_release (RANK_SLOT);
  rwword_write_unlock (&s->lock);
}

/* The same at the end of an access, which stamps the age. */
static inline void
slot_write_unlock_stamped (struct slot *s, uint32_t now) RELEASE (s)
  NO_THREAD_SAFETY_ANALYSIS
{
  rwword_set_owner (&s->lock, SLOT_STAMP_MASK, now & SLOT_AGE_MASK);
  slot_write_unlock (s);
}

#endif /* ZRAM_SLOT_H */
