/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Upkeep: all background work of a store is made, started, held and ended as
 * one, whatever is at work meanwhile; and what fails on the way leaves nothing
 * behind.
 */

#include <config.h>

#include <dirent.h>

#include "held-backing.h"
#include "unbounded.h"

#include "maint/by_hand.h"

#define SLOT 4096u
#define DISK (32 * MiB)
#define BUFFER (1 * MiB)

/* Milliseconds: more than any of these tests takes, and no more than needs be.
 */
#define LONG_PATIENCE 600000
#define SHORT_PATIENCE 30

static const char by_itself[] = "zstd";
static struct fixture f;
static struct held *store;
static struct upkeep *u;
static struct zcomp_method method;

static struct upkeep *
create (void)
{
  const struct upkeep_config config = { .compact_threshold = 1,
                                        .methods = &method,
                                        .methods_count = 1,
                                        .auto_age = 1,
                                        .auto_share = 50,
                                        .evict_low = 20,
                                        .evict_high = 30 };

  return upkeep_create (f.store, &config);
}

/* All that there can be: with a backing store, a write buffer, and memory that
 * is kept ready.
 */
static void
open_store (void)
{
  struct store_config config = fixture_config (SLOT, codec_named ("lz4"), 2,
                                               DISK);

  config.keep_ready = MiB;
  f.slot_size = SLOT;
  f.store = store_create (&config);
  check_always (f.store && store_start (f.store) == 0);
  f.disk = disk_create (f.store, DISK);
  check_always (f.disk);
  store = held_attach (&f, 8192);
  method.format = codec_named (by_itself);
  method.level = 1;
}

static void
close_store (void)
{
  fixture_audit (&f);
  disk_destroy (f.disk);
  store_destroy (f.store);
}

static void
setup (void)
{
  open_store ();
  u = create ();
  check_always (u);
}

static void
finish (void)
{
  upkeep_destroy (u);
  close_store ();
}

static unsigned
entries (const char *folder)
{
  DIR *dir = opendir (folder);
  unsigned n = 0;

  check_always (dir);
  while (readdir (dir))
    n++;
  closedir (dir);
  return n;
}

/* A thread that was joined may be seen for a moment. */
static void
must_have_threads (unsigned n)
{
  while (entries ("/proc/self/task") != n)
    unit_sleep_ms (1);
}

static struct patience
patient (void)
{
  return patience_ms (LONG_PATIENCE, NULL);
}

static void
write_all (unsigned n, unsigned generation)
{
  for (unsigned i = 0; i < n; i++)
    held_write (&f, i, generation);
}

static void
expect_all (unsigned n, unsigned generation)
{
  for (unsigned i = 0; i < n; i++)
    held_expect (&f, i, generation);
}

static void
must_be_sound (void)
{
  struct pass_progress progress = { 0 };
  struct reason why;

  if (by_hand_audit (u, true, LONG_PATIENCE, &progress, &why) == -1)
    fail_msg ("%s", why.text);
}

/* -- life ----------------------------------------------------------------- */

static void
test_life (void **state)
{
  unsigned threads;

  (void) state;
  setup ();
  write_all (1, 0);
  must_be_sound (); /* its reader stays */
  threads = entries ("/proc/self/task");
  upkeep_stop (u); /* it never started */
  for (unsigned i = 0; i < 3; i++) {
    assert_int_equal (upkeep_start (u), 0);
    must_have_threads (threads + 5);
    write_all (100, i);
    upkeep_stop (u);
    must_have_threads (threads);
    upkeep_stop (u);
    expect_all (100, i);
    must_be_sound ();
  }
  finish ();
}

/* Without a backing store there is no evictor, without memory to keep ready no
 * thread for that.
 */
static void
test_small (void **state)
{
  unsigned threads;

  (void) state;
  fixture_open (&f, SLOT, "lz4", 2, DISK);
  u = create ();
  assert_non_null (u);
  assert_null (u->evictor);
  threads = entries ("/proc/self/task");
  assert_int_equal (upkeep_start (u), 0);
  must_have_threads (threads + 3);
  write_all (100, 1);
  must_be_sound ();
  upkeep_destroy (u);
  fixture_close (&f);
  upkeep_destroy (NULL);
}

/* -- holding -------------------------------------------------------------- */

static void
lock_settings (void) NO_THREAD_SAFETY_ANALYSIS
{
  mutex_lock (&u->store->settings);
}

static void
unlock_settings (void) NO_THREAD_SAFETY_ANALYSIS
{
  mutex_unlock (&u->store->settings);
}

#define HOLDER(name, hold_call, unhold_call)                              \
  static void hold_##name (void) NO_THREAD_SAFETY_ANALYSIS { hold_call; } \
  static void unhold_##name (void) NO_THREAD_SAFETY_ANALYSIS { unhold_call; }

HOLDER (compactor, compactor_hold (u->compactor),
        compactor_unhold (u->compactor))
HOLDER (recompressor, recompressor_hold (u->recompressor),
        recompressor_unhold (u->recompressor))
HOLDER (writeback, writeback_hold (&u->writeback),
        writeback_unhold (&u->writeback))
HOLDER (evictor, evictor_hold (u->evictor), evictor_unhold (u->evictor))
HOLDER (drain, drain_hold (u->store), drain_unhold (u->store))
HOLDER (refill, mutex_lock (&u->refill.control), refill_unhold (&u->refill))

static const char silent[] = "the backing store does not answer";
static const char no_memory[] = "the system does not give the memory that is "
                                "kept ready";

static const struct one {
  void (*hold) (void);
  void (*unhold) (void);
  const char *words; /* when it stays held */
  bool of_passes;
} ones[] = {
  { lock_settings, unlock_settings,
    "a change of the settings does not come to an end", true },
  { hold_compactor, unhold_compactor, "a compaction does not come to an end",
    true },
  { hold_recompressor, unhold_recompressor,
    "a recompression does not come to an end", true },
  { hold_writeback, unhold_writeback, silent, false },
  { hold_evictor, unhold_evictor, silent, false },
  { hold_drain, unhold_drain,
    "the write buffer's draining does not come to an end", false },
  { hold_refill, unhold_refill, no_memory, false },
};
#define ONES (sizeof ones / sizeof ones[0])

static atomic_bool held, let_go;

static void *
hold_one (void *arg)
{
  const struct one *one = arg;

  one->hold ();
  atomic_store (&held, true);
  while (!atomic_load (&let_go))
    unit_sleep_ms (1);
  one->unhold ();
  return NULL;
}

/* None but 'taken', which somebody else has: else this would wait for ever. */
static void
must_not_be_held (const struct one *taken)
{
  for (unsigned i = 0; i < ONES; i++)
    if (&ones[i] != taken) {
      ones[i].hold ();
      ones[i].unhold ();
    }
}

/* Patience ends, or is cancelled; and 'words' say for what, or NULL. */
static void
hold_must_say (enum upkeep_hold what, const char *words,
               const struct one *taken)
{
  static const atomic_bool cancelled = true;
  const struct patience short_one = patience_ms (SHORT_PATIENCE, NULL);
  const struct patience none = patience_ms (LONG_PATIENCE, &cancelled);
  const struct patience *p[] = { &short_one, &none };

  for (unsigned i = 0; i < 2; i++) {
    const char *said = upkeep_hold (u, what, p[i]);

    if (said && words)
      assert_string_equal (said, words);
    else if (said || words)
      fail_msg ("\"%s\", not \"%s\"", said ? said : "", words ? words : "");
    if (!said)
      upkeep_unhold (u, what);
  }
  must_not_be_held (taken);
}

/* Whatever one of them is held, the others are free again; and who waits with
 * patience gets it when it is let go.
 */
static void
test_each_held (void **state)
{
  (void) state;
  setup ();
  for (unsigned i = 0; i < ONES; i++) {
    struct unit_thread t;
    struct patience p = patient ();

    atomic_store (&held, false);
    atomic_store (&let_go, false);
    unit_start (&t, hold_one, (void *) (uintptr_t) &ones[i]);
    while (!atomic_load (&held))
      unit_sleep_ms (1);
    hold_must_say (UPKEEP_ALL, ones[i].words, &ones[i]);
    hold_must_say (UPKEEP_PASSES, ones[i].of_passes ? ones[i].words : NULL,
                   &ones[i]);
    atomic_store (&let_go, true);
    assert_null (upkeep_hold (u, UPKEEP_ALL, &p));
    upkeep_unhold (u, UPKEEP_ALL);
    unit_join (&t);
    must_not_be_held (NULL);
  }
  finish ();
}

/* While all is held and threads are there, all that is counted stays. */
static void
test_held_stands_still (void **state)
{
  struct patience p;

  (void) state;
  setup ();
  assert_int_equal (buffer_set_size (&f.store->buffer, BUFFER), 0);
  assert_int_equal (upkeep_start (u), 0);
  for (unsigned i = 0; i < 20; i++) {
    write_all (300, i);
    for (unsigned k = 0; k < 100; k++)
      must_discard (&f, 3 * k * SLOT, SLOT);
    p = patient ();
    assert_null (upkeep_hold (u, UPKEEP_ALL, &p));
    fixture_audit (&f);
    upkeep_unhold (u, UPKEEP_ALL);
  }
  finish ();
}

/* -- held while a pass is at work ------------------------------------------ */

static struct pass_progress progress;

static void *
write_back (void *arg)
{
  const struct writeback_request all = { 0 };
  struct writeback_totals totals;

  (void) arg;
  check_always (by_hand_write_back (u, &all, &progress, &totals) == 0);
  return NULL;
}

/* What is in flight comes in while the hold waits for it. */
static void *
release_store (void *arg)
{
  (void) arg;
  held_release (store);
  return NULL;
}

static void
busy_with_store (void)
{
  struct patience p = patient ();
  struct unit_thread t;

  for (unsigned i = 0; i < 2; i++) {
    const struct patience s = patience_ms (SHORT_PATIENCE, NULL);

    assert_string_equal (upkeep_hold (u, UPKEEP_ALL, &s), silent);
  }
  p = patient ();
  assert_null (upkeep_hold (u, UPKEEP_PASSES, &p));
  upkeep_unhold (u, UPKEEP_PASSES);
  unit_start (&t, release_store, NULL);
  p = patient ();
  assert_null (upkeep_hold (u, UPKEEP_ALL, &p));
  fixture_audit (&f);
  upkeep_unhold (u, UPKEEP_ALL);
  unit_join (&t);
}

static void
test_busy_writeback (void **state)
{
  struct unit_thread t;

  (void) state;
  setup ();
  write_all (200, 1);
  held_hold (store, true, false, false);
  unit_start (&t, write_back, NULL);
  held_wait_queued (store, 1);
  busy_with_store ();
  held_release (store);
  unit_join (&t);
  must_be_sound ();
  expect_all (200, 1);
  finish ();
}

static void
test_busy_eviction (void **state)
{
  unsigned n = 0;

  (void) state;
  setup ();
  fixture_limit (&f, 4 * MiB);
  held_hold (store, true, false, false);
  assert_int_equal (upkeep_start (u), 0);
  while (held_count (store) == 0)
    held_write (&f, n++ % 2000, 1);
  busy_with_store ();
  held_release (store);
  must_be_sound ();
  expect_all (n < 2000 ? n : 2000, 1);
  finish ();
}

/* A deep audit that is left alone with a read does not keep others. */
static void
test_left_alone (void **state)
{
  struct pass_progress audit = { 0 };
  struct reason why;

  (void) state;
  setup ();
  write_all (20, 1);
  held_write_back (&f, 0, 10);
  held_hold (store, false, false, true);
  assert_int_equal (by_hand_audit (u, true, SHORT_PATIENCE, &audit, &why), -1);
  assert_int_equal (errno, ETIMEDOUT);
  assert_int_equal (atomic_load (&u->policy.pauses), 0);
  held_release (store);
  must_not_be_held (NULL);
  must_be_sound ();
  expect_all (20, 1);
  finish ();
}

#ifdef ZRAM_FAULTS

static void *
recompress (void *arg)
{
  const struct recompress_request all = { 0 };
  struct recompress_totals totals;

  (void) arg;
  check_always (by_hand_recompress (u, &all, &progress, &totals) == 0);
  return NULL;
}

static void *
empty_buffer (void *arg)
{
  struct pace pace;

  (void) arg;
  pace_init (&pace, f.store, NULL, 100, 100);
  drainer_empty (f.store, &pace, &progress.cancel);
  return NULL;
}

/* The pass stands at the point, in the middle of a step. */
static void
busy_at (const char *point, void *(*pass) (void *), const char *words,
         bool of_passes)
{
  struct patience p = patience_ms (SHORT_PATIENCE, NULL);
  struct unit_thread t;

  fault_hold_first (point);
  unit_start (&t, pass, NULL);
  fault_wait_held (point);
  assert_string_equal (upkeep_hold (u, UPKEEP_ALL, &p), words);
  p = patience_ms (SHORT_PATIENCE, NULL);
  if (of_passes)
    assert_string_equal (upkeep_hold (u, UPKEEP_PASSES, &p), words);
  else {
    p = patient ();
    assert_null (upkeep_hold (u, UPKEEP_PASSES, &p));
    upkeep_unhold (u, UPKEEP_PASSES);
  }
  fault_release (point);
  p = patient ();
  assert_null (upkeep_hold (u, UPKEEP_ALL, &p));
  fixture_audit (&f);
  upkeep_unhold (u, UPKEEP_ALL);
  unit_join (&t);
  must_not_be_held (NULL);
}

static void
test_busy_recompression (void **state)
{
  (void) state;
  setup ();
  write_all (200, 1);
  busy_at ("recompress.packed", recompress,
           "a recompression does not come to an end", true);
  expect_all (200, 1);
  finish ();
}

static void
test_busy_drain (void **state)
{
  (void) state;
  setup ();
  assert_int_equal (buffer_set_size (&f.store->buffer, BUFFER), 0);
  write_all (100, 1);
  busy_at ("drain.copied", empty_buffer,
           "the write buffer's draining does not come to an end", false);
  expect_all (100, 1);
  finish ();
}

static void *
start_refill (void *arg)
{
  (void) arg;
  check_always (refill_start (&u->refill) == 0);
  return NULL;
}

/* The memory that a step has taken is in no list yet: an auditor would find it
 * missing.
 */
static void
test_busy_refill (void **state)
{
  (void) state;
  setup ();
  busy_at ("pool.fill", start_refill, no_memory, false);
  finish ();
}

/* -- what cannot be made or started ---------------------------------------- */

/* Each allocation in turn. */
static void
test_create_fails (void **state)
{
  unsigned threads, files, failed = 0;
  uint64_t used;

  (void) state;
  open_store ();
  threads = entries ("/proc/self/task");
  files = entries ("/proc/self/fd");
  used = fixture_used (&f);
  for (;; failed++) {
    fault_fail_nth ("alloc", failed + 1, false);
    u = create ();
    fault_clear ();
    if (u)
      break;
    assert_int_equal (errno, ENOMEM);
    must_have_threads (threads);
    assert_int_equal (entries ("/proc/self/fd"), files);
    assert_int_equal (fixture_used (&f), used);
  }
  assert_true (failed >= 5); /* itself and four that are allocated */
  assert_int_equal (upkeep_start (u), 0);
  write_all (100, 1);
  must_be_sound ();
  expect_all (100, 1);
  finish ();
}

/* Each thread in turn: the others end, and another time it works. */
static void
test_start_fails (void **state)
{
  unsigned threads, failed = 0;

  (void) state;
  setup ();
  threads = entries ("/proc/self/task");
  for (;; failed++) {
    fault_fail_nth ("ticker.thread", failed + 1, false);
    int r = upkeep_start (u);
    int err = errno;
    fault_clear ();
    if (r == 0)
      break;
    assert_int_equal (err, EAGAIN);
    must_have_threads (threads);
    must_not_be_held (NULL);
  }
  assert_int_equal (failed, 5);
  must_have_threads (threads + 5);
  write_all (100, 1);
  must_be_sound ();
  expect_all (100, 1);
  finish ();
}

/* -- by hand --------------------------------------------------------------- */

/* While one recompresses by hand, what does so by itself makes way. */
static void
test_makes_way (void **state)
{
  struct unit_thread t;

  (void) state;
  setup ();
  write_all (100, 1);
  fault_hold_first ("recompress.packed");
  unit_start (&t, recompress, NULL);
  fault_wait_held ("recompress.packed");
  assert_int_equal (atomic_load (&u->policy.pauses), 1);
  assert_true (atomic_load (&u->policy.progress.cancel));
  upkeep_make_way (u);
  fault_release ("recompress.packed");
  unit_join (&t);
  assert_int_equal (atomic_load (&u->policy.pauses), 1);
  upkeep_resume (u);
  assert_int_equal (atomic_load (&u->policy.pauses), 0);
  finish ();
}

#endif /* ZRAM_FAULTS */

/* What is done by hand is meant for all that was written. */
static void
test_buffer_first (void **state)
{
  const struct train_request train = { 0 };
  struct compactor_result compacted;
  struct train_result trained;
  struct recompress_request recompress_all = { 0 };
  struct recompress_totals recompressed;
  const struct writeback_request all = { 0 };
  struct writeback_totals written;
  struct reason why;

  (void) state;
  setup ();
  assert_int_equal (buffer_set_size (&f.store->buffer, BUFFER), 0);
  for (unsigned i = 0; i < 4; i++) {
    struct pass_progress p = { 0 };

    write_all (100, i);
    assert_true (buffer_used (&f.store->buffer) >= 90);
    if (i == 0)
      assert_true (by_hand_compact (u, &p, &compacted));
    if (i == 1)
      assert_int_equal (
        by_hand_recompress (u, &recompress_all, &p, &recompressed), 0);
    if (i == 2)
      (void) !by_hand_train (u, &train, &p, &trained, &why);
    if (i == 3)
      assert_int_equal (by_hand_write_back (u, &all, &p, &written), 0);
    assert_int_equal (buffer_used (&f.store->buffer), 0);
    expect_all (100, i);
  }
  assert_true (written.written.slots >= 90);
  finish ();
}

static void
test_reset (void **state)
{
  struct patience p = patience_ms (SHORT_PATIENCE, NULL);
  const char *said;
  uint64_t locked = 0;
  struct unit_thread t;

  (void) state;
  setup ();
  write_all (100, 1);
  atomic_store (&held, false);
  atomic_store (&let_go, false);
  unit_start (&t, hold_one, (void *) (uintptr_t) &ones[1]);
  while (!atomic_load (&held))
    unit_sleep_ms (1);
  said = by_hand_reset (u, f.disk, &p, &locked);
  assert_string_equal (said, ones[1].words);
  assert_int_equal (atomic_load (&u->policy.pauses), 0);
  must_not_be_held (&ones[1]);
  expect_all (100, 1);
  atomic_store (&let_go, true);
  p = patient ();
  assert_null (by_hand_reset (u, f.disk, &p, &locked));
  unit_join (&t);
  assert_int_equal (locked, 0);
  assert_int_equal (fixture_count (&f, DISK_SLOTS_STORED), 0);
  must_not_be_held (NULL);
  finish ();
}

/* -- stopped with everything at work ----------------------------------------
 */

static atomic_bool writers_end;

/* Room may be used up once the evictor has ended: errors are no matter. */
static void *
write_often (void *arg)
{
  struct unit_rng rng = unit_rng ((uint64_t) (uintptr_t) arg);
  char buf[SLOT];

  while (!atomic_load (&writers_end)) {
    uint64_t i = unit_below (&rng, 3000);

    held_data (buf, SLOT, i, 1);
    if (unit_below (&rng, 8) == 0)
      must_discard (&f, i * SLOT, SLOT);
    else
      (void) !disk_write (f.disk, buf, SLOT, i * SLOT);
  }
  return NULL;
}

static void *
passes_often (void *arg)
{
  struct recompress_request again = { 0 };
  const struct writeback_request some = { .incompressible = true };
  struct recompress_totals recompressed;
  struct compactor_result compacted;
  struct writeback_totals written;
  struct reason why;

  (void) arg;
  while (!atomic_load (&writers_end)) {
    struct pass_progress p = { 0 };

    (void) !by_hand_recompress (u, &again, &p, &recompressed);
    (void) by_hand_compact (u, &p, &compacted);
    (void) !by_hand_write_back (u, &some, &p, &written);
    check_always (by_hand_audit (u, false, LONG_PATIENCE, &p, &why) == 0);
  }
  return NULL;
}

static void
test_stop_while_all_run (void **state)
{
  struct unit_thread t[3];

  (void) state;
  setup ();
  fixture_limit (&f, 8 * MiB);
  evictor_set_marks (u->evictor, 60, 70);
  assert_int_equal (buffer_set_size (&f.store->buffer, BUFFER), 0);
  for (unsigned i = 0; i < UNIT_TIMES (5) + 1; i++) {
    uint64_t evicted = evictor_stats (u->evictor).slots;

    assert_int_equal (upkeep_start (u), 0);
    atomic_store (&writers_end, false);
    unit_start (&t[0], write_often, (void *) 1);
    unit_start (&t[1], write_often, (void *) 2);
    unit_start (&t[2], passes_often, NULL);
    while (evictor_stats (u->evictor).slots == evicted)
      unit_sleep_ms (1);
    upkeep_stop (u);
    atomic_store (&writers_end, true);
    unit_join_all (t, 3);
  }
  must_be_sound ();
  finish ();
}

int
main (void)
{
  static const struct CMUnitTest tests[] = {
    UNIT_TEST (test_life),
    UNIT_TEST (test_small),
    UNIT_TEST (test_each_held),
    UNIT_TEST (test_held_stands_still),
    UNIT_TEST (test_busy_writeback),
    UNIT_TEST (test_busy_eviction),
    UNIT_TEST (test_left_alone),
#ifdef ZRAM_FAULTS
    UNIT_TEST (test_busy_recompression),
    UNIT_TEST (test_busy_drain),
    UNIT_TEST (test_busy_refill),
    UNIT_TEST (test_create_fails),
    UNIT_TEST (test_start_fails),
    UNIT_TEST (test_makes_way),
#endif
    UNIT_TEST (test_buffer_first),
    UNIT_TEST (test_reset),
    UNIT_TEST (test_stop_while_all_run),
  };

  return UNIT_RUN (tests);
}
