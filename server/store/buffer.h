/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The write buffer: it keeps data uncompressed for a while, until they are
 * compressed (maint/drainer.h).  Data that are overwritten or discarded first
 * are never compressed.
 *
 *   slot (BUFFERED)                       chunks of 64 KiB
 *   +------+------+          +---------------------------+-----------------+
 *   | cell | meta |          | entry | entry | … | entry | entry | …       |
 *   +--|---+------+          +---------------------------+-----------------+
 *      |                       ^          chunk 0              chunk 1
 *      +-----------------------+
 *   entries   | slot, written |  one an entry: the slot that it belongs to, and
 *                                the ms of its last write
 *   chunks    | next, prev, free |  one a chunk: a bit for each free entry
 *
 *   a chunk is  cold     no memory behind it; on the list 'cold', or never used
 *               empty    resident, all its entries free; on the list 'empty'
 *               partial  some are free; on the list 'partial'
 *               full     on no list
 *               moving   going into memory or out; one thread has it
 *
 * The buffer is as large as 'size' says, but not larger than an eighth of
 * mem_limit.  It takes no new data when less than a sixteenth of the limit is
 * left.  Writes are then compressed at once, as they are when the buffer is
 * full, so no write ever waits for the buffer.
 *
 * Resident memory is charged: whole chunks.  A chunk that became empty is kept
 * for the next burst (the first touch of a page costs half as much as
 * compressing it).  It is given back when it was not needed for some seconds,
 * or when memory is used up.
 *
 * The life of an entry:
 *
 *   buffer_take          in transit: only its taker knows it, and fills it in
 *   the slot's cell is set, under the exclusive slot lock (content.h)
 *                        from here on the slot's lock protects the bytes: read
 *                        under the shared lock, changed in place under the
 *                        exclusive one
 *   buffer_put           by the thread that gives the slot another content,
 *                        under the exclusive lock
 *
 * So a thread that holds a slot's lock and sees that it is BUFFERED may use the
 * bytes.  The drain comes from the other side: it reads the entry's 'slot'
 * without any lock.  That is a hint, and right if that slot, locked, still
 * names this entry.
 *
 * Invariants, under 'lock':
 *   free of a chunk that is empty: all ones; full: 0; partial: neither
 *   used = entries - free entries, over the resident chunks
 *   resident = chunks that are empty, partial, full or moving
 *   budget's share of the buffer = BUFFER_CHUNK * resident, when none moves
 * and with nothing running:
 *   each entry that is not free is named by one BUFFERED slot: its own
 *
 * Locks: 'lock' (rank BUFFER, the last) protects the lists and the chunks.  The
 * only system call made with it held commits more of the reserve.
 */

#ifndef ZRAM_BUFFER_H
#define ZRAM_BUFFER_H

#include <stdbool.h>

#include "base/budget.h"
#include "base/mutex.h"
#include "base/reserve.h"

#define BUFFER_CHUNK 65536u /* bytes: 16 entries of 4 KiB, or one of 64 KiB */
#define BUFFER_NONE UINT32_MAX
#define BUFFER_NO_SLOT UINT64_MAX

/* Parts of mem_limit: 1/8 that the buffer may take; 1/16 that must be left. */
#define BUFFER_SHARE 8
#define BUFFER_LEFT 16

/* Kept free for the drain at the limit: the drain must store the compressed
 * data before it frees their entries.  The size: a chunk's entries, each in
 * another size class, and each class may have to begin a page or two.
 */
#define BUFFER_SPARE (256u * 1024)

struct buffer_entry {
  _Atomic uint64_t slot;    /* its number, or BUFFER_NO_SLOT: free */
  _Atomic uint32_t written; /* clock_coarse_ms of the last write */
};

struct buffer_chunk {
  uint32_t next, prev; /* chunk + 1; 0: none */
  uint32_t free;       /* a bit for each entry */
};

struct buffer {
  uint32_t slot_size;
  unsigned shift;            /* entries of a chunk, as a power of two */
  uint64_t most;             /* bytes that it can ever need */
  struct budget *budget;     /* not owned */
  struct reserve data;       /* the chunks */
  struct reserve entries;    /* struct buffer_entry[] */
  struct reserve infos;      /* struct buffer_chunk[] */
  _Atomic uint64_t size;     /* bytes, whole chunks; 0: off */
  _Atomic uint32_t used;     /* entries; written under lock */
  _Atomic uint32_t top;      /* chunks ever used; written under lock */
  _Atomic uint32_t resident; /* chunks; written under lock */

  struct mutex lock;
  uint32_t partial GUARDED_BY (lock);
  uint32_t empty GUARDED_BY (lock);
  uint32_t cold GUARDED_BY (lock);
  uint32_t empties GUARDED_BY (lock);     /* chunks on that list */
  uint32_t least_empty GUARDED_BY (lock); /* since buffer_trim_unneeded */
};

/* Begin switched off, without memory.  'most': bytes that it can ever need. */
void buffer_init (struct buffer *b, uint32_t slot_size, uint64_t most,
                  struct budget *budget);

/* No entry may be in use. */
void buffer_destroy (struct buffer *b);

/* Set its size, in bytes (rounded up to chunks, and cut to the most that it can
 * need); 0: off.  Its data stay until they are drained.  The first size other
 * than 0 reserves the addresses.  0, or -1 with errno ENOMEM and no change.
 * Takes the lock; one caller at a time.
 */
int buffer_set_size (struct buffer *b, uint64_t bytes) MUST_USE;

/* Entries in use.  No lock. */
static inline uint32_t
buffer_used (const struct buffer *b)
{
  return atomic_load_explicit (&b->used, memory_order_relaxed);
}

/* How many entries its size and mem_limit allow now.  No lock. */
uint32_t buffer_capacity (const struct buffer *b);

/* Is so little memory left that the buffer takes no new data?  No lock. */
bool buffer_is_closed (const struct buffer *b);

static inline bool
buffer_is_on (const struct buffer *b)
{
  return atomic_load_explicit (&b->size, memory_order_relaxed) > 0;
}

/* Could it take 'n' entries now?  A hint; no lock. */
static inline bool
buffer_has_room (const struct buffer *b, uint32_t n)
{
  return buffer_is_on (b) && buffer_used (b) + n <= buffer_capacity (b) &&
         !buffer_is_closed (b);
}

/* An entry for this slot, in transit; BUFFER_NONE if no entry or no memory is
 * left.  Takes the lock; may do system calls.
 */
uint32_t buffer_take (struct buffer *b, uint64_t slot) MUST_USE;

/* Free an entry. */
void buffer_put (struct buffer *b, uint32_t entry);

static inline char *
buffer_data (const struct buffer *b, uint32_t entry)
{
  return b->data.base + (size_t) entry * b->slot_size;
}

static inline struct buffer_entry *
buffer_entry (const struct buffer *b, uint32_t entry)
{
  return (struct buffer_entry *) b->entries.base + entry;
}

/* Note that the entry was written now. */
static inline void
buffer_stamp (struct buffer *b, uint32_t entry, uint32_t now_ms)
{
  atomic_store_explicit (&buffer_entry (b, entry)->written, now_ms,
                         memory_order_relaxed);
}

/* All entries that were ever in use have numbers below this.  No lock. */
static inline uint32_t
buffer_entries (const struct buffer *b)
{
  return atomic_load_explicit (&b->top, memory_order_acquire) << b->shift;
}

/* Give the memory of empty chunks back; returns the bytes.  Takes the lock;
 * system calls.
 */
uint64_t buffer_trim (struct buffer *b);

/* The same for the empty chunks that were not needed since the last call. */
uint64_t buffer_trim_unneeded (struct buffer *b);

/* Bytes that are resident and charged.  No lock. */
static inline uint64_t
buffer_memory (const struct buffer *b)
{
  return (uint64_t) atomic_load_explicit (&b->resident, memory_order_relaxed) *
         BUFFER_CHUNK;
}

/* For the auditor, with nothing running: checks the invariants above, except
 * those about slots.  Returns a static message about one that does not hold, or
 * NULL.
 */
const char *buffer_audit (struct buffer *b);

#endif /* ZRAM_BUFFER_H */
