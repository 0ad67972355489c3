/* SPDX-License-Identifier: BSD-3-Clause */

#include <config.h>

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/cpu.h"
#include "comp/zcomp.h"
#include "dev/backing.h"
#include "maint/compactor.h"
#include "maint/evictor.h"
#include "maint/recompress_policy.h"
#include "mem/pool.h"
#include "plugin/control/hosts.h"
#include "plugin/keys.h"
#include "plugin/nbdkit.h"
#include "zram-shown.h"

struct keys keys = {
  .size = -1,
  .slot_size = SLOT_SIZE_MIN,
  .compact_threshold = COMPACTOR_THRESHOLD,
  .compact_pause = COMPACTOR_PAUSE,
  .auto_age = RECOMPRESS_AGE,
  .auto_share = RECOMPRESS_SHARE,
  .evict_high = EVICT_HIGH,
  .promote = true,
  .swap_reserve = -1,
};

const char keys_help[] =
  "[size=]<SIZE>           (required) Size of the disk, up to 2^63-1 bytes.\n"
  "algorithm=<NAME>        lz4 (default), lz4hc, zstd or deflate.\n"
  "level=<N>               Compression level of the algorithm.\n"
  "dict=<FILE>             Dictionary for the algorithm (lz4 or zstd).\n"
  "recompress=<METHOD>,…   Up to three METHODs for slots in the background, "
  "in\n"
  "                        order: NAME[:level=N][:dict=FILE]\n"
  "auto_recompress=<SECONDS>\n"
  "                        Recompress what nobody accessed for so long "
  "(default\n"
  "                        600; 0: only when asked to).\n"
  "recompress_cpu=<N>      Percent of a CPU for that (default 50).\n"
  "slot_size=<SIZE>        What is compressed at a time, 4k (default) to 64k.\n"
  "allocator=<NAME>        zsmalloc (default) or z3fold.\n"
  "mem_limit=<SIZE>        Memory for data, at least 1M (default 0: no "
  "limit).\n"
  "write_buffer=<SIZE>     Keep so much of what was just written as it is for "
  "a\n"
  "                        while (default 0: compress at once).\n"
  "backing=<PATH|URI>      File, block device or NBD server to write slots "
  "back to.\n"
  "backing_size=<SIZE>     How much of it to use; makes a file of that size.\n"
  "backing_timeout=<SECONDS>\n"
  "                        How long to retry an NBD server (default 30).\n"
  "writeback_limit=<N>     Units of 4 KiB that may be written (default: any).\n"
  "evict_high=<N>          Percent of mem_limit from which the least recently\n"
  "                        used slots are written back (default 90),\n"
  "evict_low=<N>           and down to which (default: 5 below).\n"
  "promote=<BOOL>          Keep what is read back in memory if there is room.\n"
  "workers=<N>             Streams and helper threads (default: two a CPU).\n"
  "compact_threshold=<N>   Compact when N % could be freed (default 2).\n"
  "compact_pause=<SECONDS> Time between two looks at that (default 1).\n"
  "control=<PATH>          Unix socket for nbdzramctl (default: none).\n"
  "metrics=[<ADDR>:]<PORT> Metrics for Prometheus over HTTP (default: none).\n"
  "metrics_host=<NAME>     One more name by which it may be scraped.\n"
  "marker=<FILE>           Make this file, and do not start if it is there: "
  "the disk\n"
  "                        of an earlier server is gone then (default: none).\n"
  "swap=<BOOL>             This machine may swap to the disk (default false).\n"
  "swap_reserve=<SIZE>     Memory kept free for that (default 16M).";

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

/* Of a value that is refused, or of an unknown key, so much is logged. */
#define VALUE_SHOWN 200

static int
refuse (const char *key, const char *value, const char *allowed)
{
  char shown[VALUE_SHOWN];

  nbdkit_error ("%s=%s: must be %s", key,
                shown_cut (shown, sizeof shown, value, SHOWN_MESSAGE), allowed);
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

static int
set_write_buffer (const char *value)
{
  int64_t n;

  if (!parse_size (value, &n) || !write_buffer_is_valid (n))
    return refuse ("write_buffer", value,
                   "a size from 1M to 1T, or 0 for none");
  keys.write_buffer = (uint64_t) n;
  return 0;
}

/* nbdkit changes its directory when it goes into the background. */
static int
set_path (const char *key, const char *value, const char *allowed,
          char **result)
{
  if (!*value)
    return refuse (key, value, allowed);
  free (*result);
  *result = nbdkit_absolute_path (value);
  return *result ? 0 : -1;
}

/* The words of nbdkit_parse_bool, whose own message does not name the key. */
static int
set_bool (const char *key, const char *value, bool *result)
{
  static const char *const words[][2] = { { "0", "1" },    { "no", "yes" },
                                          { "off", "on" }, { "false", "true" },
                                          { "f", "t" },    { "n", "y" } };

  for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
    for (int b = 0; b < 2; b++)
      if (strcasecmp (value, words[i][b]) == 0) {
        *result = b;
        return 0;
      }
  return refuse (key, value, "true or false");
}

/* A URI stays as it is; a path must outlive nbdkit's change of directory.
 * "nbd:host:port" is how qemu also names a server: made a file of that name
 * it would take what was meant for the server.
 */
static int
set_backing (const char *value)
{
  const char *colon = strstr (value, "://");

  if (!*value)
    return refuse ("backing", value, "a path or the URI of an NBD server");
  if (!colon &&
      (strncmp (value, "nbd:", 4) == 0 || strncmp (value, "nbd+unix:", 9) == 0))
    return refuse ("backing", value,
                   "nbd://HOST[:PORT] or nbd+unix:///?socket=PATH (if it is a "
                   "path, write ./ before it)");
  free (keys.backing);
  keys.backing = colon && strcspn (value, "/") > (size_t) (colon - value)
                   ? strdup (value)
                   : nbdkit_absolute_path (value);
  return keys.backing ? 0 : -1;
}

static int
set_swap_reserve (const char *value)
{
  if (!parse_size (value, &keys.swap_reserve))
    return refuse ("swap_reserve", value, "a size, or 0 for none");
  return 0;
}

static int
set_backing_size (const char *value)
{
  int64_t n;

  if (!parse_size (value, &n) || n < (int64_t) BACKING_MIN_SIZE ||
      n > BACKING_MAX_SIZE)
    return refuse ("backing_size", value,
                   "a size of at least 1M and at most 4P");
  keys.backing_size = (uint64_t) n;
  return 0;
}

/* In units of 4 KiB, as the kernel's. */
static int
set_writeback_limit (const char *value)
{
  int64_t n;

  if (!parse_size (value, &n))
    return refuse ("writeback_limit", value,
                   "a number of units of 4 KiB (suffixes k, M, G …)");
  keys.writeback_limited = true;
  keys.writeback_limit = (uint64_t) n;
  return 0;
}

/* nbdkit changes its directory when it goes into the background. */
static int
make_absolute (struct method_key *m)
{
  char *path = m->dict ? nbdkit_absolute_path (m->dict) : NULL;

  if (m->dict && !path)
    return -1;
  free (m->dict);
  m->dict = path;
  return 0;
}

static int
refuse_for (const char *key, const char *value, const struct reason *why)
{
  char shown[VALUE_SHOWN];

  nbdkit_error ("%s=%s: %s", key,
                shown_cut (shown, sizeof shown, value, SHOWN_MESSAGE),
                why->text);
  return -1;
}

static int
set_allocator (const char *value)
{
  for (unsigned i = 0; pool_allocator (i); i++)
    if (strcmp (value, pool_allocator (i)) == 0) {
      keys.allocator = pool_allocator (i);
      return 0;
    }
  return refuse ("allocator", value, "zsmalloc or z3fold");
}

static int
set_algorithm (const char *value)
{
  struct reason why;

  keys.primary.codec = method_key_codec (value, &why);
  return keys.primary.codec ? 0 : refuse_for ("algorithm", value, &why);
}

static int
set_dict (const char *value)
{
  struct reason why;

  if (method_key_set_dict (value, &keys.primary, &why) == -1)
    return refuse_for ("dict", value, &why);
  return make_absolute (&keys.primary);
}

static int
set_recompress (const char *value)
{
  struct reason why;

  method_keys_free (keys.recompress, &keys.recompress_count);
  if (method_keys_parse (value, keys.recompress, &keys.recompress_count,
                         &why) == -1)
    return refuse_for ("recompress", value, &why);
  for (unsigned i = 0; i < keys.recompress_count; i++)
    if (make_absolute (&keys.recompress[i]) == -1)
      return -1;
  return 0;
}

void
keys_free (void)
{
  method_keys_free (keys.recompress, &keys.recompress_count);
  method_key_free (&keys.primary);
  free (keys.control);
  free (keys.marker);
  free (keys.backing);
}

static int
set_metrics_host (const char *value)
{
  unsigned n = 0;

  if (!hosts_is_name (value)) {
    nbdkit_error ("metrics_host=%s: must be a host name, without a port: "
                  "letters, digits, '-', '_' and '.'",
                  value);
    return -1;
  }
  while (keys.metrics_host[n])
    n++;
  if (n == METRICS_HOSTS_MAX) {
    nbdkit_error ("metrics_host=%s: one too many, there may be %d", value,
                  METRICS_HOSTS_MAX);
    return -1;
  }
  keys.metrics_host[n] = value; /* nbdkit keeps it */
  return 0;
}

static int
refuse_unknown (const char *key, const char *value)
{
  char shown[VALUE_SHOWN], key_shown[VALUE_SHOWN];

  nbdkit_error ("%s=%s: unknown key; known are size, algorithm, level, "
                "dict, recompress, auto_recompress, recompress_cpu, slot_size, "
                "allocator, mem_limit, write_buffer, backing, backing_size, "
                "backing_timeout, "
                "writeback_limit, evict_high, evict_low, promote, workers, "
                "compact_threshold, compact_pause, control, metrics, "
                "metrics_host, marker, swap and swap_reserve",
                shown_cut (key_shown, sizeof key_shown, key, SHOWN_MESSAGE),
                shown_cut (shown, sizeof shown, value, SHOWN_MESSAGE));
  return -1;
}

int
keys_set (const char *key, const char *value)
{
  if (strcmp (key, "size") == 0)
    return set_size (value);
  if (strcmp (key, "allocator") == 0)
    return set_allocator (value);
  if (strcmp (key, "algorithm") == 0)
    return set_algorithm (value);
  if (strcmp (key, "level") == 0) {
    keys.level = value; /* nbdkit keeps it */
    return 0;
  }
  if (strcmp (key, "dict") == 0)
    return set_dict (value);
  if (strcmp (key, "recompress") == 0)
    return set_recompress (value);
  if (strcmp (key, "auto_recompress") == 0)
    return set_number (key, value, 0, SLOT_OLD - 1,
                       "0 (not by itself) to 32767 seconds", &keys.auto_age);
  if (strcmp (key, "recompress_cpu") == 0)
    return set_number (key, value, 1, 100, "1 to 100 percent of a CPU",
                       &keys.auto_share);
  if (strcmp (key, "slot_size") == 0)
    return set_slot_size (value);
  if (strcmp (key, "mem_limit") == 0)
    return set_mem_limit (value);
  if (strcmp (key, "write_buffer") == 0)
    return set_write_buffer (value);
  if (strcmp (key, "backing") == 0)
    return set_backing (value);
  if (strcmp (key, "backing_size") == 0)
    return set_backing_size (value);
  if (strcmp (key, "backing_timeout") == 0)
    return set_number (key, value, 1, 3600, "1 to 3600 seconds",
                       &keys.backing_timeout);
  if (strcmp (key, "writeback_limit") == 0)
    return set_writeback_limit (value);
  if (strcmp (key, "evict_high") == 0)
    return set_number (key, value, 1, 100, "1 to 100 percent of mem_limit",
                       &keys.evict_high);
  if (strcmp (key, "evict_low") == 0)
    return set_number (key, value, 1, 100, "1 to 100 percent of mem_limit",
                       &keys.evict_low);
  if (strcmp (key, "promote") == 0)
    return set_bool (key, value, &keys.promote);
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
    return set_path (key, value, "the path of a socket to make", &keys.control);
  if (strcmp (key, "metrics") == 0) {
    keys.metrics = value; /* nbdkit keeps it */
    return 0;
  }
  if (strcmp (key, "metrics_host") == 0)
    return set_metrics_host (value);
  if (strcmp (key, "marker") == 0)
    return set_path (key, value, "the path of a file to make", &keys.marker);
  if (strcmp (key, "swap") == 0)
    return set_bool (key, value, &keys.swap);
  if (strcmp (key, "swap_reserve") == 0)
    return set_swap_reserve (value);
  return refuse_unknown (key, value);
}

static int
complete_level (void)
{
  const struct codec *codec = keys.primary.codec;
  long level = codec->level_default;

  if (keys.level &&
      !parse_number (keys.level, codec->level_min, codec->level_max, &level)) {
    char allowed[120];

    snprintf (allowed, sizeof allowed,
              "a number from %d to %d for algorithm=%s", codec->level_min,
              codec->level_max, codec->name);
    return refuse ("level", keys.level, allowed);
  }
  keys.primary.level = (int) level;
  return 0;
}

static int
complete_backing (void)
{
  const unsigned apart = EVICT_HIGH - EVICT_LOW;

  if (!keys.evict_low)
    keys.evict_low = keys.evict_high > apart ? keys.evict_high - apart : 1;
  if (keys.evict_low > keys.evict_high) {
    nbdkit_error ("evict_low=%u: must not be over evict_high=%u",
                  keys.evict_low, keys.evict_high);
    return -1;
  }
  if (!keys.backing && keys.backing_size) {
    nbdkit_error ("backing_size=%" PRIu64 ": of no use without backing=",
                  keys.backing_size);
    return -1;
  }
  if (!keys.backing && keys.writeback_limited) {
    nbdkit_error ("writeback_limit=%" PRIu64 ": of no use without backing=",
                  keys.writeback_limit);
    return -1;
  }
  return 0;
}

/* What is kept free counts as used, so it must leave most of a limit. */
static int
complete_swap (void)
{
  int64_t most = keys.mem_limit
                   ? (int64_t) (keys.mem_limit / SWAP_RESERVE_SHARE)
                   : INT64_MAX;

  if (!keys.swap && keys.swap_reserve != -1) {
    nbdkit_error ("swap_reserve=%" PRIi64 ": of no use without swap=true",
                  keys.swap_reserve);
    return -1;
  }
  /* Uncompressed it would take as much memory as is to become free. */
  if (keys.swap && keys.write_buffer) {
    nbdkit_error ("write_buffer=%" PRIu64 ": must be 0 with swap=true",
                  (uint64_t) keys.write_buffer);
    return -1;
  }
  if (keys.swap_reserve > most) {
    nbdkit_error ("swap_reserve=%" PRIi64 ": must not be over an eighth of "
                  "mem_limit=%" PRIu64,
                  keys.swap_reserve, keys.mem_limit);
    return -1;
  }
  if (keys.swap_reserve == -1)
    keys.swap_reserve = !keys.swap            ? 0
                        : most < SWAP_RESERVE ? most
                                              : SWAP_RESERVE;
  return 0;
}

static int
complete_metrics (void)
{
  if (keys.metrics || !keys.metrics_host[0])
    return 0;
  nbdkit_error ("metrics_host=%s: of no use without metrics=",
                keys.metrics_host[0]);
  return -1;
}

int
keys_complete (void)
{
  if (keys.size == -1) {
    nbdkit_error ("size=: missing; say how large the disk is, for example "
                  "size=1G");
    return -1;
  }
  if (complete_backing () == -1 || complete_swap () == -1 ||
      complete_metrics () == -1)
    return -1;
  if (!keys.primary.codec)
    keys.primary.codec = codec_find ("lz4");
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

  method_key_names (" ", names, sizeof names);
  printf ("zram_version=%s\n", PACKAGE_VERSION);
  printf ("zram_algorithms=%s\n", names);
  for (unsigned id = 1; id < CODEC_IDS; id++) {
    const struct codec *c = codec_by_id (id);

    if (c)
      printf ("zram_level_%s=%d %d %d\n", c->name, c->level_min, c->level_max,
              c->level_default);
  }
  printf ("zram_allocators=");
  for (unsigned i = 0; pool_allocator (i); i++)
    printf ("%s%s", i ? " " : "", pool_allocator (i));
  printf ("\n");
  printf ("zram_size_max=%" PRIi64 "\n", INT64_MAX);
  printf ("zram_slot_size_min=%d\n", SLOT_SIZE_MIN);
  printf ("zram_slot_size_max=%d\n", SLOT_SIZE_MAX);
  printf ("zram_page_size=%u\n", MEM_PAGE);
  printf ("zram_mem_limit_min=%d\n", MEM_LIMIT_MIN);
  printf ("zram_workers_max=%d\n", ZCOMP_MAX_STREAMS);
#ifdef ZRAM_DEBUG
  printf ("zram_debug=yes\n");
#else
  printf ("zram_debug=no\n");
#endif
}
