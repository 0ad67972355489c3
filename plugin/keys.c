/* SPDX-License-Identifier: BSD-3-Clause */

#include <config.h>

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NBDKIT_API_VERSION 2
#include <nbdkit-plugin.h>

#include "base/cpu.h"
#include "comp/zcomp.h"
#include "maint/compactor.h"
#include "plugin/keys.h"

struct keys keys = {
  .size = -1,
  .slot_size = SLOT_SIZE_MIN,
  .compact_threshold = COMPACTOR_THRESHOLD,
  .compact_pause = COMPACTOR_PAUSE,
};

const char keys_help[] =
  "[size=]<SIZE>           (required) Size of the disk, up to 2^63-1 bytes.\n"
  "algorithm=<NAME>        lz4 (default), lz4hc, zstd or deflate.\n"
  "level=<N>               Compression level of the algorithm.\n"
  "slot_size=<SIZE>        What is compressed at a time, 4k (default) to 64k.\n"
  "mem_limit=<SIZE>        Memory for data, at least 1M (default 0: no "
  "limit).\n"
  "workers=<N>             Streams and helper threads (default: two a CPU).\n"
  "compact_threshold=<N>   Compact when N % could be freed (default 2).\n"
  "compact_pause=<SECONDS> Time between two looks at that (default 1).\n"
  "control=<PATH>          Unix socket for nbdzramctl (default: none).\n"
  "metrics=[<ADDR>:]<PORT> Metrics for Prometheus over HTTP (default: none).";

/* A whole decimal number in [min, max].  False if the value is anything
 * else; nothing is said.
 */
static bool
parse_number (const char *value, long min, long max, long *result)
{
  char *end;

  errno = 0;
  *result = strtol (value, &end, 10);
  return !errno && end != value && !*end && !isspace ((unsigned char) *value) &&
         *result >= min && *result <= max;
}

/* A size as nbdkit writes it.  What nbdkit_parse_size would refuse, with a
 * message that does not name the key, is refused here first, in silence.
 */
static bool
parse_size (const char *value, int64_t *result)
{
  static const char suffixes[] = "bskmgtpe";
  static const unsigned shifts[] = { 0, 9, 10, 20, 30, 40, 50, 60 };
  const char *suffix = NULL;
  char *end;
  uintmax_t n;

  if (!isdigit ((unsigned char) *value))
    return false;
  errno = 0;
  n = strtoumax (value, &end, 10);
  if (*end)
    suffix = strchr (suffixes, tolower ((unsigned char) *end));
  if (errno || (*end && (!suffix || end[1])))
    return false;
  unsigned shift = suffix ? shifts[suffix - suffixes] : 0;
  if (n > (uintmax_t) INT64_MAX >> shift)
    return false;
  *result = nbdkit_parse_size (value);
  return *result >= 0;
}

static int
refuse (const char *key, const char *value, const char *allowed)
{
  nbdkit_error ("%s=%s: must be %s", key, value, allowed);
  return -1;
}

static int
set_number (const char *key, const char *value, long min, long max,
            const char *allowed, unsigned *result)
{
  long n;

  if (!parse_number (value, min, max, &n))
    return refuse (key, value, allowed);
  *result = (unsigned) n;
  return 0;
}

static int
set_size (const char *value)
{
  if (!parse_size (value, &keys.size) || keys.size < 1)
    return refuse ("size", value,
                   "a size from 1 to 9223372036854775807 bytes (suffixes k, "
                   "M, G, T, P, E)");
  return 0;
}

static int
set_slot_size (const char *value)
{
  int64_t n;

  if (!parse_size (value, &n) || n < SLOT_SIZE_MIN || n > SLOT_SIZE_MAX ||
      (n & (n - 1)))
    return refuse ("slot_size", value, "4k, 8k, 16k, 32k or 64k");
  keys.slot_size = (uint32_t) n;
  return 0;
}

static int
set_mem_limit (const char *value)
{
  int64_t n;

  if (!parse_size (value, &n) || (n != 0 && n < MEM_LIMIT_MIN))
    return refuse ("mem_limit", value, "a size of at least 1M, or 0 for none");
  keys.mem_limit = (uint64_t) n;
  return 0;
}

/* nbdkit changes its directory when it goes into the background. */
static int
set_control (const char *value)
{
  if (!*value)
    return refuse ("control", value, "the path of a socket to make");
  free (keys.control);
  keys.control = nbdkit_absolute_path (value);
  return keys.control ? 0 : -1;
}

static void
codec_names (const char *separator, char *buf, size_t size)
{
  size_t len = 0;

  buf[0] = '\0';
  for (unsigned id = 1; id < CODEC_IDS; id++)
    if (codec_by_id (id) && len < size)
      len += (size_t) snprintf (buf + len, size - len, "%s%s",
                                len ? separator : "", codec_by_id (id)->name);
}

static int
set_algorithm (const char *value)
{
  const struct codec *codec = codec_find (value);
  char names[128];

  if (!codec) {
    codec_names (", ", names, sizeof names);
    nbdkit_error ("algorithm=%s: must be one of: %s", value, names);
    return -1;
  }
  keys.codec = codec;
  return 0;
}

int
keys_set (const char *key, const char *value)
{
  if (strcmp (key, "size") == 0)
    return set_size (value);
  if (strcmp (key, "algorithm") == 0)
    return set_algorithm (value);
  if (strcmp (key, "level") == 0) {
    keys.level = value; /* nbdkit keeps it */
    return 0;
  }
  if (strcmp (key, "slot_size") == 0)
    return set_slot_size (value);
  if (strcmp (key, "mem_limit") == 0)
    return set_mem_limit (value);
  if (strcmp (key, "workers") == 0)
    return set_number (key, value, 1, ZCOMP_MAX_STREAMS,
                       "a number from 1 to 256", &keys.workers);
  if (strcmp (key, "compact_threshold") == 0)
    return set_number (key, value, 0, 100, "a percentage from 0 (never) to 100",
                       &keys.compact_threshold);
  if (strcmp (key, "compact_pause") == 0)
    return set_number (key, value, 1, 86400, "1 to 86400 seconds",
                       &keys.compact_pause);
  if (strcmp (key, "control") == 0)
    return set_control (value);
  if (strcmp (key, "metrics") == 0) {
    keys.metrics = value; /* nbdkit keeps it */
    return 0;
  }
  nbdkit_error ("%s=%s: unknown key; known are size, algorithm, level, "
                "slot_size, mem_limit, workers, compact_threshold, "
                "compact_pause, control and metrics",
                key, value);
  return -1;
}

static int
complete_level (void)
{
  const struct codec *codec = keys.codec;
  long level = codec->level_default;

  if (keys.level &&
      !parse_number (keys.level, codec->level_min, codec->level_max, &level)) {
    nbdkit_error ("level=%s: must be a number from %d to %d for "
                  "algorithm=%s",
                  keys.level, codec->level_min, codec->level_max, codec->name);
    return -1;
  }
  keys.codec_level = (int) level;
  return 0;
}

int
keys_complete (void)
{
  if (keys.size == -1) {
    nbdkit_error ("size=: missing; say how large the disk is, for example "
                  "size=1G");
    return -1;
  }
  if (!keys.codec)
    keys.codec = codec_find ("lz4");
  if (!keys.workers) {
    /* Two a CPU: a thread that loses its CPU keeps its stream, and with one
     * a CPU the others wait for it.  Measured on 2 cores, 4 connections with 8
     * writes each: 0.34 of nbdkit's null with 2 streams, 0.45 with 4 or 8.
     */
    keys.workers = 2 * cpu_count ();
    if (keys.workers > ZCOMP_MAX_STREAMS)
      keys.workers = ZCOMP_MAX_STREAMS;
  }
  return complete_level ();
}

void
keys_dump (void)
{
  char names[128];

  codec_names (" ", names, sizeof names);
  printf ("zram_version=%s\n", PACKAGE_VERSION);
  printf ("zram_algorithms=%s\n", names);
  for (unsigned id = 1; id < CODEC_IDS; id++) {
    const struct codec *c = codec_by_id (id);

    if (c)
      printf ("zram_level_%s=%d %d %d\n", c->name, c->level_min, c->level_max,
              c->level_default);
  }
  printf ("zram_allocators=zsmalloc\n");
  printf ("zram_size_max=%" PRIi64 "\n", INT64_MAX);
  printf ("zram_slot_size_min=%d\n", SLOT_SIZE_MIN);
  printf ("zram_slot_size_max=%d\n", SLOT_SIZE_MAX);
  printf ("zram_mem_limit_min=%d\n", MEM_LIMIT_MIN);
  printf ("zram_workers_max=%d\n", ZCOMP_MAX_STREAMS);
#ifdef ZRAM_DEBUG
  printf ("zram_debug=yes\n");
#else
  printf ("zram_debug=no\n");
#endif
}
