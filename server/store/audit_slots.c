/* SPDX-License-Identifier: BSD-3-Clause */
/* The auditor looks at one slot after the other, each under its lock.
 * Contract: store/audit_internal.h.
 */

#include <config.h>

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/error_text.h"
#include "base/keep_errno.h"
#include "store/audit_internal.h"
#include "store/object.h"
#include "store/slot_read.h"
#include "store/slot_walk.h"

/* If the slots are not read there is a rest after so many of them. */
#define LINKS 256

/* If the slot is in the write buffer, its entry must name the slot. */
static bool
has_its_entry (const struct buffer *b, const struct slot *s, uint64_t number)
{
  uint64_t entry = slot_load_cell (s);

  return slot_meta_state (slot_load_meta (s)) != SLOT_BUFFERED ||
         (entry < buffer_entries (b) &&
          atomic_load (&buffer_entry (b, (uint32_t) entry)->slot) == number);
}

bool
audit_links (struct disk *disk, struct slot *s, uint64_t index,
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

static void
count_slot (const struct audit_watch *watch)
{
  if (watch && watch->done)
    atomic_fetch_add_explicit (watch->done, 1, memory_order_relaxed);
}

static bool
is_stored (struct disk *disk, uint64_t index)
{
  const struct slot *s = slot_table_peek (&disk->table, index);

  return s && slot_meta_state (slot_load_meta (s)) != SLOT_EMPTY;
}

/* Under the shared lock, so that nothing changes meanwhile.  0, or -1 with
 * errno: EAGAIN (another thread has the lock) or EBADMSG.
 */
static int
check_links (struct disk *disk, uint64_t index, struct reason *why)
{
  struct slot *s = slot_table_try_read_lock (&disk->table, index);
  bool own;

  errno = EAGAIN;
  if (!slot_is_there_shared (s))
    return -1;
  own = audit_links (disk, s, index, why);
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

/* A backing that is down fails each read at once. */
static bool
backing_is_down (struct store *store)
{
  struct backing_stats io = { 0 };

  if (store->backed)
    backing_get_stats (store->backed->io, &io);
  return io.down;
}

/* What the slot holds at the moment must be its own and, with 'buf', readable.
 * If a writer has the lock, try again: a writer ends soon, unless it sleeps in
 * the backing.  The patience bounds this.  If the slot is discarded meanwhile,
 * there is nothing to check.  0, or -1 with errno, and 'why'.
 */
static int
audit_slot (struct disk *disk, const struct audit_watch *watch, uint64_t index,
            void *buf, struct reason *why)
{
  const struct patience p = audit_patience (watch);
  int err = 0;

  for (;;) {
    if (!is_stored (disk, index))
      return 0;
    err = check_links (disk, index, why) == -1 ? errno : 0;
    if (err == EBADMSG)
      break;
    if (!err && buf && read_slot (disk, watch, index, buf, &p) == -1)
      err = errno;
    if (err == EAGAIN && patience_nap (&p))
      continue;
    if (err == EAGAIN)
      err = patience_errno (&p);
    if (err == EIO && backing_is_down (disk->store))
      err = ETIMEDOUT; /* this says nothing about the slot */
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
    if (audit_is_cancelled (watch)) {
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

int
audit_slots (struct store *store, bool deep, const struct audit_watch *watch,
             struct reason *why)
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
