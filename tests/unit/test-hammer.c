/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Many threads on few slots.  What they write says where it belongs, who
 * wrote it and when, so that a reader knows at once whether it sees old or
 * new data or something else.  Beside them objects are compacted and
 * migrated without a pause, the number of streams and the codec change, and
 * slots are recompressed with methods and dictionaries that come and go; all of
 * it also with a write buffer, as small as those slots or smaller, that is
 * drained without a pause.
 *
 *   slot   | part 0 | part 1 | … | part 7 |      part: 512 bytes
 *   part   | stamp | bytes that follow from the stamp |
 *
 * Three kinds of slots:
 *   WHOLE   written and discarded whole: all parts have the same stamp
 *   OWNED   every thread has a part of its own and knows what is in it
 *   MIXED   all of everything: every part is one that somebody wrote
 * In each of them what a thread wrote earlier never comes back after
 * something that the same thread wrote later was seen there.
 */

#include <config.h>

#include "maint/compactor.h"
#include "maint/dictionary.h"
#include "store/claim.h"
#include "store/drain.h"
#include "store-fixture.h"
#include "unbounded.h"

#define SLOT 4096u
#define PARTS 8u
#define PART (SLOT / PARTS)
#define THREADS 6u
#define EACH 3u /* slots of each kind */

enum { WHOLE, OWNED, MIXED, SLOT_KINDS };

#define SLOTS (SLOT_KINDS * EACH)
#define DISK (16 * MiB)
#define BALLAST 2048u /* the first of the slots that keep the arena moving */
#define CHURNED 600u  /* so many of them */

static struct fixture f;
static struct compactor *compactor;
static struct recompressor *recompressor;
static atomic_bool stop;
static atomic_uint refused, swept;

/* Neighbours, and every third one in a leaf of its own. */
static uint64_t
place (unsigned slot)
{
  uint64_t index = slot % 3 == 2 ? (slot / 3 + 1) * LEAF_SLOTS + 7 : slot;

  return index * SLOT;
}

/* -- stamps -------------------------------------------------------------- */

struct stamp {
  uint64_t magic;
  uint32_t slot, part, thread, gen;
};

#define MAGIC UINT64_C (0x68616d6d65726564)

/* Every fourth generation does not compress. */
static void
make_part (char *p, unsigned slot, unsigned part, unsigned thread, uint32_t gen)
{
  struct stamp st = {
    .magic = MAGIC, .slot = slot, .part = part, .thread = thread, .gen = gen
  };
  struct unit_rng rng = { .s = (uint64_t) slot << 56 | (uint64_t) part << 48 |
                               (uint64_t) thread << 40 | gen };

  fill_kind (p, PART, gen % 4 ? KIND_TEXT : KIND_RANDOM, &rng);
  memcpy (p, &st, sizeof st);
}

static void
make_parts (char *p, unsigned slot, unsigned from, unsigned to, unsigned thread,
            uint32_t gen)
{
  for (unsigned part = from; part < to; part++)
    make_part (p + (part - from) * PART, slot, part, thread, gen);
}

/* The writer of this, and when; gen 0: not written, all zero.  Anything else
 * that is not a part of this place ends the test.
 */
static struct stamp
identify (const char *p, unsigned slot, unsigned part)
{
  char again[PART];
  struct stamp st;

  memcpy (&st, p, sizeof st);
  if (all_zero (p, PART))
    return st;
  check_always (st.magic == MAGIC);
  check_always (st.slot == slot && st.part == part);
  check_always (st.thread < THREADS && st.gen > 0);
  make_part (again, slot, part, st.thread, st.gen);
  check_always (memcmp (p, again, PART) == 0);
  return st;
}

/* -- a thread ------------------------------------------------------------ */

struct hammer {
  unsigned id;
  struct unit_rng rng;
  uint32_t gen; /* counts this thread's writes */
  uint32_t seen[SLOTS][PARTS][THREADS];
  uint32_t mine[SLOTS]; /* OWNED: what the thread's part holds */
};

static void
look_at (struct hammer *h, const char *p, unsigned slot, unsigned from,
         unsigned to)
{
  uint32_t gen = 0, thread = 0;

  for (unsigned part = from; part < to; part++) {
    struct stamp st = identify (p + (part - from) * PART, slot, part);

    if (slot / EACH == WHOLE && part > from)
      check_always (st.gen == gen && st.thread == thread);
    if (slot / EACH == OWNED) {
      check_always (st.gen == 0 || st.thread == part);
      if (part == h->id)
        check_always (st.gen == h->mine[slot]);
    }
    gen = st.gen;
    thread = st.thread;
    if (gen == 0)
      continue;
    check_always (gen >= h->seen[slot][part][thread]);
    h->seen[slot][part][thread] = gen;
  }
}

static void
read_parts (struct hammer *h, unsigned slot, unsigned from, unsigned to)
{
  char buf[SLOT];

  must_read (&f, buf, (to - from) * PART, place (slot) + from * PART);
  look_at (h, buf, slot, from, to);
}

/* Only at the memory limit may a request fail; then nothing has changed. */
static bool
succeeded (int r)
{
  if (r == 0)
    return true;
  check_always (atomic_load (&f.store->budget.limit) && errno == ENOSPC);
  atomic_fetch_add (&refused, 1);
  return false;
}

static bool
write_parts (struct hammer *h, unsigned slot, unsigned from, unsigned to)
{
  char buf[SLOT];

  make_parts (buf, slot, from, to, h->id, ++h->gen);
  return succeeded (
    disk_write (f.disk, buf, (to - from) * PART, place (slot) + from * PART));
}

static bool
zero_parts (unsigned slot, unsigned from, unsigned to)
{
  return succeeded (
    disk_discard (f.disk, place (slot) + from * PART, (to - from) * PART));
}

static void
step_whole (struct hammer *h, unsigned slot, unsigned dice)
{
  if (dice < 4)
    write_parts (h, slot, 0, PARTS);
  else if (dice < 5)
    zero_parts (slot, 0, PARTS);
  else if (dice < 7)
    read_parts (h, slot, unit_below (&h->rng, PARTS), PARTS);
  else
    read_parts (h, slot, 0, PARTS);
}

static void
step_owned (struct hammer *h, unsigned slot, unsigned dice)
{
  if (dice < 4) {
    if (write_parts (h, slot, h->id, h->id + 1))
      h->mine[slot] = h->gen;
  }
  else if (dice < 5) {
    if (zero_parts (slot, h->id, h->id + 1))
      h->mine[slot] = 0;
  }
  else if (dice < 7)
    read_parts (h, slot, h->id, h->id + 1);
  else
    read_parts (h, slot, 0, PARTS);
}

static void
step_mixed (struct hammer *h, unsigned slot, unsigned dice)
{
  unsigned from = unit_below (&h->rng, PARTS);
  unsigned to = from + 1 + unit_below (&h->rng, PARTS - from);

  if (dice < 2)
    write_parts (h, slot, 0, PARTS);
  else if (dice < 4)
    write_parts (h, slot, from, to);
  else if (dice < 5)
    zero_parts (slot, 0, PARTS);
  else if (dice < 6)
    zero_parts (slot, from, to);
  else
    read_parts (h, slot, from, to);
}

/* What the test looks for in the end, NULL for nothing: on a slow machine those
 * beside the hammers need longer to come to it.
 */
static bool (*has_happened) (void);

static void *
hammer (void *arg)
{
  static void (*const step[]) (struct hammer *, unsigned, unsigned) = {
    [WHOLE] = step_whole, [OWNED] = step_owned, [MIXED] = step_mixed
  };
  struct hammer *h = arg;

  for (unsigned i = 0;
       i < UNIT_TIMES (16000) || (has_happened && !has_happened ()); i++) {
    unsigned slot = unit_below (&h->rng, SLOTS);

    step[slot / EACH](h, slot, unit_below (&h->rng, 10));
  }
  for (unsigned slot = 0; slot < SLOTS; slot++)
    read_parts (h, slot, 0, PARTS);
  return NULL;
}

/* -- beside them --------------------------------------------------------- */

/* Other slots of the same classes, written in a row and discarded here and
 * there, so that there always are zspages to empty and spans to sink to.
 */
static void *
churn (void *arg)
{
  struct unit_rng rng = unit_rng (200);
  char data[SLOT];

  (void) arg;
  while (!atomic_load (&stop)) {
    for (unsigned i = 0; i < CHURNED && !atomic_load (&stop); i++) {
      make_parts (data, 0, 0, PARTS, THREADS, unit_below (&rng, 100));
      (void) succeeded (disk_write (f.disk, data, SLOT, (BALLAST + i) * SLOT));
    }
    for (unsigned i = 0; i < CHURNED && !atomic_load (&stop); i++)
      if (unit_below (&rng, 16))
        must_discard (&f, (BALLAST + i) * SLOT, SLOT);
  }
  return NULL;
}

static void *
mover (void *arg)
{
  struct pool *pool = f.store->pool;

  (void) arg;
  while (!atomic_load (&stop)) {
    struct pool_cursor at = { 0 };

    (void) compactor_run (compactor);
    pool_give_back (pool);
    compactor_hold (compactor);
    while (pool_migrate_step (pool, &at) && !atomic_load (&stop))
      ;
    compactor_unhold (compactor);
  }
  return NULL;
}

static void *
switcher (void *arg)
{
  static const char *const codecs[] = { "zstd", "lz4", "deflate" };

  (void) arg;
  for (unsigned i = 0; !atomic_load (&stop); i++) {
    unsigned id = codec_named (codecs[i / 2 % 3]);
    struct zcomp_method m = { id, codec_by_id (id)->level_default };

    mutex_lock (&f.store->settings);
    check_always (store_set_workers (f.store, i % 2 ? 1 : 8) == 0);
    if (i % 2)
      check_always (store_set_primary (f.store, &m) == 0);
    mutex_unlock (&f.store->settings);
    unit_sleep_ms (10);
  }
  return NULL;
}

/* Two of them, of which one takes what is youngest too.  At the limit it fails,
 * and nothing is lost.
 */
static void *
drains (void *arg)
{
  struct unit_rng rng = unit_rng (400);

  (void) arg;
  while (!atomic_load (&stop)) {
    struct drain_totals totals = { 0 };

    drain_hold (f.store);
    (void) drain_step_locked (f.store, unit_below (&rng, 10), 64, 16, &totals);
    if (unit_below (&rng, 8) == 0)
      (void) buffer_trim (&f.store->buffer);
    drain_unhold (f.store);
    check_always (totals.failed == 0 || atomic_load (&f.store->budget.limit));
    if (unit_below (&rng, 64) == 0)
      (void) !drain_for_room (f.store);
    sched_yield ();
  }
  return NULL;
}

/* One pass after the other.  At the limit it fails, and nothing is lost. */
static void *
recompresses (void *arg)
{
  (void) arg;
  while (!atomic_load (&stop)) {
    static const struct recompress_request all = { .priority = 0 };
    struct pass_progress progress = { .done = 0 };
    struct recompress_totals totals;
    struct pace pace;

    pace_init (&pace, f.store, NULL, 100, 100);
    check_always (
      recompressor_run (recompressor, &all, &pace, &progress, &totals) == 0);
    check_always (totals.failed == 0 || atomic_load (&f.store->budget.limit));
    claim_clear_marks (f.store);
  }
  return NULL;
}

/* A dictionary that knows the generations of some slots. */
static unsigned
add_dictionary (const struct codec *codec, uint32_t gen)
{
  char bytes[4 * SLOT];
  unsigned format;
  struct reason why;

  for (unsigned i = 0; i < 4; i++)
    make_parts (bytes + i * SLOT, i, 0, PARTS, 0, gen + i);
  return zcomp_dict_add (f.store->zcomp, codec, bytes, sizeof bytes, &format,
                         &why) == 0
           ? format
           : codec_id (codec); /* slots need all 16 still */
}

/* Other methods all the time, for new data and for recompression. */
static void *
chooser (void *arg)
{
  const struct codec *const zstd = codec_find ("zstd");
  const struct codec *const lz4 = codec_find ("lz4");

  (void) arg;
  for (unsigned i = 0; !atomic_load (&stop); i++) {
    struct zcomp_method m[RECOMPRESS_METHODS] = {
      { codec_named ("lz4hc"), 4 },
      { codec_id (zstd), 1 },
      { codec_named ("deflate"), 1 },
    };

    mutex_lock (&f.store->settings);
    if (i % 3 == 0) {
      struct zcomp_method primary = { add_dictionary (lz4, i), 1 };

      check_always (store_set_primary (f.store, &primary) == 0);
    }
    m[1].format = add_dictionary (zstd, i);
    recompressor_set_methods (recompressor, m, 1 + i % RECOMPRESS_METHODS);
    mutex_unlock (&f.store->settings);
    atomic_fetch_add (&swept, dictionary_sweep (f.store, recompressor));
    unit_sleep_ms (5);
  }
  return NULL;
}

/* Those beside the hammers. */
enum {
  CHURN = 1,
  MOVER = 2,
  MOVING = CHURN | MOVER,
  SWITCHER = 4,
  RECOMPRESSES = 8,
  CHOOSER = 16,
  DRAINS = 32,
};

static void *(*const beside[]) (void *) = { churn,        mover,   switcher,
                                            recompresses, chooser, drains };

#define BESIDE (sizeof beside / sizeof *beside)

static void
open_all (uint64_t limit)
{
  struct zcomp_method zstd = { codec_named ("zstd"), 1 };

  fixture_open (&f, SLOT, "lz4", 2, DISK);
  compactor = compactor_create (f.store, 0, 1);
  assert_non_null (compactor);
  recompressor = recompressor_create (f.store, &zstd, 1);
  assert_non_null (recompressor);
  fixture_limit (&f, limit);
  atomic_store (&stop, false);
  atomic_store (&refused, 0);
  atomic_store (&swept, 0);
}

static void
run_buffered (unsigned what, uint64_t limit, uint64_t buffer,
              bool (*happens) (void))
{
  struct hammer *h = must_alloc (THREADS * sizeof *h);
  struct unit_thread hammers[THREADS], others[BESIDE];

  open_all (limit);
  has_happened = happens;
  check_always (buffer_set_size (&f.store->buffer, buffer) == 0);
  for (unsigned i = 0; i < THREADS; i++) {
    h[i].id = i;
    h[i].rng = unit_rng (i);
  }
  unit_start_all (hammers, THREADS, hammer, h, sizeof *h);
  for (unsigned i = 0; i < BESIDE; i++)
    if (what >> i & 1)
      unit_start (&others[i], beside[i], NULL);
  unit_join_all (hammers, THREADS);
  atomic_store (&stop, true);
  for (unsigned i = 0; i < BESIDE; i++)
    if (what >> i & 1)
      unit_join (&others[i]);
  recompressor_destroy (recompressor);
  compactor_destroy (compactor);
  free (h);
  assert_true (!happens || happens ());
  fixture_audit (&f);
}

static void
run (unsigned what, uint64_t limit, bool (*happens) (void))
{
  run_buffered (what, limit, 0, happens);
}

static void
finish (void)
{
  must_discard (&f, 0, DISK);
  (void) buffer_trim (&f.store->buffer);
  fixture_check_empty (&f);
  fixture_close (&f);
}

static void
test_bare (void **state)
{
  (void) state;
  run (0, 0, NULL);
  finish ();
}

/* z3fold moves objects inside their pages only. */
static bool
are_moved (void)
{
  struct pool *pool = f.store->pool;

  return counter_sum (&pool->counters, POOL_OBJECTS_MOVED) > 0 &&
         (counter_sum (&pool->counters, POOL_ZSPAGES_MIGRATED) > 0 ||
          pool_has_lru (pool));
}

static void
test_moving (void **state)
{
  (void) state;
  run (MOVING, 0, are_moved);
  finish ();
}

static bool
are_refused (void)
{
  return atomic_load (&refused) > 0;
}

/* So little memory that objects are overwritten where they are, and requests
 * refused.
 */
static void
test_at_limit (void **state)
{
  (void) state;
  run (MOVING | RECOMPRESSES, 256 * KiB, are_refused);
  finish ();
}

static void
test_switching (void **state)
{
  (void) state;
  run (MOVING | SWITCHER, 0, NULL);
  finish ();
}

static bool
are_recompressed (void)
{
  return fixture_count (&f, DISK_RECOMPRESSED) > 0;
}

static void
test_recompressing (void **state)
{
  (void) state;
  run (RECOMPRESSES, 0, are_recompressed);
  finish ();
}

static bool
are_recompressed_and_swept (void)
{
  return are_recompressed () && atomic_load (&swept) > 0;
}

static void
test_everything (void **state)
{
  (void) state;
  run (MOVING | SWITCHER | RECOMPRESSES | CHOOSER, 0,
       are_recompressed_and_swept);
  finish ();
}

static bool
are_drained (void)
{
  return fixture_count (&f, DISK_BUFFER_HITS) > 0 &&
         fixture_count (&f, DISK_DRAINED) > 0;
}

static void
test_buffered (void **state)
{
  (void) state;
  run_buffered (DRAINS, 0, MiB, are_drained);
  finish ();
}

static bool
are_drained_and_passed (void)
{
  return are_drained () && fixture_count (&f, DISK_BUFFER_PASSED) > 0;
}

/* A chunk is more than the hammers' slots, and less than what is churned. */
static void
test_buffered_everything (void **state)
{
  (void) state;
  run_buffered (MOVING | SWITCHER | RECOMPRESSES | CHOOSER | DRAINS, 0,
                2 * BUFFER_CHUNK, are_drained_and_passed);
  finish ();
}

static bool
are_drained_and_refused (void)
{
  return are_drained () && are_refused ();
}

static void
test_buffered_at_limit (void **state)
{
  (void) state;
  run_buffered (MOVING | RECOMPRESSES | DRAINS, 512 * KiB, MiB,
                are_drained_and_refused);
  finish ();
}

/* -- a buffer that changes while it is written --------------------------- */

/* The client breaks the rule of range.h.  Nothing is overrun, and nothing but
 * the slots that it wrote suffers: they hold anything, or cannot be read
 * until they are written again.  A part of a slot is merged in a buffer of
 * ours, so that slot can always be read.  (A data race on purpose, so not
 * for TSan.)
 */
#if UNIT_SCALE < 8

#define SHARED (8 * SLOT)
#define MERGED (20 * SLOT) /* here only parts are written */

static char shared_buffer[SHARED];

static void *
scribbler (void *arg)
{
  struct unit_rng rng = unit_rng (300);

  (void) arg;
  while (!atomic_load (&stop)) {
    size_t at = unit_below (&rng, SHARED - SLOT);

    fill_any (shared_buffer + at, unit_below (&rng, SLOT), &rng);
  }
  return NULL;
}

static void
write_changing (uint32_t len, uint64_t offset)
{
  char got[SHARED];

  errno = 0;
  check_always (disk_write (f.disk, shared_buffer, len, offset) == 0 ||
                errno == EIO);
  check_always (disk_read (f.disk, got, len, offset) == 0 || errno == EIO);
}

static void *
writer_of_changing (void *arg)
{
  struct unit_rng rng = unit_rng (310 + *(unsigned *) arg);

  for (unsigned i = 0; i < UNIT_TIMES (3000); i++) {
    uint32_t at = unit_below (&rng, SLOT - 1);
    uint32_t len = 1 + unit_below (&rng, SLOT - 1 - at);
    char got[SLOT];

    write_changing (SLOT, i % 8 * SLOT);
    if (i % 4 == 0)
      write_changing (1 + unit_below (&rng, SHARED), unit_below (&rng, SLOT));
    must_write (&f, shared_buffer + at, len, MERGED + at);
    must_read (&f, got, SLOT, MERGED);
  }
  return NULL;
}

static void
test_changing_buffer (void **state)
{
  static const char *const codecs[] = { "lz4", "lz4hc", "zstd", "deflate" };
  struct unit_thread scribble, writers[2];
  unsigned id[2] = { 0, 1 };
  struct unit_rng rng = unit_rng (320);
  char known[SLOT];

  (void) state;
  for (unsigned c = 0; c < 4; c++) {
    fixture_open (&f, SLOT, codecs[c], 2, DISK);
    fill_kind (known, SLOT, KIND_TEXT, &rng);
    must_write (&f, known, SLOT, 100 * SLOT);
    atomic_store (&stop, false);
    unit_start (&scribble, scribbler, NULL);
    unit_start_all (writers, 2, writer_of_changing, id, sizeof *id);
    unit_join_all (writers, 2);
    atomic_store (&stop, true);
    unit_join (&scribble);
    must_hold (&f, known, SLOT, 100 * SLOT);
    for (unsigned i = 0; i < 10; i++)
      must_write (&f, known, SLOT, i * SLOT);
    fixture_close (&f);
  }
}

#endif

int
main (void)
{
  static const struct CMUnitTest tests[] = {
    UNIT_TEST (test_bare),
    UNIT_TEST (test_moving),
    UNIT_TEST (test_at_limit),
    UNIT_TEST (test_switching),
    UNIT_TEST (test_recompressing),
    UNIT_TEST (test_everything),
    UNIT_TEST (test_buffered),
    UNIT_TEST (test_buffered_everything),
    UNIT_TEST (test_buffered_at_limit),
#if UNIT_SCALE < 8
    UNIT_TEST (test_changing_buffer),
#endif
  };

  return UNIT_RUN (tests);
}
