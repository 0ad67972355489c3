/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The configuration keys: their names, the values they allow, and the values
 * that were given.
 */

#ifndef ZRAM_KEYS_H
#define ZRAM_KEYS_H

#include <stdbool.h>
#include <stdint.h>

#include "dev/blocks.h"
#include "plugin/method_key.h"
#include "store/recompress.h"

#define SLOT_SIZE_MIN 4096
#define SLOT_SIZE_MAX 65536
#define MEM_LIMIT_MIN (1 << 20)
#define WRITE_BUFFER_MIN (1 << 20)
#define WRITE_BUFFER_MAX (INT64_C (1) << 40)

static inline bool
write_buffer_is_valid (int64_t bytes)
{
  return bytes == 0 || (bytes >= WRITE_BUFFER_MIN && bytes <= WRITE_BUFFER_MAX);
}

/* The default of swap_reserve=: room for the requests that the kernel's client
 * has in flight, 128 of 128 KiB, uncompressed.  At most an eighth of mem_limit.
 */
#define SWAP_RESERVE_MIB 16
#define SWAP_RESERVE (SWAP_RESERVE_MIB << 20)
#define SWAP_RESERVE_SHARE 8

#define METRICS_HOSTS_MAX 16

/* Of a backing store: the most that its block map can describe. */
#define BACKING_MAX_SIZE ((int64_t) (BLOCKS_MAX * BLOCK_SIZE))

struct keys {
  int64_t size;              /* bytes, -1 = not given */
  struct method_key primary; /* algorithm=, dict=; level once complete */
  const char *level;         /* as given, NULL = the codec's default */
  struct method_key recompress[RECOMPRESS_METHODS];
  unsigned recompress_count;
  unsigned auto_age;          /* seconds, 0 = never */
  unsigned auto_share;        /* percent of a CPU */
  uint32_t slot_size;         /* bytes */
  const char *allocator;      /* pool_allocator's name */
  int64_t mem_limit;          /* bytes, 0 = none */
  int64_t write_buffer;       /* bytes, 0 = off */
  char *backing;              /* path or URI, owned; NULL = none */
  int64_t backing_size;       /* bytes, 0 = all of it */
  unsigned backing_timeout;   /* seconds */
  int64_t writeback_limit;    /* units of 4 KiB */
  bool writeback_limited;     /* writeback_limit= was given */
  unsigned evict_high;        /* percent of mem_limit */
  unsigned evict_low;         /* percent of mem_limit; 0 = not given */
  bool promote;               /* slots read back may stay in memory */
  unsigned workers;           /* 0 = two for each CPU */
  unsigned compact_threshold; /* percent, 0 = never */
  unsigned compact_pause;     /* seconds */
  char *control;              /* absolute path, owned; NULL = no socket */
  char *marker;               /* absolute path, owned; NULL = none */
  const char *metrics;        /* as given, NULL = no HTTP */
  const char *metrics_host[METRICS_HOSTS_MAX + 1]; /* ends with NULL */
  bool swap;            /* this machine may swap to it */
  int64_t swap_reserve; /* bytes, -1 = not given */
};

extern struct keys keys;

/* nbdkit's .magic_config_key, and its .config_help after loading */
#define KEYS_MAGIC "size"
extern char keys_help[];

/* For nbdkit's .load: makes the help, and sets every key to its default. */
void keys_load (void);

/* For nbdkit's .config and .config_complete: 0, or -1 with one line logged that
 * names the key, the value and the allowed values.
 */
int keys_set (const char *key, const char *value);
int keys_complete (void);

void keys_free (void);

/* nbdkit's .dump_plugin */
void keys_dump (void);

#endif /* ZRAM_KEYS_H */
