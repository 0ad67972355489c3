/* SPDX-License-Identifier: BSD-3-Clause */
/* The auditor counts a store in which nothing moves, and compares.
 * Contract: store/audit_internal.h.
 */

#include <config.h>

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "store/audit_internal.h"
#include "store/object.h"
#include "store/slot_walk.h"

/* The sums over the slots. */
struct tally {
  bool cancelled;
  int64_t stored, same, huge, objects, bytes, claimed, backed, backed_bytes;
  int64_t buffered;
  int64_t formats[FORMATS]; /* objects in each */
};

static void
tally_slot (const struct slot *s, struct tally *t)
{
  uint32_t meta = slot_load_meta (s);

  if (slot_meta_state (meta) == SLOT_EMPTY)
    return;
  t->stored++;
  t->claimed += slot_meta_claim (meta) != 0;
  if (slot_meta_state (meta) == SLOT_SAME)
    t->same++;
  t->buffered += slot_meta_state (meta) == SLOT_BUFFERED;
  if (slot_meta_state (meta) == SLOT_BACKED) {
    t->backed++;
    t->backed_bytes += slot_meta_size (meta);
    t->formats[slot_meta_format (meta)]++;
  }
  if (slot_meta_state (meta) == SLOT_OBJECT) {
    t->objects++;
    t->bytes += slot_meta_size (meta);
    t->formats[slot_meta_format (meta)]++;
    if (slot_meta_format (meta) == CODEC_RAW)
      t->huge++;
  }
}

static int
cancelled (struct tally *t, struct reason *why)
{
  t->cancelled = true;
  reason_set (why, "cancelled");
  return -1;
}

/* 'links': check also what the cells name. */
static int
tally_slots (struct disk *disk, const struct audit_watch *watch, bool links,
             struct tally *t, struct reason *why)
{
  struct slot_walk w;
  int r = 0;

  slot_walk_disk (&w, disk, 0, UINT64_MAX);
  while (r == 0 && slot_walk_next (&w)) {
    tally_slot (w.slot, t);
    if (links && !audit_links (disk, (struct slot *) w.slot, w.index, why))
      r = -1;
    else if (audit_is_cancelled (watch))
      r = cancelled (t, why);
  }
  slot_walk_end (&w);
  return r;
}

static void
tally_add (struct tally *sum, const struct tally *t)
{
  sum->claimed += t->claimed;
  sum->objects += t->objects;
  sum->buffered += t->buffered;
  for (unsigned f = 0; f < FORMATS; f++)
    sum->formats[f] += t->formats[f];
  sum->cancelled |= t->cancelled;
}

static int
differs (const char *what, int64_t counted, int64_t recomputed,
         struct reason *why)
{
  if (counted == recomputed)
    return 0;
  reason_set (why, "%s: counted %" PRId64 ", recomputed %" PRId64, what,
              counted, recomputed);
  return -1;
}

/* Behind a shut gate there are none.  But a request that finds the gate shut is
 * counted for a moment.
 */
static int64_t
requests_inside (struct store *store)
{
  return atomic_load (&store->gate) == GATE_FROZEN ? 0 : store_requests (store);
}

/* No pass is in the middle of a step, so no slot is claimed.  (A pass that is
 * held keeps its claim number.)
 */
static int
audit_claims (const struct tally *t, struct reason *why)
{
  return differs ("slots claimed", 0, t->claimed, why);
}

static int
audit_formats (struct store *store, const struct tally *t, struct reason *why)
{
  for (unsigned f = 0; f < FORMATS; f++)
    if (format_is_dict (f) &&
        differs ("objects of a dictionary", store_format_objects (store, f),
                 t->formats[f], why))
      return -1;
  return 0;
}

static int
audit_counters (struct disk *disk, const struct tally *t, struct reason *why)
{
  struct counter_set *c = &disk->counters;

  return differs ("slots stored", counter_sum (c, DISK_SLOTS_STORED), t->stored,
                  why) ||
             differs ("same-filled", counter_sum (c, DISK_SLOTS_SAME), t->same,
                      why) ||
             differs ("huge", counter_sum (c, DISK_SLOTS_HUGE), t->huge, why) ||
             differs ("objects", counter_sum (c, DISK_OBJECTS), t->objects,
                      why) ||
             differs ("backed", counter_sum (c, DISK_SLOTS_BACKED), t->backed,
                      why) ||
             differs ("buffered", counter_sum (c, DISK_SLOTS_BUFFERED),
                      t->buffered, why) ||
             differs ("backed bytes", counter_sum (c, DISK_BACKED_BYTES),
                      t->backed_bytes, why) ||
             differs ("compressed bytes", counter_sum (c, DISK_COMPR_BYTES),
                      t->bytes, why)
           ? -1
           : 0;
}

static int
audit_inside (struct store *store, const struct tally *t, struct reason *why)
{
  return differs ("entries of the write buffer", buffer_used (&store->buffer),
                  t->buffered, why) ||
             differs ("requests in flight", requests_inside (store), 0, why)
           ? -1
           : 0;
}

/* Each block belongs to the records that the slots name, or to a run that is
 * released later.
 */
static int
audit_blocks (struct store *store, const struct audit_watch *watch,
              struct tally *t, struct reason *why)
{
  struct blocks_audit *a;
  struct slot_walk w;
  struct reason wrong;

  if (!store->backed)
    return 0;
  a = blocks_audit_begin (store->backed->blocks);
  if (!a) {
    reason_set (why, "no memory to audit the backing store");
    return -1;
  }
  slot_walk_all (&w, store);
  while (slot_walk_next (&w) && !audit_is_cancelled (watch))
    if (slot_meta_state (w.meta) == SLOT_BACKED)
      blocks_audit_object (a, slot_load_cell (w.slot),
                           record_bytes (slot_meta_size (w.meta)));
  slot_walk_end (&w);
  backed_audit_late (store->backed, a);
  int r = blocks_audit_end (a, &wrong);
  if (audit_is_cancelled (watch)) /* not all of them were counted */
    return cancelled (t, why);
  if (r == 0)
    return 0;
  reason_set (why, "backing store: %s", wrong.text);
  return -1;
}

static int
audit_memory (struct store *store, const struct audit_watch *watch,
              struct tally *t, struct reason *why)
{
  struct pool_audit zs = { 0 };
  const char *wrong = pool_audit_until (store->pool,
                                        watch ? watch->cancel : NULL, &zs);

  if (wrong && strcmp (wrong, POOL_AUDIT_CANCELLED) == 0)
    return cancelled (t, why);
  if (wrong) {
    reason_set (why, "pool: %s", wrong);
    return -1;
  }
  if (differs ("attached objects", (int64_t) zs.objects, t->objects, why))
    return -1;
  wrong = buffer_audit (&store->buffer);
  if (wrong) {
    reason_set (why, "write buffer: %s", wrong);
    return -1;
  }
  uint64_t charged = zs.resident_pages * MEM_PAGE +
                     leaves_memory (&store->leaves) +
                     buffer_memory (&store->buffer);
  return differs ("bytes charged", atomic_load (&store->budget.used),
                  (int64_t) charged, why);
}

/* Checks the tables, counters and slots of all disks; the sums go to *sum. */
static int
audit_disks (struct store *store, const struct audit_watch *watch, bool links,
             struct tally *sum, struct reason *why)
{
  struct leaves_audit counted = { 0 };
  const char *wrong = NULL;
  struct disk *disk, *next;
  int r = 0;

  for (disk = store_disk_from (store, 0); disk && r == 0; disk = next) {
    struct tally t = { 0 };

    wrong = slot_table_audit (&disk->table, &counted);
    if (wrong || tally_slots (disk, watch, links, &t, why) ||
        audit_counters (disk, &t, why))
      r = -1;
    tally_add (sum, &t);
    next = store_disk_from (store, disk->id + 1);
    disk_put (disk);
  }
  if (disk)
    disk_put (disk);
  if (!wrong && r == 0)
    wrong = leaves_audit (&store->leaves, &counted);
  if (wrong)
    reason_set (why, "slot table: %s", wrong);
  return wrong ? -1 : r;
}

int
audit_still (struct store *store, const struct audit_watch *watch, bool links,
             struct reason *why)
{
  struct tally t = { 0 };

  errno = EBADMSG;
  if (!zcomp_is_idle (store->zcomp)) {
    reason_set (why, "a stream is held");
    return -1;
  }
  if (audit_disks (store, watch, links, &t, why) ||
      audit_inside (store, &t, why) || audit_claims (&t, why) ||
      audit_formats (store, &t, why) || audit_blocks (store, watch, &t, why) ||
      audit_memory (store, watch, &t, why)) {
    errno = t.cancelled ? ECANCELED : EBADMSG;
    return -1;
  }
  return 0;
}
