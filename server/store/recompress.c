/* SPDX-License-Identifier: BSD-3-Clause */
/* Recompressing one slot with the secondary methods.
 * Contract: store/recompress.h.
 */

#include <config.h>

#include <errno.h>

#include "base/clock.h"
#include "base/fault.h"
#include "store/claim.h"
#include "store/recompress.h"

/* The first priority that is worth a try: it comes after that of the method
 * with which the slot is packed already.
 */
static unsigned
first_to_try (const struct recompress_plan *plan, uint32_t meta)
{
  unsigned first = slot_meta_by (meta) + 1;

  return first > plan->first ? first : plan->first;
}

bool
recompress_wants (const struct recompress_plan *plan, uint32_t meta)
{
  return slot_meta_state (meta) == SLOT_OBJECT && slot_meta_claim (meta) == 0 &&
         !slot_meta_incompressible (meta) &&
         slot_meta_size (meta) >= plan->threshold &&
         first_to_try (plan, meta) <= plan->last;
}

static uint32_t
marks (unsigned by, bool incompressible)
{
  return by << SLOT_BY_SHIFT | (incompressible ? SLOT_INCOMPRESSIBLE : 0);
}

/* The most bytes that the new object may have: it must take less memory, and be
 * below the threshold.  0: no such size.
 */
static size_t
room (struct disk *disk, uint32_t meta, uint32_t threshold)
{
  size_t most = pool_smaller_than (disk->store->pool, slot_meta_size (meta));

  return threshold && most >= threshold ? threshold - 1 : most;
}

/* Try one method after the other; *tried is the last one that was tried.  1 and
 * a new content if one helped, 0 if none did, or -1 with errno.
 */
static int
try_methods (struct disk *disk, struct zcomp_stream *stream, uint32_t meta,
             const struct recompress_plan *plan, const void *object,
             unsigned *tried, struct content *new)
{
  size_t most = room (disk, meta, plan->threshold);
  const void *data = object_unpack (disk->store, meta, object, stream);
  struct packed packed;

  if (!data)
    return -1;
  for (unsigned p = first_to_try (plan, meta); p <= plan->last; p++) {
    int r = most
              ? object_pack_within (disk->store, stream, &plan->methods[p - 1],
                                    data, most, &packed)
              : 0;

    if (r == -1)
      return -1;
    *tried = p;
    if (r == 1)
      return content_make (disk, &packed, new) == -1 ? -1 : 1;
  }
  return 0;
}

static enum recompress_result
recompress_claimed (struct disk *disk, uint64_t index, uint32_t meta,
                    const struct recompress_plan *plan, unsigned claim,
                    const void *object)
{
  struct zcomp_stream *stream = zcomp_stream_get (disk->store->zcomp);
  unsigned tried = 0;
  struct content new;
  int r = try_methods (disk, stream, meta, plan, object, &tried, &new);

  zcomp_stream_put (stream);
  fault_pause ("recompress.packed");
  if (r == -1) {
    (void) claim_end (disk, index, claim, meta & SLOT_MARKS);
    return RECOMPRESS_FAILED;
  }
  if (r == 0)
    return claim_end (disk, index, claim,
                      marks (slot_meta_by (meta), tried == plan->count))
             ? RECOMPRESS_VAIN
             : RECOMPRESS_LOST;
  new.marks = marks (tried, false);
  if (!claim_replace (disk, index, claim, &new))
    return RECOMPRESS_LOST;
  disk_count (disk, DISK_RECOMPRESS_WON, slot_meta_size (meta) - new.size);
  return RECOMPRESS_DONE;
}

enum recompress_result
slot_recompress (struct disk *disk, uint64_t index, uint32_t meta,
                 const struct recompress_plan *plan, unsigned claim, void *buf)
{
  static const enum disk_counter counters[] = {
    [RECOMPRESS_DONE] = DISK_RECOMPRESSED,
    [RECOMPRESS_VAIN] = DISK_RECOMPRESS_VAIN,
    [RECOMPRESS_LOST] = DISK_RECOMPRESS_LOST,
    [RECOMPRESS_FAILED] = DISK_RECOMPRESS_FAILED,
  };
  uint64_t start = clock_ns ();
  enum recompress_result result;

  if (!recompress_wants (plan, meta) ||
      !claim_copy (disk, index, meta, claim, buf))
    return RECOMPRESS_SKIPPED;
  result = recompress_claimed (disk, index, meta, plan, claim, buf);
  disk_count (disk, counters[result], 1);
  disk_count (disk, DISK_RECOMPRESS_NS, (int64_t) (clock_ns () - start));
  return result;
}
