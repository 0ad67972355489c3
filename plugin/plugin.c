/* SPDX-License-Identifier: BSD-3-Clause */
/* nbdkit's callbacks, over the one disk of the service.
 * Contract: plugin/life.h (the life), plugin/keys.h (the keys).
 */

#include <config.h>

#include "plugin/failure.h"
#include "plugin/keys.h"
#include "plugin/life.h"
#include "plugin/nbdkit.h"
#include "store/extents.h"
#include "store/range.h"

#define THREAD_MODEL NBDKIT_THREAD_MODEL_PARALLEL

/* The largest request that nbdkit allows. */
#define MAX_REQUEST (64u << 20)

/* Extents in one answer; nbdkit ignores more than a million. */
#define MAX_EXTENTS (1u << 20)

/* -- what a client is told ---------------------------------------------- */

static void *
zram_open (int readonly)
{
  (void) readonly;
  atomic_fetch_add (&service.clients, 1);
  return NBDKIT_HANDLE_NOT_NEEDED;
}

static void
zram_close (void *handle)
{
  (void) handle;
  atomic_fetch_sub (&service.clients, 1);
  if (zram_debug_stats)
    life_log_stats ();
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
  if (disk_read (service.disk, buf, count, offset) == -1)
    return request_failed (service.disk, "read", offset, count);
  return 0;
}

/* FUA needs no more work: there is no storage besides memory. */
static int
zram_pwrite (void *handle, const void *buf, uint32_t count, uint64_t offset,
             uint32_t flags)
{
  (void) handle;
  (void) flags;
  int r = disk_write (service.disk, buf, count, offset);

  if (r == -1)
    r = request_failed (service.disk, "write", offset, count);
  warn_if_nearly_full (service.disk);
  return r;
}

/* Trim is advice: if bytes at the edges cannot be made zero, they stay. */
static int
zram_trim (void *handle, uint32_t count, uint64_t offset, uint32_t flags)
{
  (void) handle;
  (void) flags;
  if (disk_trim (service.disk, offset, count) == -1)
    return request_failed (service.disk, "trim", offset, count);
  return 0;
}

/* Always fast, and always frees memory.  Without MAY_TRIM a client asks that
 * later writes find room.  Free memory is not reserved, so it cannot promise
 * that.
 */
static int
zram_zero (void *handle, uint32_t count, uint64_t offset, uint32_t flags)
{
  (void) handle;
  (void) flags;
  if (disk_discard (service.disk, offset, count) == -1)
    return request_failed (service.disk, "zero", offset, count);
  return 0;
}

static int
zram_flush (void *handle, uint32_t flags)
{
  (void) handle;
  (void) flags;
  disk_flush (service.disk);
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

  /* Out of memory: an answer may be shorter than the request. */
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
  if (store_request_begin (service.store) == -1)
    return request_failed (service.disk, "block status", offset, count);
  r = disk_extents (service.disk, offset, count, flags & NBDKIT_FLAG_REQ_ONE,
                    add_extent, &answer);
  store_request_end (service.store);
  return r == -1 ? -1 : 0;
}

static struct nbdkit_plugin plugin = {
  .name = "zram",
  .longname = "compressed RAM disk",
  .version = PACKAGE_VERSION,
  .description = "A disk in memory whose blocks are stored compressed.",
  .load = life_load,
  .magic_config_key = KEYS_MAGIC,
  .config = keys_set,
  .config_complete = keys_complete,
  .config_help = keys_help,
  .dump_plugin = keys_dump,
  .get_ready = life_get_ready,
  .after_fork = life_after_fork,
  .cleanup = life_cleanup,
  .unload = life_unload,
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

/* nbdkit looks this up by name; its header does not declare it. */
extern struct nbdkit_plugin *plugin_init (void);

NBDKIT_REGISTER_PLUGIN (plugin)
