/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the background passes win and cost, without NBD:
 *
 *   passes-bench --image FILE [--seconds S] [--store PATH] [--workers N]
 *
 * The image is written with lz4; then it is recompressed with zstd level 3, 9,
 * and 9 with a dictionary trained on it (each from lz4), and written back to
 * PATH (a new file, /dev/shm/passes-bench.PID by itself).  Beside each pass,
 * by hand and with requests first, a thread reads slots at random: its rate
 * and 99th percentile, against those without a pass, in turns.  One JSON object
 * a line.
 */

#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "maint/dictionary.h"
#include "maint/writeback.h"
#include "store/audit.h"
#include "store/range.h"
#include "store/reset.h"
#include "store/slot_read.h"
#include "store/slot_write.h"

#define SLOT 4096u

static const char *image;
static uint64_t image_bytes, slots;
static double seconds = 2;
static unsigned workers = 4;
static char store_path[200];
static struct store *store;
static struct disk *disk;
static struct recompressor *recompressor;

static void
die (const char *what)
{
  fprintf (stderr, "passes-bench: %s: %s\n", what, strerror (errno));
  exit (1);
}

/* -- a disk that holds the image, in lz4 ------------------------------- */

static void
fill (void)
{
  const uint64_t chunk = 1 << 20;

  for (uint64_t at = 0; at < image_bytes; at += chunk)
    if (disk_write (
          disk, image + at,
          (uint32_t) (image_bytes - at < chunk ? image_bytes - at : chunk), at))
      die ("write");
}

static void
open_disk (void)
{
  const struct store_config config = {
    .slot_size = SLOT,
    .primary = { codec_id (codec_find ("lz4")), 1 },
    .workers = workers,
    .disk_bytes = image_bytes,
  };

  store = store_create (&config);
  disk = store && store_start (store) == 0 ? disk_create (store, image_bytes)
                                           : NULL;
  recompressor = disk ? recompressor_create (disk->store, NULL, 0) : NULL;
  if (!recompressor)
    die ("open");
  fill ();
}

static void
close_disk (void)
{
  struct reason why;

  if (store_audit (disk->store, false, &why)) {
    fprintf (stderr, "passes-bench: audit: %s\n", why.text);
    exit (1);
  }
  recompressor_destroy (recompressor);
  disk_destroy (disk);
  store_destroy (store);
}

/* Compare all of it with the image, one way or another read back. */
static void
verify (void)
{
  char buf[SLOT];

  for (uint64_t i = 0; i < slots; i += 7) {
    if (slot_read_unnoticed (disk, i, buf) == -1 && errno != ENOENT)
      die ("read back");
    if (errno != ENOENT && memcmp (buf, image + i * SLOT, SLOT) != 0) {
      fprintf (stderr, "passes-bench: slot %" PRIu64 " differs\n", i);
      exit (1);
    }
    errno = 0;
  }
}

/* -- readers beside a pass ------------------------------------------------ */

struct reader {
  atomic_bool stop;
  uint64_t first, end; /* slots */
  uint64_t reads, ns;
  uint32_t *latency; /* ns, of each read */
  uint64_t room;
  pthread_t thread;
};

static void *
read_at_random (void *arg)
{
  struct reader *r = arg;
  uint64_t x = 88172645463325252u, start = clock_ns (), now = start;
  char buf[SLOT];

  while (!atomic_load_explicit (&r->stop, memory_order_relaxed)) {
    uint64_t before = now;

    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    if (disk_read (disk, buf, SLOT,
                   (r->first + x % (r->end - r->first)) * SLOT))
      die ("read");
    now = clock_ns ();
    if (r->reads < r->room)
      r->latency[r->reads] = (uint32_t) (now - before);
    r->reads++;
  }
  r->ns = now - start;
  return NULL;
}

static void
start_reader (struct reader *r, uint64_t first, uint64_t end)
{
  memset (r, 0, sizeof *r);
  r->first = first;
  r->end = end;
  r->room = 20000000;
  r->latency = malloc (r->room * sizeof *r->latency);
  if (!r->latency || pthread_create (&r->thread, NULL, read_at_random, r))
    die ("thread");
}

static int
by_size (const void *a, const void *b)
{
  uint32_t x = *(const uint32_t *) a, y = *(const uint32_t *) b;

  return x < y ? -1 : x > y;
}

struct speed {
  double rate;  /* reads a second */
  uint32_t p99; /* ns */
};

static struct speed
end_reader (struct reader *r)
{
  struct speed s;
  uint64_t n;

  atomic_store (&r->stop, true);
  pthread_join (r->thread, NULL);
  n = r->reads < r->room ? r->reads : r->room;
  qsort (r->latency, n, sizeof *r->latency, by_size);
  s.rate = (double) r->reads * 1e9 / (double) r->ns;
  s.p99 = n ? r->latency[n * 99 / 100] : 0;
  free (r->latency);
  return s;
}

static void
rest (double s)
{
  struct timespec ts = { .tv_sec = (time_t) s,
                         .tv_nsec = (long) ((s - (double) (time_t) s) * 1e9) };

  nanosleep (&ts, NULL);
}

static struct speed
speed_without (uint64_t first, uint64_t end)
{
  struct reader r;

  start_reader (&r, first, end);
  rest (seconds);
  return end_reader (&r);
}

static void
say_speeds (const char *pass, struct speed without, struct speed during)
{
  printf ("{\"reads beside\":\"%s\",\"k reads/s without\":%.1f,"
          "\"during\":%.1f,\"rate ratio\":%.3f,\"p99 us without\":%.2f,"
          "\"p99 us during\":%.2f,\"p99 ratio\":%.2f}\n",
          pass, without.rate / 1e3, during.rate / 1e3,
          during.rate / without.rate, without.p99 / 1e3, during.p99 / 1e3,
          (double) during.p99 / without.p99);
  fflush (stdout);
}

/* -- recompression ------------------------------------------------------- */

struct pass {
  struct recompress_totals recompressed;
  struct writeback_totals written;
  struct pass_progress progress;
  uint64_t first, end;
  pthread_t thread;
};

static void
recompress (struct pass *p)
{
  const struct recompress_request range = { .disk = disk,
                                            .first = p->first,
                                            .end = p->end };
  struct pace pace;

  pace_init (&pace, store, NULL, 100, PACE_BUSY_PERCENT);
  if (recompressor_run (recompressor, &range, &pace, &p->progress,
                        &p->recompressed) == -1)
    die ("recompress");
}

static void *
recompress_thread (void *arg)
{
  recompress (arg);
  return NULL;
}

static uint64_t
stored_bytes (void)
{
  return (uint64_t) counter_sum (&disk->counters, DISK_COMPR_BYTES);
}

static void
train (void)
{
  const struct train_request request = { .size = 110 << 10 };
  struct train_result result;
  struct reason why;
  uint64_t start = clock_ns ();

  if (dictionary_train (disk->store, recompressor, &request, NULL, &result,
                        &why) == -1) {
    fprintf (stderr, "passes-bench: train: %s\n", why.text);
    exit (1);
  }
  for (unsigned i = 0; i < result.n; i++) {
    const struct train_gain *g = &result.gains[i];

    printf ("{\"trained\":\"%s\",\"bytes\":%zu,\"samples\":%" PRIu64
            ",\"gain on held-out slots\":%.4f,\"installed\":%s,"
            "\"seconds in all\":%.2f}\n",
            g->codec->name, g->size, result.samples,
            1 - (double) g->after / (double) g->before,
            g->installed ? "true" : "false",
            (double) (clock_ns () - start) / 1e9);
  }
  fflush (stdout);
}

/* Is it an object in zstd? */
static bool
is_recompressed (const struct slot *s)
{
  uint32_t meta = s ? slot_load_meta (s) : 0;

  return slot_meta_state (meta) == SLOT_OBJECT && slot_meta_by (meta) != 0;
}

/* The library alone, on the object where it lies. */
static uint64_t
time_library (struct slot *s, char *buf)
{
  uint32_t meta = slot_load_meta (s);
  struct zcomp_reader reader;
  uint64_t handle, start;
  void *object;

  if (zcomp_reader_get (store->zcomp, slot_meta_format (meta), &reader))
    die ("reader");
  object = pool_pin (store->pool, &s->cell, &handle);
  start = clock_ns ();
  if (zcomp_reader_decompress (&reader, object, slot_meta_size (meta), buf,
                               SLOT))
    die ("decompress");
  start = clock_ns () - start;
  pool_unpin (store->pool, handle);
  zcomp_reader_put (&reader);
  return start;
}

/* What a read of such a slot costs beyond what the library takes: in turns, a
 * slot the one way and the next one the other, so that both find it as cold.
 */
static void
time_reads (const char *name)
{
  uint64_t ns[2] = { 0 }, n[2] = { 0 };
  char buf[SLOT];

  for (uint64_t i = 0; i < slots; i++) {
    struct slot *s = (struct slot *) slot_table_peek (&disk->table, i);
    unsigned way = (n[0] + n[1]) % 2;
    uint64_t start;

    if (!is_recompressed (s))
      continue;
    if (way == 0) {
      start = clock_ns ();
      if (slot_read (disk, i, buf, 0, SLOT, 1))
        die ("read");
      ns[0] += clock_ns () - start;
    }
    else
      ns[1] += time_library (s, buf);
    n[way]++;
  }
  if (!n[1])
    return;
  printf ("{\"read of\":\"%s\",\"ns a slot\":%" PRIu64
          ",\"ns in the library\":%" PRIu64 ",\"beyond it\":%" PRId64 "}\n",
          name, ns[0] / n[0], ns[1] / n[1],
          (int64_t) (ns[0] / n[0]) - (int64_t) (ns[1] / n[1]));
  fflush (stdout);
}

static void
bench_recompress (const char *name, int level, bool with_dict, bool readers)
{
  struct zcomp_method method = { codec_id (codec_find ("zstd")), level };
  struct speed without, during;
  struct pass p = { .first = 0 };
  struct reader r;
  uint64_t before, start;

  open_disk ();
  recompressor_set_methods (recompressor, &method, 1);
  if (with_dict)
    train ();
  before = stored_bytes ();
  if (readers) { /* of slots that stay as they are */
    p.first = slots / 2;
    without = speed_without (0, slots / 2);
    if (pthread_create (&p.thread, NULL, recompress_thread, &p))
      die ("thread");
    start_reader (&r, 0, slots / 2);
    rest (seconds);
    during = end_reader (&r);
    say_speeds (name, without, during);
    atomic_store (&p.progress.cancel, true);
    pthread_join (p.thread, NULL);
  }
  else {
    start = clock_ns ();
    recompress (&p);
    printf ("{\"recompress\":\"%s\",\"stored MB before\":%.1f,"
            "\"after\":%.1f,\"ratio\":%.4f,\"slots\":%" PRIu64
            ",\"in vain\":%" PRIu64 ",\"MB/s\":%.0f}\n",
            name, (double) before / 1e6, (double) stored_bytes () / 1e6,
            (double) stored_bytes () / (double) before,
            p.recompressed.recompressed, p.recompressed.vain,
            (double) image_bytes / 1e6 /
              ((double) (clock_ns () - start) / 1e9));
    fflush (stdout);
    time_reads (name);
  }
  verify ();
  close_disk ();
}

/* -- writeback ------------------------------------------------------------ */

static void
give_store (void)
{
  const struct backing_config config = {
    .where = store_path,
    .size = (image_bytes * 5 / 4 + (1 << 20)) & ~UINT64_C (4095)
  };
  struct reason why;
  struct backing *io = backing_open (&config, &why);
  struct backed *backed = io ? backed_create (io) : NULL;

  if (!backed) {
    fprintf (stderr, "passes-bench: %s: %s\n", store_path, io ? "" : why.text);
    exit (1);
  }
  store_set_backed (disk->store, backed);
  if (backing_start (io))
    die ("threads");
}

static void *
write_back (void *arg)
{
  struct pass *p = arg;
  struct slot_range range = { p->first, p->end };
  const struct writeback_request request = { .disk = disk,
                                             .ranges = &range,
                                             .ranges_count = 1 };
  struct writeback wb;
  struct pace pace;

  writeback_init (&wb, disk->store);
  pace_init (&pace, store, NULL, 100, PACE_BUSY_PERCENT);
  if (writeback_run (&wb, &request, &pace, &p->progress, &p->written) == -1)
    die ("writeback");
  writeback_destroy (&wb);
  return NULL;
}

/* The first half while the second half is read, the second half alone. */
static void
bench_writeback (void)
{
  struct pass with = { .first = 0, .end = slots / 2 };
  struct pass alone = { .first = slots / 2, .end = slots };
  struct speed without, during;
  struct reader r;
  uint64_t start;

  open_disk ();
  give_store ();
  without = speed_without (slots / 2, slots);
  if (pthread_create (&with.thread, NULL, write_back, &with))
    die ("thread");
  start_reader (&r, slots / 2, slots);
  pthread_join (with.thread, NULL);
  during = end_reader (&r);
  say_speeds ("writeback", without, during);

  start = clock_ns ();
  write_back (&alone);
  double s = (double) (clock_ns () - start) / 1e9;
  const struct batch_totals *t = &alone.written.written;
  printf ("{\"writeback\":\"%s\",\"MB of data\":%.1f,\"MB/s\":%.0f,"
          "\"compressed MB\":%.1f,\"written MB\":%.1f,\"ratio\":%.4f,"
          "\"error\":%d}\n",
          "lz4", (double) t->slots * SLOT / 1e6,
          (double) t->slots * SLOT / 1e6 / s, (double) t->bytes / 1e6,
          (double) t->backing_bytes / 1e6,
          (double) t->backing_bytes / (double) t->bytes, alone.written.error);
  fflush (stdout);
  verify ();
  close_disk ();
  unlink (store_path);
}

/* -- all ------------------------------------------------------------------ */

static void
open_image (const char *path)
{
  int fd = open (path, O_RDONLY | O_CLOEXEC);
  struct stat st;

  if (fd == -1 || fstat (fd, &st) == -1)
    die (path);
  slots = (uint64_t) st.st_size / SLOT;
  image_bytes = slots * SLOT;
  image = mmap (NULL, image_bytes, PROT_READ, MAP_SHARED | MAP_POPULATE, fd, 0);
  if (image == MAP_FAILED || slots < 1000)
    die (path);
  close (fd);
}

int
main (int argc, char **argv)
{
  const char *path = NULL;

  snprintf (store_path, sizeof store_path, "/dev/shm/passes-bench.%ld",
            (long) getpid ());
  for (int i = 1; i + 1 < argc; i += 2) {
    if (strcmp (argv[i], "--image") == 0)
      path = argv[i + 1];
    else if (strcmp (argv[i], "--seconds") == 0)
      seconds = atof (argv[i + 1]);
    else if (strcmp (argv[i], "--workers") == 0)
      workers = (unsigned) atoi (argv[i + 1]);
    else if (strcmp (argv[i], "--store") == 0)
      snprintf (store_path, sizeof store_path, "%s", argv[i + 1]);
    else
      path = NULL;
  }
  if (!path) {
    fprintf (stderr, "usage: passes-bench --image FILE [--seconds S] "
                     "[--store PATH] [--workers N]\n");
    return 2;
  }
  open_image (path);
  bench_writeback ();
  bench_recompress ("zstd level 3", 3, false, false);
  bench_recompress ("zstd level 9", 9, false, false);
  bench_recompress ("zstd level 9, trained dictionary", 9, true, false);
  bench_recompress ("recompression, zstd level 9", 9, false, true);
  return 0;
}
