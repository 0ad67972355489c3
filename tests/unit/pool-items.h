/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the tests of the pools share: items, each of which owns a cell and knows
 * what its object must hold.
 *
 *   item:  lock | cell -> object of 'size' bytes, all of them made from 'tag'
 *
 * An item stands for a slot: its lock is held exclusively to change it, and
 * shared to read the object.  All of it may be used in threads, so it fails
 * by check_always.
 */

#ifndef ZRAM_POOL_ITEMS_H
#define ZRAM_POOL_ITEMS_H

#include "unit.h"

#include "base/rwword.h"
#include "mem/pool.h"

struct item {
  pool_cell cell;
  struct rwword lock;
  uint32_t size; /* bytes of the object; 0: the cell holds 'value' */
  uint64_t tag;  /* what the object's bytes were made from */
  uint64_t value;
};

/* -- what is in an object ----------------------------------------------- */

static inline void
write_bytes (void *mem, uint32_t size, uint64_t tag)
{
  uint64_t word = tag * UINT64_C (0x9e3779b97f4a7c15);
  uint32_t i;

  for (i = 0; i + 8 <= size; i += 8, word += tag | 1)
    memcpy ((char *) mem + i, &word, 8);
  memcpy ((char *) mem + i, &word, size - i);
}

static inline bool
bytes_are_right (const void *mem, uint32_t size, uint64_t tag)
{
  uint64_t word = tag * UINT64_C (0x9e3779b97f4a7c15), got;
  uint32_t i;

  for (i = 0; i + 8 <= size; i += 8, word += tag | 1) {
    memcpy (&got, (const char *) mem + i, 8);
    if (got != word)
      return false;
  }
  return memcmp ((const char *) mem + i, &word, size - i) == 0;
}

/* -- items; the caller holds the lock, if anybody else is there --------- */

/* An object in transit, filled in; 0 with errno. */
static inline uint64_t
make_object (struct pool *pool, uint32_t size, uint64_t tag)
{
  void *mem;
  uint64_t handle = pool_alloc (pool, size, &mem);

  if (handle) {
    check_always (pool_fits (pool, handle, size));
    write_bytes (mem, size, tag);
  }
  return handle;
}

/* The cell's value becomes 'value', and what it named is freed. */
static inline void
item_set_value (struct pool *pool, struct item *it, uint64_t value)
{
  if (it->size)
    pool_replace (pool, &it->cell, value);
  else {
    check_always (atomic_load (&it->cell) == it->value);
    atomic_store (&it->cell, value);
  }
  it->size = 0;
  it->value = value;
}

/* As the store does it: make the new object, then swap.  False if there is
 * no memory, and then the item is as it was.
 */
static inline bool
item_write (struct pool *pool, struct item *it, uint32_t size, uint64_t tag)
{
  uint64_t handle = make_object (pool, size, tag);

  if (!handle)
    return false;
  item_set_value (pool, it, handle);
  it->size = size;
  it->tag = tag;
  pool_attach (pool, handle, &it->cell);
  return true;
}

static inline void
item_free (struct pool *pool, struct item *it)
{
  item_set_value (pool, it, 0);
}

/* The object of 'from' becomes that of 'to', which has none. */
static inline void
item_hand_over (struct pool *pool, struct item *from, struct item *to,
                uint64_t value)
{
  check_always (from->size && !to->size);
  pool_hand_over (pool, &from->cell, &to->cell, value);
  to->size = from->size;
  to->tag = from->tag;
  from->size = 0;
  from->value = value;
}

/* The object must be there, whole, and where a pinned one stays. */
static inline void
item_check (struct pool *pool, struct item *it)
{
  uint64_t handle;

  if (!it->size) {
    check_always (atomic_load (&it->cell) == it->value);
    return;
  }
  void *mem = pool_pin (pool, &it->cell, &handle);
  check_always (atomic_load (&it->cell) == handle);
  check_always (pool_is_attached (pool, handle, &it->cell));
  check_always (bytes_are_right (mem, it->size, it->tag));
  pool_unpin (pool, handle);
}

static inline void
items_check (struct pool *pool, struct item *it, unsigned n)
{
  for (unsigned i = 0; i < n; i++)
    item_check (pool, &it[i]);
}

static inline void
items_free (struct pool *pool, struct item *it, unsigned n)
{
  for (unsigned i = 0; i < n; i++)
    item_free (pool, &it[i]);
}

#endif /* ZRAM_POOL_ITEMS_H */
