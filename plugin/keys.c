/* SPDX-License-Identifier: BSD-3-Clause */
/* The table of configuration keys, their help, and their checks.
 * Contract: plugin/keys.h.
 */

#include <config.h>

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/check.h"
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

struct keys keys = { .size = -1, .swap_reserve = -1 };

NBDKIT_DLL_PUBLIC int zram_debug_stats = 0;
NBDKIT_DLL_PUBLIC int zram_debug_compact = 0;
NBDKIT_DLL_PUBLIC int zram_debug_audit = 0;

/* Everything about one key.  --help and the message for an unknown key are made
 * from this; server/test-keys.py checks that the manual page and the README say
 * the same.
 */
struct key {
  const char *name;
  const char *argument; /* as in --help */
  const char *help;     /* one line or more; --help breaks it and ends it */
  /* If the key is not given: 'preset' is set at the start like a given value;
   * 'otherwise' says in words what happens, if no value would do the same.
   * Both are NULL if the key must be given.
   */
  const char *preset, *otherwise;
  const char *allowed; /* "must be ..."; NULL: 'set' has its own message */

  /* 0, or -1 with one line logged.  It is called each time the key is given:
   * the last value counts, unless a comment says otherwise.
   */
  int (*set) (const struct key *key, const char *value);
  union {
    unsigned *number;
    int64_t *size;
    bool *yes;
    char **path;       /* owned */
    const char **text; /* nbdkit keeps it */
  } to;
  int64_t min, max; /* of a number or a size */
  bool or_zero;     /* 0 is allowed too, below min */
};

/* A size in nbdkit's notation.  nbdkit_parse_size logs a message that does not
 * name the key, so this returns false first, without a message, for every value
 * that it would refuse.
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

/* At most this much of a refused value, or of an unknown key, is logged. */
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
not_allowed (const struct key *key, const char *value)
{
  return refuse (key->name, value, key->allowed);
}

static int
set_number (const struct key *key, const char *value)
{
  long n;

  if (!parse_number (value, (long) key->min, (long) key->max, &n))
    return not_allowed (key, value);
  *key->to.number = (unsigned) n;
  return 0;
}

static int
set_size (const struct key *key, const char *value)
{
  int64_t n;

  if (!parse_size (value, &n) ||
      ((n < key->min || n > key->max) && !(n == 0 && key->or_zero)))
    return not_allowed (key, value);
  *key->to.size = n;
  return 0;
}

static int
set_slot_size (const struct key *key, const char *value)
{
  int64_t n;

  if (!parse_size (value, &n) || n < SLOT_SIZE_MIN || n > SLOT_SIZE_MAX ||
      (n & (n - 1)))
    return not_allowed (key, value);
  keys.slot_size = (uint32_t) n;
  return 0;
}

/* The value is checked later, when all keys are known. */
static int
set_text (const struct key *key, const char *value)
{
  *key->to.text = value;
  return 0;
}

/* A relative path would break: nbdkit changes its directory when it goes into
 * the background.
 */
static int
set_path (const struct key *key, const char *value)
{
  if (!*value)
    return not_allowed (key, value);
  free (*key->to.path);
  *key->to.path = nbdkit_absolute_path (value);
  return *key->to.path ? 0 : -1;
}

/* The words of nbdkit_parse_bool, whose message does not name the key. */
static int
set_bool (const struct key *key, const char *value)
{
  static const char *const words[][2] = { { "0", "1" },    { "no", "yes" },
                                          { "off", "on" }, { "false", "true" },
                                          { "f", "t" },    { "n", "y" } };

  for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
    for (int b = 0; b < 2; b++)
      if (strcasecmp (value, words[i][b]) == 0) {
        *key->to.yes = b;
        return 0;
      }
  return not_allowed (key, value);
}

/* A URI stays as it is; a path must survive nbdkit's change of directory.
 * "nbd:host:port" is qemu's other notation for a server.  As a path, it would
 * make a file of that name and keep the data that were meant for the server.
 */
static int
set_backing (const struct key *key, const char *value)
{
  const char *colon = strstr (value, "://");

  if (!*value)
    return not_allowed (key, value);
  if (!colon &&
      (strncmp (value, "nbd:", 4) == 0 || strncmp (value, "nbd+unix:", 9) == 0))
    return refuse (key->name, value,
                   "nbd://HOST[:PORT] or nbd+unix:///?socket=PATH (if it is a "
                   "path, write ./ before it)");
  free (keys.backing);
  keys.backing = colon && strcspn (value, "/") > (size_t) (colon - value)
                   ? strdup (value)
                   : nbdkit_absolute_path (value);
  return keys.backing ? 0 : -1;
}

/* In units of 4 KiB, like the kernel's. */
static int
set_writeback_limit (const struct key *key, const char *value)
{
  keys.writeback_limited = true;
  return set_size (key, value);
}

/* A relative path would break: nbdkit changes its directory when it goes into
 * the background.
 */
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
refuse_for (const struct key *key, const char *value, const struct reason *why)
{
  char shown[VALUE_SHOWN];

  nbdkit_error ("%s=%s: %s", key->name,
                shown_cut (shown, sizeof shown, value, SHOWN_MESSAGE),
                why->text);
  return -1;
}

static int
set_allocator (const struct key *key, const char *value)
{
  for (unsigned i = 0; pool_allocator (i); i++)
    if (strcmp (value, pool_allocator (i)) == 0) {
      keys.allocator = pool_allocator (i);
      return 0;
    }
  return not_allowed (key, value);
}

static int
set_algorithm (const struct key *key, const char *value)
{
  struct reason why;

  keys.primary.codec = method_key_codec (value, &why);
  return keys.primary.codec ? 0 : refuse_for (key, value, &why);
}

static int
set_dict (const struct key *key, const char *value)
{
  struct reason why;

  if (method_key_set_dict (value, &keys.primary, &why) == -1)
    return refuse_for (key, value, &why);
  return make_absolute (&keys.primary);
}

static int
set_recompress (const struct key *key, const char *value)
{
  struct reason why;

  method_keys_free (keys.recompress, &keys.recompress_count);
  if (method_keys_parse (value, keys.recompress, &keys.recompress_count,
                         &why) == -1)
    return refuse_for (key, value, &why);
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

/* Each call adds one name. */
static int
set_metrics_host (const struct key *key, const char *value)
{
  unsigned n = 0;

  if (!hosts_is_name (value)) {
    nbdkit_error ("%s=%s: must be %s", key->name, value, key->allowed);
    return -1;
  }
  while (keys.metrics_host[n])
    n++;
  if (n == METRICS_HOSTS_MAX) {
    nbdkit_error ("%s=%s: one too many, there may be %d", key->name, value,
                  METRICS_HOSTS_MAX);
    return -1;
  }
  keys.metrics_host[n] = value; /* nbdkit keeps it */
  return 0;
}

#define DIGITS(n) DIGITS_OF (n) /* the value of a macro */
#define DIGITS_OF(n) #n

/* In the order of --help. */
static const struct key keys_table[] = {
  { .name = "size",
    .argument = "<SIZE>",
    .help = "Size of the disk, up to 2^63-1 bytes",
    .allowed =
      "a size from 1 to 9223372036854775807 bytes (suffixes k, M, G, T, P, E)",
    .set = set_size,
    .to.size = &keys.size,
    .min = 1,
    .max = INT64_MAX },
  { .name = "algorithm",
    .argument = "<NAME>",
    .help = "lz4, lz4hc, zstd or deflate",
    .preset = "lz4",
    .set = set_algorithm },
  { .name = "level",
    .argument = "<N>",
    .help = "Compression level of the algorithm",
    .otherwise = "the algorithm's own",
    .set = set_text,
    .to.text = &keys.level },
  { .name = "dict",
    .argument = "<FILE>",
    .help = "Dictionary for the algorithm (lz4 or zstd)",
    .otherwise = "none",
    .set = set_dict },
  { .name = "recompress",
    .argument = "<METHOD>[,<METHOD>...]",
    .help = "Up to three METHODs for slots in the background, in order: "
            "NAME[:level=N][:dict=FILE]",
    .otherwise = "none",
    .set = set_recompress },
  { .name = "auto_recompress",
    .argument = "<SECONDS>",
    .help =
      "Recompress what nobody accessed for so long; 0: only when asked to",
    .preset = DIGITS (RECOMPRESS_AGE),
    .allowed = "0 (not by itself) to 32767 seconds",
    .set = set_number,
    .to.number = &keys.auto_age,
    .min = 0,
    .max = SLOT_OLD - 1 },
  { .name = "recompress_cpu",
    .argument = "<N>",
    .help = "Percent of a CPU for that",
    .preset = DIGITS (RECOMPRESS_SHARE),
    .allowed = "1 to 100 percent of a CPU",
    .set = set_number,
    .to.number = &keys.auto_share,
    .min = 1,
    .max = 100 },
  { .name = "slot_size",
    .argument = "<SIZE>",
    .help = "What is compressed at a time, 4k to 64k",
    .preset = "4k",
    .allowed = "4k, 8k, 16k, 32k or 64k",
    .set = set_slot_size },
  { .name = "allocator",
    .argument = "<NAME>",
    .help = "zsmalloc or z3fold",
    .preset = "zsmalloc",
    .allowed = "zsmalloc or z3fold",
    .set = set_allocator },
  { .name = "mem_limit",
    .argument = "<SIZE>",
    .help = "Memory for data, at least 1M; 0: no limit",
    .preset = "0",
    .allowed = "a size of at least 1M, or 0 for none",
    .set = set_size,
    .to.size = &keys.mem_limit,
    .min = MEM_LIMIT_MIN,
    .max = INT64_MAX,
    .or_zero = true },
  { .name = "write_buffer",
    .argument = "<SIZE>",
    .help = "Keep so much of what was just written as it is for a while; 0: "
            "compress at once",
    .preset = "0",
    .allowed = "a size from 1M to 1T, or 0 for none",
    .set = set_size,
    .to.size = &keys.write_buffer,
    .min = WRITE_BUFFER_MIN,
    .max = WRITE_BUFFER_MAX,
    .or_zero = true },
  { .name = "backing",
    .argument = "<PATH|URI>",
    .help = "File, block device or NBD server to write slots back to",
    .otherwise = "none",
    .allowed = "a path or the URI of an NBD server",
    .set = set_backing },
  { .name = "backing_size",
    .argument = "<SIZE>",
    .help = "How much of it to use; makes a file of that size",
    .otherwise = "all there is",
    .allowed = "a size of at least 1M and at most 4P",
    .set = set_size,
    .to.size = &keys.backing_size,
    .min = BACKING_MIN_SIZE,
    .max = BACKING_MAX_SIZE },
  { .name = "backing_timeout",
    .argument = "<SECONDS>",
    .help = "How long to retry an NBD server",
    .preset = "30",
    .allowed = "1 to 3600 seconds",
    .set = set_number,
    .to.number = &keys.backing_timeout,
    .min = 1,
    .max = 3600 },
  { .name = "writeback_limit",
    .argument = "<N>",
    .help = "Units of 4 KiB that may be written",
    .otherwise = "none",
    .allowed = "a number of units of 4 KiB (suffixes k, M, G …)",
    .set = set_writeback_limit,
    .to.size = &keys.writeback_limit,
    .min = 0,
    .max = INT64_MAX },
  { .name = "evict_high",
    .argument = "<N>",
    .help = "Percent of mem_limit from which the least recently used slots are "
            "written back",
    .preset = DIGITS (EVICT_HIGH),
    .allowed = "1 to 100 percent of mem_limit",
    .set = set_number,
    .to.number = &keys.evict_high,
    .min = 1,
    .max = 100 },
  { .name = "evict_low",
    .argument = "<N>",
    .help = "And down to which",
    .otherwise = "5 below evict_high",
    .allowed = "1 to 100 percent of mem_limit",
    .set = set_number,
    .to.number = &keys.evict_low,
    .min = 1,
    .max = 100 },
  { .name = "promote",
    .argument = "<BOOL>",
    .help = "Keep what is read back in memory if there is room",
    .preset = "true",
    .allowed = "true or false",
    .set = set_bool,
    .to.yes = &keys.promote },
  { .name = "workers",
    .argument = "<N>",
    .help = "Streams and helper threads",
    .otherwise = "two a CPU",
    .allowed = "a number from 1 to 256",
    .set = set_number,
    .to.number = &keys.workers,
    .min = 1,
    .max = ZCOMP_MAX_STREAMS },
  { .name = "compact_threshold",
    .argument = "<N>",
    .help = "Compact when N % could be freed",
    .preset = DIGITS (COMPACTOR_THRESHOLD),
    .allowed = "a percentage from 0 (never) to 100",
    .set = set_number,
    .to.number = &keys.compact_threshold,
    .min = 0,
    .max = 100 },
  { .name = "compact_pause",
    .argument = "<SECONDS>",
    .help = "Time between two looks at that",
    .preset = DIGITS (COMPACTOR_PAUSE),
    .allowed = "1 to 86400 seconds",
    .set = set_number,
    .to.number = &keys.compact_pause,
    .min = 1,
    .max = 86400 },
  { .name = "control",
    .argument = "<PATH>",
    .help = "Unix socket for nbdzramctl",
    .otherwise = "none",
    .allowed = "the path of a socket to make",
    .set = set_path,
    .to.path = &keys.control },
  { .name = "metrics",
    .argument = "[<ADDR>:]<PORT>",
    .help = "Metrics for Prometheus over HTTP",
    .otherwise = "none",
    .set = set_text,
    .to.text = &keys.metrics },
  { .name = "metrics_host",
    .argument = "<NAME>",
    .help = "One more name by which it may be scraped",
    .otherwise = "none",
    .allowed = "a host name, without a port: letters, digits, '-', '_' and '.'",
    .set = set_metrics_host },
  { .name = "marker",
    .argument = "<FILE>",
    .help = "Make this file, and do not start if it is there: the disk of an "
            "earlier server is gone then",
    .otherwise = "none",
    .allowed = "the path of a file to make",
    .set = set_path,
    .to.path = &keys.marker },
  { .name = "swap",
    .argument = "<BOOL>",
    .help = "This machine may swap to the disk",
    .preset = "false",
    .allowed = "true or false",
    .set = set_bool,
    .to.yes = &keys.swap },
  { .name = "swap_reserve",
    .argument = "<SIZE>",
    .help = "Memory kept free for that",
    .otherwise = DIGITS (SWAP_RESERVE_MIB) "M, or an eighth of mem_limit",
    .allowed = "a size, or 0 for none",
    .set = set_size,
    .to.size = &keys.swap_reserve,
    .min = 0,
    .max = INT64_MAX },
};

#define KEYS (sizeof keys_table / sizeof keys_table[0])

/* -- texts made from the table ------------------------------------------ */

char keys_help[4096];

/* The column where the texts of --help begin, and the length of its lines. */
#define HELP_COLUMN 24
#define HELP_WIDTH 79

/* printf to the end of the help. */
static void help_add (const char *format, ...)
  __attribute__ ((format (printf, 1, 2)));

static void
help_add (const char *format, ...)
{
  size_t at = strlen (keys_help), room = sizeof keys_help - at;
  va_list args;
  int n;

  va_start (args, format);
  n = vsnprintf (keys_help + at, room, format, args);
  va_end (args);
  check_always (n >= 0 && (size_t) n < room);
}

/* Add words from that column on; further lines begin at HELP_COLUMN. */
static void
help_add_words (const char *words, int column)
{
  while (*words) {
    int n = (int) strcspn (words, " ");

    if (column + 1 + n > HELP_WIDTH) {
      help_add ("\n%*s", HELP_COLUMN, "");
      column = HELP_COLUMN;
    }
    else if (column > HELP_COLUMN) {
      help_add (" ");
      column++;
    }
    help_add ("%.*s", n, words);
    column += n;
    words += n;
    words += strspn (words, " ");
  }
}

static const char *
key_default (const struct key *key)
{
  return key->preset ? key->preset : key->otherwise;
}

/* nbdkit's completion looks for lines that begin with "key=". */
static void
help_add_key (const struct key *key)
{
  bool magic = strcmp (key->name, KEYS_MAGIC) == 0;
  const char *usual = key_default (key);
  char name[60], words[200];
  int n;

  n = snprintf (name, sizeof name, magic ? "[%s=]%s" : "%s=%s", key->name,
                key->argument);
  help_add ("%s%-*s", *keys_help ? "\n" : "", HELP_COLUMN, name);
  if (n >= HELP_COLUMN)
    help_add ("\n%*s", HELP_COLUMN, "");
  n = snprintf (words, sizeof words, "%s (%s%s).", key->help,
                usual ? "default: " : "required", usual ? usual : "");
  check_always (n < (int) sizeof words);
  help_add_words (words, HELP_COLUMN);
}

/* "size, algorithm, ..., swap and swap_reserve" */
static void
list_names (char *buf, size_t size)
{
  size_t at = 0;

  for (unsigned i = 0; i < KEYS; i++) {
    at += (size_t) snprintf (buf + at, size - at, "%s%s",
                             i == 0          ? ""
                             : i == KEYS - 1 ? " and "
                                             : ", ",
                             keys_table[i].name);
    check_always (at < size);
  }
}

static int
refuse_unknown (const char *key, const char *value)
{
  char shown[VALUE_SHOWN], key_shown[VALUE_SHOWN], names[600];

  list_names (names, sizeof names);
  nbdkit_error ("%s=%s: unknown key; known are %s",
                shown_cut (key_shown, sizeof key_shown, key, SHOWN_MESSAGE),
                shown_cut (shown, sizeof shown, value, SHOWN_MESSAGE), names);
  return -1;
}

/* -- setting, checking, freeing ----------------------------------------- */

void
keys_load (void)
{
  for (unsigned i = 0; i < KEYS; i++) {
    const struct key *key = &keys_table[i];

    check_always (!key->preset || key->set (key, key->preset) == 0);
    help_add_key (key);
  }
}

int
keys_set (const char *key, const char *value)
{
  for (unsigned i = 0; i < KEYS; i++)
    if (strcmp (key, keys_table[i].name) == 0)
      return keys_table[i].set (&keys_table[i], value);
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

  static_assert (EVICT_HIGH - EVICT_LOW == 5, "as keys_table says");
  if (!keys.evict_low)
    keys.evict_low = keys.evict_high > apart ? keys.evict_high - apart : 1;
  if (keys.evict_low > keys.evict_high) {
    nbdkit_error ("evict_low=%u: must not be over evict_high=%u",
                  keys.evict_low, keys.evict_high);
    return -1;
  }
  if (!keys.backing && keys.backing_size) {
    nbdkit_error ("backing_size=%" PRIi64 ": of no use without backing=",
                  keys.backing_size);
    return -1;
  }
  if (!keys.backing && keys.writeback_limited) {
    nbdkit_error ("writeback_limit=%" PRIi64 ": of no use without backing=",
                  keys.writeback_limit);
    return -1;
  }
  return 0;
}

/* The reserve counts as used, so it must leave most of a limit. */
static int
complete_swap (void)
{
  int64_t most = keys.mem_limit ? keys.mem_limit / SWAP_RESERVE_SHARE
                                : INT64_MAX;

  if (!keys.swap && keys.swap_reserve != -1) {
    nbdkit_error ("swap_reserve=%" PRIi64 ": of no use without swap=true",
                  keys.swap_reserve);
    return -1;
  }
  /* The buffer is uncompressed: it would take as much memory as swapping is
   * meant to free.
   */
  if (keys.swap && keys.write_buffer) {
    nbdkit_error ("write_buffer=%" PRIi64 ": must be 0 with swap=true",
                  keys.write_buffer);
    return -1;
  }
  if (keys.swap_reserve > most) {
    nbdkit_error ("swap_reserve=%" PRIi64 ": must not be over an eighth of "
                  "mem_limit=%" PRIi64,
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
  if (!keys.workers) {
    /* Two for each CPU: a thread that loses its CPU keeps its stream, and with
     * one stream for each CPU the others wait for it.  Measured on 2 cores, 4
     * connections with 8 writes each: 0.34 of nbdkit's null with 2 streams,
     * 0.45 with 4 or 8.
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
