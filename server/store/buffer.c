/* SPDX-License-Identifier: BSD-3-Clause */
/* The write buffer: entries, and the chunks of memory that they lie in.
 * Contract: store/buffer.h.
 */

#include <config.h>

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/fault.h"
#include "store/buffer.h"

void
buffer_init (struct buffer *b, uint32_t slot_size, uint64_t most,
             struct budget *budget)
{
  memset (b, 0, sizeof *b);
  b->slot_size = slot_size;
  b->shift = (unsigned) __builtin_ctz (BUFFER_CHUNK / slot_size);
  b->most = (most + BUFFER_CHUNK - 1) / BUFFER_CHUNK * BUFFER_CHUNK;
  b->budget = budget;
  mutex_init (&b->lock, RANK_BUFFER);
}

void
buffer_destroy (struct buffer *b)
{
  check_always (buffer_used (b) == 0);
  budget_refund (b->budget, buffer_memory (b));
  mutex_destroy (&b->lock);
  reserve_close (&b->infos);
  reserve_close (&b->entries);
  reserve_close (&b->data);
}

/* Reserve addresses for the most that it can need, but at least for 'bytes'. */
static int
reserve_all (struct buffer *b, uint64_t bytes)
{
  struct reserve data, entries, infos;

  if (reserve_open (&data, b->most, bytes) == -1)
    return -1;
  uint64_t chunks = data.reserved / BUFFER_CHUNK;
  size_t n = (chunks << b->shift) * sizeof (struct buffer_entry);
  if (reserve_open (&entries, n, n) == -1)
    goto fail_entries;
  n = chunks * sizeof (struct buffer_chunk);
  if (reserve_open (&infos, n, n) == -1)
    goto fail_infos;
  mutex_lock (&b->lock); /* buffer_take reads the size, then locks */
  b->data = data;
  b->entries = entries;
  b->infos = infos;
  mutex_unlock (&b->lock);
  return 0;

fail_infos:
  reserve_close (&entries);
fail_entries:
  reserve_close (&data);
  return -1;
}

int
buffer_set_size (struct buffer *b, uint64_t bytes)
{
  if (bytes > b->most)
    bytes = b->most;
  bytes = (bytes + BUFFER_CHUNK - 1) / BUFFER_CHUNK * BUFFER_CHUNK;
  if (bytes && !b->data.base && reserve_all (b, bytes) == -1)
    return -1;
  if (bytes > b->data.reserved)
    bytes = b->data.reserved / BUFFER_CHUNK * BUFFER_CHUNK;
  atomic_store (&b->size, bytes);
  /* The spare bytes stay while there may still be data to drain. */
  if (bytes)
    atomic_store (&b->budget->spare, BUFFER_SPARE);
  return 0;
}

/* -- how much ------------------------------------------------------------ */

static uint64_t
limit_of (const struct buffer *b)
{
  return atomic_load_explicit (&b->budget->limit, memory_order_relaxed);
}

static uint32_t
chunks_allowed (const struct buffer *b)
{
  uint64_t bytes = atomic_load_explicit (&b->size, memory_order_relaxed);
  uint64_t limit = limit_of (b);

  if (limit && bytes > limit / BUFFER_SHARE)
    bytes = limit / BUFFER_SHARE;
  return (uint32_t) (bytes / BUFFER_CHUNK);
}

uint32_t
buffer_capacity (const struct buffer *b)
{
  return chunks_allowed (b) << b->shift;
}

bool
buffer_is_closed (const struct buffer *b)
{
  uint64_t limit = limit_of (b);
  uint64_t used = atomic_load_explicit (&b->budget->used, memory_order_relaxed);

  return limit && used > limit - limit / BUFFER_LEFT;
}

/* -- lists --------------------------------------------------------------- */

static inline struct buffer_chunk *
chunk_of (const struct buffer *b, uint32_t chunk)
{
  return (struct buffer_chunk *) b->infos.base + chunk;
}

/* The bits of a chunk whose entries are all free. */
static inline uint32_t
all_free (const struct buffer *b)
{
  return (UINT32_C (1) << (1u << b->shift)) - 1;
}

static void
push_locked (struct buffer *b, uint32_t *list, uint32_t chunk)
{
  struct buffer_chunk *c = chunk_of (b, chunk);

  c->prev = 0;
  c->next = *list;
  if (c->next)
    chunk_of (b, c->next - 1)->prev = chunk + 1;
  *list = chunk + 1;
}

static void
remove_locked (struct buffer *b, uint32_t *list, uint32_t chunk)
{
  struct buffer_chunk *c = chunk_of (b, chunk);

  if (c->next)
    chunk_of (b, c->next - 1)->prev = c->prev;
  if (c->prev)
    chunk_of (b, c->prev - 1)->next = c->next;
  else
    *list = c->next;
}

static uint32_t
resident (const struct buffer *b)
{
  return atomic_load_explicit (&b->resident, memory_order_relaxed);
}

static void
add_resident_locked (struct buffer *b, int n) REQUIRES (b->lock)
{
  atomic_store_explicit (&b->resident, resident (b) + (uint32_t) n,
                         memory_order_relaxed);
}

static uint32_t
pop_empty_locked (struct buffer *b) REQUIRES (b->lock)
{
  uint32_t chunk = b->empty - 1;

  remove_locked (b, &b->empty, chunk);
  if (--b->empties < b->least_empty)
    b->least_empty = b->empties;
  return chunk;
}

/* -- taking -------------------------------------------------------------- */

/* A free entry of a resident chunk. */
static uint32_t
take_locked (struct buffer *b) REQUIRES (b->lock)
{
  struct buffer_chunk *c;
  uint32_t chunk;

  if (!b->partial) {
    if (!b->empty)
      return BUFFER_NONE;
    chunk = pop_empty_locked (b);
    push_locked (b, &b->partial, chunk);
  }
  chunk = b->partial - 1;
  c = chunk_of (b, chunk);
  unsigned at = (unsigned) __builtin_ctz (c->free);
  c->free &= c->free - 1;
  if (!c->free)
    remove_locked (b, &b->partial, chunk);
  atomic_store_explicit (&b->used, buffer_used (b) + 1, memory_order_relaxed);
  return (chunk << b->shift) + at;
}

/* A chunk without memory, which then belongs to the caller; BUFFER_NONE: none.
 */
static uint32_t
take_cold_locked (struct buffer *b) REQUIRES (b->lock)
{
  uint32_t chunk = atomic_load_explicit (&b->top, memory_order_relaxed);
  uint64_t n = chunk + UINT64_C (1);

  if (resident (b) >= chunks_allowed (b))
    return BUFFER_NONE;
  if (b->cold) {
    chunk = b->cold - 1;
    remove_locked (b, &b->cold, chunk);
  }
  else {
    if (n * BUFFER_CHUNK > b->data.reserved ||
        reserve_commit (&b->data, n * BUFFER_CHUNK) ||
        reserve_commit (&b->entries,
                        (n << b->shift) * sizeof (struct buffer_entry)) ||
        reserve_commit (&b->infos, n * sizeof (struct buffer_chunk)))
      return BUFFER_NONE;
    for (uint32_t e = chunk << b->shift; e < (uint32_t) n << b->shift; e++)
      atomic_store_explicit (&buffer_entry (b, e)->slot, BUFFER_NO_SLOT,
                             memory_order_relaxed);
    atomic_store_explicit (&b->top, chunk + 1, memory_order_release);
  }
  add_resident_locked (b, 1);
  return chunk;
}

/* Charge the chunk and make it resident in one step, which is several times
 * cheaper than a fault for each of its pages.  False: over the budget.
 */
static bool
warm_up (struct buffer *b, uint32_t chunk)
{
  if (fault_hit ("buffer.charge") || !budget_charge (b->budget, BUFFER_CHUNK))
    return false;
  reserve_populate (&b->data, (size_t) chunk * BUFFER_CHUNK, BUFFER_CHUNK);
  return true;
}

static uint32_t
take_after_growing (struct buffer *b, uint32_t chunk)
{
  bool warm = warm_up (b, chunk);
  uint32_t entry = BUFFER_NONE;

  mutex_lock (&b->lock);
  if (warm) {
    chunk_of (b, chunk)->free = all_free (b);
    push_locked (b, &b->partial, chunk);
    entry = take_locked (b);
  }
  else {
    push_locked (b, &b->cold, chunk);
    add_resident_locked (b, -1);
  }
  mutex_unlock (&b->lock);
  return entry;
}

uint32_t
buffer_take (struct buffer *b, uint64_t slot)
{
  uint32_t entry, chunk = BUFFER_NONE;

  if (!buffer_has_room (b, 1))
    return BUFFER_NONE;
  mutex_lock (&b->lock);
  entry = take_locked (b);
  if (entry == BUFFER_NONE)
    chunk = take_cold_locked (b);
  mutex_unlock (&b->lock);
  if (chunk != BUFFER_NONE)
    entry = take_after_growing (b, chunk);
  if (entry != BUFFER_NONE) {
    buffer_stamp (b, entry, clock_coarse_ms ());
    atomic_store_explicit (&buffer_entry (b, entry)->slot, slot,
                           memory_order_relaxed);
  }
  return entry;
}

/* -- giving back --------------------------------------------------------- */

void
buffer_put (struct buffer *b, uint32_t entry)
{
  uint32_t chunk = entry >> b->shift;
  uint32_t bit = UINT32_C (1) << (entry & ((1u << b->shift) - 1));

  atomic_store_explicit (&buffer_entry (b, entry)->slot, BUFFER_NO_SLOT,
                         memory_order_relaxed);
  mutex_lock (&b->lock);
  struct buffer_chunk *c = chunk_of (b, chunk);
  check_always (!(c->free & bit));
  if (!c->free)
    push_locked (b, &b->partial, chunk);
  c->free |= bit;
  if (c->free == all_free (b)) {
    remove_locked (b, &b->partial, chunk);
    push_locked (b, &b->empty, chunk);
    b->empties++;
  }
  atomic_store_explicit (&b->used, buffer_used (b) - 1, memory_order_relaxed);
  mutex_unlock (&b->lock);
}

/* Give back the memory of one empty chunk. */
static bool
trim_one (struct buffer *b)
{
  uint32_t chunk = BUFFER_NONE;

  mutex_lock (&b->lock);
  if (b->empty)
    chunk = pop_empty_locked (b);
  mutex_unlock (&b->lock);
  if (chunk == BUFFER_NONE)
    return false;
  reserve_return (&b->data, (size_t) chunk * BUFFER_CHUNK, BUFFER_CHUNK);
  mutex_lock (&b->lock);
  push_locked (b, &b->cold, chunk);
  add_resident_locked (b, -1);
  mutex_unlock (&b->lock);
  budget_refund (b->budget, BUFFER_CHUNK);
  return true;
}

static uint64_t
trim (struct buffer *b, uint32_t chunks)
{
  uint64_t bytes = 0;

  while (chunks-- && trim_one (b))
    bytes += BUFFER_CHUNK;
  return bytes;
}

uint64_t
buffer_trim (struct buffer *b)
{
  return trim (b, UINT32_MAX);
}

uint64_t
buffer_trim_unneeded (struct buffer *b)
{
  mutex_lock (&b->lock);
  uint32_t unneeded = b->least_empty;
  b->least_empty = b->empties - unneeded;
  mutex_unlock (&b->lock);
  return trim (b, unneeded);
}

/* -- looking ------------------------------------------------------------- */

/* The length of a list; -1: it is broken. */
static int64_t
list_length (const struct buffer *b, uint32_t list)
{
  uint32_t top = atomic_load_explicit (&b->top, memory_order_relaxed);
  uint32_t prev = 0;
  int64_t n = 0;

  for (; list; list = chunk_of (b, list - 1)->next) {
    if (list > top || chunk_of (b, list - 1)->prev != prev || ++n > top)
      return -1;
    prev = list;
  }
  return n;
}

/* The number of free entries on a list.  'full': all entries of each of its
 * chunks must be free; otherwise some, but not all.  -1: a chunk is different.
 */
static int64_t
list_free (const struct buffer *b, uint32_t list, bool full)
{
  int64_t n = 0;

  for (; list; list = chunk_of (b, list - 1)->next) {
    const struct buffer_chunk *c = chunk_of (b, list - 1);

    if (!c->free || (c->free == all_free (b)) != full)
      return -1;
    n += __builtin_popcount (c->free);
    for (unsigned i = 0; i < 1u << b->shift; i++)
      if (c->free >> i & 1 &&
          atomic_load (&buffer_entry (b, ((list - 1) << b->shift) + i)->slot) !=
            BUFFER_NO_SLOT)
        return -1;
  }
  return n;
}

static const char *
audit_locked (struct buffer *b) REQUIRES (b->lock)
{
  int64_t partial = list_length (b, b->partial);
  int64_t empty = list_length (b, b->empty), cold = list_length (b, b->cold);
  uint32_t top = atomic_load_explicit (&b->top, memory_order_relaxed);

  if (partial == -1 || empty == -1 || cold == -1)
    return "a list of chunks is broken";
  if (empty != b->empties || b->least_empty > b->empties)
    return "empty chunks miscounted";
  if (cold + resident (b) != top || partial + empty > resident (b))
    return "resident chunks miscounted";
  partial = list_free (b, b->partial, false);
  empty = list_free (b, b->empty, true);
  if (partial == -1 || empty == -1)
    return "a chunk on the wrong list";
  if (((int64_t) resident (b) << b->shift) - partial - empty != buffer_used (b))
    return "entries miscounted";
  return NULL;
}

const char *
buffer_audit (struct buffer *b)
{
  mutex_lock (&b->lock);
  const char *wrong = audit_locked (b);
  mutex_unlock (&b->lock);
  return wrong;
}
