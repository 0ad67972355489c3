/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Shared requests: every chunk is done once and before the request returns,
 * however many help, and no caller waits for help that has not come.
 */

#include <config.h>

#include <dirent.h>
#include <errno.h>

#include "unit.h"

#include "base/workpool.h"

#define MAX_CHUNKS 64

/* A request.  'done' is plain memory: that each chunk's work is seen by the
 * caller is for TSan to check.
 */
struct request {
  unsigned done[MAX_CHUNKS];
  pthread_t caller;
  atomic_uint helped; /* chunks that another thread did */
};

static void
work (void *ctx, unsigned chunk)
{
  struct request *r = ctx;

  check_always (chunk < MAX_CHUNKS);
  r->done[chunk]++;
  if (!pthread_equal (pthread_self (), r->caller))
    atomic_fetch_add (&r->helped, 1);
}

/* Returns how many chunks were done by others. */
static unsigned
share (struct workpool *wp, unsigned chunks)
{
  struct request r = { .caller = pthread_self () };

  workpool_share (wp, chunks, work, &r);
  for (unsigned i = 0; i < MAX_CHUNKS; i++)
    check_always (r.done[i] == (i < chunks));
  return atomic_load (&r.helped);
}

static struct workpool *
pool_of (unsigned threads)
{
  struct workpool *wp = workpool_create ();

  assert_non_null (wp);
  assert_int_equal (workpool_threads (wp), 0);
  assert_int_equal (workpool_set_threads (wp, threads), 0);
  assert_int_equal (workpool_threads (wp), threads);
  return wp;
}

/* The kernel's PF_EXITING, in the flags of a thread's stat. */
#define EXITING 4u

static bool
is_exiting (const char *tid)
{
  char path[300], line[512] = "", *p;
  unsigned flags = EXITING;
  FILE *fp;

  snprintf (path, sizeof path, "/proc/self/task/%s/stat", tid);
  fp = fopen (path, "r");
  if (!fp)
    return true; /* gone since */
  p = fgets (line, sizeof line, fp) ? strrchr (line, ')') : NULL;
  fclose (fp);
  /* After the name: state, ppid, pgrp, session, tty_nr, tpgid, flags. */
  if (p)
    check_always (sscanf (p + 1, " %*c %*d %*d %*d %*d %*d %u", &flags) == 1);
  return flags & EXITING;
}

/* Without those that the kernel has yet to take away: a thread that was joined
 * is listed for a while.
 */
static unsigned
threads_of_process (void)
{
  DIR *dir = opendir ("/proc/self/task");
  struct dirent *entry;
  unsigned n = 0;

  check_always (dir);
  while ((entry = readdir (dir)) != NULL)
    n += entry->d_name[0] != '.' && !is_exiting (entry->d_name);
  closedir (dir);
  return n;
}

static void
test_each_chunk_once (void **state)
{
  (void) state;
  for (unsigned threads = 0; threads <= 4; threads++) {
    struct workpool *wp = pool_of (threads);
    struct unit_rng rng = unit_rng (threads);

    for (unsigned chunks = 0; chunks <= 3; chunks++)
      share (wp, chunks);
    for (unsigned i = 0; i < UNIT_TIMES (2000); i++)
      share (wp, unit_below (&rng, MAX_CHUNKS + 1));
    workpool_destroy (wp);
  }
  workpool_destroy (NULL);
}

/* No worker: the caller does it, without a lock. */
static void
test_no_threads (void **state)
{
  struct workpool *wp = pool_of (0);

  (void) state;
  assert_int_equal (share (wp, MAX_CHUNKS), 0);
  assert_int_equal (workpool_set_threads (wp, 2), 0);
  assert_int_equal (workpool_set_threads (wp, 0), 0);
  assert_int_equal (share (wp, MAX_CHUNKS), 0);
  workpool_destroy (wp);
}

/* -- chunks that block until they are let go ---------------------------- */

struct blocking {
  struct workpool *wp;
  unsigned chunks;
  atomic_uint inside; /* chunks that were begun, each by another thread */
  atomic_bool go, returned;
  struct unit_thread caller;
  pthread_t self; /* the caller's */
};

static void
block (void *ctx, unsigned chunk)
{
  struct blocking *b = ctx;

  (void) chunk;
  atomic_fetch_add (&b->inside, 1);
  while (atomic_load (&b->inside) < b->chunks && !atomic_load (&b->go))
    unit_sleep_ms (1);
  /* The caller's own is done then; what it waits for is the others. */
  while (!pthread_equal (pthread_self (), b->self) && !atomic_load (&b->go))
    unit_sleep_ms (1);
}

static void *
share_blocking (void *arg)
{
  struct blocking *b = arg;

  b->self = pthread_self ();
  workpool_share (b->wp, b->chunks, block, b);
  atomic_store (&b->returned, true);
  return NULL;
}

/* Returns once all the chunks were begun, by as many threads; true, or false
 * if the workers were not idle yet and the caller went alone.
 */
static bool
start_blocking (struct blocking *b, struct workpool *wp, unsigned chunks)
{
  *b = (struct blocking){ .wp = wp, .chunks = chunks };
  unit_start (&b->caller, share_blocking, b);
  for (unsigned i = 0; i < 1000 && atomic_load (&b->inside) < chunks; i++)
    unit_sleep_ms (1);
  if (atomic_load (&b->inside) == chunks)
    return true;
  atomic_store (&b->go, true);
  unit_join (&b->caller);
  return false;
}

static void
end_blocking (struct blocking *b)
{
  assert_false (atomic_load (&b->returned));
  atomic_store (&b->go, true);
  unit_join (&b->caller);
}

/* Help comes: as many chunks at once as there are threads and the caller. */
static void
test_help_comes (void **state)
{
  (void) state;
  for (unsigned threads = 1; threads <= 4; threads++) {
    struct workpool *wp = pool_of (threads);
    struct blocking b;

    while (!start_blocking (&b, wp, threads + 1))
      ;
    end_blocking (&b);
    workpool_destroy (wp);
  }
}

/* While all workers are busy with one request, another is served. */
static void
test_not_waiting_for_help (void **state)
{
  struct workpool *wp = pool_of (2);
  struct blocking b;

  (void) state;
  while (!start_blocking (&b, wp, 3))
    ;
  for (unsigned i = 0; i < 100; i++)
    assert_int_equal (share (wp, MAX_CHUNKS), 0);
  end_blocking (&b);
  workpool_destroy (wp);
}

/* But a chunk that a worker has begun is waited for, and the pool can grow
 * and be used meanwhile.
 */
static void
test_waits_for_begun (void **state)
{
  struct workpool *wp = pool_of (1);
  struct blocking a, b;

  (void) state;
  while (!start_blocking (&a, wp, 2))
    ;
  assert_int_equal (workpool_set_threads (wp, 3), 0);
  while (!start_blocking (&b, wp, 3))
    ;
  unit_wait_asleep (&a.caller);
  assert_false (atomic_load (&a.returned));
  end_blocking (&a);
  assert_false (atomic_load (&b.returned));
  end_blocking (&b);
  workpool_destroy (wp);
}

/* Taking threads away does not wait: busy ones leave when they are done, and
 * are joined then.
 */
static void
test_shrink_does_not_wait (void **state)
{
  unsigned before = threads_of_process ();
  struct workpool *wp = pool_of (2);
  struct blocking b;

  (void) state;
  while (!start_blocking (&b, wp, 3))
    ;
  assert_int_equal (workpool_set_threads (wp, 0), 0);
  assert_int_equal (workpool_threads (wp), 0);
  assert_int_equal (workpool_leaving (wp), 2);
  assert_false (atomic_load (&b.returned));
  end_blocking (&b);
  while (workpool_leaving (wp) > 0)
    unit_sleep_ms (1);
  while (threads_of_process () != before)
    sched_yield ();
  workpool_destroy (wp);
}

/* Those that were to leave and have not are reused; no more are started. */
static void
test_grow_before_they_left (void **state)
{
  unsigned before = threads_of_process ();
  struct workpool *wp = pool_of (3);
  struct blocking b, c;

  (void) state;
  while (!start_blocking (&b, wp, 3))
    ;
  /* Two are busy, one is idle and goes. */
  assert_int_equal (workpool_set_threads (wp, 1), 0);
  assert_int_equal (workpool_threads (wp), 1);
  while (threads_of_process () > before + 3)
    sched_yield ();
  assert_int_equal (workpool_leaving (wp), 1);
  assert_int_equal (share (wp, MAX_CHUNKS), 0);

  for (unsigned i = 0; i < 10; i++) {
    assert_int_equal (workpool_set_threads (wp, i % 2 ? 1 : 2), 0);
    assert_int_equal (threads_of_process (), before + 3);
  }
  assert_int_equal (workpool_leaving (wp), 1);
  assert_int_equal (workpool_set_threads (wp, 4), 0);
  assert_int_equal (workpool_leaving (wp), 0);
  assert_int_equal (threads_of_process (), before + 5); /* and the caller */
  while (!start_blocking (&c, wp, 3)) /* the two new ones help */
    ;
  end_blocking (&c);
  end_blocking (&b);
  workpool_destroy (wp);
  while (threads_of_process () != before)
    sched_yield ();
}

/* -- many at once ------------------------------------------------------- */

struct sharer {
  struct workpool *wp;
  unsigned number, times;
};

static void *
share_often (void *arg)
{
  struct sharer *s = arg;
  struct unit_rng rng = unit_rng (s->number);

  for (unsigned i = 0; i < s->times; i++)
    share (s->wp, unit_below (&rng, MAX_CHUNKS + 1));
  return NULL;
}

static void
run_sharers (struct workpool *wp, unsigned resizes)
{
  enum { N = 4 };
  struct sharer s[N];
  struct unit_thread t[N];
  struct unit_rng rng = unit_rng (N);

  for (unsigned i = 0; i < N; i++)
    s[i] = (struct sharer){ wp, i, UNIT_TIMES (4000) };
  unit_start_all (t, N, share_often, s, sizeof *s);
  for (unsigned i = 0; i < resizes; i++) {
    unsigned n = unit_below (&rng, 5);

    assert_int_equal (workpool_set_threads (wp, n), 0);
    assert_int_equal (workpool_threads (wp), n);
  }
  unit_join_all (t, N);
  workpool_destroy (wp);
}

static void
test_many_sharers (void **state)
{
  (void) state;
  run_sharers (pool_of (3), 0);
}

static void
test_resize_while_sharing (void **state)
{
  (void) state;
  run_sharers (pool_of (0), UNIT_TIMES (800));
}

#ifdef ZRAM_FAULTS
/* As many threads as could be had, and those work. */
static void
fail_to_grow (const char *point)
{
  struct workpool *wp = pool_of (1);
  struct blocking b;

  fault_fail_nth (point, 3, false);
  errno = 0;
  assert_int_equal (workpool_set_threads (wp, 4), -1);
  assert_true (errno == EAGAIN || errno == ENOMEM);
  assert_int_equal (workpool_threads (wp), 3);
  while (!start_blocking (&b, wp, 4))
    ;
  end_blocking (&b);
  assert_int_equal (workpool_set_threads (wp, 4), 0);
  while (!start_blocking (&b, wp, 5))
    ;
  end_blocking (&b);
  fault_clear ();
  workpool_destroy (wp);
}

static void
test_no_thread (void **state)
{
  (void) state;
  fail_to_grow ("workpool.thread");
  fail_to_grow ("alloc");
  fault_fail_nth ("alloc", 1, false);
  assert_null (workpool_create ());
  assert_int_equal (errno, ENOMEM);
}
#endif

static const struct CMUnitTest tests[] = {
  UNIT_TEST (test_each_chunk_once),
  UNIT_TEST (test_no_threads),
  UNIT_TEST (test_help_comes),
  UNIT_TEST (test_not_waiting_for_help),
  UNIT_TEST (test_waits_for_begun),
  UNIT_TEST (test_shrink_does_not_wait),
  UNIT_TEST (test_grow_before_they_left),
  UNIT_TEST (test_many_sharers),
  UNIT_TEST (test_resize_while_sharing),
#ifdef ZRAM_FAULTS
  UNIT_TEST (test_no_thread),
#endif
};

int
main (void)
{
  return UNIT_RUN (tests);
}
