/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The engine alone, without NBD: throughput by threads, the price of the
 * locks and of the latency histograms, and beside them the bare codec on the
 * same pages.
 *
 *   engine-bench --image FILE [--seconds S] [--rounds N] [--slot-size BYTES]
 *                [--threads LIST] [--foreign SHARE] [--retakes N]
 *
 * One JSON object a line.  A sample is S seconds; samples of all cases are
 * taken in turn, N rounds, so that a slow minute of the machine hits all of
 * them; the median of each case is printed, and its samples ("rounds", ns).
 * A sample while which others had more than SHARE of the CPUs is taken again,
 * N times at the most; the one that was disturbed least counts.
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
#include "mem/zsmalloc.h"
#include "store/range.h"
#include "store/reset.h"
#include "store/slot_read.h"
#include "store/slot_write.h"
#include "store/time_sample.h"

#include "foreign.h"

#define MAX_ROUNDS 99
#define MAX_THREADS 64

static const char *image_data;
static uint64_t image_slots;
static uint32_t slot_size = 4096;
static double seconds = 0.5;
static double foreign_limit = 0.05;
static unsigned retakes, disturbed; /* allowed; samples that stayed so */
static struct store *store;
static struct disk *disk;
static atomic_bool go, stop;

static void
die (const char *what)
{
  fprintf (stderr, "engine-bench: %s: %s\n", what, strerror (errno));
  exit (1);
}

/* -- what a thread does, over and over ---------------------------------- */

struct thread {
  pthread_t id;
  const struct bench_case *what;
  uint64_t seed, done;
  char *buf, *packed;
  void *cctx, *dctx;
};

struct bench_case {
  const char *name;
  void (*op) (struct thread *t, uint64_t slot);
  unsigned threads;
  double ns[MAX_ROUNDS]; /* a slot and thread */
  double rate[MAX_ROUNDS];
};

static const char *
page (uint64_t slot)
{
  return image_data + slot * slot_size;
}

static void
op_read (struct thread *t, uint64_t slot)
{
  if (slot_read (disk, slot, t->buf, 0, slot_size, 1))
    die ("read");
}

/* Overwrites what was written before, with other data of the image. */
static void
op_write (struct thread *t, uint64_t slot)
{
  if (slot_write (disk, slot, page ((slot + t->done) % image_slots), 1))
    die ("write");
}

static void
op_bare_compress (struct thread *t, uint64_t slot)
{
  const struct codec *codec = codec_by_id (store->config.primary.format);
  uint64_t word;

  if (!slot_same_filled (page (slot), slot_size, &word) &&
      codec->compress (t->cctx, page (slot), slot_size, t->buf,
                       pool_largest (store->pool)) < 0)
    die ("compress");
}

/* Where the slot's object is, with zsmalloc found without a lock. */
static const char *
object_of (struct slot *s)
{
  uint64_t h = slot_load_cell (s);

  if (pool_has_lru (store->pool)) {
    const char *object = pool_pin (store->pool, &s->cell, &h);

    pool_unpin (store->pool, h);
    return object;
  }
  struct zs_pool *zs = (struct zs_pool *) store->pool;
  const struct size_class_geometry *g = &zs->classes.g[zs_handle_class (h)];

  return arena_address (&zs->arena, zs_handle_span (h)) + g->first +
         (size_t) zs_handle_obj (h) * g->size;
}

/* Every slot's object, straight from where the engine stores it. */
static void
op_bare_decompress (struct thread *t, uint64_t slot)
{
  struct slot *s = (struct slot *) slot_table_peek (&disk->table, slot);
  uint32_t meta = slot_load_meta (s);
  const struct codec *codec = codec_by_id (slot_meta_format (meta));

  if (slot_meta_state (meta) != SLOT_OBJECT) {
    memset (t->buf, 0, slot_size);
    return;
  }
  const char *object = object_of (s);
  if (!codec)
    memcpy (t->buf, object, slot_size);
  else if (codec->decompress (t->dctx, object, slot_meta_size (meta), t->buf,
                              slot_size))
    die ("decompress");
}

/* All that a read locks and unlocks, and nothing else. */
static void
op_locks (struct thread *t, uint64_t slot) NO_THREAD_SAFETY_ANALYSIS
{
  struct slot *s = slot_table_read_lock (&disk->table, slot % 1024, 1);
  uint64_t handle;

  (void) t;
  if (!s)
    return;
  if (slot_meta_state (slot_load_meta (s)) == SLOT_OBJECT &&
      pool_pin (store->pool, &s->cell, &handle))
    pool_unpin (store->pool, handle);
  slot_read_unlock (s);
}

/* As a client asks for it: announced, counted and timed. */
static void
op_read_request (struct thread *t, uint64_t slot)
{
  if (disk_read (disk, t->buf, slot_size, slot * slot_size))
    die ("read request");
}

static struct histogram times, codec_times;

/* All that a request to read one slot does for the latency histograms, and
 * nothing else: the request's own time, and one in so many of the codec's.
 */
static void
op_histograms (struct thread *t, uint64_t slot)
{
  uint64_t start = clock_ns ();

  (void) slot;
  if (t->done % TIME_SAMPLE == 0) {
    uint64_t codec_start = clock_ns ();

    histogram_add (&codec_times, clock_ns () - codec_start);
  }
  histogram_add (&times, clock_ns () - start);
}

static struct bench_case cases[64];
static unsigned case_count;

static void
add_case (const char *name, void (*op) (struct thread *, uint64_t),
          unsigned threads)
{
  cases[case_count++] = (struct bench_case){ .name = name,
                                             .op = op,
                                             .threads = threads };
}

/* -- running ------------------------------------------------------------ */

static void *
run_thread (void *arg)
{
  struct thread *t = arg;

  while (!atomic_load (&go))
    sched_yield ();
  while (!atomic_load_explicit (&stop, memory_order_relaxed)) {
    t->seed = t->seed * UINT64_C (6364136223846793005) + 1442695040888963407u;
    t->what->op (t, (t->seed >> 33) % image_slots);
    t->done++;
  }
  return NULL;
}

struct outcome {
  double ns, rate, foreign;
};

static struct outcome
sample_once (const struct bench_case *c, unsigned round)
{
  static struct thread threads[MAX_THREADS];
  const struct codec *codec = codec_by_id (store->config.primary.format);
  const struct codec_params params = { .level = store->config.primary.level,
                                       .slot_size = slot_size };
  uint64_t done = 0, start, end;
  struct timespec ts = { .tv_sec = (time_t) seconds,
                         .tv_nsec = (long) ((seconds - (time_t) seconds) *
                                            1e9) };

  atomic_store (&go, false);
  atomic_store (&stop, false);
  for (unsigned i = 0; i < c->threads; i++) {
    struct thread *t = &threads[i];

    *t = (struct thread){ .what = c, .seed = round * 1000 + i };
    t->buf = aligned_alloc (64, 2 * (size_t) slot_size);
    t->cctx = codec->cctx_create (&params);
    t->dctx = codec->decompress_needs_ctx ? codec->dctx_create (&params) : NULL;
    if (!t->buf || !t->cctx ||
        pthread_create (&t->id, NULL, run_thread, t) != 0)
      die ("thread");
  }
  struct foreign others = foreign_start ();
  start = clock_ns ();
  atomic_store (&go, true);
  nanosleep (&ts, NULL);
  atomic_store (&stop, true);
  for (unsigned i = 0; i < c->threads; i++) {
    struct thread *t = &threads[i];

    pthread_join (t->id, NULL);
    done += t->done;
    free (t->buf);
    codec->cctx_destroy (t->cctx);
    if (t->dctx)
      codec->dctx_destroy (t->dctx);
  }
  end = clock_ns ();
  return (struct outcome){ (double) (end - start) * c->threads / done,
                           done * 1e9 / (end - start),
                           foreign_share (&others) };
}

static void
sample (struct bench_case *c, unsigned round)
{
  struct outcome best = sample_once (c, round);

  for (unsigned n = 0; n < retakes && best.foreign > foreign_limit; n++) {
    struct outcome again = sample_once (c, round);

    if (again.foreign < best.foreign)
      best = again;
  }
  disturbed += best.foreign > foreign_limit;
  c->ns[round] = best.ns;
  c->rate[round] = best.rate;
}

static int
compare_double (const void *a, const void *b)
{
  double x = *(const double *) a, y = *(const double *) b;

  return (x > y) - (x < y);
}

static double
median (const double *v, unsigned n)
{
  double sorted[MAX_ROUNDS];

  memcpy (sorted, v, n * sizeof *v);
  qsort (sorted, n, sizeof *sorted, compare_double);
  return sorted[n / 2];
}

/* The median over the rounds of a's figure to b's, each of one round. */
static double
ratio (const double *a, const double *b, unsigned n)
{
  double r[MAX_ROUNDS];

  for (unsigned i = 0; i < n; i++)
    r[i] = a[i] / b[i];
  return median (r, n);
}

static const struct bench_case *
find_case (const char *name, unsigned threads)
{
  for (unsigned i = 0; i < case_count; i++)
    if (strcmp (cases[i].name, name) == 0 && cases[i].threads == threads)
      return &cases[i];
  return NULL;
}

static void
print_case (const struct bench_case *c, const char *algorithm, unsigned rounds)
{
  const struct bench_case *one = find_case (c->name, 1);

  printf ("{\"case\": \"%s\", \"algorithm\": \"%s\", \"threads\": %u, "
          "\"slot_size\": %u, \"ns a slot\": %.0f, \"slots/s\": %.0f, "
          "\"times one thread\": %.2f, \"rounds\": [",
          c->name, algorithm, c->threads, slot_size, median (c->ns, rounds),
          median (c->rate, rounds),
          one ? ratio (c->rate, one->rate, rounds) : 0.);
  for (unsigned r = 0; r < rounds; r++)
    printf ("%s%.1f", r ? ", " : "", c->ns[r]);
  printf ("]}\n");
}

static void
report (const char *algorithm, unsigned rounds)
{
  static const char *const pairs[][2] = { { "write", "bare compress" },
                                          { "read", "bare decompress" } };
  const struct bench_case *part = find_case ("histograms of a read", 1);
  const struct bench_case *whole = find_case ("read request", 1);

  for (unsigned i = 0; i < case_count; i++)
    print_case (&cases[i], algorithm, rounds);
  for (unsigned i = 0; i < 2; i++) {
    const struct bench_case *a = find_case (pairs[i][0], 1);
    const struct bench_case *b = find_case (pairs[i][1], 1);

    if (a && b)
      printf ("{\"engine\": \"%s\", \"bare codec\": \"%s\", "
              "\"slot_size\": %u, \"time ratio\": %.3f}\n",
              a->name, b->name, slot_size, ratio (a->ns, b->ns, rounds));
  }
  printf ("{\"part\": \"%s\", \"of a\": \"%s\", \"slot_size\": %u, "
          "\"ns\": %.1f, \"percent\": %.2f}\n",
          part->name, whole->name, slot_size, median (part->ns, rounds),
          100 * ratio (part->ns, whole->ns, rounds));
  printf ("{\"samples\": %u, \"still disturbed\": %u}\n", case_count * rounds,
          disturbed);
}

/* -- setting up --------------------------------------------------------- */

static void
map_image (const char *name)
{
  int fd = open (name, O_RDONLY);
  struct stat st;

  if (fd == -1 || fstat (fd, &st) == -1)
    die (name);
  image_slots = (uint64_t) st.st_size / slot_size;
  image_data = mmap (NULL, (size_t) st.st_size, PROT_READ,
                     MAP_SHARED | MAP_POPULATE, fd, 0);
  if (image_data == MAP_FAILED || image_slots == 0)
    die (name);
  close (fd);
}

static void
fill (const char *algorithm)
{
  const struct codec *codec = codec_find (algorithm);
  struct store_config config = { .slot_size = slot_size,
                                 .allocator = getenv ("ZRAM_TEST_ALLOCATOR"),
                                 .disk_bytes = image_slots * slot_size };

  if (!codec) {
    errno = EINVAL;
    die (algorithm);
  }
  config.workers = cpu_count ();
  config.primary = (struct zcomp_method){ codec_id (codec),
                                          codec->level_default };
  store = store_create (&config);
  disk = store ? disk_create (store, config.disk_bytes) : NULL;
  if (!disk || histogram_init (&times) || histogram_init (&codec_times))
    die ("engine");
  for (uint64_t i = 0; i < image_slots; i++)
    if (slot_write (disk, i, page (i), 1))
      die ("fill");
}

static void
add_cases (char *list)
{
  add_case ("locks of a read", op_locks, 1);
  add_case ("histograms of a read", op_histograms, 1);
  add_case ("read request", op_read_request, 1);
  add_case ("bare compress", op_bare_compress, 1);
  add_case ("bare decompress", op_bare_decompress, 1);
  for (char *word = strtok (list, ","); word; word = strtok (NULL, ",")) {
    unsigned n = (unsigned) atoi (word);

    if (n < 1 || n > MAX_THREADS) {
      errno = EINVAL;
      die ("--threads");
    }
    add_case ("read", op_read, n);
    add_case ("write", op_write, n);
  }
}

int
main (int argc, char **argv)
{
  const char *image = NULL, *algorithm = "lz4";
  char threads[128] = "1,2,4,8,16";
  unsigned rounds = 5;

  for (int i = 1; i + 1 < argc; i += 2) {
    if (strcmp (argv[i], "--image") == 0)
      image = argv[i + 1];
    else if (strcmp (argv[i], "--seconds") == 0)
      seconds = atof (argv[i + 1]);
    else if (strcmp (argv[i], "--rounds") == 0)
      rounds = (unsigned) atoi (argv[i + 1]);
    else if (strcmp (argv[i], "--foreign") == 0)
      foreign_limit = atof (argv[i + 1]);
    else if (strcmp (argv[i], "--retakes") == 0)
      retakes = (unsigned) atoi (argv[i + 1]);
    else if (strcmp (argv[i], "--slot-size") == 0)
      slot_size = (uint32_t) atoi (argv[i + 1]);
    else if (strcmp (argv[i], "--algorithm") == 0)
      algorithm = argv[i + 1];
    else if (strcmp (argv[i], "--threads") == 0)
      snprintf (threads, sizeof threads, "%s", argv[i + 1]);
    else {
      fprintf (stderr, "engine-bench: unknown option %s\n", argv[i]);
      return 2;
    }
  }
  if (!image || rounds < 1 || rounds > MAX_ROUNDS || slot_size < 4096 ||
      slot_size > 65536 || (slot_size & (slot_size - 1))) {
    fprintf (stderr, "usage: engine-bench --image FILE [--seconds S] "
                     "[--rounds 1-99] [--slot-size 4096-65536] "
                     "[--algorithm NAME] [--threads LIST]\n"
                     "       [--foreign SHARE] [--retakes N]\n");
    return 2;
  }
  map_image (image);
  fill (algorithm);
  add_cases (threads);
  for (unsigned r = 0; r < rounds; r++)
    for (unsigned i = 0; i < case_count; i++)
      sample (&cases[(i + r) % case_count], r);
  report (algorithm, rounds);
  histogram_destroy (&times);
  histogram_destroy (&codec_times);
  disk_destroy (disk);
  store_destroy (store);
  return 0;
}
