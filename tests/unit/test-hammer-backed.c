/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Many threads on few slots over a tiny backing store, whose blocks are reused
 * as fast as can be, whose writes complete in any order and fail now and then.
 * What is written says where it belongs, who wrote it and when:
 *
 *   slot | part 0 | part 1 | … | part 7 |     part: 512 bytes
 *   part | stamp | bytes that follow from the stamp |
 *
 * so a reader knows at once what is foreign, torn or of long ago.  Beside them
 * run writeback by hand, eviction, promotion, recompression, compaction, and
 * audits; and once more with a write buffer, which is drained without a pause.
 */

#include <config.h>

#include "held-backing.h"
#include "unbounded.h"

#include "maint/compactor.h"
#include "maint/evictor.h"
#include "maint/recompressor.h"
#include "maint/writeback.h"

#define SLOT 4096u
#define PARTS 8u
#define PART (SLOT / PARTS)
#define THREADS 4u
#define SLOTS 24u
#define DISK (32 * MiB)
#define BLOCKS 64u
#define LIMIT (2 * MiB)

static struct fixture f;
static struct held *store;
static struct evictor *evictor;
static struct writeback writeback;
static struct recompressor *recompressor;
static struct compactor *compactor;
static atomic_bool stop;

/* Some are neighbours, some in leaves of their own. */
static uint64_t
place (unsigned slot)
{
  return (slot % 3 == 2 ? (slot + 1) * LEAF_SLOTS + 7 : slot) * SLOT;
}

/* -- stamps ------------------------------------------------------------- */

struct stamp {
  uint64_t magic;
  uint32_t slot, part, thread, gen;
};

#define MAGIC UINT64_C (0x6261636b6564) /* "backed" */

static void
make_part (char *p, struct stamp st)
{
  struct unit_rng rng = { .s = (uint64_t) st.slot << 56 |
                               (uint64_t) st.part << 48 |
                               (uint64_t) st.thread << 40 | st.gen };

  fill_kind (p, PART, st.gen % 4 ? KIND_TEXT : KIND_RANDOM, &rng);
  memcpy (p, &st, sizeof st);
}

static void
make_parts (char *p, unsigned slot, unsigned from, unsigned to, unsigned thread,
            uint32_t gen)
{
  for (unsigned part = from; part < to; part++)
    make_part (p + (part - from) * PART,
               (struct stamp){ MAGIC, slot, part, thread, gen });
}

/* gen 0: not written, all zero. */
static struct stamp
identify (const char *p, unsigned slot, unsigned part)
{
  char again[PART];
  struct stamp st;

  memcpy (&st, p, sizeof st);
  if (all_zero (p, PART))
    return st;
  check_always (st.magic == MAGIC && st.slot == slot && st.part == part);
  check_always (st.thread < THREADS && st.gen > 0);
  make_part (again, st);
  check_always (memcmp (p, again, PART) == 0);
  return st;
}

/* -- hammers ------------------------------------------------------------ */

struct hammer {
  unsigned id;
  uint32_t gen; /* counts this thread's writes */
  uint32_t seen[SLOTS][PARTS][THREADS];
};

static void
read_parts (struct hammer *h, unsigned slot, unsigned from, unsigned to)
{
  char buf[SLOT];

  must_read (&f, buf, (to - from) * PART, place (slot) + from * PART);
  for (unsigned part = from; part < to; part++) {
    struct stamp st = identify (buf + (part - from) * PART, slot, part);
    uint32_t *seen = h->seen[slot][part];

    if (st.gen == 0)
      continue;
    /* What somebody wrote earlier does not come back. */
    check_always (st.gen >= seen[st.thread]);
    seen[st.thread] = st.gen;
  }
}

static void
write_parts (struct hammer *h, unsigned slot, unsigned from, unsigned to)
{
  char buf[SLOT];

  make_parts (buf, slot, from, to, h->id, ++h->gen);
  must_write (&f, buf, (to - from) * PART, place (slot) + from * PART);
}

/* What those beside the hammers have to do with them; on a slow machine they
 * need longer to come to that.
 */
static bool
all_happened (void)
{
  if (buffer_is_on (&f.store->buffer))
    return fixture_count (&f, DISK_BUFFER_HITS) > 0 &&
           fixture_count (&f, DISK_DRAINED) > 0;
  return fixture_count (&f, DISK_BD_READS) > 0 &&
         fixture_count (&f, DISK_BD_WRITE_ERRORS) > 0 &&
         fixture_count (&f, DISK_PROMOTED) > 0 &&
         fixture_count (&f, DISK_BD_WRITES) > 0;
}

static void *
hammer (void *arg)
{
  struct hammer *h = arg;
  struct unit_rng rng = unit_rng (h->id);

  for (unsigned i = 0; i < UNIT_TIMES (100000) || !all_happened (); i++) {
    unsigned slot = unit_below (&rng, SLOTS), dice = unit_below (&rng, 100);
    unsigned from = unit_below (&rng, PARTS);
    unsigned to = from + 1 + unit_below (&rng, PARTS - from);

    if (dice < 25)
      write_parts (h, slot, 0, PARTS);
    else if (dice < 35)
      write_parts (h, slot, from, to);
    else if (dice < 37)
      must_discard (&f, place (slot), SLOT);
    else if (dice < 40)
      must_discard (&f, place (slot) + from * PART, (to - from) * PART);
    else if (dice < 70)
      read_parts (h, slot, from, to);
    else
      read_parts (h, slot, 0, PARTS);
    if (unit_below (&rng, 5000) == 0)
      must_discard (&f, 0, DISK);
  }
  return NULL;
}

/* -- beside them -------------------------------------------------------- */

/* Whatever is held ends, in any order, and some of it badly. */
static void *
completer (void *arg)
{
  struct unit_rng rng = unit_rng (100);

  (void) arg;
  while (!atomic_load (&stop)) {
    unsigned n = held_count (store);

    if (n == 0 || unit_below (&rng, 3) == 0)
      sched_yield ();
    else
      held_complete (store, unit_below (&rng, n),
                     unit_below (&rng, 10) ? 0 : EIO);
  }
  return NULL;
}

static void *
writes_back (void *arg)
{
  static const struct writeback_request all = { .idle = false };

  (void) arg;
  while (!atomic_load (&stop)) {
    struct pass_progress progress = { .done = 0 };
    struct writeback_totals totals;
    struct pace pace;

    pace_init (&pace, f.store, NULL, 100, 100);
    check_always (writeback_run (&writeback, &all, &pace, &progress, &totals) ==
                  0);
    check_always (totals.error == 0 || totals.error == EIO);
    sched_yield ();
  }
  return NULL;
}

static void *
recompresses (void *arg)
{
  static const struct recompress_request all = { .priority = 0 };

  (void) arg;
  while (!atomic_load (&stop)) {
    struct pass_progress progress = { .done = 0 };
    struct recompress_totals totals;
    struct pace pace;

    pace_init (&pace, f.store, NULL, 100, 100);
    check_always (
      recompressor_run (recompressor, &all, &pace, &progress, &totals) == 0);
    mutex_lock (&f.store->settings); /* as a change of the methods does */
    claim_clear_marks (f.store);
    mutex_unlock (&f.store->settings);
    (void) compactor_run (compactor);
    sched_yield ();
  }
  return NULL;
}

/* All that is there, and sometimes its memory. */
static void *
drains (void *arg)
{
  (void) arg;
  for (unsigned i = 0; !atomic_load (&stop); i++) {
    struct drain_totals totals = { 0 };

    drain_hold (f.store);
    (void) drain_step_locked (f.store, 0, 16, 8, &totals);
    if (i % 64 == 0)
      (void) buffer_trim (&f.store->buffer);
    drain_unhold (f.store);
    sched_yield ();
  }
  return NULL;
}

/* Audits, and changes the marks. */
static void *
auditor (void *arg)
{
  struct reason why;

  (void) arg;
  for (unsigned i = 0; !atomic_load (&stop); i++) {
    unit_sleep_ms (20);
    /* All slots must go, and then those that are read must come back. */
    evictor_set_marks (evictor, i % 2 ? 50 : 1, i % 2 ? 60 : 2);
    mutex_lock (&f.store->settings);
    /* Requests first: one that waits for room needs the evictor. */
    check_always (store_freeze (f.store, 20000));
    compactor_hold (compactor);
    recompressor_hold (recompressor);
    writeback_hold (&writeback);
    evictor_hold (evictor);
    drain_hold (f.store);
    if (store_audit (f.store, false, &why) == -1) {
      fprintf (stderr, "audit: %s\n", why.text);
      abort ();
    }
    drain_unhold (f.store);
    evictor_unhold (evictor);
    writeback_unhold (&writeback);
    recompressor_unhold (recompressor);
    compactor_unhold (compactor);
    store_thaw (f.store);
    mutex_unlock (&f.store->settings);
  }
  return NULL;
}

static void *(*const beside[]) (void *) = { completer, writes_back,
                                            recompresses, auditor, drains };

#define BESIDE (sizeof beside / sizeof *beside)

static void
open_all (uint64_t buffer)
{
  struct zcomp_method zstd = { codec_named ("zstd"), 1 };

  fixture_open (&f, SLOT, "lz4", 4, DISK);
  store = held_attach (&f, BLOCKS);
  atomic_store (&store->base.can_punch, true);
  blocks_set_punch (f.store->backed->blocks, true);
  atomic_store (&f.store->promote, true);
  fixture_limit (&f, LIMIT);
  check_always (buffer_set_size (&f.store->buffer, buffer) == 0);
  writeback_init (&writeback, f.store);
  recompressor = recompressor_create (f.store, &zstd, 1);
  compactor = compactor_create (f.store, 0, 1);
  evictor = evictor_create (f.store, 1, 2);
  check_always (recompressor && compactor && evictor);
  check_always (evictor_start (evictor) == 0);
  atomic_store (&stop, false);
  held_hold (store, true, true, false);
}

static void
close_all (void)
{
  evictor_stop (evictor);
  evictor_destroy (evictor);
  writeback_destroy (&writeback);
  recompressor_destroy (recompressor);
  compactor_destroy (compactor);
  check_always (atomic_load (&f.store->claims) == 0);
  fixture_close (&f);
}

static void
run (uint64_t buffer)
{
  static struct hammer h[THREADS];
  struct unit_thread hammers[THREADS], others[BESIDE];

  open_all (buffer);
  memset (h, 0, sizeof h);
  for (unsigned i = 0; i < THREADS; i++)
    h[i].id = i;
  unit_start_all (hammers, THREADS, hammer, h, sizeof *h);
  for (unsigned i = 0; i < BESIDE; i++)
    unit_start (&others[i], beside[i], NULL);
  unit_join_all (hammers, THREADS);
  /* Two of them may wait for what the completer leaves. */
  held_hold (store, false, false, false);
  atomic_store (&stop, true);
  unit_join (&others[0]);
  held_complete_all (store);
  unit_join_all (others + 1, BESIDE - 1);
  for (unsigned i = 0; i < THREADS; i++)
    for (unsigned slot = 0; slot < SLOTS; slot++)
      read_parts (&h[i], slot, 0, PARTS);
  assert_int_equal (fixture_count (&f, DISK_BD_DAMAGED), 0);
  assert_int_equal (fixture_count (&f, DISK_BD_READ_ERRORS), 0);
  assert_true (all_happened ());
  fprintf (stderr,
           "read %" PRId64 ", written %" PRId64 ", failed %" PRId64
           ", promoted %" PRId64 ", evicted %" PRIu64 "\n",
           fixture_count (&f, DISK_BD_READS),
           fixture_count (&f, DISK_BD_WRITES),
           fixture_count (&f, DISK_BD_WRITE_ERRORS),
           fixture_count (&f, DISK_PROMOTED), evictor_stats (evictor).slots);
  if (buffer) {
    fprintf (stderr, "drained %" PRId64 ", lost %" PRId64 "\n",
             fixture_count (&f, DISK_DRAINED),
             fixture_count (&f, DISK_DRAIN_LOST));
  }
  close_all ();
}

static void
test_hammer (void **state)
{
  (void) state;
  run (0);
}

static void
test_hammer_buffered (void **state)
{
  (void) state;
  run (MiB);
}

int
main (void)
{
  static const struct CMUnitTest tests[] = {
    UNIT_TEST (test_hammer),
    UNIT_TEST (test_hammer_buffered),
  };

  return UNIT_RUN (tests);
}
