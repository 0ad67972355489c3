/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Whatever fails, errno is what the header says, and nothing else: for every
 * call of the system that can fail, failing once and for good, and for every
 * fault point; with locked memory and without; while each release on the way
 * out leaves nonsense in errno (clobber.h).  And each release leaves errno
 * alone.
 */

#include <config.h>

#include "clobber.h"
#include "held-backing.h"
#include "maint/compactor.h"
#include "maint/drainer.h"
#include "maint/evictor.h"
#include "maint/recompressor.h"
#include "maint/refill.h"
#include "maint/writeback.h"
#include "comp/train.h"
#include "recompress-fixture.h"

#define SLOT 4096u
#define BLOCKS 1024u

/* An errno that no call sets: it is still there if no errno was set. */
#define UNSET ESTALE

static struct fixture f;
static struct unit_rng rng;
static struct batch_writer *writer;
static uint64_t next; /* so that each try is of another slot */
static char data[64 * SLOT];

/* -- what fails --------------------------------------------------------------
 */

enum fails { NOTHING, CALLS, POINTS };

static enum fails armed;
static uint64_t nth;
static bool reached; /* it came to the nth */

static void
arm (enum fails what, uint64_t n, bool for_good)
{
  armed = what;
  nth = n;
  reached = false;
  if (what == CALLS)
    clobber_fail (n, for_good);
#ifdef ZRAM_FAULTS
  if (what == POINTS)
    fault_fail_nth (NULL, n, for_good);
#endif
  errno = UNSET;
}

/* Once is enough.  errno stays. */
static void
disarm (void)
{
  KEEP_ERRNO;

  if (armed == CALLS)
    reached = clobber_failed ();
#ifdef ZRAM_FAULTS
  if (armed == POINTS) {
    reached = fault_reached (NULL) >= nth;
    fault_clear ();
  }
#endif
  armed = NOTHING;
}

/* -- what is tried ---------------------------------------------------------
 *
 * Each of these can be done again and again; 0, or -1 with errno.
 */

static int
write_kind (enum kind kind, uint64_t slot)
{
  fill_kind (data, SLOT, kind, &rng);
  return disk_write (f.disk, data, SLOT, slot * SLOT);
}

static int
try_noise (void)
{
  return write_kind (KIND_RANDOM, next++ % 256);
}

static int
try_text (void)
{
  return write_kind (KIND_TEXT, next++ % 256);
}

static int
try_far (void)
{
  return write_kind (KIND_MIXED, (UINT64_C (1) << 30) * ++next);
}

static int
try_part (void)
{
  return disk_write (f.disk, data, 100, next++ % 256 * SLOT + 9);
}

static int
try_edges (void)
{
  return disk_discard (f.disk, next++ % 255 * SLOT + 4000, 200);
}

static int
try_read (void)
{
  return disk_read (f.disk, data, SLOT, next++ % 256 * SLOT);
}

static int
try_read_part (void)
{
  return disk_read (f.disk, data, 1000, next++ % 256 * SLOT + 77);
}

static int
try_large (void)
{
  fill_kind (data, sizeof data, KIND_TEXT, &rng);
  return disk_write (f.disk, data, sizeof data, next++ % 64 * SLOT + 50);
}

static int
try_workers (void)
{
  if (store_set_workers (f.store, 4) == -1)
    return -1;
  return store_set_workers (f.store, 2);
}

static int
try_primary (void)
{
  struct zcomp_method now = zcomp_primary (f.store->zcomp);
  struct zcomp_method lz4hc = { codec_named ("lz4hc"), 4 };
  struct zcomp_method zstd = { codec_named ("zstd"), 3 };

  return store_set_primary (f.store,
                            now.format == zstd.format ? &lz4hc : &zstd);
}

static int
try_dict (void)
{
  struct zcomp *zcomp = f.store->zcomp;
  struct reason why;
  unsigned format;

  fill_kind (data, 8 * SLOT, KIND_TEXT, &rng);
  if (zcomp_dict_add (zcomp, codec_find ("zstd"), data, 8 * SLOT, &format,
                      &why) == -1)
    return -1;
  struct zcomp_method method = { format, 3 }, old = zcomp_primary (zcomp);
  int r = store_set_primary (f.store, &method);
  disarm (); /* back to where it was */
  KEEP_ERRNO;
  if (r == 0)
    check_always (store_set_primary (f.store, &old) == 0);
  check_always (zcomp_dict_remove (zcomp, format) == 0);
  return r;
}

static int
try_train (void)
{
  size_t sizes[64];
  struct dict_bytes bytes;
  struct reason why;

  for (unsigned i = 0; i < 64; i++)
    sizes[i] = SLOT;
  fill_kind (data, sizeof data, KIND_TEXT, &rng);
  if (dict_train (codec_find ("zstd"), 3, data, sizes, 64, 4096, &bytes, &why))
    return -1;
  free (bytes.bytes);
  return 0;
}

/* Of slots that another codec packed. */
static int
try_recompress (void)
{
  struct recompress_plan plan = { .methods = { { codec_named ("zstd"), 9 } },
                                  .count = 1,
                                  .first = 1,
                                  .last = 1 };

  return recompress_one (&f, next++ % 256, &plan) == RECOMPRESS_FAILED ? -1 : 0;
}

/* It has no errno of its own: the caller's stays. */
static int
try_drain (void)
{
  errno = UNSET;
  if (drain_for_room (f.store) || errno == UNSET)
    return 0;
  errno = NONSENSE;
  return -1;
}

static int
try_put (void)
{
  uint64_t slot = next++ % 256;
  enum put_result r = PUT_SKIPPED;

  if (fixture_state (&f, slot) == SLOT_OBJECT)
    r = held_put (&f, writer, slot);
  int err = errno;
  if (next % 8 == 0)
    batch_writer_drain (writer);
  errno = err;
  return r == PUT_FAILED ? -1 : 0;
}

static int
try_writeback (void)
{
  const struct writeback_request request = { .huge = false };
  struct writeback_totals totals;
  struct pass_progress progress = { 0 };
  struct writeback wb;
  struct pace pace;
  int r;

  writeback_init (&wb, f.store);
  pace_init (&pace, f.store, NULL, 100, 100);
  r = writeback_run (&wb, &request, &pace, &progress, &totals);
  if (r == 0 && totals.error) {
    r = -1;
    errno = totals.error;
  }
  writeback_destroy (&wb);
  return r;
}

static int
try_compactor (void)
{
  struct compactor *c = compactor_create (f.store, 1, 1);
  int r = c ? compactor_start (c) : -1;

  compactor_destroy (c);
  return r;
}

static int
try_drainer (void)
{
  struct drainer *d = drainer_create (f.store);
  int r = d ? drainer_start (d) : -1;

  drainer_destroy (d);
  return r;
}

static int
try_evictor (void)
{
  struct evictor *e = evictor_create (f.store, 80, 90);
  int r = e ? evictor_start (e) : -1;

  if (e)
    evictor_stop (e);
  evictor_destroy (e);
  return r;
}

static int
try_recompressor (void)
{
  struct recompressor *r = recompressor_create (f.store, NULL, 0);

  recompressor_destroy (r);
  return r ? 0 : -1;
}

/* A whole life. */
static int
try_store (void)
{
  struct store_config config = fixture_config (SLOT, codec_named ("zstd"), 2,
                                               LARGEST_DISK);
  struct store *store;
  struct disk *disk = NULL;
  int r = -1;

  config.keep_ready = next++ % 2 * MiB;
  store = store_create (&config);
  if (store)
    disk = disk_create (store, LARGEST_DISK);
  if (disk && store_start (store) == 0)
    r = buffer_set_size (&disk->store->buffer, MiB);
  disk_destroy (disk);
  store_destroy (store);
  return r;
}

/* The slot that is tried next is in the store. */
static void
put_next (void)
{
  uint64_t slot = next % 256;

  batch_writer_drain (writer);
  if (fixture_state (&f, slot) == SLOT_OBJECT)
    held_write_back (&f, slot, slot + 1);
}

static int
try_backed (void)
{
  uint64_t slot = next++ % 256;

  return next % 2 ? disk_read (f.disk, data, SLOT, slot * SLOT)
                  : disk_write (f.disk, data, 10, slot * SLOT + 10);
}

static const struct op {
  const char *name;
  int (*try) (void);
  int allowed[4];
  void (*prepare) (void);
} ops[] = {
  { .name = "noise", .try = try_noise, .allowed = { ENOMEM, ENOSPC } },
  { .name = "text", .try = try_text, .allowed = { ENOMEM, ENOSPC } },
  { .name = "far", .try = try_far, .allowed = { ENOMEM, ENOSPC } },
  { .name = "part", .try = try_part, .allowed = { ENOMEM, ENOSPC, EIO } },
  { .name = "edges", .try = try_edges, .allowed = { ENOMEM, ENOSPC, EIO } },
  { .name = "read", .try = try_read, .allowed = { ENOMEM, EIO } },
  { .name = "part of a read",
    .try = try_read_part,
    .allowed = { ENOMEM, EIO } },
  { .name = "large", .try = try_large, .allowed = { ENOMEM, ENOSPC, EIO } },
  { .name = "workers", .try = try_workers, .allowed = { ENOMEM, EAGAIN } },
  { .name = "primary", .try = try_primary, .allowed = { ENOMEM } },
  { .name = "dictionary", .try = try_dict, .allowed = { ENOMEM } },
  { .name = "training", .try = try_train, .allowed = { ENOMEM, EINVAL } },
  { .name = "recompress",
    .try = try_recompress,
    .allowed = { ENOMEM, ENOSPC, EIO } },
  { .name = "drain", .try = try_drain, .allowed = { 0 } },
  { .name = "put", .try = try_put, .allowed = { ENOMEM, EBUSY } },
  { .name = "backed",
    .try = try_backed,
    .allowed = { ENOMEM, ENOSPC, EIO },
    .prepare = put_next },
  { .name = "writeback",
    .try = try_writeback,
    .allowed = { ENOMEM, EBUSY, EIO, ENOSPC } },
  { .name = "compactor", .try = try_compactor, .allowed = { ENOMEM, EAGAIN } },
  { .name = "drainer", .try = try_drainer, .allowed = { ENOMEM, EAGAIN } },
  { .name = "evictor", .try = try_evictor, .allowed = { ENOMEM, EAGAIN } },
  { .name = "recompressor", .try = try_recompressor, .allowed = { ENOMEM } },
  { .name = "store", .try = try_store, .allowed = { ENOMEM, EAGAIN } },
};

#define OPS (sizeof ops / sizeof ops[0])

/* -- a store with everything ------------------------------------------------
 */

static void
open_it (void)
{
  struct store_config config = fixture_config (SLOT, codec_named ("zstd"), 2,
                                               LARGEST_DISK);

  f.slot_size = SLOT;
  f.store = store_create (&config);
  check_always (f.store);
  f.store->cpus = 2;
  f.disk = disk_create (f.store, LARGEST_DISK);
  check_always (f.disk && store_start (f.store) == 0);
  held_attach (&f, BLOCKS);
  writer = batch_writer_create (f.store);
  check_always (writer);
  rng = unit_rng (1);
  next = 0;
  for (unsigned i = 0; i < 256; i++)
    check_always (write_kind (i % KINDS, i) == 0);
}

static void
close_it (void)
{
  atomic_store (&clobber_on, false);
  atomic_store (&clobber_locked, false);
  fixture_limit (&f, 0);
  batch_writer_destroy (writer);
  writer = NULL;
  fixture_close (&f);
}

static void
one_of (const struct op *op, int err, const char *how, uint64_t n)
{
  for (unsigned i = 0; i < 4; i++)
    if (err == op->allowed[i] && err)
      return;
  fail_msg ("%s, %s %u: errno %d (%s)", op->name, how, (unsigned) n, err,
            strerror (err));
}

static bool
try_one (const struct op *op, const char *how, uint64_t n)
{
  int r, err;

  errno = UNSET;
  r = op->try ();
  err = errno;
  if (r == -1)
    one_of (op, err, how, n);
  return r == 0;
}

/* -- each call, each fault point --------------------------------------------
 */

static unsigned
each_of (const struct op *op, enum fails what, bool for_good)
{
  unsigned failures = 0;

  reached = true;
  for (uint64_t n = 1; reached; n += UNIT_SCALE) {
    if (op->prepare)
      op->prepare ();
    arm (what, n, for_good);
    int r = op->try (), err = errno;
    disarm ();
    if (r == -1) {
      one_of (op, err, what == CALLS ? "calls from" : "points from", n);
      failures++;
    }
  }
  return failures;
}

static void
each (bool locked, bool buffered)
{
  unsigned failures = 0;

  open_it ();
  if (buffered)
    check_always (buffer_set_size (&f.store->buffer, MiB) == 0);
  atomic_store (&clobber_on, true);
  atomic_store (&clobber_locked, locked);
  for (unsigned i = 0; i < OPS; i++)
    for (unsigned good = 0; good < 2; good++) {
      failures += each_of (&ops[i], CALLS, good);
      failures += each_of (&ops[i], POINTS, good);
    }
  print_message ("%u failures\n", failures);
  assert_true (failures > 30);
  close_it ();
}

static void
test_each (void **state)
{
  (void) state;
  each (false, false);
}

static void
test_each_locked (void **state)
{
  (void) state;
  each (true, false);
}

static void
test_each_buffered (void **state)
{
  (void) state;
  each (true, true);
}

/* -- at the limit: ENOSPC, whatever was given back on the way -----------------
 */

static void
at_limit (bool locked)
{
  unsigned failures = 0;

  open_it ();
  atomic_store (&clobber_on, true);
  atomic_store (&clobber_locked, locked);
  for (unsigned round = 0; round < 400 / UNIT_SCALE; round++) {
    /* Just below, so that some things find room and others do not. */
    fixture_limit (&f, fixture_used (&f) + round % 3 * SLOT);
    for (unsigned i = 0; i < OPS; i++)
      if (ops[i].allowed[1] == ENOSPC && ops[i].try != try_backed)
        failures += !try_one (&ops[i], "round", round);
    fixture_limit (&f, 0);
    must_discard (&f, round % 8 * 32 * SLOT, 8 * SLOT);
    (void) pool_give_back (f.store->pool);
    for (unsigned i = 0; i < 8; i++)
      check_always (write_kind (i % KINDS, round % 8 * 32 + i) == 0);
  }
  assert_true (failures > 100 / UNIT_SCALE);
  close_it ();
}

static void
test_limit (void **state)
{
  (void) state;
  at_limit (false);
  at_limit (true);
}

/* Threads that make zspages of the same class at once: one is too many and
 * goes, and there is no room for the other's pages.
 */
static void *
alloc_until_full (void *arg)
{
  uint64_t handles[512];
  unsigned n, seed = (unsigned) (uintptr_t) arg;
  struct unit_rng mine = unit_rng (seed);
  void *mem;

  for (unsigned round = 0; round < 60 / UNIT_SCALE; round++) {
    for (n = 0; n < 512; n++) {
      errno = UNSET;
      handles[n] = pool_alloc (f.store->pool, 1 + unit_below (&mine, SLOT),
                               &mem);
      if (!handles[n]) {
        if (errno != ENOSPC)
          fprintf (stderr, "errno %d (%s)\n", errno, strerror (errno));
        check_always (errno == ENOSPC);
        break;
      }
    }
    while (n--)
      pool_drop (f.store->pool, handles[n]);
  }
  return NULL;
}

static void
test_threads (void **state)
{
  struct unit_thread threads[4];

  (void) state;
  open_it ();
  fixture_limit (&f, fixture_used (&f) + 512 * KiB);
  atomic_store (&clobber_on, true);
  atomic_store (&clobber_locked, true);
  for (unsigned i = 0; i < 4; i++) {
    threads[i] = (struct unit_thread){ .fn = alloc_until_full,
                                       .arg = (void *) (uintptr_t) (i + 2) };
    check_always (pthread_create (&threads[i].id, NULL, unit_thread_main,
                                  &threads[i]) == 0);
  }
  for (unsigned i = 0; i < 4; i++)
    pthread_join (threads[i].id, NULL);
  close_it ();
}

/* A writer that finds no room gets some: ENOSPC did not become another error.
 */
static void
test_room (void **state)
{
  const unsigned slots = 1500 / UNIT_SCALE;
  struct evictor *e;

  (void) state;
  open_it ();
  fixture_limit (&f, fixture_used (&f) + 256 * KiB);
  e = evictor_create (f.store, 80, 90);
  check_always (e && evictor_start (e) == 0);
  atomic_store (&clobber_on, true);
  atomic_store (&clobber_locked, true);
  for (unsigned i = 0; i < slots; i++)
    if (write_kind (KIND_TEXT, 300 + i) == -1)
      fail_msg ("slot %u: errno %d (%s)", i, errno, strerror (errno));
  assert_true (fixture_count (&f, DISK_SLOTS_BACKED) > 0);
  evictor_stop (e);
  evictor_destroy (e);
  close_it ();
}

/* -- what the store says is nobody else's business
 * -----------------------------
 */

static void
test_store_error (void **state)
{
  static const int errors[] = { EIO, ENOSPC, EINVAL, EAGAIN, ESHUTDOWN };
  struct held *h;

  (void) state;
  open_it ();
  h = held_of (f.store->backed->io);
  held_write (&f, 7, 1);
  held_write_back (&f, 7, 8);
  atomic_store (&clobber_on, true);
  for (unsigned i = 0; i < sizeof errors / sizeof errors[0]; i++)
    for (unsigned part = 0; part < 3; part++) {
      held_fail_reads (h, 1, errors[i]);
      errno = UNSET;
      assert_int_equal (part == 2 ? disk_discard (f.disk, 7 * SLOT + 5, 50)
                        : part    ? disk_write (f.disk, data, 50, 7 * SLOT + 5)
                                  : disk_read (f.disk, data, SLOT, 7 * SLOT),
                        -1);
      assert_int_equal (errno, EIO);
    }
  held_expect (&f, 7, 1);
  close_it ();
}

static void
test_closed (void **state)
{
  (void) state;
  open_it ();
  atomic_store (&clobber_on, true);
  assert_true (store_close (f.store, 1000));
  for (unsigned i = 0; i < 3; i++) {
    errno = UNSET;
    assert_int_equal (i == 0   ? try_text ()
                      : i == 1 ? try_read ()
                               : try_edges (),
                      -1);
    assert_int_equal (errno, ESHUTDOWN);
  }
  atomic_store (&f.store->gate, GATE_OPEN);
  close_it ();
}

/* -- what gives back leaves errno alone
 * -----------------------------------------
 */

#define STAYS(call)                                 \
  do {                                              \
    errno = UNSET;                                  \
    call;                                           \
    if (errno != UNSET)                             \
      fail_msg ("%s: %s", #call, strerror (errno)); \
  } while (0)

/* What moves zspages gives the unused end of the addresses back. */
static void
trim_end (struct pool *pool)
{
  struct pool_cursor at = { 0 };

  while (pool_migrate_step (pool, &at))
    ;
}

static void
release_parts (bool locked)
{
  struct content new = { .state = SLOT_OBJECT, .size = SLOT };
  struct pool *pool = f.store->pool;
  struct packed packed = { .size = SLOT, .bytes = data };
  uint64_t handles[160]; /* more than is kept for reuse */
  void *mem;

  atomic_store (&clobber_locked, locked);
  assert_int_equal (content_make (f.disk, &packed, &new), 0);
  STAYS (content_drop (f.disk, &new));
  assert_int_equal (content_make (f.disk, &packed, &new), 0);
  STAYS (assert_false (claim_replace (f.disk, 1000, 1, &new)));
  STAYS ((void) claim_end (f.disk, 3, 1, 0));
  assert_true (content_make_buffered (f.disk, 4000, data, &new));
  STAYS (content_drop (f.disk, &new));
  STAYS ((void) buffer_trim (&f.store->buffer));
  for (unsigned i = 0; i < 160; i++)
    handles[i] = pool_alloc (pool, SLOT, &mem);
  for (unsigned i = 0; i < 160; i++)
    STAYS (pool_drop (pool, handles[i]));
  STAYS ((void) pool_give_back (pool));
  for (unsigned i = 0; i < 64; i++)
    check_always (write_kind (KIND_RANDOM, 300 + i) == 0);
  for (unsigned i = 0; i < 64; i++)
    STAYS (slot_discard (f.disk, 300 + i));
  STAYS ((void) slot_table_reclaim (&f.disk->table, 300));
  STAYS ((void) pool_give_back (pool));
  STAYS (trim_end (pool));
  STAYS (zcomp_stream_put (zcomp_stream_get (f.store->zcomp)));
  STAYS (park_wake (data));
  STAYS (park_wait (data, park_ticket (data) + 1));
}

static void
test_releases (void **state)
{
  struct compactor *compactor;
  struct drainer *drainer;
  struct evictor *evictor;
  struct recompressor *recompressor;
  struct refill refill;

  (void) state;
  open_it ();
  check_always (buffer_set_size (&f.store->buffer, MiB) == 0);
  atomic_store (&clobber_on, true);
  release_parts (false);
  release_parts (true);

  compactor = compactor_create (f.store, 1, 1);
  check_always (compactor && compactor_start (compactor) == 0);
  STAYS (compactor_destroy (compactor));
  drainer = drainer_create (f.store);
  check_always (drainer && drainer_start (drainer) == 0);
  STAYS (drainer_destroy (drainer));
  evictor = evictor_create (f.store, 80, 90);
  check_always (evictor && evictor_start (evictor) == 0);
  STAYS (evictor_stop (evictor));
  STAYS (evictor_destroy (evictor));
  recompressor = recompressor_create (f.store, NULL, 0);
  check_always (recompressor);
  STAYS (recompressor_destroy (recompressor));
  refill_init (&refill, f.store);
  STAYS (refill_destroy (&refill));
  STAYS (batch_writer_destroy (writer));
  must_discard (&f, 0, 512 * SLOT);
  fixture_audit (&f);
  STAYS (disk_destroy (f.disk));
  STAYS (store_destroy (f.store));
  atomic_store (&clobber_on, false);
}

int
main (void)
{
  static const struct CMUnitTest tests[] = {
    UNIT_TEST (test_each),          UNIT_TEST (test_each_locked),
    UNIT_TEST (test_each_buffered), UNIT_TEST (test_limit),
    UNIT_TEST (test_threads),       UNIT_TEST (test_room),
    UNIT_TEST (test_store_error),   UNIT_TEST (test_closed),
    UNIT_TEST (test_releases),
  };

  return UNIT_RUN (tests);
}
