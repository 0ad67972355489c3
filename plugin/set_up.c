/* SPDX-License-Identifier: BSD-3-Clause */
/* From the keys to store, disk and upkeep; and their end.
 * Contract: plugin/set_up.h.
 */

#include <config.h>

#include <inttypes.h>

#include "base/error_text.h"
#include "plugin/keys.h"
#include "plugin/nbdkit.h"
#include "plugin/set_up.h"
#include "store/reset.h"

static int
set_up_disk (struct service *s)
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

  s->store = store_create (&config);
  if (s->store)
    s->disk = disk_create (s->store, (uint64_t) keys.size);
  if (!s->disk) {
    nbdkit_error ("cannot set up a disk of %" PRIi64 " bytes: %s", keys.size,
                  error_text (errno));
    return -1;
  }
  if (buffer_set_size (&s->store->buffer, keys.write_buffer) == -1) {
    nbdkit_error ("cannot set up the write buffer: %s", error_text (errno));
    return -1;
  }
  return 0;
}

static int
set_up_primary (struct store *store)
{
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
  return 0;
}

static int
set_up_recompression (struct store *store, struct zcomp_method *methods)
{
  struct reason why;

  for (unsigned i = 0; i < keys.recompress_count; i++) {
    if (method_keys_read (&keys.recompress[i], 1, &why) == -1 ||
        method_key_format (store->zcomp, &keys.recompress[i], &methods[i],
                           &why) == -1) {
      nbdkit_error ("recompress: %s", why.text);
      return -1;
    }
    method_key_forget (&keys.recompress[i]);
  }
  return 0;
}

static int
set_up_backing (struct store *store)
{
  const struct backing_config config = { .where = keys.backing,
                                         .size = keys.backing_size,
                                         .timeout_ms = keys.backing_timeout *
                                                       1000 };
  struct backing *io;
  struct backed *backed;
  struct reason why;

  if (!keys.backing)
    return 0;
  io = backing_open (&config, &why);
  if (!io) {
    nbdkit_error ("backing=%s: %s", keys.backing, why.text);
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
  return 0;
}

/* -D zram.compact=1: pass after pass, even if there is little to win. */
static int
set_up_upkeep (struct service *s, const struct zcomp_method *methods)
{
  const struct upkeep_config config = {
    .compact_threshold = zram_debug_compact ? 1 : keys.compact_threshold,
    .compact_pause = zram_debug_compact ? 0 : keys.compact_pause,
    .methods = methods,
    .methods_count = keys.recompress_count,
    .auto_age = keys.auto_age,
    .auto_share = keys.auto_share,
    .evict_low = keys.evict_low,
    .evict_high = keys.evict_high,
  };

  s->upkeep = upkeep_create (s->store, &config);
  if (s->upkeep)
    return 0;
  nbdkit_error ("cannot set up the background work: %s", error_text (errno));
  return -1;
}

int
set_up (struct service *s)
{
  struct zcomp_method methods[RECOMPRESS_METHODS];

  s->backing_where = keys.backing;
  s->swap = keys.swap;
  if (set_up_disk (s) == -1 || set_up_primary (s->store) == -1 ||
      set_up_recompression (s->store, methods) == -1 ||
      set_up_backing (s->store) == -1)
    return -1;
  return set_up_upkeep (s, methods);
}

void
tear_down (struct service *s)
{
  upkeep_destroy (s->upkeep);
  disk_destroy (s->disk);
  store_destroy (s->store);
  s->upkeep = NULL;
  s->disk = NULL;
  s->store = NULL;
}
