/* SPDX-License-Identifier: BSD-3-Clause */
/* Messages about failed requests and a nearly full memory.
 * Contract: plugin/failure.h.
 */

#include <config.h>

#include <errno.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <string.h>

#include "base/clock.h"
#include "base/error_text.h"
#include "base/keep_errno.h"
#include "base/log_limit.h"
#include "plugin/failure.h"
#include "plugin/keys.h"
#include "plugin/log.h"
#include "plugin/nbdkit.h"
#include "zram-shown.h"

/* Eviction writes runs of blocks: with fewer free blocks than this, the
 * backing store is full.
 */
#define EVICT_LEAST_BLOCKS 2

/* Why a request failed, if there is more to say than its errno. */
enum cause {
  CAUSE_UNKNOWN,
  CAUSE_LIMIT,           /* no backing store: memory is full */
  CAUSE_DOWN,            /* the backing store cannot be reached */
  CAUSE_STORE_FULL,      /* both are full */
  CAUSE_WRITEBACK_LIMIT, /* the backing store may not be written to */
  CAUSE_STORE_WRITE,     /* writes to it fail */
  CAUSE_STORE_READ,      /* reads from it fail */
  CAUSE_SLOW,            /* none of these: eviction was too slow */
};

struct failure {
  enum cause cause;
  struct blocks_stats blocks;
  struct backing_stats io;
};

/* How long the backing store's own error explains ours.  While there is no
 * room, eviction tries again every second.
 */
#define ERROR_EXPLAINS_NS (UINT64_C (60) * 1000000000)

static bool
is_recent (const struct backing_trouble *t)
{
  return t->at_ns && clock_ns () - t->at_ns < ERROR_EXPLAINS_NS;
}

/* With a backing store, memory becomes free by writing to it. */
static enum cause
why_full (struct disk *disk, const struct failure *f)
{
  struct writeback_limit *limit = &disk->store->writeback_limit;

  if (f->io.down)
    return CAUSE_DOWN;
  if (f->blocks.free + f->blocks.waiting < EVICT_LEAST_BLOCKS)
    return CAUSE_STORE_FULL;
  if (atomic_load (&limit->on) &&
      atomic_load (&limit->left) < disk->store->config.slot_size / MEM_PAGE)
    return CAUSE_WRITEBACK_LIMIT;
  return is_recent (&f->io.trouble[BACKING_TROUBLE_WRITE]) ? CAUSE_STORE_WRITE
                                                           : CAUSE_SLOW;
}

static struct failure
failure_of (struct disk *disk, int err)
{
  struct failure f = { .cause = CAUSE_UNKNOWN };

  if (disk->store->backed) {
    blocks_get_stats (disk->store->backed->blocks, &f.blocks);
    backing_get_stats (disk->store->backed->io, &f.io);
  }
  if (err == ENOSPC)
    f.cause = disk->store->backed ? why_full (disk, &f) : CAUSE_LIMIT;
  else if (err == EIO && f.io.down)
    f.cause = CAUSE_DOWN;
  else if (err == EIO && is_recent (&f.io.trouble[BACKING_TROUBLE_READ]))
    f.cause = CAUSE_STORE_READ;
  return f;
}

/* "cannot be reached: Connection refused" */
static void
describe_backing (const struct failure *f, char *buf, size_t size)
{
  switch (f->cause) {
  case CAUSE_UNKNOWN:
  case CAUSE_LIMIT:
    snprintf (buf, size, "is well");
    break;
  case CAUSE_DOWN:
    snprintf (buf, size, "cannot be reached: %s",
              f->io.trouble[BACKING_TROUBLE_LOST].why);
    break;
  case CAUSE_STORE_FULL:
    snprintf (buf, size, "is full");
    break;
  case CAUSE_WRITEBACK_LIMIT:
    snprintf (buf, size, "may not be written to: writeback_limit is used up");
    break;
  case CAUSE_STORE_WRITE:
    snprintf (buf, size, "fails to write: %s",
              f->io.trouble[BACKING_TROUBLE_WRITE].why);
    break;
  case CAUSE_STORE_READ:
    snprintf (buf, size, "fails to read: %s",
              f->io.trouble[BACKING_TROUBLE_READ].why);
    break;
  case CAUSE_SLOW:
    snprintf (buf, size,
              "has room, but nothing could be evicted to it in time");
    break;
  }
}

static void
describe_failure (struct store *store, const struct failure *f, int err,
                  char *buf, size_t size)
{
  char backing_is[200], where[300] = "";

  if (keys.backing)
    shown_cut (where, sizeof where, keys.backing, SHOWN_MESSAGE);
  describe_backing (f, backing_is, sizeof backing_is);
  if (f->cause == CAUSE_LIMIT)
    snprintf (buf, size, "mem_limit=%" PRIu64 " is used up",
              atomic_load (&store->budget.limit));
  else if (err == ENOSPC)
    snprintf (buf, size,
              "mem_limit=%" PRIu64 " is used up, and backing=%s (%" PRIu64
              " of %" PRIu64 " bytes used) %s",
              atomic_load (&store->budget.limit), where,
              f->blocks.used * BACKING_BLOCK, f->blocks.total * BACKING_BLOCK,
              backing_is);
  else if (f->cause == CAUSE_UNKNOWN)
    snprintf (buf, size, "%s", error_text (err));
  else
    snprintf (buf, size, "%s: backing=%s %s", error_text (err), where,
              backing_is);
}

int
request_failed (struct disk *disk, const char *what, uint64_t offset,
                uint64_t count)
{
  int err = errno;
  struct failure f = failure_of (disk, err);
  /* Addresses have 48 bits. */
  uint64_t kind = (uint64_t) (uintptr_t) what << 16 ^
                  (uint64_t) (err & 0xfff) << 4 ^ (uint64_t) f.cause;
  char name[LOG_LIMIT_NAME], why[700];

  snprintf (name, sizeof name, "%s requests (%s)", what, error_text (err));
  if (log_may (kind, name)) {
    describe_failure (disk->store, &f, err, why, sizeof why);
    nbdkit_error ("%s of %" PRIu64 " bytes at %" PRIu64 ": %s", what, count,
                  offset, why);
  }
  errno = err;
  return -1;
}

void
warn_if_nearly_full (struct disk *disk)
{
  KEEP_ERRNO;
  struct store *store = disk->store;
  unsigned percent = budget_take_warning (&store->budget);
  uint64_t limit = atomic_load (&store->budget.limit);

  /* The limit may have been lifted since.  With a backing store, a full memory
   * is normal.  A client that writes and trims can cross a mark often.
   */
  if (percent && limit && !disk->store->backed &&
      log_may (percent, "warnings of mem_limit"))
    nbdkit_error ("warning: %u %% of mem_limit=%" PRIu64 " is used", percent,
                  limit);
}
