/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * zcomp: which thread gets a stream when all are busy, when a codec sleeps,
 * when streams come and go.
 *
 * Nothing here is timed.  A thread that should have been let in and was not
 * hangs the test, which the watchdog ends.
 */

#include <config.h>

#include <sys/resource.h>

#include "zcomp-util.h"

/* ------------------------------------------------------------------------
 * All streams are busy, then there is one.
 */

struct getter {
  struct zcomp *z;
  atomic_int got;
};

static void *
get_one (void *arg)
{
  struct getter *g = arg;
  struct zcomp_stream *stream;

  stream = zcomp_stream_get (g->z);
  memset (zcomp_stream_scratch (stream), 0, SLOT); /* it is all there */
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
  struct unit_thread thread;
};

static void *
hold_one (void *arg)
{
  struct holder *h = arg;
  struct zcomp_stream *stream;

  stream = zcomp_stream_get (h->z);
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
launch_holder (struct holder *h, struct zcomp *z)
{
  *h = (struct holder){ .z = z };
  pthread_mutex_init (&h->lock, NULL);
  pthread_cond_init (&h->changed, NULL);
  unit_start (&h->thread, hold_one, h);
}

static void
wait_for_holder (struct holder *h)
{
  pthread_mutex_lock (&h->lock);
  while (!h->holds)
    pthread_cond_wait (&h->changed, &h->lock);
  pthread_mutex_unlock (&h->lock);
}

static void
start_holder (struct holder *h, struct zcomp *z)
{
  launch_holder (h, z);
  wait_for_holder (h);
}

static void
stop_holder (struct holder *h)
{
  pthread_mutex_lock (&h->lock);
  h->let_go = true;
  pthread_cond_broadcast (&h->changed);
  pthread_mutex_unlock (&h->lock);
  unit_join (&h->thread);
  pthread_cond_destroy (&h->changed);
  pthread_mutex_destroy (&h->lock);
}

static void
start_getter (struct getter *g, struct zcomp *z, struct unit_thread *t)
{
  g->z = z;
  atomic_init (&g->got, 0);
  unit_start (t, get_one, g);
  unit_wait_asleep (t);
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
  struct unit_thread t;

  (void) state;
  for (unsigned first = 0; first < STREAMS; first++) {
    start_holders (h, z);
    assert_false (zcomp_is_idle (z));
    start_getter (&g, z, &t);
    stop_holder (&h[first]);
    unit_join (&t);
    assert_int_equal (atomic_load (&g.got), 1);
    for (unsigned i = 0; i < STREAMS; i++)
      if (i != first)
        stop_holder (&h[i]);
    assert_true (zcomp_is_idle (z));
  }
  zcomp_free (z);
}

/* New streams let waiters in, as many as there are, although nobody puts
 * any back.
 */
static void
test_all_busy_then_more (void **state)
{
  struct zcomp *z = make (&lz4, STREAMS);
  struct holder h[STREAMS], more[3];

  (void) state;
  start_holders (h, z);
  for (unsigned i = 0; i < 3; i++) {
    launch_holder (&more[i], z);
    unit_wait_asleep (&more[i].thread);
  }
  assert_int_equal (zcomp_set_workers (z, STREAMS + 3), 0);
  for (unsigned i = 0; i < 3; i++)
    wait_for_holder (&more[i]);
  for (unsigned i = 0; i < 3; i++)
    stop_holder (&more[i]);
  for (unsigned i = 0; i < STREAMS; i++)
    stop_holder (&h[i]);
  zcomp_free (z);
}

/* Going down waits for the borrower of a stream that goes. */
struct setter {
  struct zcomp *z;
  unsigned workers;
  atomic_int done;
};

static void *
set_workers (void *arg)
{
  struct setter *s = arg;

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
  struct unit_thread t;

  (void) state;
  start_holders (h, z);
  unit_start (&t, set_workers, &s);
  unit_wait_asleep (&t);
  assert_int_equal (atomic_load (&s.done), 0);

  /* All four can still be used. */
  fill (plain, 1);
  for (unsigned i = 0; i < STREAMS; i++)
    assert_in_range (
      zcomp_compress (h[i].stream, &zstd, plain, SLOT, SLOT, &out), 1, SLOT);
  for (unsigned i = 0; i < STREAMS; i++)
    stop_holder (&h[i]);
  unit_join (&t);
  assert_int_equal (zcomp_workers (z), 1);
  zcomp_free (z);
}

/* Eight threads share one stream, then two: each put must let somebody in. */
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
gate_compress (void *cctx, const void *src, size_t slen, void *dst, size_t dcap)
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

  check_always (
    zcomp_compress (stream, &gate_method, plain, SLOT, SLOT, &out) == 1);
  check_always (*(const char *) out == 'x');
  zcomp_stream_put (stream);
  return NULL;
}

static void *
decompress_at_gate (void *arg)
{
  struct zcomp *z = arg;
  char back[SLOT];

  check_always (decompress_at_once (z, CODEC_TEST, "y", 1, back, SLOT) == 0);
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
  struct unit_thread t[2];

  (void) state;
  codec_register_test (&gate);
  z = make (&zstd, 3);
  set_gate (false);
  unit_start (&t[0], compress_at_gate, z);
  unit_start (&t[1], decompress_at_gate, z);
  wait_inside (2);

  run_hammers (z, 1, hammer, NULL);

  set_gate (true);
  unit_join (&t[0]);
  unit_join (&t[1]);
  zcomp_free (z);
  codec_register_test (NULL);
}

/* ------------------------------------------------------------------------
 * Threads stopped at the worst place.
 */

/* The borrower knows of eight streams; by the time it looks, seven are gone
 * and one is busy (seeds/004).
 */
static void
test_stream_gone (void **state)
{
  struct zcomp *z = make (&lz4, 1);
  struct holder h;
  struct getter g = { .z = z };
  struct unit_thread t;

  (void) state;
  start_holder (&h, z);
  assert_int_equal (zcomp_set_workers (z, 8), 0);
  fault_hold ("zcomp.pass");
  unit_start (&t, get_one, &g);
  fault_wait_held ("zcomp.pass");
  assert_int_equal (zcomp_set_workers (z, 1), 0);
  fault_clear ();
  unit_wait_asleep (&t);
  assert_int_equal (atomic_load (&g.got), 0);
  stop_holder (&h);
  unit_join (&t);
  assert_int_equal (atomic_load (&g.got), 1);
  zcomp_free (z);
}

/* The stream is put back when the waiter has looked for the last time, but
 * does not sleep yet.
 */
static void
test_put_before_sleep (void **state)
{
  struct zcomp *z = make (&lz4, 1);
  struct holder h;
  struct getter g = { .z = z };
  struct unit_thread t;

  (void) state;
  start_holder (&h, z);
  fault_hold ("zcomp.wait");
  unit_start (&t, get_one, &g);
  fault_wait_held ("zcomp.wait");
  stop_holder (&h);
  assert_int_equal (atomic_load (&g.got), 0);
  fault_clear ();
  unit_join (&t);
  assert_int_equal (atomic_load (&g.got), 1);
  zcomp_free (z);
}

static const struct zcomp_method zstd_fast = { ZSTD, 1 };

static void *
set_primary (void *arg)
{
  check_always (zcomp_set_primary (arg, &zstd_fast) == 0);
  return NULL;
}

/* The only stream is not borrowed, but just being given new contexts. */
static void
test_wait_for_exchange (void **state)
{
  struct zcomp *z = make (&lz4, 1);
  struct getter g;
  struct unit_thread setter, t;

  (void) state;
  fault_hold ("zcomp.exchange");
  unit_start (&setter, set_primary, z);
  fault_wait_held ("zcomp.exchange");
  start_getter (&g, z, &t);
  fault_clear ();
  unit_join (&t);
  assert_int_equal (atomic_load (&g.got), 1);
  unit_join (&setter);
  zcomp_free (z);
}

#endif /* ZRAM_FAULTS */

#ifdef ZRAM_DEBUG

static void
borrow_two (void *arg)
{
  const struct rlimit none = { 0, 0 };

  setrlimit (RLIMIT_CORE, &none);
  _exit (zcomp_stream_get (arg) == zcomp_stream_get (arg));
}

/* A second stream is never borrowed, even if one is free: the rank checker
 * says so, and names it.
 */
static void
test_second_stream (void **state)
{
  struct zcomp *z = make (&lz4, 4);
  char said[1024];
  int status = unit_child (borrow_two, z, said, sizeof said);

  (void) state;
  assert_true (WIFSIGNALED (status) && WTERMSIG (status) == SIGABRT);
  assert_non_null (strstr (said, "taking \"stream\" while holding \"stream\""));
  zcomp_free (z);
}

#endif

int
main (void)
{
  const struct CMUnitTest tests[] = {
    UNIT_TEST (test_all_busy),
    UNIT_TEST (test_all_busy_then_more),
    UNIT_TEST (test_borrowed_stream_stays),
    UNIT_TEST (test_few_streams),
#ifdef ZRAM_FAULTS
    UNIT_TEST (test_sleeping_codec),
    UNIT_TEST (test_stream_gone),
    UNIT_TEST (test_put_before_sleep),
    UNIT_TEST (test_wait_for_exchange),
#endif
#ifdef ZRAM_DEBUG
    UNIT_TEST (test_second_stream),
#endif
  };

  return UNIT_RUN (tests);
}
