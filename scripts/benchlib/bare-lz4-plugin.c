/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What lz4 alone costs over NBD: a flat table of slots of 4 KiB, compressed in
 * nbdkit's own threads, memory that is only ever added.  No limit, no
 * statistics, no compaction, nothing given back.  A floor to measure against,
 * not a thing to use.
 *
 *   slots   { object, size, room }     objects, one after the other
 *
 * locks[i % LOCKS] protects slot i and its object.
 */

#define NBDKIT_API_VERSION 2

#include <nbdkit-plugin.h>

#include <lz4.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>

#define SLOT 4096u
#define WORTH_IT (SLOT - SLOT / 32) /* what compresses to more is kept raw */
#define LOCKS 1024
#define ADDRESSES ((size_t) 1 << 36)

struct slot {
  char *object;
  uint16_t size, room; /* 0: zeroes; SLOT: raw */
};

static int64_t disk_size;
static struct slot *slots;
static char *memory;
static atomic_size_t used;
static pthread_mutex_t locks[LOCKS];

static int
bare_config (const char *key, const char *value)
{
  if (strcmp (key, "size")) {
    nbdkit_error ("unknown key: %s", key);
    return -1;
  }
  disk_size = nbdkit_parse_size (value);
  return disk_size == -1 ? -1 : 0;
}

static void *
reserve (size_t bytes)
{
  void *p = mmap (NULL, bytes, PROT_READ | PROT_WRITE,
                  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

  return p == MAP_FAILED ? NULL : p;
}

static int
bare_get_ready (void)
{
  slots = reserve ((disk_size / SLOT + 1) * sizeof *slots);
  memory = reserve (ADDRESSES);
  if (!slots || !memory) {
    nbdkit_error ("mmap: %m");
    return -1;
  }
  for (unsigned i = 0; i < LOCKS; i++)
    pthread_mutex_init (&locks[i], NULL);
  return 0;
}

static void *
bare_open (int readonly)
{
  (void) readonly;
  return NBDKIT_HANDLE_NOT_NEEDED;
}

static int64_t
bare_get_size (void *handle)
{
  (void) handle;
  return disk_size;
}

static int
bare_can_multi_conn (void *handle)
{
  (void) handle;
  return 1;
}

static int
bare_pread (void *handle, void *buf, uint32_t count, uint64_t offset,
            uint32_t flags)
{
  char *to = buf;

  (void) handle;
  (void) flags;
  for (uint64_t i = offset / SLOT; count; count -= SLOT, to += SLOT, i++) {
    struct slot *s = &slots[i];

    pthread_mutex_lock (&locks[i % LOCKS]);
    if (s->size == 0)
      memset (to, 0, SLOT);
    else if (s->size == SLOT)
      memcpy (to, s->object, SLOT);
    else
      LZ4_decompress_safe (s->object, to, s->size, SLOT);
    pthread_mutex_unlock (&locks[i % LOCKS]);
  }
  return 0;
}

static void
put (uint64_t i, const char *bytes, uint16_t size)
{
  struct slot *s = &slots[i];

  pthread_mutex_lock (&locks[i % LOCKS]);
  if (size > s->room) {
    s->room = (size + 63u) & ~63u;
    s->object = memory + atomic_fetch_add (&used, s->room);
  }
  if (size)
    memcpy (s->object, bytes, size);
  s->size = size;
  pthread_mutex_unlock (&locks[i % LOCKS]);
}

static int
bare_pwrite (void *handle, const void *buf, uint32_t count, uint64_t offset,
             uint32_t flags)
{
  static _Thread_local LZ4_stream_t state;
  static _Thread_local char packed[SLOT];
  const char *from = buf;

  (void) handle;
  (void) flags;
  for (uint64_t i = offset / SLOT; count; count -= SLOT, from += SLOT, i++) {
    int n;

    if (from[0] == 0 && memcmp (from, from + 1, SLOT - 1) == 0) {
      put (i, NULL, 0);
      continue;
    }
    n = LZ4_compress_fast_extState (&state, from, packed, SLOT, WORTH_IT, 1);
    put (i, n > 0 ? packed : from, n > 0 ? (uint16_t) n : SLOT);
  }
  return 0;
}

static int
bare_trim (void *handle, uint32_t count, uint64_t offset, uint32_t flags)
{
  (void) handle;
  (void) flags;
  for (uint64_t i = offset / SLOT; count; count -= SLOT, i++)
    put (i, NULL, 0);
  return 0;
}

static int
bare_flush (void *handle, uint32_t flags)
{
  (void) handle;
  (void) flags;
  return 0;
}

/* Requests are whole slots: nbdkit sees to that. */
static int
bare_block_size (void *handle, uint32_t *minimum, uint32_t *preferred,
                 uint32_t *maximum)
{
  (void) handle;
  *minimum = *preferred = SLOT;
  *maximum = 32u << 20;
  return 0;
}

#define THREAD_MODEL NBDKIT_THREAD_MODEL_PARALLEL

static struct nbdkit_plugin plugin = {
  .name = "bare-lz4",
  .config = bare_config,
  .magic_config_key = "size",
  .get_ready = bare_get_ready,
  .open = bare_open,
  .get_size = bare_get_size,
  .can_multi_conn = bare_can_multi_conn,
  .block_size = bare_block_size,
  .pread = bare_pread,
  .pwrite = bare_pwrite,
  .trim = bare_trim,
  .flush = bare_flush,
};

NBDKIT_REGISTER_PLUGIN (plugin)
