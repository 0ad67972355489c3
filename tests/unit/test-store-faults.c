/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The life of a store and a disk, from its creation to its end, with the
 * Nth thing that can fail failing: once, and for good, for every N until
 * nothing fails any more.  What fails says so with a sensible errno, slots
 * hold old or new data, the audit is clean, and nothing is left behind.  And
 * all of that once more with a write buffer, which hides some of it: what it
 * cannot take is compressed at once, and what cannot be drained stays.
 */

#include <config.h>

#include "maint/compactor.h"
#include "store-fixture.h"

#ifdef ZRAM_FAULTS

#define SLOT 4096u
#define NEAR 48u /* slots at the disk's beginning */
#define FAR 4u   /* slots in places that need nodes of the table */
#define SLOTS (NEAR + FAR)

static const uint64_t far[FAR] = { UINT64_C (1) << 32, UINT64_C (1) << 45,
                                   UINT64_C (1) << 50,
                                   (UINT64_C (1) << 51) - 2 };

static struct fixture f;
static char model[SLOTS][SLOT], data[NEAR * SLOT];
static unsigned failures; /* of this life */
static uint64_t nth;      /* what fails in it */
static bool reached;      /* it came to that */
static bool buffered;     /* with a write buffer */

static uint64_t
place (unsigned i)
{
  return (i < NEAR ? i : far[i - NEAR]) * SLOT;
}

static void
stop_failing (void)
{
  reached = reached || fault_reached (NULL) >= nth;
  fault_clear ();
}

/* 'r' is what some call returned: 0, or -1 with one of the errors that may
 * be.
 */
static bool
done (int r)
{
  int err = errno;

  if (r == 0)
    return true;
  assert_int_equal (r, -1);
  if (err != ENOMEM && err != ENOSPC && err != EAGAIN)
    fail_msg ("errno %d (%s)", err, strerror (err));
  failures++;
  return false;
}

/* -- requests ------------------------------------------------------------ */

/* The request for [at, at + len) has failed: each slot as before, or as it
 * should be.
 */
static void
adopt (unsigned at, unsigned len, const char *wanted)
{
  char got[SLOT];

  for (unsigned i = at / SLOT; i * SLOT < at + len; i++) {
    unsigned from = i * SLOT < at ? at % SLOT : 0;
    unsigned to = (i + 1) * SLOT > at + len ? (at + len - 1) % SLOT + 1 : SLOT;
    char new[SLOT];

    memcpy (new, model[i], SLOT);
    if (wanted)
      memcpy (new + from, wanted + i * SLOT + from - at, to - from);
    else
      memset (new + from, 0, to - from);
    if (disk_read (f.disk, got, SLOT, place (i)) == -1) {
      assert_false (done (-1)); /* cannot tell now: not the end either */
      stop_failing ();
      must_read (&f, got, SLOT, place (i));
    }
    if (memcmp (got, model[i], SLOT) != 0)
      assert_memory_equal (got, new, SLOT);
    memcpy (model[i], got, SLOT);
  }
}

/* Bytes of the near slots. */
static void
write_near (unsigned at, unsigned len, enum kind kind, struct unit_rng *rng)
{
  fill_kind (data, len, kind, rng);
  if (done (disk_write (f.disk, data, len, at)))
    memcpy (&model[0][0] + at, data, len);
  else
    adopt (at, len, data);
}

static void
discard_near (unsigned at, unsigned len)
{
  if (done (disk_discard (f.disk, at, len)))
    memset (&model[0][0] + at, 0, len);
  else
    adopt (at, len, NULL);
}

static void
write_far (unsigned i, unsigned at, unsigned len, struct unit_rng *rng)
{
  char *old = model[NEAR + i], new[SLOT];

  memcpy (new, old, SLOT);
  fill_kind (new + at, len, KIND_TEXT, rng);
  if (done (disk_write (f.disk, new + at, len, place (NEAR + i) + at)))
    memcpy (old, new, SLOT);
}

static void
read_all (void)
{
  char got[SLOT];

  for (unsigned i = 0; i < SLOTS; i++)
    if (done (disk_read (f.disk, got, SLOT, place (i))))
      assert_memory_equal (got, model[i], SLOT);
}

static void
drain (void)
{
  struct drain_totals totals = { 0 };

  drain_hold (f.store);
  (void) drain_step_locked (f.store, 0, UINT32_MAX, UINT32_MAX, &totals);
  (void) buffer_trim (&f.store->buffer);
  drain_unhold (f.store);
}

/* -- the script ---------------------------------------------------------- */

static void
use_device (struct compactor *c)
{
  struct unit_rng rng = { .s = 42 }; /* the same in every run */
  struct zcomp_method lz4 = { codec_named ("lz4"), 1 };

  for (unsigned kind = 0; kind < KINDS; kind++)
    write_near (kind * SLOT, SLOT, kind, &rng);
  for (unsigned i = 0; i < FAR; i++)
    write_far (i, i % 2 * 100, SLOT - i % 2 * 200, &rng);
  write_near (0, NEAR * SLOT, KIND_TEXT, &rng); /* shared with workers */
  write_near (SLOT / 2, 3 * SLOT, KIND_RANDOM, &rng);
  write_near (10 * SLOT + 5, 7, KIND_SAME, &rng);
  discard_near (20 * SLOT + 9, 100);
  discard_near (30 * SLOT - 1, 5 * SLOT + 2);
  drain ();
  write_near (11 * SLOT + 9, SLOT, KIND_TEXT, &rng); /* parts of objects */
  discard_near (14 * SLOT + 9, 300);
  read_all ();
  (void) done (store_set_workers (f.store, 4));
  if (!done (store_set_primary (f.store, &lz4)))
    assert_int_equal (zcomp_primary (f.store->zcomp).format,
                      codec_named ("zstd"));
  read_all (); /* codecs' contexts are made on demand */
  for (unsigned i = 0; i < 4; i++)
    write_near (i * 5 * SLOT + i * 900, 4 * SLOT, i, &rng);
  (void) done (store_set_workers (f.store, 1));
  drain ();
  if (c)
    (void) compactor_run (c);
  discard_near (0, NEAR * SLOT);
  write_near (7 * SLOT, 2 * SLOT, KIND_MIXED, &rng);
  write_far (0, 50, 1000, &rng);
  read_all ();
}

static size_t
address_space (void)
{
  FILE *fp = fopen ("/proc/self/statm", "r");
  unsigned long pages = 0;

  assert_non_null (fp);
  assert_int_equal (fscanf (fp, "%lu", &pages), 1);
  fclose (fp);
  return pages * (size_t) sysconf (_SC_PAGESIZE);
}

/* One life.  What could not be made is not there to be used. */
static void
live (void)
{
  struct store_config config = fixture_config (SLOT, codec_named ("zstd"), 2,
                                               LARGEST_DISK);
  struct compactor *c = NULL;

  memset (&f, 0, sizeof f);
  memset (model, 0, sizeof model);
  f.slot_size = SLOT;
  errno = 0;
  f.store = store_create (&config);
  if (!done (f.store ? 0 : -1)) {
    stop_failing ();
    return;
  }
  f.disk = disk_create (f.store, LARGEST_DISK);
  if (f.disk && buffered)
    (void) done (buffer_set_size (&f.store->buffer, MiB));
  if (done (f.disk ? 0 : -1) && done (store_start (f.store))) {
    c = compactor_create (f.store, 1, 1);
    if (done (c ? 0 : -1) && !done (compactor_start (c)))
      compactor_stop (c); /* harmless */
    use_device (c);
  }
  compactor_destroy (c);
  stop_failing ();
  if (f.disk) {
    read_all ();
    fixture_close (&f);
  }
  else
    store_destroy (f.store);
}

static void
fail_each (bool ever_after)
{
  unsigned all_failures = 0;
  size_t before;

  live (); /* what is made once for the process, is made */
  before = address_space ();
  for (nth = 1, reached = true; reached; nth += 1 + UNIT_SCALE / 4) {
    failures = 0;
    reached = false;
    fault_fail_nth (NULL, nth, ever_after);
    live ();
    all_failures += failures;
    /* Each store that was lost would be some GiB of addresses. */
    assert_true (address_space () < before + 1024 * MiB);
  }
  print_message ("up to %u points, %u failures\n", (unsigned) nth - 1,
                 all_failures);
  assert_true (all_failures > nth / (2 + UNIT_SCALE) / (buffered ? 4 : 1));
}

static void
test_once (void **state)
{
  (void) state;
  buffered = false;
  fail_each (false);
}

static void
test_for_good (void **state)
{
  (void) state;
  buffered = false;
  fail_each (true);
}

static void
test_once_buffered (void **state)
{
  (void) state;
  buffered = true;
  fail_each (false);
}

static void
test_for_good_buffered (void **state)
{
  (void) state;
  buffered = true;
  fail_each (true);
}

int
main (void)
{
  static const struct CMUnitTest tests[] = {
    UNIT_TEST (test_once),
    UNIT_TEST (test_for_good),
    UNIT_TEST (test_once_buffered),
    UNIT_TEST (test_for_good_buffered),
  };

  return UNIT_RUN (tests);
}

#else

int
main (void)
{
  printf ("skipped: no fault points in this build\n");
  return 77;
}

#endif
