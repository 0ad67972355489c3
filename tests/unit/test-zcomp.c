/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The compression streams: who gets one, when there are few, when their
 * number changes under the borrowers, when a codec sleeps, when memory fails.
 *
 * Nothing here is timed.  A thread that should have been let in and was not
 * hangs the test; the alarm below ends that.
 */

#include <config.h>

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/check.h"
#include "base/fault.h"
#include "comp/zcomp.h"

#define SLOT 4096
#define HANG 600 /* seconds; far more than any of this takes */

#define LZ4 1
#define LZ4HC 2
#define ZSTD 3
#define DEFLATE 4

static const struct zcomp_method lz4 = { LZ4, 1 };
static const struct zcomp_method zstd = { ZSTD, 3 };
static const struct zcomp_method methods[] = {
  { LZ4, 1 }, { ZSTD, 3 }, { LZ4HC, 9 }, { DEFLATE, 6 }, { ZSTD, 1 },
  { LZ4, 7 },
};
#define METHODS (sizeof methods / sizeof *methods)

/* A slot that compresses, and that only this seed makes. */
static void
fill (unsigned char *p, uint64_t seed)
{
  uint64_t x = seed * UINT64_C (0x9e3779b97f4a7c15) + 1;

  memset (p, 0, SLOT);
  for (size_t i = 0; i < SLOT / 2; i += 16) {
    x = x * UINT64_C (6364136223846793005) + UINT64_C (1442695040888963407);
    memcpy (p + i, &x, 8);
    memset (p + i + 8, (int) (seed & 0xff), 8);
  }
}

/* Compress on a borrowed stream, keep the result, decompress, compare.
 * Not cmocka's asserts: this runs in threads.
 */
static void
round_trip (struct zcomp *z, const struct zcomp_method *method, uint64_t seed)
{
  unsigned char plain[SLOT], object[SLOT], back[SLOT];
  struct zcomp_stream *stream;
  const void *out;
  ssize_t n;

  fill (plain, seed);
  stream = zcomp_stream_get (z);
  n = zcomp_compress (stream, method, plain, SLOT, SLOT - 1, &out);
  check_always (n > 0 && n < SLOT);
  memcpy (object, out, (size_t) n);
  zcomp_stream_put (stream);
  check_always (zcomp_decompress (z, method->codec_id, object, (size_t) n,
                                  back, SLOT)
                == 0);
  check_always (memcmp (plain, back, SLOT) == 0);
}

static struct zcomp *
make (const struct zcomp_method *primary, unsigned workers)
{
  struct zcomp *z = zcomp_new (primary, SLOT, workers);

  assert_non_null (z);
  assert_int_equal (zcomp_workers (z), workers);
  return z;
}

static pthread_t
start (void *(*f) (void *), void *arg)
{
  pthread_t t;

  assert_int_equal (pthread_create (&t, NULL, f, arg), 0);
  return t;
}

/* Wait until that thread sleeps in the kernel (not until some time passed).
 */
static void
wait_until_asleep (pid_t tid)
{
  char path[64], line[256], *p;
  FILE *fp;

  snprintf (path, sizeof path, "/proc/self/task/%d/stat", (int) tid);
  for (;;) {
    fp = fopen (path, "r");
    assert_non_null (fp);
    assert_non_null (fgets (line, sizeof line, fp));
    fclose (fp);
    p = strrchr (line, ')');
    assert_non_null (p);
    if (p[2] == 'S')
      return;
    sched_yield ();
  }
}

/* ------------------------------------------------------------------------
 * One thread.
 */

static void
test_arguments (void **state)
{
  static const struct zcomp_method wrong[] = {
    { CODEC_RAW, 1 }, { 9, 1 },      { CODEC_IDS, 1 },
    { LZ4, 0 },       { LZ4HC, 13 }, { DEFLATE, 0 },
  };
  struct zcomp *z;

  (void) state;
  for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
    errno = 0;
    assert_null (zcomp_new (&wrong[i], SLOT, 1));
    assert_int_equal (errno, EINVAL);
  }
  errno = 0;
  assert_null (zcomp_new (&lz4, SLOT, 0));
  assert_int_equal (errno, EINVAL);
  assert_null (zcomp_new (&lz4, SLOT, ZCOMP_MAX_STREAMS + 1));
  zcomp_free (NULL);

  z = make (&lz4, ZCOMP_MAX_STREAMS);
  errno = 0;
  assert_int_equal (zcomp_set_workers (z, 0), -1);
  assert_int_equal (errno, EINVAL);
  assert_int_equal (zcomp_set_workers (z, ZCOMP_MAX_STREAMS + 1), -1);
  assert_int_equal (zcomp_workers (z), ZCOMP_MAX_STREAMS);
  assert_int_equal (zcomp_primary (z)->codec_id, LZ4);
  assert_int_equal (zcomp_primary (z)->level, 1);
  zcomp_free (z);
}

/* Every method on one stream, more of them than it keeps contexts for. */
static void
test_methods (void **state)
{
  struct zcomp *z = make (&zstd, 1);
  struct zcomp_method m = { .codec_id = LZ4 };
  size_t memory;

  (void) state;
  for (unsigned i = 0; i < 10 * METHODS; i++)
    round_trip (z, &methods[(i * 5 + i / METHODS) % METHODS], i);
  zcomp_free (z);

  /* As many as it keeps: once all are there, nothing is made any more. */
  z = make (&zstd, 1);
  for (unsigned i = 0; i < ZCOMP_MAX_METHODS; i++)
    round_trip (z, &methods[i], i);
  memory = zcomp_memory (z);
  for (unsigned i = 0; i < 3 * ZCOMP_MAX_METHODS; i++) {
    round_trip (z, &methods[i % ZCOMP_MAX_METHODS], i);
    assert_int_equal (zcomp_memory (z), memory);
  }

  /* A hundred more take the places of the others, they do not heap up. */
  for (m.level = 1; m.level <= 100; m.level++)
    round_trip (z, &m, 1);
  assert_true (zcomp_memory (z) <= memory);
  zcomp_free (z);
}

static void
test_memory (void **state)
{
  struct zcomp *z = make (&zstd, 1);
  size_t one = zcomp_memory (z), per_stream;

  (void) state;
  assert_int_equal (zcomp_set_workers (z, 2), 0);
  per_stream = zcomp_memory (z) - one;
  /* Two buffers and zstd's contexts, and not a context of megabytes. */
  assert_in_range (per_stream, 2 * SLOT + 65536, 512 * 1024);
  assert_int_equal (zcomp_set_workers (z, 10), 0);
  assert_int_equal (zcomp_memory (z), one + 9 * per_stream);
  assert_int_equal (zcomp_set_workers (z, 1), 0);
  assert_int_equal (zcomp_memory (z), one);

  /* What was made on demand goes with its stream. */
  assert_int_equal (zcomp_set_workers (z, 2), 0);
  for (unsigned i = 0; i < METHODS; i++)
    round_trip (z, &methods[i], i);
  assert_true (zcomp_memory (z) > one + per_stream);
  assert_int_equal (zcomp_set_workers (z, 1), 0);
  assert_int_equal (zcomp_set_workers (z, 2), 0);
  round_trip (z, &lz4, 1);
  zcomp_free (z);
}

static void
test_errors (void **state)
{
  static const struct zcomp_method wrong = { ZSTD, 23 };
  struct zcomp *z = make (&lz4, 1);
  struct zcomp_stream *stream = zcomp_stream_get (z);
  struct zcomp_reader reader;
  unsigned char plain[SLOT], object[SLOT], back[SLOT];
  const void *out;
  ssize_t n;

  (void) state;
  fill (plain, 1);
  errno = 0;
  n = zcomp_compress (stream, &wrong, plain, SLOT, SLOT, &out);
  assert_int_equal (n, -1);
  assert_int_equal (errno, EINVAL);
  n = zcomp_compress (stream, &lz4, plain, SLOT, 100, &out);
  assert_int_equal (n, 0);
  n = zcomp_compress (stream, &zstd, plain, SLOT, SLOT, &out);
  assert_in_range (n, 1, SLOT);
  memcpy (object, out, (size_t) n);

  /* Decompressing on the borrowed stream, into its own scratch. */
  assert_int_equal (zcomp_stream_reader (stream, ZSTD, &reader), 0);
  assert_int_equal (zcomp_reader_decompress (&reader, object, (size_t) n,
                                             zcomp_stream_scratch (stream),
                                             SLOT),
                    0);
  assert_memory_equal (zcomp_stream_scratch (stream), plain, SLOT);
  zcomp_reader_put (&reader);
  errno = 0;
  assert_int_equal (zcomp_stream_reader (stream, 9, &reader), -1);
  assert_int_equal (errno, EIO);
  zcomp_stream_put (stream);

  errno = 0;
  assert_int_equal (zcomp_decompress (z, CODEC_RAW, object, 10, back, SLOT),
                    -1);
  assert_int_equal (errno, EIO);
  for (unsigned id = LZ4; id <= DEFLATE; id++) {
    memset (object, 0xff, sizeof object);
    errno = 0;
    assert_int_equal (zcomp_decompress (z, id, object, 100, back, SLOT), -1);
    assert_int_equal (errno, EIO);
    assert_true (zcomp_is_idle (z));
  }
  zcomp_free (z);
}

/* ------------------------------------------------------------------------
 * Many threads, while the number of streams goes up and down.
 */

#define HAMMERS 8
#define ROUNDS 3000

struct hammer {
  struct zcomp *z;
  unsigned id, max_streams;
  atomic_int *borrowed, *left;
};

static void *
hammer (void *arg)
{
  struct hammer *h = arg;
  struct zcomp_stream *stream;
  uint64_t mine;

  for (unsigned i = 0; i < ROUNDS; i++) {
    round_trip (h->z, &methods[i % 16 ? i % 2 : i / 16 % METHODS],
                h->id * ROUNDS + i);

    /* Nobody else has the stream that I have. */
    stream = zcomp_stream_get (h->z);
    check_always (atomic_fetch_add (h->borrowed, 1) < (int) h->max_streams);
    mine = h->id * ROUNDS + i + 1;
    memcpy (zcomp_stream_scratch (stream), &mine, sizeof mine);
    if (i % 8 == 0)
      sched_yield ();
    check_always (memcmp (zcomp_stream_scratch (stream), &mine, sizeof mine)
                  == 0);
    atomic_fetch_sub (h->borrowed, 1);
    zcomp_stream_put (stream);
  }
  atomic_fetch_sub (h->left, 1);
  return NULL;
}

/* Runs the hammers, and calls meanwhile () until they are done. */
static void
run_hammers (struct zcomp *z, unsigned max_streams,
             void *(*body) (void *),
             void (*meanwhile) (struct zcomp *z, unsigned turn))
{
  atomic_int borrowed = 0, left = HAMMERS;
  struct hammer h[HAMMERS];
  pthread_t t[HAMMERS];

  for (unsigned i = 0; i < HAMMERS; i++) {
    h[i] = (struct hammer) { z, i, max_streams, &borrowed, &left };
    t[i] = start (body, &h[i]);
  }
  for (unsigned turn = 0; meanwhile && atomic_load (&left) > 0; turn++)
    meanwhile (z, turn);
  for (unsigned i = 0; i < HAMMERS; i++)
    pthread_join (t[i], NULL);
}

static void
switch_workers (struct zcomp *z, unsigned turn)
{
  unsigned n = turn % 2 ? 1 : 8;

  assert_int_equal (zcomp_set_workers (z, n), 0);
  assert_int_equal (zcomp_workers (z), n);
  if (turn % 4 == 0)
    sched_yield ();
}

static void
test_switching (void **state)
{
  struct zcomp *z = make (&lz4, 1);

  (void) state;
  run_hammers (z, 8, hammer, switch_workers);
  assert_true (zcomp_is_idle (z));
  zcomp_free (z);

  z = make (&zstd, 8);
  run_hammers (z, 8, hammer, switch_workers);
  assert_true (zcomp_is_idle (z));
  zcomp_free (z);
}

/* Eight threads share one stream, then two: each put must let somebody in.
 */
static void
test_few_streams (void **state)
{
  struct zcomp *z = make (&lz4, 1);

  (void) state;
  run_hammers (z, 1, hammer, NULL);
  assert_int_equal (zcomp_set_workers (z, 2), 0);
  run_hammers (z, 2, hammer, NULL);
  zcomp_free (z);
}

/* ------------------------------------------------------------------------
 * All streams are busy, then there is one.
 */

struct getter {
  struct zcomp *z;
  atomic_int tid, got;
};

static void *
get_one (void *arg)
{
  struct getter *g = arg;
  struct zcomp_stream *stream;

  atomic_store (&g->tid, (int) syscall (SYS_gettid));
  stream = zcomp_stream_get (g->z);
  atomic_fetch_add (&g->got, 1);
  zcomp_stream_put (stream);
  return NULL;
}

/* A thread that holds a stream until told otherwise (no thread may hold two).
 */
struct holder {
  struct zcomp *z;
  pthread_mutex_t lock;
  pthread_cond_t changed;
  bool holds, let_go;
  struct zcomp_stream *stream;
  pthread_t thread;
};

static void *
hold_one (void *arg)
{
  struct holder *h = arg;
  struct zcomp_stream *stream = zcomp_stream_get (h->z);

  pthread_mutex_lock (&h->lock);
  h->stream = stream;
  h->holds = true;
  pthread_cond_broadcast (&h->changed);
  while (!h->let_go)
    pthread_cond_wait (&h->changed, &h->lock);
  pthread_mutex_unlock (&h->lock);
  zcomp_stream_put (stream);
  return NULL;
}

static void
start_holder (struct holder *h, struct zcomp *z)
{
  *h = (struct holder) { .z = z };
  pthread_mutex_init (&h->lock, NULL);
  pthread_cond_init (&h->changed, NULL);
  h->thread = start (hold_one, h);
  pthread_mutex_lock (&h->lock);
  while (!h->holds)
    pthread_cond_wait (&h->changed, &h->lock);
  pthread_mutex_unlock (&h->lock);
}

static void
stop_holder (struct holder *h)
{
  pthread_mutex_lock (&h->lock);
  h->let_go = true;
  pthread_cond_broadcast (&h->changed);
  pthread_mutex_unlock (&h->lock);
  pthread_join (h->thread, NULL);
  pthread_cond_destroy (&h->changed);
  pthread_mutex_destroy (&h->lock);
}

static void
start_getter (struct getter *g, struct zcomp *z, pthread_t *t)
{
  g->z = z;
  atomic_init (&g->tid, 0);
  atomic_init (&g->got, 0);
  *t = start (get_one, g);
  while (atomic_load (&g->tid) == 0)
    sched_yield ();
  wait_until_asleep (atomic_load (&g->tid));
  assert_int_equal (atomic_load (&g->got), 0);
}

#define STREAMS 4

static void
start_holders (struct holder *h, struct zcomp *z)
{
  for (unsigned i = 0; i < STREAMS; i++) {
    start_holder (&h[i], z);
    for (unsigned j = 0; j < i; j++)
      assert_ptr_not_equal (h[i].stream, h[j].stream);
  }
}

/* Whichever of them is put back first lets the waiter in, although the others
 * stay busy.
 */
static void
test_all_busy (void **state)
{
  struct zcomp *z = make (&lz4, STREAMS);
  struct holder h[STREAMS];
  struct getter g;
  pthread_t t;

  (void) state;
  for (unsigned first = 0; first < STREAMS; first++) {
    start_holders (h, z);
    assert_false (zcomp_is_idle (z));
    start_getter (&g, z, &t);
    stop_holder (&h[first]);
    pthread_join (t, NULL);
    assert_int_equal (atomic_load (&g.got), 1);
    for (unsigned i = 0; i < STREAMS; i++)
      if (i != first)
        stop_holder (&h[i]);
    assert_true (zcomp_is_idle (z));
  }
  zcomp_free (z);
}

/* A new stream lets waiters in, all that there are. */
static void
test_all_busy_then_more (void **state)
{
  struct zcomp *z = make (&lz4, STREAMS);
  struct holder h[STREAMS];
  struct getter g[3];
  pthread_t t[3];

  (void) state;
  start_holders (h, z);
  for (unsigned i = 0; i < 3; i++)
    start_getter (&g[i], z, &t[i]);
  assert_int_equal (zcomp_set_workers (z, STREAMS + 1), 0);
  for (unsigned i = 0; i < 3; i++)
    pthread_join (t[i], NULL);
  for (unsigned i = 0; i < STREAMS; i++)
    stop_holder (&h[i]);
  zcomp_free (z);
}

/* Going down waits for the borrower of a stream that goes. */
struct setter {
  struct zcomp *z;
  unsigned workers;
  atomic_int tid, done;
};

static void *
set_workers (void *arg)
{
  struct setter *s = arg;

  atomic_store (&s->tid, (int) syscall (SYS_gettid));
  check_always (zcomp_set_workers (s->z, s->workers) == 0);
  atomic_store (&s->done, 1);
  return NULL;
}

static void
test_borrowed_stream_stays (void **state)
{
  struct zcomp *z = make (&zstd, STREAMS);
  struct holder h[STREAMS];
  struct setter s = { .z = z, .workers = 1 };
  unsigned char plain[SLOT];
  const void *out;
  pthread_t t;

  (void) state;
  start_holders (h, z);
  t = start (set_workers, &s);
  while (atomic_load (&s.tid) == 0)
    sched_yield ();
  wait_until_asleep (atomic_load (&s.tid));
  assert_int_equal (atomic_load (&s.done), 0);

  /* All four can still be used. */
  fill (plain, 1);
  for (unsigned i = 0; i < STREAMS; i++)
    assert_in_range (
      zcomp_compress (h[i].stream, &zstd, plain, SLOT, SLOT, &out), 1, SLOT);
  for (unsigned i = 0; i < STREAMS; i++)
    stop_holder (&h[i]);
  pthread_join (t, NULL);
  assert_int_equal (zcomp_workers (z), 1);
  zcomp_free (z);
}

/* ------------------------------------------------------------------------
 * A codec that sleeps.
 */

#ifdef ZRAM_FAULTS

/* It stops inside until the gate is opened: longer than any number of
 * milliseconds, as far as the others can tell.
 */
static pthread_mutex_t gate_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t gate_changed = PTHREAD_COND_INITIALIZER;
static bool gate_open;
static unsigned inside;

static void
pass_gate (void)
{
  pthread_mutex_lock (&gate_lock);
  inside++;
  pthread_cond_broadcast (&gate_changed);
  while (!gate_open)
    pthread_cond_wait (&gate_changed, &gate_lock);
  inside--;
  pthread_mutex_unlock (&gate_lock);
}

static void
wait_inside (unsigned how_many)
{
  pthread_mutex_lock (&gate_lock);
  while (inside < how_many)
    pthread_cond_wait (&gate_changed, &gate_lock);
  pthread_mutex_unlock (&gate_lock);
}

static void
set_gate (bool open)
{
  pthread_mutex_lock (&gate_lock);
  gate_open = open;
  pthread_cond_broadcast (&gate_changed);
  pthread_mutex_unlock (&gate_lock);
}

static void *
gate_create (const struct codec_params *params)
{
  (void) params;
  return calloc (1, 1);
}

static size_t
gate_size (const void *ctx)
{
  (void) ctx;
  return 1;
}

static ssize_t
gate_compress (void *cctx, const void *src, size_t slen, void *dst,
               size_t dcap)
{
  (void) cctx;
  pass_gate ();
  if (dcap < 1)
    return 0;
  memcpy (dst, src, 1);
  (void) slen;
  return 1;
}

static int
gate_decompress (void *dctx, const void *src, size_t slen, void *dst,
                 size_t dlen)
{
  (void) dctx;
  (void) slen;
  pass_gate ();
  memset (dst, *(const unsigned char *) src, dlen);
  return 0;
}

static const struct codec gate = {
  .name = "gate",
  .level_default = 0,
  .decompress_needs_ctx = true,
  .cctx_create = gate_create,
  .cctx_destroy = free,
  .cctx_size = gate_size,
  .compress = gate_compress,
  .dctx_create = gate_create,
  .dctx_destroy = free,
  .dctx_size = gate_size,
  .decompress = gate_decompress,
};
static const struct zcomp_method gate_method = { CODEC_TEST, 0 };

static void *
compress_at_gate (void *arg)
{
  struct zcomp *z = arg;
  struct zcomp_stream *stream = zcomp_stream_get (z);
  char plain[SLOT] = { 'x' };
  const void *out;

  check_always (zcomp_compress (stream, &gate_method, plain, SLOT, SLOT, &out)
                == 1);
  check_always (*(const char *) out == 'x');
  zcomp_stream_put (stream);
  return NULL;
}

static void *
decompress_at_gate (void *arg)
{
  struct zcomp *z = arg;
  char back[SLOT];

  check_always (zcomp_decompress (z, CODEC_TEST, "y", 1, back, SLOT) == 0);
  check_always (back[0] == 'y' && back[SLOT - 1] == 'y');
  return NULL;
}

/* Two of three streams sleep, one in each direction; eight threads do all
 * their work on the third meanwhile, or they would never be done.
 */
static void
test_sleeping_codec (void **state)
{
  struct zcomp *z;
  pthread_t t[2];

  (void) state;
  codec_register_test (&gate);
  z = make (&zstd, 3);
  set_gate (false);
  t[0] = start (compress_at_gate, z);
  t[1] = start (decompress_at_gate, z);
  wait_inside (2);

  run_hammers (z, 1, hammer, NULL);

  set_gate (true);
  pthread_join (t[0], NULL);
  pthread_join (t[1], NULL);
  zcomp_free (z);
  codec_register_test (NULL);
}

/* ------------------------------------------------------------------------
 * Failures, and threads stopped at the worst place.
 */

/* The borrower knows eight streams; by the time it looks there is one, and
 * that is busy (seeds/004).
 */
static void
test_stream_gone (void **state)
{
  struct zcomp *z = make (&lz4, 8);
  struct holder h;
  struct getter g = { .z = z };
  pthread_t t;

  (void) state;
  fault_hold ("zcomp.pass");
  t = start (get_one, &g);
  fault_wait_held ("zcomp.pass");
  assert_int_equal (zcomp_set_workers (z, 1), 0);
  fault_release ("zcomp.pass");
  pthread_join (t, NULL);
  assert_int_equal (atomic_load (&g.got), 1);

  /* The same with the last stream busy. */
  assert_int_equal (zcomp_set_workers (z, 8), 0);
  g = (struct getter) { .z = z };
  fault_hold ("zcomp.pass");
  t = start (get_one, &g);
  fault_wait_held ("zcomp.pass");
  assert_int_equal (zcomp_set_workers (z, 1), 0);
  fault_clear ();
  start_holder (&h, z);
  stop_holder (&h);
  pthread_join (t, NULL);
  assert_int_equal (atomic_load (&g.got), 1);
  zcomp_free (z);
}

/* Every request for memory of zcomp_set_workers fails once; the streams that
 * were there go on, the others are gone without a trace.
 */
static void
test_grow_fails (void **state)
{
  struct zcomp *z = make (&zstd, 2);
  size_t memory = zcomp_memory (z);
  int r = -1;

  (void) state;
  for (uint64_t nth = 1; r == -1; nth++) {
    fault_fail_nth (NULL, nth, false);
    errno = 0;
    r = zcomp_set_workers (z, 4);
    fault_clear ();
    assert_true (nth < 100);
    if (r == -1) {
      assert_int_equal (errno, ENOMEM);
      assert_int_equal (zcomp_workers (z), 2);
      assert_int_equal (zcomp_memory (z), memory);
    }
    else
      assert_true (nth > 6);
    round_trip (z, &zstd, nth);
    assert_true (zcomp_is_idle (z));
  }
  assert_int_equal (zcomp_workers (z), 4);
  zcomp_free (z);
}

static void
test_new_fails (void **state)
{
  struct zcomp *z = NULL;

  (void) state;
  for (uint64_t nth = 1; !z; nth++) {
    fault_fail_nth (NULL, nth, false);
    errno = 0;
    z = zcomp_new (&zstd, SLOT, 2);
    fault_clear ();
    assert_true (nth < 100);
    if (!z)
      assert_int_equal (errno, ENOMEM);
    else
      assert_true (nth > 6);
  }
  round_trip (z, &zstd, 1);
  zcomp_free (z);
}

/* No memory for a secondary codec's context is an error to who asked for it,
 * that once, and to nobody else.
 */
static void
test_secondary_fails (void **state)
{
  static const struct zcomp_method deflate = { DEFLATE, 6 };
  struct zcomp *z = make (&lz4, 1);
  struct zcomp_stream *stream = zcomp_stream_get (z);
  unsigned char plain[SLOT], object[SLOT], back[SLOT];
  const void *out;
  ssize_t n;

  (void) state;
  fill (plain, 1);
  fault_fail_nth ("codec.cctx", 1, false);
  errno = 0;
  n = zcomp_compress (stream, &deflate, plain, SLOT, SLOT, &out);
  assert_int_equal (n, -1);
  assert_int_equal (errno, ENOMEM);
  n = zcomp_compress (stream, &lz4, plain, SLOT, SLOT, &out);
  assert_in_range (n, 1, SLOT);
  n = zcomp_compress (stream, &deflate, plain, SLOT, SLOT, &out);
  assert_in_range (n, 1, SLOT);
  memcpy (object, out, (size_t) n);
  zcomp_stream_put (stream);

  fault_fail_nth ("codec.dctx", 1, false);
  errno = 0;
  assert_int_equal (
    zcomp_decompress (z, DEFLATE, object, (size_t) n, back, SLOT), -1);
  assert_int_equal (errno, ENOMEM);
  assert_true (zcomp_is_idle (z));
  assert_int_equal (
    zcomp_decompress (z, DEFLATE, object, (size_t) n, back, SLOT), 0);
  assert_memory_equal (plain, back, SLOT);
  fault_clear ();
  zcomp_free (z);
}

/* The number goes up and down under load, and often fails to go up. */
static void
switch_and_fail (struct zcomp *z, unsigned turn)
{
  unsigned before = zcomp_workers (z);

  fault_fail_nth ("codec.cctx", 1 + turn % 9, false);
  if (zcomp_set_workers (z, turn % 2 ? 1 : 8) == -1) {
    assert_int_equal (errno, ENOMEM);
    assert_int_equal (zcomp_workers (z), before);
  }
  fault_clear ();
}

static void *
plain_hammer (void *arg)
{
  struct hammer *h = arg;

  for (unsigned i = 0; i < ROUNDS; i++)
    round_trip (h->z, zcomp_primary (h->z), h->id * ROUNDS + i);
  atomic_fetch_sub (h->left, 1);
  return NULL;
}

static void
test_switching_fails (void **state)
{
  struct zcomp *z = make (&zstd, 1);

  (void) state;
  run_hammers (z, 8, plain_hammer, switch_and_fail);
  zcomp_free (z);
}

#endif /* ZRAM_FAULTS */

#ifdef ZRAM_DEBUG

/* A second stream is never borrowed, even if one is free: the rank checker
 * says so, and names it.
 */
static void
test_second_stream (void **state)
{
  const struct rlimit none = { 0, 0 };
  struct zcomp *z = make (&lz4, 4);
  char said[1024] = "";
  int fds[2], status;
  ssize_t n;
  pid_t pid;

  (void) state;
  assert_int_equal (pipe (fds), 0);
  pid = fork ();
  assert_int_not_equal (pid, -1);
  if (pid == 0) {
    setrlimit (RLIMIT_CORE, &none);
    dup2 (fds[1], STDERR_FILENO);
    signal (SIGABRT, SIG_DFL);
    _exit (zcomp_stream_get (z) == zcomp_stream_get (z));
  }
  close (fds[1]);
  for (size_t at = 0; at < sizeof said - 1; at += (size_t) n) {
    n = read (fds[0], said + at, sizeof said - 1 - at);
    if (n <= 0)
      break;
  }
  close (fds[0]);
  assert_int_equal (waitpid (pid, &status, 0), pid);
  assert_true (WIFSIGNALED (status) && WTERMSIG (status) == SIGABRT);
  assert_non_null (strstr (said, "taking \"stream\" while holding \"stream\""));
  zcomp_free (z);
}

#endif

int
main (void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test (test_arguments),
    cmocka_unit_test (test_methods),
    cmocka_unit_test (test_memory),
    cmocka_unit_test (test_errors),
    cmocka_unit_test (test_all_busy),
    cmocka_unit_test (test_all_busy_then_more),
    cmocka_unit_test (test_borrowed_stream_stays),
    cmocka_unit_test (test_few_streams),
    cmocka_unit_test (test_switching),
#ifdef ZRAM_FAULTS
    cmocka_unit_test (test_sleeping_codec),
    cmocka_unit_test (test_stream_gone),
    cmocka_unit_test (test_grow_fails),
    cmocka_unit_test (test_new_fails),
    cmocka_unit_test (test_secondary_fails),
    cmocka_unit_test (test_switching_fails),
#endif
#ifdef ZRAM_DEBUG
    cmocka_unit_test (test_second_stream),
#endif
  };

  alarm (HANG);
  return cmocka_run_group_tests (tests, NULL, NULL);
}
