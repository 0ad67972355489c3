/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The reader-writer word: its bits, which threads get in together, that no
 * waiter is forgotten, and that waiting costs no CPU time.
 */

#include <config.h>

#include "unit.h"

#include "base/park.h"
#include "base/rank.h"
#include "base/reserve.h"
#include "base/rwword.h"

#define MAX_READERS (RW_READERS / RW_READER)

static uint32_t
look (struct rwword *w)
{
  return atomic_load (&w->v);
}

static unsigned
readers (struct rwword *w)
{
  return (look (w) & RW_READERS) / RW_READER;
}

static void
wait_for_bits (struct rwword *w, uint32_t bits)
{
  while ((look (w) & bits) != bits)
    sched_yield ();
}

/* ------------------------------------------------------------------------
 * One thread: the bits.
 */

static void
test_bits (void **state) NO_THREAD_SAFETY_ANALYSIS
{
  struct rwword w = { RW_OWNER };

  (void) state;
  assert_int_equal (RW_WRITER ^ RW_QUEUED ^ RW_PENDING ^ RW_READERS ^ RW_OWNER,
                    UINT32_MAX);
  assert_true (rwword_is_free (&w));

  rwword_read_lock (&w, 0, 0);
  assert_int_equal (look (&w), RW_READER | RW_OWNER);
  assert_false (rwword_is_free (&w));
  rwword_read_lock (&w, 0, 0);
  assert_true (rwword_try_read_lock (&w));
  assert_int_equal (look (&w), 3 * RW_READER | RW_OWNER);
  assert_false (rwword_try_write_lock (&w));
  for (unsigned i = 0; i < 3; i++)
    rwword_read_unlock (&w);
  assert_int_equal (look (&w), RW_OWNER);

  rwword_write_lock (&w);
  assert_int_equal (look (&w), RW_WRITER | RW_OWNER);
  assert_false (rwword_try_read_lock (&w));
  assert_false (rwword_try_write_lock (&w));
  assert_int_equal (look (&w), RW_WRITER | RW_OWNER);
  rwword_write_unlock (&w);
  assert_true (rwword_try_write_lock (&w));
  assert_int_equal (look (&w), RW_WRITER | RW_OWNER);
  rwword_write_unlock (&w);
  assert_int_equal (look (&w), RW_OWNER);
}

static void
test_owner (void **state) NO_THREAD_SAFETY_ANALYSIS
{
  struct rwword w = { 0x15555 };

  (void) state;
  rwword_read_lock (&w, 0xff, 0xaa); /* the stamp */
  assert_int_equal (look (&w), RW_READER | 0x155aa);
  rwword_read_lock (&w, RW_OWNER, 0);
  assert_int_equal (look (&w), 2 * RW_READER);
  rwword_read_unlock (&w);
  rwword_read_lock (&w, RW_OWNER, RW_OWNER);
  assert_int_equal (look (&w), 2 * RW_READER | RW_OWNER);
  rwword_read_unlock (&w);
  rwword_read_unlock (&w);

  rwword_write_lock (&w);
  rwword_set_owner (&w, 0xf0f0, 0x1010);
  assert_int_equal (look (&w), RW_WRITER | 0x11f1f);
  rwword_write_unlock (&w);
  assert_int_equal (look (&w), 0x11f1f);
}

/* The try variants give way to a waiting writer, and keep its marks. */
static void
test_try_beside_marks (void **state) NO_THREAD_SAFETY_ANALYSIS
{
  struct rwword w = { RW_READER | RW_PENDING | RW_QUEUED | 7 };

  (void) state;
  assert_false (rwword_try_read_lock (&w));
  assert_false (rwword_try_write_lock (&w));
  assert_int_equal (look (&w), RW_READER | RW_PENDING | RW_QUEUED | 7);
  rwword_read_unlock (&w); /* the last one clears them */
  assert_int_equal (look (&w), 7);

  atomic_store (&w.v, RW_WRITER | RW_PENDING | RW_QUEUED | 7);
  rwword_write_unlock (&w);
  assert_int_equal (look (&w), 7);

  atomic_store (&w.v, 2 * RW_READER | RW_QUEUED);
  rwword_read_unlock (&w); /* not the last */
  assert_int_equal (look (&w), RW_READER | RW_QUEUED);
  rwword_read_unlock (&w);
  assert_int_equal (look (&w), 0);
}

/* ------------------------------------------------------------------------
 * One waits for the other.
 */

struct waiter {
  struct rwword *w;
  bool write;
  atomic_bool inside, leave;
  struct unit_thread thread;
};

static void *
wait_inside (void *arg) NO_THREAD_SAFETY_ANALYSIS
{
  struct waiter *me = arg;

  if (me->write)
    rwword_write_lock (me->w);
  else
    rwword_read_lock (me->w, 0, 0);
  atomic_store (&me->inside, true);
  while (!atomic_load (&me->leave))
    sched_yield ();
  if (me->write)
    rwword_write_unlock (me->w);
  else
    rwword_read_unlock (me->w);
  return NULL;
}

static void
start_waiter (struct waiter *me, struct rwword *w, bool write, bool leave)
{
  me->w = w;
  me->write = write;
  atomic_init (&me->inside, false);
  atomic_init (&me->leave, leave);
  unit_start (&me->thread, wait_inside, me);
}

static void
leave (struct waiter *me)
{
  atomic_store (&me->leave, true);
  unit_join (&me->thread);
}

/* With a writer waiting, new readers queue, though only readers are inside. */
static void
test_pending (void **state) NO_THREAD_SAFETY_ANALYSIS
{
  struct rwword w = { 5 };
  struct waiter writer, reader;

  (void) state;
  rwword_read_lock (&w, 0, 0);
  start_waiter (&writer, &w, true, true);
  wait_for_bits (&w, RW_PENDING | RW_QUEUED);
  unit_wait_asleep (&writer.thread);
  assert_false (rwword_try_read_lock (&w));
  start_waiter (&reader, &w, false, true);
  unit_wait_asleep (&reader.thread);
  assert_false (atomic_load (&writer.inside));
  assert_false (atomic_load (&reader.inside));
  assert_int_equal (look (&w), RW_READER | RW_PENDING | RW_QUEUED | 5);
  rwword_read_unlock (&w);
  unit_join (&writer.thread);
  unit_join (&reader.thread);
  assert_int_equal (look (&w), 5);
}

/* Readers that wait for a writer come in together. */
static void
test_readers_together (void **state) NO_THREAD_SAFETY_ANALYSIS
{
  enum { N = 4 };
  struct rwword w = { 0 };
  struct waiter r[N];

  (void) state;
  rwword_write_lock (&w);
  for (unsigned i = 0; i < N; i++)
    start_waiter (&r[i], &w, false, false);
  for (unsigned i = 0; i < N; i++)
    unit_wait_asleep (&r[i].thread);
  assert_int_equal (look (&w) & ~RW_OWNER, RW_WRITER | RW_QUEUED);
  rwword_write_unlock (&w);
  while (readers (&w) < N)
    sched_yield ();
  for (unsigned i = 0; i < N; i++)
    leave (&r[i]);
  assert_int_equal (look (&w), 0);
}

/* As many readers as the word can count: one more waits, and the count does
 * not run over into the bit beside it.
 */
static void
test_reader_overflow (void **state) NO_THREAD_SAFETY_ANALYSIS
{
  struct rwword w = { RW_OWNER };
  struct waiter more;

  (void) state;
  for (unsigned i = 0; i < MAX_READERS; i++)
    rwword_read_lock (&w, 0, 0);
  assert_int_equal (readers (&w), MAX_READERS);
  assert_false (rwword_try_read_lock (&w));
  assert_false (rwword_try_write_lock (&w));

  start_waiter (&more, &w, false, false);
  while (!atomic_load (&more.inside) && look (&w) == (RW_READERS | RW_OWNER))
    sched_yield ();
  assert_false (atomic_load (&more.inside));
  assert_int_equal (look (&w), RW_READERS | RW_QUEUED | RW_OWNER);
  unit_wait_asleep (&more.thread);
  for (unsigned i = 0; i < MAX_READERS; i++)
    rwword_read_unlock (&w);
  leave (&more);
  assert_int_equal (look (&w), RW_OWNER);
}

/* A long wait sleeps. */
static void
test_waiting_costs_nothing (void **state) NO_THREAD_SAFETY_ANALYSIS
{
  enum { N = 4, MS = 300, MOST_MS = 30 };
  struct rwword w = { 0 };
  struct waiter waiter[N];
  uint64_t before[N];

  (void) state;
  rwword_write_lock (&w);
  for (unsigned i = 0; i < N; i++)
    start_waiter (&waiter[i], &w, i == N - 1, true);
  for (unsigned i = 0; i < N; i++) {
    unit_wait_asleep (&waiter[i].thread);
    before[i] = unit_cpu_ns (&waiter[i].thread);
  }
  unit_sleep_ms (MS);
  for (unsigned i = 0; i < N; i++) {
    assert_false (atomic_load (&waiter[i].inside));
    assert_in_range (unit_cpu_ns (&waiter[i].thread) - before[i], 0,
                     MOST_MS * 1000000);
  }
  rwword_write_unlock (&w);
  for (unsigned i = 0; i < N; i++)
    unit_join (&waiter[i].thread);
  assert_int_equal (look (&w), 0);
}

/* Overtaken by the unlock, at either of the places where it would be easy to
 * sleep on a lock that is free.  A second waiter has set the mark before.
 */
#ifdef ZRAM_FAULTS
static void
overtake (const char *point, bool write) NO_THREAD_SAFETY_ANALYSIS
{
  struct rwword w = { 0 };
  struct waiter first, second;

  rwword_write_lock (&w);
  start_waiter (&first, &w, false, true);
  wait_for_bits (&w, RW_QUEUED);
  unit_wait_asleep (&first.thread);
  fault_hold (point);
  start_waiter (&second, &w, write, true);
  fault_wait_held (point);
  rwword_write_unlock (&w);
  unit_join (&first.thread);
  fault_release (point);
  unit_join (&second.thread);
  assert_int_equal (look (&w), 0);
}

static void
test_overtaken (void **state)
{
  (void) state;
  for (unsigned write = 0; write < 2; write++) {
    overtake ("rwword.seen", write);
    overtake ("rwword.marked", write);
  }
}
#endif

/* ------------------------------------------------------------------------
 * Many threads.  A word's owner bits: 8 that readers stamp, 9 that writers
 * count in; 'data' is what the lock protects.
 */

#define WORDS 3
#define STAMP 0xffu
#define COUNT_SHIFT 8
#define COUNT (RW_OWNER & ~STAMP)

struct guarded {
  struct rwword *w;
  uint64_t data[4]; /* all equal; plain, so that TSan sees a breach */
  atomic_uint readers, writers; /* that are inside */
};

struct hammer {
  struct guarded *g;
  unsigned number, times;
  bool yields;     /* inside, so that others come and have to sleep */
  uint64_t writes; /* result */
};

static void
read_inside (struct guarded *g, bool yields)
{
  uint64_t seen = g->data[0];
  uint32_t v;

  atomic_fetch_add (&g->readers, 1);
  if (yields)
    sched_yield ();
  v = look (g->w);
  check_always (!(v & RW_WRITER) && (v & RW_READERS));
  check_always (atomic_load (&g->writers) == 0);
  for (unsigned i = 0; i < 4; i++)
    check_always (g->data[i] == seen);
  check_always ((v & COUNT) == (seen << COUNT_SHIFT & COUNT));
  atomic_fetch_sub (&g->readers, 1);
}

static void
write_inside (struct guarded *g, bool yields) NO_THREAD_SAFETY_ANALYSIS
{
  check_always (atomic_fetch_add (&g->writers, 1) == 0);
  check_always (atomic_load (&g->readers) == 0);
  check_always ((look (g->w) & RW_HELD) == RW_WRITER);
  for (unsigned i = 0; i < 4; i++) {
    g->data[i]++;
    if (yields && i == 1)
      sched_yield ();
  }
  rwword_set_owner (g->w, COUNT,
                    (uint32_t) (g->data[0] << COUNT_SHIFT) & COUNT);
  check_always (atomic_fetch_sub (&g->writers, 1) == 1);
}

static void *
hammer (void *arg) NO_THREAD_SAFETY_ANALYSIS
{
  struct hammer *h = arg;
  struct unit_rng rng = unit_rng (h->number);

  for (unsigned i = 0; i < h->times; i++) {
    struct guarded *g = &h->g[unit_below (&rng, WORDS)];
    uint32_t what = unit_below (&rng, 8);

    if (what < 4) {
      rwword_read_lock (g->w, STAMP, h->number);
      read_inside (g, h->yields);
      rwword_read_unlock (g->w);
    }
    else if (what < 6) {
      rwword_write_lock (g->w);
      write_inside (g, h->yields);
      h->writes++;
      rwword_write_unlock (g->w);
    }
    else if (what == 6 && rwword_try_read_lock (g->w)) {
      read_inside (g, h->yields);
      rwword_read_unlock (g->w);
    }
    else if (what == 7 && rwword_try_write_lock (g->w)) {
      write_inside (g, h->yields);
      h->writes++;
      rwword_write_unlock (g->w);
    }
  }
  return NULL;
}

static void
run_hammer (unsigned threads, unsigned times, bool yields)
{
  _Alignas(64) struct rwword words[WORDS] = { 0 };
  struct guarded g[WORDS] = { 0 };
  struct hammer *h = calloc (threads, sizeof *h);
  struct unit_thread *t = calloc (threads, sizeof *t);
  uint64_t writes = 0;

  for (unsigned i = 0; i < WORDS; i++)
    g[i].w = &words[i];
  for (unsigned i = 0; i < threads; i++)
    h[i] = (struct hammer){
      .g = g, .number = i, .times = times, .yields = yields
    };
  unit_start_all (t, threads, hammer, h, sizeof *h);
  unit_join_all (t, threads);
  for (unsigned i = 0; i < threads; i++)
    writes += h[i].writes;
  for (unsigned i = 0; i < WORDS; i++) {
    assert_true (rwword_is_free (&words[i]));
    assert_int_equal (look (&words[i]) & COUNT,
                      g[i].data[0] << COUNT_SHIFT & COUNT);
    writes -= g[i].data[0];
  }
  assert_int_equal (writes, 0);
  free (t);
  free (h);
}

static void
test_exclusion (void **state)
{
  (void) state;
  run_hammer (4, UNIT_TIMES (200000), false);
}

/* Here nearly everybody has to sleep: one lost wake-up, and it hangs. */
static void
test_no_lost_wakeup (void **state)
{
  uint64_t sleeps = park_sleeps ();

  (void) state;
  run_hammer (24, UNIT_TIMES (4000), true);
  assert_true (park_sleeps () - sleeps > 100);
}

/* ------------------------------------------------------------------------
 * A stream of readers without a gap, and a writer that wants in.
 */

struct stream {
  struct rwword w;
  atomic_bool stop;
  uint64_t data;
};

static void *
read_on (void *arg) NO_THREAD_SAFETY_ANALYSIS
{
  struct stream *s = arg;

  while (!atomic_load (&s->stop)) {
    rwword_read_lock (&s->w, 0, 0);
    uint64_t seen = s->data;
    for (unsigned i = 0; i < 1000; i++)
      check_always (*(volatile uint64_t *) &s->data == seen);
    rwword_read_unlock (&s->w);
  }
  return NULL;
}

static void
test_writer_not_starved (void **state) NO_THREAD_SAFETY_ANALYSIS
{
  enum { N = 6, TIMES = 20 };
  struct stream s = { .w = { 0 } };
  struct unit_thread t[N];

  (void) state;
  for (unsigned i = 0; i < N; i++)
    unit_start (&t[i], read_on, &s);
  for (unsigned i = 0; i < TIMES; i++) {
    rwword_write_lock (&s.w);
    s.data++;
    rwword_write_unlock (&s.w);
    sched_yield ();
  }
  atomic_store (&s.stop, true);
  unit_join_all (t, N);
  assert_int_equal (look (&s.w), 0);
}

/* ------------------------------------------------------------------------
 * A thread that holds all words of a page zeroes it, and so unlocks them, as
 * slot_table_reclaim and arena_trim do it.  A word that the system zeroed
 * orders nothing.  So a thread that got a lock checks something that was
 * changed before the zeroing: there the directory or a handle, here 'life'.
 */

#define PAGE 4096u
#define PAGE_WORDS 16 /* that are used, spread over the page */

struct page {
  struct reserve r;
  uint64_t data[PAGE_WORDS];
  atomic_uint life;
  atomic_bool stop;
};

static struct rwword *
page_word (struct page *p, unsigned i)
{
  return (struct rwword *) p->r.base + i * (PAGE / 4 / PAGE_WORDS);
}

static void *
use_page (void *arg) NO_THREAD_SAFETY_ANALYSIS
{
  struct page *p = arg;
  struct unit_rng rng = unit_rng ((uintptr_t) &rng);

  while (!atomic_load (&p->stop)) {
    unsigned i = unit_below (&rng, PAGE_WORDS);
    bool yields = unit_below (&rng, 16) == 0;
    struct rwword *w = page_word (p, i);

    if (unit_below (&rng, 2)) {
      rwword_read_lock (w, 0, 0);
      (void) atomic_load (&p->life);
      uint64_t seen = p->data[i];
      if (yields)
        sched_yield ();
      check_always (p->data[i] == seen);
      rwword_read_unlock (w);
    }
    else {
      rwword_write_lock (w);
      (void) atomic_load (&p->life);
      p->data[i]++;
      if (yields)
        sched_yield ();
      rwword_write_unlock (w);
    }
  }
  return NULL;
}

static bool
zero_page (struct page *p) NO_THREAD_SAFETY_ANALYSIS
{
  unsigned got = 0;

  while (got < PAGE_WORDS && rwword_try_write_lock (page_word (p, got)))
    got++;
  if (got < PAGE_WORDS) {
    while (got--)
      rwword_write_unlock (page_word (p, got));
    return false;
  }
  for (unsigned i = 0; i < PAGE_WORDS; i++)
    p->data[i] = 0;
  atomic_fetch_add (&p->life, 1);
  sched_yield (); /* let some come and sleep */
  reserve_return (&p->r, 0, PAGE);
  park_wake (p->r.base);
  return true;
}

static void
test_page_zeroing (void **state)
{
  enum { N = 3 };
  struct page p = { .life = 0 };
  struct unit_thread t[N];
  unsigned zeroed = 0;
  uint64_t sleeps = park_sleeps ();

  (void) state;
  assert_int_equal (reserve_open (&p.r, PAGE, PAGE), 0);
  assert_int_equal (reserve_commit (&p.r, PAGE), 0);
  for (unsigned i = 0; i < N; i++)
    unit_start (&t[i], use_page, &p);
  while (zeroed < UNIT_TIMES (800) || park_sleeps () == sleeps)
    zeroed += zero_page (&p);
  atomic_store (&p.stop, true);
  unit_join_all (t, N);
  for (unsigned i = 0; i < PAGE_WORDS; i++)
    assert_true (rwword_is_free (page_word (&p, i)));
  reserve_close (&p.r);
}

static const struct CMUnitTest tests[] = {
  UNIT_TEST (test_bits),
  UNIT_TEST (test_owner),
  UNIT_TEST (test_try_beside_marks),
  UNIT_TEST (test_pending),
  UNIT_TEST (test_readers_together),
  UNIT_TEST (test_reader_overflow),
  UNIT_TEST (test_waiting_costs_nothing),
#ifdef ZRAM_FAULTS
  UNIT_TEST (test_overtaken),
#endif
  UNIT_TEST (test_exclusion),
  UNIT_TEST (test_no_lost_wakeup),
  UNIT_TEST (test_writer_not_starved),
  UNIT_TEST (test_page_zeroing),
};

int
main (void)
{
  return UNIT_RUN (tests);
}
