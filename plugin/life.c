/* SPDX-License-Identifier: BSD-3-Clause */
/* The callbacks of the process's life, in the order of their calls.
 * Contract: plugin/life.h.
 */

#include <config.h>

#include <inttypes.h>
#include <malloc.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/error_text.h"
#include "plugin/control/control.h"
#include "plugin/control/metrics_http.h"
#include "plugin/ending.h"
#include "plugin/keys.h"
#include "plugin/life.h"
#include "plugin/log.h"
#include "plugin/marker.h"
#include "plugin/nbdkit.h"
#include "plugin/read_file.h"
#include "plugin/set_up.h"
#include "plugin/stuck.h"
#include "plugin/swap.h"
#include "store/audit.h"

/* How long cleanup waits for running requests, in milliseconds. */
#define CLOSE_TIMEOUT 3000

struct service service;
static struct control *_Atomic control;   /* NULL without control= */
static struct metrics_http *metrics_http; /* NULL without metrics= */

/* -- the beginning ------------------------------------------------------ */

/* nbdkit's threads, 16 for each connection, have request buffers of up to 64
 * MiB each, on the heap.  glibc would keep them after the connection has gone:
 * when a larger piece is freed, glibc raises the size from which it maps and
 * unmaps memory.  This disk exists to save memory, so that size is fixed at its
 * initial value.
 */
static void
keep_heap_small (void)
{
#ifdef M_MMAP_THRESHOLD
  mallopt (M_MMAP_THRESHOLD, 128 * 1024);
  mallopt (M_TRIM_THRESHOLD, 128 * 1024);
#endif
}

/* A write past the file size limit (ulimit -f) fails with EFBIG, and also sends
 * a signal that kills.  The whole disk must not be lost because a backing file
 * or the log cannot grow.  Any thread may do the write, so the signal is
 * ignored in the whole process, unless it has a handler already.  (nbdkit
 * ignores SIGPIPE.)
 */
static void
ignore_file_size_signal (void)
{
  struct sigaction action;

  if (sigaction (SIGXFSZ, NULL, &action) == 0 &&
      !(action.sa_flags & SA_SIGINFO) && action.sa_handler == SIG_DFL)
    signal (SIGXFSZ, SIG_IGN);
}

void
life_load (void)
{
  keep_heap_small ();
  ignore_file_size_signal ();
  keys_load ();
}

/* The control socket and the metrics. */
static int
open_windows (void)
{
  struct reason why;

  if (keys.control) {
    control = control_open (&service, keys.control, &why);
    if (!control) {
      nbdkit_error ("control=%s", why.text);
      return -1;
    }
  }
  if (keys.metrics) {
    metrics_http = metrics_http_open (&service, keys.metrics, keys.metrics_host,
                                      &why);
    if (!metrics_http) {
      nbdkit_error ("metrics=%s", why.text);
      return -1;
    }
  }
  return 0;
}

/* QEMU rounds the size of a disk up to whole sectors (seen with 7.2): a write
 * of the last sector goes past the end, and nbdkit refuses it.
 */
static void
warn_of_odd_size (void)
{
  if (keys.size % 512 != 0)
    nbdkit_error ("warning: size=%" PRIi64 ": is no multiple of 512, so a "
                  "guest of QEMU cannot write the last %d bytes",
                  keys.size, (int) (keys.size % 512));
}

int
life_get_ready (void)
{
  struct reason why;

  if (!store_can_run (&why)) {
    nbdkit_error ("cannot set up a disk: %s", why.text);
    return -1;
  }
  warn_of_odd_size ();
  if (keys.marker && marker_check (keys.marker, &why) == -1) {
    nbdkit_error ("marker=%s: %s", keys.marker, why.text);
    return -1;
  }
  if (keys.swap && swap_prepare (&why) == -1) {
    nbdkit_error ("swap=true: %s", why.text);
    return -1;
  }
  if (set_up (&service) == -1)
    return -1;
  return open_windows ();
}

/* -- threads ------------------------------------------------------------ */

/* unload will not be called. */
static void
last_words (bool done)
{
  if (!done)
    nbdkit_error ("%s: ending without it",
                  stuck_given_up ()
                    ? "the backing store does not answer"
                    : "something does not end that cleanup waits for");
  control_exit (control);
}

static void clean_up (void);

static int
start_threads (void)
{
  static const struct ending ending = { .cleanup = clean_up,
                                        .last_words = last_words,
                                        .backing_is_stuck = stuck_look };
  struct store *store = service.store;
  struct reason why;

  /* Before there are threads, so that their stacks are locked too. */
  if (keys.swap && swap_lock (&why) == -1) {
    nbdkit_error ("swap=true: %s", why.text);
    return -1;
  }
  if (store->backed && backing_start (store->backed->io) == -1) {
    nbdkit_error ("backing=%s: %s", keys.backing, error_text (errno));
    return -1;
  }
  stuck_watch (store);
  service.started_ns = clock_ns ();
  if (store_start (store) == -1 || upkeep_start (service.upkeep) == -1 ||
      (control && control_start (control) == -1) ||
      (metrics_http && metrics_http_start (metrics_http) == -1) ||
      log_start () == -1 || ending_start (&ending) == -1) {
    nbdkit_error ("cannot start threads: %s", error_text (errno));
    return -1;
  }
  return 0;
}

int
life_after_fork (void)
{
  struct reason why;

  if (keys.marker && marker_make (keys.marker, &why) == -1) {
    nbdkit_error ("marker=%s: %s", keys.marker, why.text);
    return -1;
  }
  if (start_threads () == 0)
    return 0;
  marker_remove (keys.marker);
  return -1;
}

/* -- the end ------------------------------------------------------------ */

void
life_log_stats (void)
{
  struct store *store = service.store;
  struct disk *disk = service.disk;
  struct counter_set *pool = &store->pool->counters;

  nbdkit_debug (
    "zram: stats: orig_data_size=%" PRIu64 " compr_data_size=%" PRIu64
    " mem_used_total=%" PRIu64 " mem_used_max=%" PRIu64 " same_pages=%" PRIu64
    " huge_pages=%" PRIu64 " pages_compacted=%" PRIi64 " objects_moved=%" PRIi64
    " zspages_migrated=%" PRIi64,
    disk_orig_bytes (disk), disk_compr_bytes (disk),
    atomic_load (&store->budget.used), atomic_load (&store->budget.peak),
    disk_sum (disk, DISK_SLOTS_SAME), disk_sum (disk, DISK_SLOTS_HUGE),
    counter_sum (pool, POOL_PAGES_COMPACTED),
    counter_sum (pool, POOL_OBJECTS_MOVED),
    counter_sum (pool, POOL_ZSPAGES_MIGRATED));
}

/* False if the backing store cannot be read: that is not a fault of the data in
 * memory.
 */
static bool
store_is_there (void)
{
  struct backed *backed = service.store->backed;
  struct backing_stats s = { .down = false };

  if (backed)
    backing_get_stats (backed->io, &s);
  return !s.down;
}

/* -D zram.audit=1: audits everything, and aborts if it is not sound. */
static void
audit (void)
{
  bool there = store_is_there ();
  struct reason why;

  ending_audit_begin ();
  if (store_audit (service.store, there, &why) == -1) {
    if (there != store_is_there ())
      nbdkit_error ("the audit did not end, since the store does not answer");
    else {
      nbdkit_error ("audit: %s", why.text);
      abort ();
    }
  }
  ending_audit_end ();
}

/* Each of these waits may last for ever, if a backing store or a file does not
 * answer: ending.h bounds them all.
 */
static void
stop_all (void)
{
  struct store *store = service.store;

  if (!service.upkeep)
    return;
  read_files_cancel ();
  /* Stop the background work first: a job that waits for it then ends soon. */
  upkeep_stop (service.upkeep);
  if (control)
    control_stop (control);
  metrics_http_close (metrics_http);
  metrics_http = NULL;
  if (!store_close (store, CLOSE_TIMEOUT)) {
    nbdkit_error ("%" PRIi64 " requests are still running",
                  store_requests (store));
    return;
  }
  if (store->backed)
    backing_drain (store->backed->io); /* blocks that are being punched */
  if (zram_debug_stats)
    life_log_stats ();
  if (zram_debug_audit)
    audit ();
  /* An empty disk cannot be told from a new one. */
  if (disk_sum (service.disk, DISK_SLOTS_STORED) == 0 &&
      marker_remove (keys.marker) == -1)
    nbdkit_error ("marker=%s: cannot be removed: %s", keys.marker,
                  error_text (errno));
}

static void
clean_up (void)
{
  stop_all ();
  log_stop ();
}

void
life_cleanup (void)
{
  ending_cleanup ();
  clean_up ();
}

void
life_unload (void)
{
  /* Hide it from last_words before it is freed. */
  control_close (atomic_exchange (&control, NULL));
  metrics_http_close (metrics_http);
  /* A request that did not end in time still uses all of it. */
  if (!service.store || store_requests (service.store) == 0) {
    stuck_watch (NULL);
    tear_down (&service);
    keys_free (); /* messages about failed requests name them */
  }
  ending_stop ();
}

/* When nbdkit cannot start, for example because its port is taken, it calls
 * none of our callbacks.
 */
static void exit_without_unload (void) __attribute__ ((destructor));

static void
exit_without_unload (void)
{
  control_exit (control);
}
