/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * nbdkit's callbacks, over one store with one disk.
 *
 * Life:  keys → get_ready (everything that can fail, so that the person at
 * the terminal reads it) → fork → after_fork (threads) → requests, on many
 * threads at once → cleanup (no request after it, threads joined) → unload.
 */

#include <config.h>

#include <inttypes.h>
#include <malloc.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/error_text.h"
#include "base/mutex.h"
#include "maint/compactor.h"
#include "maint/refill.h"
#include "plugin/control/control.h"
#include "plugin/control/metrics_http.h"
#include "plugin/ending.h"
#include "plugin/failure.h"
#include "plugin/keys.h"
#include "plugin/log.h"
#include "plugin/marker.h"
#include "plugin/nbdkit.h"
#include "plugin/read_file.h"
#include "plugin/swap.h"
#include "store/audit.h"
#include "store/extents.h"
#include "store/range.h"
#include "store/reset.h"

#define THREAD_MODEL NBDKIT_THREAD_MODEL_PARALLEL

/* The largest request that nbdkit takes. */
#define MAX_REQUEST (64u << 20)

/* Milliseconds that cleanup waits for requests which are being served. */
#define CLOSE_TIMEOUT 3000

/* A store that has requests and completes none for so long while we end. */
#define STUCK_NS (UINT64_C (1000) * 1000000)

/* Extents in one answer; nbdkit ignores what is over a million. */
#define MAX_EXTENTS (1u << 20)

static struct store *store;
static struct disk *disk;
static struct compactor *compactor;
static struct recompressor *recompressor;
static struct refill refill;
static struct engine engine;
static struct control *_Atomic control;   /* NULL without control= */
static struct metrics_http *metrics_http; /* NULL without metrics= */

/* -D zram.stats=1: a line of statistics when a client leaves.
 * -D zram.compact=1: the compactor never rests.
 * -D zram.audit=1: audit everything at exit, and abort if it is not sound.
 */
NBDKIT_DLL_PUBLIC int zram_debug_stats = 0;
NBDKIT_DLL_PUBLIC int zram_debug_compact = 0;
NBDKIT_DLL_PUBLIC int zram_debug_audit = 0;

/* -- life --------------------------------------------------------------- */

/* nbdkit's threads, 16 a connection, have request buffers of up to 64 MiB
 * each, on the heap.  glibc would keep them there after the connection has
 * gone: it raises the size from which it maps and unmaps memory whenever a
 * larger piece is freed.  Memory is what this disk is about, so that is held
 * where it starts.
 */
static void
keep_heap_small (void)
{
#ifdef M_MMAP_THRESHOLD
  mallopt (M_MMAP_THRESHOLD, 128 * 1024);
  mallopt (M_TRIM_THRESHOLD, 128 * 1024);
#endif
}

/* A write past the limit of file sizes (ulimit -f) is an error, EFBIG, and also
 * a signal that kills.  All of the disk must not go because a backing file may
 * not grow, or because the log does not.  It can be any thread that writes, so
 * it is for the whole process, unless somebody handles the signal already.
 * (SIGPIPE is ignored by nbdkit.)
 */
static void
ignore_file_size_signal (void)
{
  struct sigaction action;

  if (sigaction (SIGXFSZ, NULL, &action) == 0 &&
      !(action.sa_flags & SA_SIGINFO) && action.sa_handler == SIG_DFL)
    signal (SIGXFSZ, SIG_IGN);
}

static void
zram_load (void)
{
  keep_heap_small ();
  ignore_file_size_signal ();
  keys_load ();
}

/* What people and programs look through. */
static int
open_windows (void)
{
  char why[400];

  engine.store = store;
  engine.disk = disk;
  engine.compactor = compactor;
  engine.recompressor = recompressor;
  engine.backing_where = keys.backing;
  engine.swap = keys.swap;
  if (keys.control) {
    control = control_open (&engine, keys.control, why, sizeof why);
    if (!control) {
      nbdkit_error ("control=%s", why);
      return -1;
    }
  }
  if (keys.metrics) {
    metrics_http = metrics_http_open (&engine, keys.metrics, keys.metrics_host,
                                      why, sizeof why);
    if (!metrics_http) {
      nbdkit_error ("metrics=%s", why);
      return -1;
    }
  }
  return 0;
}

/* Dictionaries, and what to recompress with. */
static int
set_up_methods (void)
{
  struct zcomp_method methods[RECOMPRESS_METHODS];
  struct zcomp_method primary;
  struct reason why;

  if (method_keys_read (&keys.primary, 1, &why) == -1 ||
      method_key_format (store->zcomp, &keys.primary, &primary, &why) == -1) {
    nbdkit_error ("%s", why.text);
    return -1;
  }
  if (keys.primary.dict && store_set_primary (store, &primary) == -1) {
    nbdkit_error ("dict=%s: %s", keys.primary.dict, error_text (errno));
    return -1;
  }
  method_key_forget (&keys.primary);
  for (unsigned i = 0; i < keys.recompress_count; i++) {
    if (method_keys_read (&keys.recompress[i], 1, &why) == -1 ||
        method_key_format (store->zcomp, &keys.recompress[i], &methods[i],
                           &why) == -1) {
      nbdkit_error ("recompress: %s", why.text);
      return -1;
    }
    method_key_forget (&keys.recompress[i]);
  }
  recompressor = recompressor_create (store, methods, keys.recompress_count);
  if (!recompressor) {
    nbdkit_error ("cannot set up recompression: %s", error_text (errno));
    return -1;
  }
  recompress_policy_init (&engine.recompress_policy, store, recompressor,
                          keys.auto_age, keys.auto_share);
  return 0;
}

static int
set_up_backing (void)
{
  const struct backing_config config = { .where = keys.backing,
                                         .size = keys.backing_size,
                                         .timeout_ms = keys.backing_timeout *
                                                       1000 };
  struct backing *io;
  struct backed *backed;
  char why[300];

  writeback_init (&engine.writeback, store);
  if (!keys.backing)
    return 0;
  io = backing_open (&config, why, sizeof why);
  if (!io) {
    nbdkit_error ("backing=%s: %s", keys.backing, why);
    return -1;
  }
  backed = backed_create (io);
  if (!backed) {
    nbdkit_error ("backing=%s: %s", keys.backing, error_text (errno));
    backing_close (io);
    return -1;
  }
  store_set_backed (store, backed);
  atomic_store (&store->promote, keys.promote);
  if (keys.writeback_limited)
    writeback_limit_set (&store->writeback_limit, true, keys.writeback_limit);
  engine.evictor = evictor_create (store, keys.evict_low, keys.evict_high);
  if (!engine.evictor) {
    nbdkit_error ("backing=%s: %s", keys.backing, error_text (errno));
    return -1;
  }
  return 0;
}

/* To QEMU each disk ends with a whole sector (seen with 7.2): a write of the
 * last one goes past the end, which nbdkit refuses.
 */
static void
warn_of_odd_size (void)
{
  if (keys.size % 512 != 0)
    nbdkit_error ("warning: size=%" PRIi64 ": is no multiple of 512, so a "
                  "guest of QEMU cannot write the last %d bytes",
                  keys.size, (int) (keys.size % 512));
}

static int
zram_get_ready (void)
{
  const struct store_config config = {
    .slot_size = keys.slot_size,
    .allocator = keys.allocator,
    .primary = { codec_id (keys.primary.codec), keys.primary.level },
    .mem_limit = keys.mem_limit,
    .workers = keys.workers,
    .disk_bytes = (uint64_t) keys.size,
    .keep_ready = (uint64_t) keys.swap_reserve,
  };
  char why[400];

  if (!store_can_run (why, sizeof why)) {
    nbdkit_error ("cannot set up a disk: %s", why);
    return -1;
  }
  warn_of_odd_size ();
  if (keys.marker && marker_check (keys.marker, why, sizeof why) == -1) {
    nbdkit_error ("marker=%s: %s", keys.marker, why);
    return -1;
  }
  if (keys.swap && swap_prepare (why, sizeof why) == -1) {
    nbdkit_error ("swap=true: %s", why);
    return -1;
  }
  store = store_create (&config);
  if (store)
    disk = disk_create (store, (uint64_t) keys.size);
  if (disk)
    compactor = zram_debug_compact
                  ? compactor_create (store, 1, 0)
                  : compactor_create (store, keys.compact_threshold,
                                      keys.compact_pause);
  if (!compactor) {
    nbdkit_error ("cannot set up a disk of %" PRIi64 " bytes: %s", keys.size,
                  error_text (errno));
    return -1;
  }
  refill_init (&refill, store);
  engine.drainer = drainer_create (store);
  if (!engine.drainer ||
      buffer_set_size (&store->buffer, keys.write_buffer) == -1) {
    nbdkit_error ("cannot set up the write buffer: %s", error_text (errno));
    return -1;
  }
  if (set_up_methods () == -1 || set_up_backing () == -1)
    return -1;
  return open_windows ();
}

/* -- the end ------------------------------------------------------------ */

/* The store, as long as the watchdog may look at it. */
static struct mutex watched_lock = MUTEX_INIT (RANK_WATCHED);
static struct backing *watched;
static atomic_bool given_up; /* it did not answer */

static void
watch_store (struct backing *io)
{
  mutex_lock (&watched_lock);
  watched = io;
  mutex_unlock (&watched_lock);
}

static bool
completes_nothing (struct backing *io)
{
  static uint64_t completed, since_ns; /* the watchdog's own */
  struct backing_stats s;
  uint64_t n, now = clock_ns ();

  backing_get_stats (io, &s);
  n = s.reads + s.writes + s.punches + s.read_errors + s.write_errors +
      s.punch_errors;
  if (s.in_flight == 0 || n != completed || since_ns == 0) {
    completed = n;
    since_ns = now;
  }
  return now - since_ns >= STUCK_NS;
}

/* Locks held for moments only: by us, by the store for its queue, and by who
 * waits for room.
 */
static bool
store_is_stuck (void)
{
  bool stuck;

  mutex_lock (&watched_lock);
  stuck = watched && completes_nothing (watched);
  if (stuck) {
    atomic_store (&given_up, true);
    backing_shut (watched);
    room_close (&store->room);
  }
  mutex_unlock (&watched_lock);
  return stuck;
}

/* There will be no unload. */
static void
last_words (bool done)
{
  if (!done)
    nbdkit_error ("%s: ending without it",
                  atomic_load (&given_up)
                    ? "the backing store does not answer"
                    : "something does not end that cleanup waits for");
  control_exit (control);
}

static void clean_up (void);

static int
start_all (void)
{
  static const struct ending ending = { .cleanup = clean_up,
                                        .last_words = last_words,
                                        .store_is_stuck = store_is_stuck };
  char why[400];

  /* Before there are threads, so that their stacks are locked too. */
  if (keys.swap && swap_lock (why, sizeof why) == -1) {
    nbdkit_error ("swap=true: %s", why);
    return -1;
  }
  if (engine.evictor && (backing_start (store->backed->io) == -1 ||
                         evictor_start (engine.evictor) == -1)) {
    nbdkit_error ("backing=%s: %s", keys.backing, error_text (errno));
    return -1;
  }
  if (store->backed)
    watch_store (store->backed->io);
  engine.started_ns = clock_ns ();
  if (store_start (store) == -1 || compactor_start (compactor) == -1 ||
      drainer_start (engine.drainer) == -1 || refill_start (&refill) == -1 ||
      recompress_policy_start (&engine.recompress_policy) == -1 ||
      (control && control_start (control) == -1) ||
      (metrics_http && metrics_http_start (metrics_http) == -1) ||
      log_start () == -1 || ending_start (&ending) == -1) {
    nbdkit_error ("cannot start threads: %s", error_text (errno));
    return -1;
  }
  return 0;
}

static int
zram_after_fork (void)
{
  char why[400];

  if (keys.marker && marker_make (keys.marker, why, sizeof why) == -1) {
    nbdkit_error ("marker=%s: %s", keys.marker, why);
    return -1;
  }
  if (start_all () == 0)
    return 0;
  marker_remove (keys.marker);
  return -1;
}

static void
log_stats (void)
{
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

/* A store that cannot be read is no fault of what is here. */
static bool
store_is_there (void)
{
  struct backing_stats s = { .down = false };

  if (store->backed)
    backing_get_stats (store->backed->io, &s);
  return !s.down;
}

static void
audit (void)
{
  bool there = store_is_there ();
  char why[160];

  ending_audit_begin ();
  if (store_audit (store, there, why, sizeof why) == -1) {
    if (there != store_is_there ())
      nbdkit_error ("the audit did not end, since the store does not answer");
    else {
      nbdkit_error ("audit: %s", why);
      abort ();
    }
  }
  ending_audit_end ();
}

/* Any of these waits may last for ever, if a store or a file does not answer:
 * ending.h bounds them all.
 */
static void
stop_all (void)
{
  if (!recompressor)
    return;
  read_files_cancel ();
  room_close (&store->room);
  /* First the policies: a job that waits for a pass need not wait long. */
  compactor_stop (compactor);
  drainer_stop (engine.drainer);
  refill_stop (&refill);
  recompress_policy_stop (&engine.recompress_policy);
  if (engine.evictor)
    evictor_stop (engine.evictor);
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
    backing_drain (store->backed->io); /* what is being punched */
  if (zram_debug_stats)
    log_stats ();
  if (zram_debug_audit)
    audit ();
  /* Nobody can tell an empty disk from the next. */
  if (disk_sum (disk, DISK_SLOTS_STORED) == 0 &&
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

static void
zram_cleanup (void)
{
  ending_cleanup ();
  clean_up ();
}

static void
destroy_all (void)
{
  watch_store (NULL);
  if (recompressor)
    recompress_policy_destroy (&engine.recompress_policy);
  if (compactor)
    refill_destroy (&refill);
  recompressor_destroy (recompressor);
  evictor_destroy (engine.evictor);
  drainer_destroy (engine.drainer);
  writeback_destroy (&engine.writeback);
  compactor_destroy (compactor);
  disk_destroy (disk);
  store_destroy (store);
  keys_free (); /* what is said of a failed request names them */
}

static void
zram_unload (void)
{
  /* Out of last_words' sight before it is freed. */
  control_close (atomic_exchange (&control, NULL));
  metrics_http_close (metrics_http);
  /* A request that did not end in time still needs all of it. */
  if (!store || store_requests (store) == 0)
    destroy_all ();
  ending_stop ();
}

/* When nbdkit cannot start, say because its port is taken, it calls nothing
 * of ours.
 */
static void zram_exit (void) __attribute__ ((destructor));

static void
zram_exit (void)
{
  control_exit (control);
}

/* -- what a client is told ---------------------------------------------- */

static void *
zram_open (int readonly)
{
  (void) readonly;
  atomic_fetch_add (&engine.clients, 1);
  return NBDKIT_HANDLE_NOT_NEEDED;
}

static void
zram_close (void *handle)
{
  (void) handle;
  atomic_fetch_sub (&engine.clients, 1);
  if (zram_debug_stats)
    log_stats ();
}

static int64_t
zram_get_size (void *handle)
{
  (void) handle;
  return keys.size;
}

static int
zram_block_size (void *handle, uint32_t *minimum, uint32_t *preferred,
                 uint32_t *maximum)
{
  (void) handle;
  *minimum = 1;
  *preferred = keys.slot_size; /* no read-modify-write */
  *maximum = MAX_REQUEST;
  return 0;
}

static int
yes (void *handle)
{
  (void) handle;
  return 1;
}

static int
fua_native (void *handle)
{
  (void) handle;
  return NBDKIT_FUA_NATIVE;
}

static int
cache_native (void *handle)
{
  (void) handle;
  return NBDKIT_CACHE_NATIVE;
}

/* -- requests ----------------------------------------------------------- */

static int
zram_pread (void *handle, void *buf, uint32_t count, uint64_t offset,
            uint32_t flags)
{
  (void) handle;
  (void) flags;
  if (disk_read (disk, buf, count, offset) == -1)
    return request_failed (disk, "read", offset, count);
  return 0;
}

/* FUA asks for nothing more: what is in memory is all there is. */
static int
zram_pwrite (void *handle, const void *buf, uint32_t count, uint64_t offset,
             uint32_t flags)
{
  (void) handle;
  (void) flags;
  int r = disk_write (disk, buf, count, offset);

  if (r == -1)
    r = request_failed (disk, "write", offset, count);
  warn_if_nearly_full (disk);
  return r;
}

/* Advice: what cannot be made zero at the edges stays. */
static int
zram_trim (void *handle, uint32_t count, uint64_t offset, uint32_t flags)
{
  (void) handle;
  (void) flags;
  if (disk_trim (disk, offset, count) == -1)
    return request_failed (disk, "trim", offset, count);
  return 0;
}

/* Always fast, and always by freeing: without MAY_TRIM a client asks that
 * later writes find room, which memory that nobody holds cannot promise.
 */
static int
zram_zero (void *handle, uint32_t count, uint64_t offset, uint32_t flags)
{
  (void) handle;
  (void) flags;
  if (disk_discard (disk, offset, count) == -1)
    return request_failed (disk, "zero", offset, count);
  return 0;
}

static int
zram_flush (void *handle, uint32_t flags)
{
  (void) handle;
  (void) flags;
  disk_flush (disk);
  return 0;
}

static int
zram_cache (void *handle, uint32_t count, uint64_t offset, uint32_t flags)
{
  (void) handle;
  (void) count;
  (void) offset;
  (void) flags;
  return 0; /* it is all in memory */
}

struct extents_answer {
  struct nbdkit_extents *extents;
  unsigned count;
};

static int
add_extent (void *ctx, uint64_t offset, uint64_t length, enum extent_type type)
{
  static const uint32_t types[] = {
    [EXTENT_DATA] = 0,
    [EXTENT_ZERO] = NBDKIT_EXTENT_ZERO,
    [EXTENT_HOLE] = NBDKIT_EXTENT_HOLE | NBDKIT_EXTENT_ZERO,
  };
  struct extents_answer *answer = ctx;

  /* No memory for more: an answer may be shorter than what was asked for. */
  if (nbdkit_add_extent (answer->extents, offset, length, types[type]) == -1)
    return answer->count ? 1 : -1;
  return ++answer->count == MAX_EXTENTS ? 1 : 0;
}

static int
zram_extents (void *handle, uint32_t count, uint64_t offset, uint32_t flags,
              struct nbdkit_extents *extents)
{
  struct extents_answer answer = { .extents = extents };
  int r;

  (void) handle;
  if (store_request_begin (store) == -1)
    return request_failed (disk, "block status", offset, count);
  r = disk_extents (disk, offset, count, flags & NBDKIT_FLAG_REQ_ONE,
                    add_extent, &answer);
  store_request_end (store);
  return r == -1 ? -1 : 0;
}

static struct nbdkit_plugin plugin = {
  .name = "zram",
  .longname = "compressed RAM disk",
  .version = PACKAGE_VERSION,
  .description = "A disk in memory whose blocks are stored compressed.",
  .load = zram_load,
  .magic_config_key = KEYS_MAGIC,
  .config = keys_set,
  .config_complete = keys_complete,
  .config_help = keys_help,
  .dump_plugin = keys_dump,
  .get_ready = zram_get_ready,
  .after_fork = zram_after_fork,
  .cleanup = zram_cleanup,
  .unload = zram_unload,
  .open = zram_open,
  .close = zram_close,
  .get_size = zram_get_size,
  .block_size = zram_block_size,
  .can_multi_conn = yes,
  .can_write = yes,
  .can_flush = yes,
  .can_trim = yes,
  .can_zero = yes,
  .can_fast_zero = yes,
  .can_extents = yes,
  .can_fua = fua_native,
  .can_cache = cache_native,
  .pread = zram_pread,
  .pwrite = zram_pwrite,
  .trim = zram_trim,
  .zero = zram_zero,
  .flush = zram_flush,
  .cache = zram_cache,
  .extents = zram_extents,
  .errno_is_preserved = 1,
};

/* What nbdkit looks up by name; its header does not declare it. */
extern struct nbdkit_plugin *plugin_init (void);

NBDKIT_REGISTER_PLUGIN (plugin)
