/* SPDX-License-Identifier: BSD-3-Clause */

#include <config.h>

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error_text.h"
#include "base/alloc.h"
#include "base/clock.h"
#include "base/keep_errno.h"
#include "store/audit.h"
#include "store/object.h"
#include "store/slot_read.h"
#include "store/slot_walk.h"

/* A live audit shuts the gate for so long, and twice as long the next time, to
 * see whether the requests inside come to an end; and then lets them all be for
 * a multiple of it.
 */
#define FREEZE_FIRST_MS 10
#define FREEZE_MOST_MS 160
#define FREEZE_SHARE 5

/* With the gate shut it waits so long for passes, which were quiet just now. */
#define HOLD_MS 100

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

/* The entry of a slot in the write buffer must be its own. */
static bool
has_its_entry (const struct buffer *b, const struct slot *s, uint64_t number)
{
  uint64_t entry = slot_load_cell (s);

  return slot_meta_state (slot_load_meta (s)) != SLOT_BUFFERED ||
         (entry < buffer_entries (b) &&
          atomic_load (&buffer_entry (b, (uint32_t) entry)->slot) == number);
}

static bool
is_cancelled (const struct audit_watch *watch)
{
  return watch && watch->cancel && atomic_load (watch->cancel);
}

static void
count_slot (const struct audit_watch *watch)
{
  if (watch && watch->done)
    atomic_fetch_add_explicit (watch->done, 1, memory_order_relaxed);
}

static int
cancelled (struct tally *t, struct reason *why)
{
  t->cancelled = true;
  reason_set (why, "cancelled");
  return -1;
}

/* What the slot's cell names must name the slot.  'why' says what does not. */
static bool
has_its_own (struct disk *disk, struct slot *s, uint64_t index,
             struct reason *why)
{
  const char *what = NULL;

  if (!object_is_attached (disk->store, s))
    what = "object";
  else if (!has_its_entry (&disk->store->buffer, s, disk_slot (disk, index)))
    what = "entry in the write buffer";
  if (what)
    reason_set (why, "slot %" PRIu64 ": its %s is not its own", index, what);
  return !what;
}

/* 'links': look at what the cells name, too. */
static int
audit_slots (struct disk *disk, const struct audit_watch *watch, bool links,
             struct tally *t, struct reason *why)
{
  struct slot_walk w;
  int r = 0;

  slot_walk_disk (&w, disk, 0, UINT64_MAX);
  while (r == 0 && slot_walk_next (&w)) {
    tally_slot (w.slot, t);
    if (links && !has_its_own (disk, (struct slot *) w.slot, w.index, why))
      r = -1;
    else if (is_cancelled (watch))
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

/* Every block is owned by the records that the slots name, and by nobody
 * else but runs that are released later.
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
  while (slot_walk_next (&w) && !is_cancelled (watch))
    if (slot_meta_state (w.meta) == SLOT_BACKED)
      blocks_audit_object (a, slot_load_cell (w.slot),
                           record_bytes (slot_meta_size (w.meta)));
  slot_walk_end (&w);
  backed_audit_late (store->backed, a);
  int r = blocks_audit_end (a, &wrong);
  if (is_cancelled (watch)) /* not all of them were counted */
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

/* The disks' tables, counters and slots; their sum in *sum. */
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
    if (wrong || audit_slots (disk, watch, links, &t, why) ||
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

/* All that is linked and counted, in a world where nothing moves. */
static int
audit_world (struct store *store, const struct audit_watch *watch, bool links,
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

/* -- slot by slot -------------------------------------------------------- */

/* Slots between two rests, where they are not read. */
#define LINKS 256

static struct patience
patience_of (const struct audit_watch *watch)
{
  unsigned ms = watch && watch->patience_ms ? watch->patience_ms
                                            : AUDIT_PATIENCE_MS;

  return patience_ms (ms, watch ? watch->cancel : NULL);
}

static bool
is_stored (struct disk *disk, uint64_t index)
{
  const struct slot *s = slot_table_peek (&disk->table, index);

  return s && slot_meta_state (slot_load_meta (s)) != SLOT_EMPTY;
}

/* Shared, so that it stays what it is meanwhile.  EAGAIN: it is locked. */
static int
check_links (struct disk *disk, uint64_t index, struct reason *why)
{
  struct slot *s = slot_table_try_read_lock (&disk->table, index);
  bool own;

  errno = EAGAIN;
  if (!slot_is_there_shared (s))
    return -1;
  own = has_its_own (disk, s, index, why);
  slot_read_unlock (s);
  errno = EBADMSG;
  return own ? 0 : -1;
}

static int
read_slot (struct disk *disk, const struct audit_watch *watch, uint64_t index,
           void *buf, const struct patience *p)
{
  int r = watch && watch->read ? watch->read (watch->ctx, disk, index, buf, p)
                               : slot_read_unnoticed (disk, index, buf);

  return r == -1 && errno == ENOENT ? 0 : r;
}

static void
say_why (uint64_t index, int err, struct reason *why)
{
  if (err == ECANCELED)
    reason_set (why, "cancelled");
  else if (err == ETIMEDOUT)
    reason_set (why,
                "slot %" PRIu64 ": the backing store does not answer; what "
                "follows was not looked at",
                index);
  else if (err == ESHUTDOWN)
    reason_set (why, "the server is about to end");
  else
    reason_set (why, "slot %" PRIu64 ": cannot be read: %s", index,
                error_text (err));
}

/* A store that is down fails what it is asked at once. */
static bool
store_is_down (struct store *store)
{
  struct backing_stats io = { 0 };

  if (store->backed)
    backing_get_stats (store->backed->io, &io);
  return io.down;
}

/* What it holds at the moment must be its own and (buf) readable.  Who has it
 * locked for writing will be done soon, unless that sleeps in the store.  0, or
 * -1 with errno, and 'why'.
 */
static int
audit_slot (struct disk *disk, const struct audit_watch *watch, uint64_t index,
            void *buf, struct reason *why)
{
  const struct patience p = patience_of (watch);
  int err = 0;

  while (is_stored (disk, index)) {
    err = check_links (disk, index, why) == -1 ? errno : 0;
    if (err == EBADMSG)
      break;
    if (!err && buf && read_slot (disk, watch, index, buf, &p) == -1)
      err = errno;
    if (err == EAGAIN && patience_nap (&p))
      continue;
    if (err == EAGAIN)
      err = patience_errno (&p);
    if (err == EIO && store_is_down (disk->store))
      err = ETIMEDOUT; /* which says nothing of the slot */
    if (err)
      say_why (index, err, why);
    break;
  }
  errno = err == EIO ? EBADMSG : err;
  return err ? -1 : 0;
}

static int
audit_each (struct store *store, const struct audit_watch *watch, void *buf,
            struct reason *why)
{
  uint64_t since = clock_ns (), looks = 0;
  struct slot_walk w;
  int r = 0;

  slot_walk_all (&w, store);
  while (r == 0 && slot_walk_next (&w)) {
    if (is_cancelled (watch)) {
      say_why (w.index, ECANCELED, why);
      errno = ECANCELED;
      r = -1;
    }
    else
      r = audit_slot (w.disk, watch, w.index, buf, why);
    if (r == 0)
      count_slot (watch);
    if (r == 0 && watch && watch->rest && (buf || ++looks % LINKS == 0))
      since = watch->rest (watch->ctx, since);
  }
  KEEP_ERRNO;
  slot_walk_end (&w);
  return r;
}

static int
audit_slot_by_slot (struct store *store, bool deep,
                    const struct audit_watch *watch, struct reason *why)
{
  char *buf = deep ? alloc_zeroed (CACHE_LINE, store->config.slot_size) : NULL;
  int r = -1;

  if (deep && !buf)
    reason_set (why, "no memory to read slots");
  else
    r = audit_each (store, watch, buf, why);
  free (buf);
  return r;
}

int
store_audit (struct store *store, bool deep, struct reason *why)
{
  if (audit_world (store, NULL, true, why) == -1)
    return -1;
  return deep ? audit_slot_by_slot (store, true, NULL, why) : 0;
}

/* -- while clients are connected ---------------------------------------- */

/* NULL, or what did not come to an end. */
static const char *
hold (const struct audit_watch *watch, const struct patience *p)
{
  return watch && watch->hold ? watch->hold (watch->ctx, p) : NULL;
}

static void
unhold (const struct audit_watch *watch)
{
  if (watch && watch->unhold)
    watch->unhold (watch->ctx);
}

/* With the gate open, where it may take its time: whatever passes have in
 * flight comes in.
 */
static const char *
drain_passes (const struct audit_watch *watch, const struct patience *all)
{
  const char *what = hold (watch, all);

  if (!what)
    unhold (watch);
  return what;
}

static const char *
who_is_inside (struct store *store)
{
  struct backing_stats io = { 0 };

  if (store->backed)
    backing_get_stats (store->backed->io, &io);
  return io.in_flight ? "the backing store does not answer"
                      : "requests do not come to an end";
}

/* With the gate shut.  Requests first, while the passes go on: a writer may be
 * waiting for the room that they make.  NULL if it was audited, with *r and
 * errno; or what did not come to an end.
 */
static const char *
try_frozen (struct store *store, const struct audit_watch *watch, unsigned ms,
            int *r, struct reason *why)
{
  const char *what;

  if (!store_freeze (store, ms))
    return who_is_inside (store);
  const struct patience p = patience_ms (HOLD_MS, watch ? watch->cancel : NULL);
  what = hold (watch, &p);
  if (!what) {
    *r = audit_world (store, watch, false, why);
    KEEP_ERRNO;
    unhold (watch);
  }
  store_thaw (store);
  return what;
}

/* So that nobody waits for those who wait: see above. */
static bool
leave_alone (unsigned ms, const struct patience *all)
{
  bool more = true;

  for (unsigned n = 0; n < ms * FREEZE_SHARE && more; n++)
    more = patience_nap (all);
  return more;
}

static int
audit_frozen (struct store *store, const struct audit_watch *watch,
              struct reason *why)
{
  const struct patience all = patience_of (watch);
  unsigned ms = FREEZE_FIRST_MS;
  const char *what;
  int r = -1;

  do {
    what = drain_passes (watch, &all);
    if (what)
      break;
    what = try_frozen (store, watch, ms, &r, why);
    if (!what)
      return r;
    if (ms < FREEZE_MOST_MS)
      ms *= 2;
  } while (leave_alone (ms, &all));
  if (patience_cancelled (&all)) {
    reason_set (why, "cancelled");
    errno = ECANCELED;
  }
  else {
    reason_set (why, "%s; nothing was audited", what);
    errno = ETIMEDOUT;
  }
  return -1;
}

int
store_audit_live (struct store *store, bool deep,
                  const struct audit_watch *watch, struct reason *why)
{
  if (audit_frozen (store, watch, why) == -1)
    return -1;
  return audit_slot_by_slot (store, deep, watch, why);
}
