/* SPDX-License-Identifier: BSD-3-Clause */

#include <config.h>

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "store/audit.h"
#include "store/slot_io.h"

/* Milliseconds that a live audit waits for requests that run. */
#define FREEZE_TIMEOUT 5000

struct tally {
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

/* The object's back pointer must be the slot's cell. */
static bool
is_attached (struct pool *pool, struct slot *s)
{
  uint64_t handle;

  if (slot_meta_state (slot_load_meta (s)) != SLOT_OBJECT)
    return true;
  bool ok = pool_pin (pool, &s->cell, &handle) &&
            pool_is_attached (pool, handle, &s->cell);
  pool_unpin (pool, handle);
  return ok;
}

/* The entry of a slot in the write buffer must be its own. */
static bool
has_its_entry (const struct buffer *b, const struct slot *s, uint64_t index)
{
  uint64_t entry = slot_load_cell (s);

  return slot_meta_state (slot_load_meta (s)) != SLOT_BUFFERED ||
         (entry < buffer_entries (b) &&
          atomic_load (&buffer_entry (b, (uint32_t) entry)->slot) == index);
}

/* Count a slot; is it to go on? */
static bool
watched (const struct audit_watch *watch)
{
  if (!watch)
    return true;
  atomic_fetch_add_explicit (watch->done, 1, memory_order_relaxed);
  if (!atomic_load (watch->cancel))
    return true;
  errno = ECANCELED;
  return false;
}

static int
audit_slots (struct device *dev, bool deep, const struct audit_watch *watch,
             struct tally *t, char *why, size_t why_size)
{
  uint64_t n = dev->table.slots;
  uint32_t slot_size = dev->store->config.slot_size;
  char *buf = deep ? alloc_zeroed (CACHE_LINE, slot_size) : NULL;
  int r = 0;

  for (uint64_t i = slot_table_next_present (&dev->table, 0, n);
       i < n && r == 0; i = slot_table_next_present (&dev->table, i + 1, n)) {
    struct slot *s = (struct slot *) slot_table_peek (&dev->table, i);

    tally_slot (s, t);
    if (!is_attached (dev->store->pool, s)) {
      snprintf (why, why_size, "slot %" PRIu64 ": its object is not its own",
                i);
      r = -1;
    }
    else if (!has_its_entry (&dev->buffer, s, i)) {
      snprintf (why, why_size,
                "slot %" PRIu64 ": its entry in the write buffer is not its "
                "own",
                i);
      r = -1;
    }
    else if (buf && slot_meta_state (slot_load_meta (s)) != SLOT_EMPTY &&
             slot_read_unnoticed (dev, i, buf) == -1) {
      snprintf (why, why_size, "slot %" PRIu64 ": cannot be read", i);
      r = -1;
    }
    else if (slot_meta_state (slot_load_meta (s)) != SLOT_EMPTY &&
             !watched (watch)) {
      snprintf (why, why_size, "cancelled");
      r = -1;
    }
  }
  free (buf);
  return r;
}

static int
differs (const char *what, int64_t counted, int64_t recomputed, char *why,
         size_t why_size)
{
  if (counted == recomputed)
    return 0;
  snprintf (why, why_size, "%s: counted %" PRId64 ", recomputed %" PRId64, what,
            counted, recomputed);
  return -1;
}

/* Behind a shut gate there are none; one that bounces off it is counted for a
 * moment all the same.
 */
static int64_t
requests_inside (struct store *store)
{
  return atomic_load (&store->gate) == GATE_FROZEN ? 0 : store_requests (store);
}

/* No pass is in the middle of a step, so nothing is claimed (though a pass that
 * is held keeps its claim).
 */
static int
audit_claims (const struct tally *t, char *why, size_t n)
{
  return differs ("slots claimed", 0, t->claimed, why, n);
}

static int
audit_formats (struct device *dev, const struct tally *t, char *why, size_t n)
{
  for (unsigned f = 0; f < FORMATS; f++)
    if (format_is_dict (f) &&
        differs ("objects of a dictionary",
                 store_format_objects (dev->store, f), t->formats[f], why, n))
      return -1;
  return 0;
}

static int
audit_counters (struct device *dev, const struct tally *t, char *why, size_t n)
{
  struct counter_set *c = &dev->counters;

  return differs ("slots stored", counter_sum (c, DEV_SLOTS_STORED), t->stored,
                  why, n) ||
             differs ("same-filled", counter_sum (c, DEV_SLOTS_SAME), t->same,
                      why, n) ||
             differs ("huge", counter_sum (c, DEV_SLOTS_HUGE), t->huge, why,
                      n) ||
             differs ("objects", counter_sum (c, DEV_OBJECTS), t->objects, why,
                      n) ||
             differs ("backed", counter_sum (c, DEV_SLOTS_BACKED), t->backed,
                      why, n) ||
             differs ("buffered", counter_sum (c, DEV_SLOTS_BUFFERED),
                      t->buffered, why, n) ||
             differs ("entries of the write buffer", buffer_used (&dev->buffer),
                      t->buffered, why, n) ||
             differs ("backed bytes", counter_sum (c, DEV_BACKED_BYTES),
                      t->backed_bytes, why, n) ||
             differs ("compressed bytes", counter_sum (c, DEV_COMPR_BYTES),
                      t->bytes, why, n) ||
             differs ("requests in flight", requests_inside (dev->store), 0,
                      why, n)
           ? -1
           : 0;
}

/* Every block is owned by the records that the slots name, and by nobody
 * else but runs that are released later.
 */
static int
audit_blocks (struct device *dev, char *why, size_t n)
{
  uint64_t slots = dev->table.slots;
  struct blocks_audit *a;
  char wrong[120];

  if (!dev->backed)
    return 0;
  a = blocks_audit_begin (dev->backed->blocks);
  if (!a) {
    snprintf (why, n, "no memory to audit the backing store");
    return -1;
  }
  for (uint64_t i = slot_table_next_present (&dev->table, 0, slots); i < slots;
       i = slot_table_next_present (&dev->table, i + 1, slots)) {
    const struct slot *s = slot_table_peek (&dev->table, i);
    uint32_t meta = slot_load_meta (s);

    if (slot_meta_state (meta) == SLOT_BACKED)
      blocks_audit_object (a, slot_load_cell (s),
                           record_bytes (slot_meta_size (meta)));
  }
  backed_audit_late (dev->backed, a);
  if (blocks_audit_end (a, wrong, sizeof wrong) == 0)
    return 0;
  snprintf (why, n, "backing store: %s", wrong);
  return -1;
}

static int
audit_memory (struct device *dev, const struct tally *t, char *why, size_t n)
{
  struct pool_audit zs = { 0 };
  const char *wrong = pool_audit (dev->store->pool, &zs);

  if (wrong) {
    snprintf (why, n, "pool: %s", wrong);
    return -1;
  }
  if (differs ("attached objects", (int64_t) zs.objects, t->objects, why, n))
    return -1;
  wrong = buffer_audit (&dev->buffer);
  if (wrong) {
    snprintf (why, n, "write buffer: %s", wrong);
    return -1;
  }
  uint64_t charged = zs.resident_pages * MEM_PAGE +
                     leaves_memory (&dev->store->leaves) +
                     buffer_memory (&dev->buffer);
  return differs ("bytes charged", atomic_load (&dev->store->budget.used),
                  (int64_t) charged, why, n);
}

static int
audit_all (struct device *dev, bool deep, const struct audit_watch *watch,
           char *why, size_t why_size)
{
  struct leaves_audit counted = { 0 };
  const char *wrong = slot_table_audit (&dev->table, &counted);
  struct tally t = { 0 };

  if (!wrong)
    wrong = leaves_audit (&dev->store->leaves, &counted);
  if (wrong) {
    snprintf (why, why_size, "slot table: %s", wrong);
    return -1;
  }
  if (!zcomp_is_idle (dev->store->zcomp)) {
    snprintf (why, why_size, "a stream is held");
    return -1;
  }
  if (audit_slots (dev, deep, watch, &t, why, why_size) ||
      audit_counters (dev, &t, why, why_size) ||
      audit_claims (&t, why, why_size) ||
      audit_formats (dev, &t, why, why_size) ||
      audit_blocks (dev, why, why_size) ||
      audit_memory (dev, &t, why, why_size))
    return -1;
  return 0;
}

int
device_audit (struct device *dev, bool deep, char *why, size_t why_size)
{
  return audit_all (dev, deep, NULL, why, why_size);
}

int
device_audit_live (struct device *dev, bool deep,
                   const struct audit_watch *watch, char *why, size_t why_size)
{
  int r;

  errno = 0;
  if (!store_freeze (dev->store, FREEZE_TIMEOUT)) {
    snprintf (why, why_size, "requests do not come to an end");
    return -1;
  }
  if (watch && watch->hold)
    watch->hold (watch->ctx);
  errno = 0;
  r = audit_all (dev, deep, watch, why, why_size);
  KEEP_ERRNO; /* whatever 'unhold' does */
  if (watch && watch->unhold)
    watch->unhold (watch->ctx);
  store_thaw (dev->store);
  return r;
}
