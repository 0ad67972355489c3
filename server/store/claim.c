/* SPDX-License-Identifier: BSD-3-Clause */
/* Claims: slots copied out, and replaced if they did not change.
 * Contract: store/claim.h.
 */

#include <config.h>

#include <string.h>

#include "base/fault.h"
#include "store/claim.h"
#include "store/slot_walk.h"

#define CLAIM_MASK ((uint32_t) (SLOT_CLAIMS - 1) << SLOT_CLAIM_SHIFT)

unsigned
claim_take (struct store *store)
{
  uint64_t taken = atomic_load (&store->claims), bit;

  do {
    bit = ~(taken | 1); /* 0 means no claim */
    bit &= -bit;
    if (!bit)
      return 0;
  } while (!atomic_compare_exchange_weak (&store->claims, &taken, taken | bit));
  return (unsigned) __builtin_ctzll (bit);
}

void
claim_release (struct store *store, unsigned claim)
{
  uint64_t bit = UINT64_C (1) << claim;
  uint64_t taken = atomic_fetch_and (&store->claims, ~bit);

  check_debug (taken & bit);
  (void) taken;
}

bool
claim_put_locked (struct slot *s, uint32_t meta, unsigned claim)
{
  return slot_meta_claim (meta) == 0 &&
         atomic_compare_exchange_strong_explicit (
           &s->meta, &meta, meta | claim << SLOT_CLAIM_SHIFT,
           memory_order_relaxed, memory_order_relaxed);
}

bool
claim_copy (struct disk *disk, uint64_t index, uint32_t meta, unsigned claim,
            void *buf)
{
  struct slot *s = slot_table_try_read_lock (&disk->table, index);
  bool claimed;

  if (!slot_is_there_shared (s))
    return false;
  check_debug (slot_meta_state (meta) == SLOT_OBJECT);
  claimed = claim_put_locked (s, meta, claim);
  if (claimed)
    object_copy_locked (disk->store, s, buf, 0, slot_meta_size (meta));
  slot_read_unlock (s);
  return claimed;
}

static void
clear_marks (struct disk *disk, uint64_t index)
{
  struct slot *s = slot_table_try_read_lock (&disk->table, index);

  if (!slot_is_there_shared (s))
    return;
  uint32_t meta = slot_load_meta (s);
  /* If the slot gets a claim meanwhile, that wins: its work will set its own
   * marks.
   */
  if (slot_meta_claim (meta) == 0)
    (void) atomic_compare_exchange_strong_explicit (
      &s->meta, &meta, meta & ~SLOT_MARKS, memory_order_relaxed,
      memory_order_relaxed);
  slot_read_unlock (s);
}

void
claim_clear_marks (struct store *store)
{
  struct slot_walk w;

  slot_walk_all (&w, store);
  while (slot_walk_next (&w))
    if (w.meta & SLOT_MARKS)
      clear_marks (w.disk, w.index);
  slot_walk_end (&w);
}

bool
claim_replace (struct disk *disk, uint64_t index, unsigned claim,
               const struct content *new)
{
  struct slot *s = slot_table_write_lock (&disk->table, index);
  bool mine = false;

  if (slot_is_there (s)) {
    mine = slot_meta_claim (slot_load_meta (s)) == claim;
    if (mine)
      content_set_locked (disk, s, new);
    slot_write_unlock (s);
  }
  if (!mine)
    content_drop (disk, new);
  return mine;
}

bool
claim_end (struct disk *disk, uint64_t index, unsigned claim, uint32_t marks)
{
  struct slot *s = slot_table_write_lock (&disk->table, index);
  bool mine = false;

  if (!slot_is_there (s))
    return false;
  uint32_t meta = slot_load_meta (s);
  if (slot_meta_claim (meta) == claim) {
    slot_store_meta (s, (meta & ~(CLAIM_MASK | SLOT_MARKS)) | marks);
    mine = true;
  }
  slot_write_unlock (s);
  return mine;
}
