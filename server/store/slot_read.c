/* SPDX-License-Identifier: BSD-3-Clause */
/* Reads one slot, whatever its state, and may put it back into memory.
 * Contract: store/slot_read.h.
 */

#include <config.h>

#include <errno.h>
#include <string.h>

#include "base/fault.h"
#include "base/keep_errno.h"
#include "store/claim.h"
#include "store/slot_read.h"

void
slot_fill_words (char *buf, uint32_t offset, uint32_t len, uint64_t word)
{
  char pattern[8];

  if (word == 0) {
    memset (buf, 0, len);
    return;
  }
  memcpy (pattern, &word, 8);
  for (uint32_t i = 0; i < len && i < 8; i++)
    buf[i] = pattern[(offset + i) & 7];
  for (uint32_t done = 8; done < len; done *= 2)
    memcpy (buf + done, buf, done < len - done ? done : len - done);
}

/* Bytes [offset, offset + len) of the slot, whatever its state.  *record
 * becomes the record that was fetched from the backing store, or NULL; the
 * caller gives it to backed_record_free.
 */
static int
read_locked (struct disk *disk, struct slot *s, uint64_t index, void *buf,
             uint32_t offset, uint32_t len, char **record) REQUIRES_SHARED (s)
{
  uint32_t meta = slot_load_meta (s);

  *record = NULL;
  switch (slot_meta_state (meta)) {
  case SLOT_OBJECT:
    return object_read_locked (disk->store, s, NULL, buf, offset, len);
  case SLOT_BACKED:
    *record = object_fetch_locked (disk, s, index);
    return *record
             ? object_read_locked (disk->store, s, *record, buf, offset, len)
             : -1;
  case SLOT_BUFFERED:
    memcpy (buf,
            buffer_data (&disk->store->buffer, (uint32_t) slot_load_cell (s)) +
              offset,
            len);
    return 0;
  default:
    /* An EMPTY slot's cell is 0. */
    slot_fill_words (buf, offset, len, slot_load_cell (s));
    return 0;
  }
}

/* -- back into memory --------------------------------------------------- */

/* Readers take a claim only while fewer than this are taken: background work
 * needs the others (claim.h).
 */
#define PROMOTIONS 24

/* Claim a slot that is about to be read from the backing store, to put it into
 * memory afterwards; 0 if it must stay there.
 */
static unsigned
claim_to_promote_locked (struct disk *disk, struct slot *s) REQUIRES_SHARED (s)
{
  unsigned claim;

  if (slot_meta_state (slot_load_meta (s)) != SLOT_BACKED ||
      !atomic_load_explicit (&disk->store->promote, memory_order_relaxed) ||
      store_memory_to_evict (disk->store) >=
        atomic_load_explicit (&disk->store->room.low, memory_order_relaxed) ||
      __builtin_popcountll (atomic_load (&disk->store->claims)) >= PROMOTIONS)
    return 0;
  claim = claim_take (disk->store);
  if (claim && !claim_put_locked (s, slot_load_meta (s), claim)) {
    claim_release (disk->store, claim);
    claim = 0;
  }
  return claim;
}

static void
promote (struct disk *disk, uint64_t index, unsigned claim, uint32_t meta,
         const char *record)
{
  KEEP_ERRNO; /* of the read, which has ended */
  struct packed packed = { .format = slot_meta_format (meta),
                           .size = slot_meta_size (meta) };
  struct content new;

  packed.bytes = record ? record + RECORD_HEADER : NULL;
  if (!record || content_make (disk, &packed, &new) == -1)
    claim_end (disk, index, claim, meta & SLOT_MARKS);
  else {
    new.marks = meta &SLOT_MARKS;
    if (claim_replace (disk, index, claim, &new))
      disk_count (disk, DISK_PROMOTED, 1);
  }
  claim_release (disk->store, claim);
}

/* Cell and meta may be of different moments, so the cell may not be a handle.
 * The prefetch then has no use, but does no harm: it does not fault (pool.h).
 */
void
slot_prefetch (struct disk *disk, uint64_t index)
{
  const struct slot *s = slot_table_peek (&disk->table, index);

  if (s && slot_meta_state (slot_load_meta (s)) == SLOT_OBJECT)
    pool_prefetch (disk->store->pool, slot_load_cell (s));
}

int
slot_read (struct disk *disk, uint64_t index, void *buf, uint32_t offset,
           uint32_t len, uint32_t now)
{
  struct slot *s = slot_table_read_lock (&disk->table, index, now);
  char *record;

  if (!slot_is_there_shared (s)) {
    memset (buf, 0, len);
    return 0;
  }
  uint32_t meta = slot_load_meta (s);
  unsigned claim = claim_to_promote_locked (disk, s);
  int r = read_locked (disk, s, index, buf, offset, len, &record);
  if (slot_meta_state (meta) == SLOT_OBJECT)
    pool_used (disk->store->pool, slot_load_cell (s));
  slot_read_unlock (s);
  if (claim)
    promote (disk, index, claim, meta, record);
  backed_record_free (disk->store->backed, record);
  return r;
}

static int
read_unnoticed (struct disk *disk, uint64_t index, void *buf, bool from_store)
{
  struct slot *s = slot_table_try_read_lock (&disk->table, index);
  char *record = NULL;
  int r = -1;

  errno = EAGAIN;
  if (!slot_is_there_shared (s))
    return -1;
  enum slot_state state = slot_meta_state (slot_load_meta (s));
  if (state == SLOT_EMPTY)
    errno = ENOENT;
  else if (state == SLOT_BACKED && !from_store)
    errno = EREMOTE;
  else
    r = read_locked (disk, s, index, buf, 0, disk->store->config.slot_size,
                     &record);
  slot_read_unlock (s);
  backed_record_free (disk->store->backed, record);
  return r;
}

int
slot_read_unnoticed (struct disk *disk, uint64_t index, void *buf)
{
  return read_unnoticed (disk, index, buf, true);
}

int
slot_read_in_memory (struct disk *disk, uint64_t index, void *buf)
{
  return read_unnoticed (disk, index, buf, false);
}
