/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Where memory is kept ready for swap, nothing that a request does asks the
 * heap or the system for memory: not for any size, any slot, any codec, near or
 * far, in memory or in a backing store, as long as the reserve lasts and
 * beyond.
 *
 * This program's own malloc and mmap count their calls, on every thread.
 */

#include <config.h>

#include <malloc.h>
#include <sys/mman.h>

#include "held-backing.h"
#include "maint/refill.h"

#if defined(__GLIBC__) && UNIT_SCALE == 1

#define KEEP (16 * MiB)

/* -- counting calls ------------------------------------------------------ */

static atomic_bool watching;
static atomic_uint asked;
static _Atomic (const char *) by; /* the last that did */

static void
note (const char *what)
{
  if (!atomic_load (&watching))
    return;
  atomic_fetch_add (&asked, 1);
  atomic_store (&by, what);
}

extern void *__libc_malloc (size_t n);
extern void *__libc_calloc (size_t n, size_t size);
extern void *__libc_realloc (void *p, size_t n);
extern void *__libc_memalign (size_t align, size_t n);

void *
malloc (size_t n)
{
  note ("malloc");
  return __libc_malloc (n);
}

void *
calloc (size_t n, size_t size)
{
  note ("calloc");
  return __libc_calloc (n, size);
}

void *
realloc (void *p, size_t n)
{
  note ("realloc");
  return __libc_realloc (p, n);
}

void *
memalign (size_t align, size_t n)
{
  note ("memalign");
  return __libc_memalign (align, n);
}

void *
aligned_alloc (size_t align, size_t n)
{
  note ("aligned_alloc");
  return __libc_memalign (align, n);
}

int
posix_memalign (void **p, size_t align, size_t n)
{
  note ("posix_memalign");
  *p = __libc_memalign (align, n);
  return *p ? 0 : ENOMEM;
}

void *
mmap (void *at, size_t n, int prot, int flags, int fd, off_t offset)
{
  note ("mmap");
  return (void *) syscall (SYS_mmap, at, n, prot, flags, fd, offset);
}

static void
watch (void)
{
  atomic_store (&asked, 0);
  atomic_store (&watching, true);
}

static void
nobody_asked (void)
{
  atomic_store (&watching, false);
  if (atomic_load (&asked))
    fail_msg ("%s, and %u calls in all", atomic_load (&by),
              atomic_load (&asked));
}

/* -- a store --------------------------------------------------------------- */

static struct fixture f;
static struct refill refill;
static struct unit_rng rng;
static char data[MAX_SLOT], got[MAX_SLOT], large[16 * MAX_SLOT];

static void
open_with (uint32_t slot_size, const char *codec)
{
  struct store_config config = fixture_config (slot_size, codec_named (codec),
                                               2, LARGEST_DISK);

  config.keep_ready = KEEP;
  f.slot_size = slot_size;
  f.store = store_create (&config);
  check_always (f.store);
  f.store->cpus = 2; /* large requests are shared */
  f.disk = disk_create (f.store, LARGEST_DISK);
  check_always (f.disk && store_start (f.store) == 0);
  refill_init (&refill, f.store);
  check_always (refill_start (&refill) == 0);
  refill_stop (&refill); /* from here on the reserve is not filled again */
  rng = unit_rng (slot_size);
}

static void
close_it (void)
{
  refill_destroy (&refill);
  pool_keep (f.store->pool, 0);
  fixture_close (&f);
}

/* Noise up to there: an object of about that size, whatever the codec. */
static void
write_size (uint64_t slot, uint32_t noise)
{
  memset (data, 0, f.slot_size);
  fill_kind (data, noise, KIND_RANDOM, &rng);
  data[f.slot_size - 1] = 1;
  must_write (&f, data, f.slot_size, slot * f.slot_size);
}

static void
write_some (uint64_t first)
{
  uint64_t slot = first;

  for (uint32_t noise = 0; noise <= f.slot_size; noise += f.slot_size / 128)
    for (unsigned i = 0; i < 3; i++)
      write_size (slot++, noise);
  for (unsigned kind = 0; kind < KINDS; kind++) {
    fill_kind (data, f.slot_size, kind, &rng);
    must_write (&f, data, f.slot_size, slot++ * f.slot_size);
  }
}

/* -- what a client does ---------------------------------------------------- */

static void
use (void)
{
  const uint64_t half = LARGEST_DISK / f.slot_size / 2;
  const uint32_t size = f.slot_size;

  write_some (0);
  write_some (0);                   /* over what is there */
  for (unsigned i = 0; i < 64; i++) /* in places that need nodes */
    write_size (half / 64 * i + i, size / 64 * i);
  fill_kind (large, sizeof large, KIND_TEXT, &rng);
  must_write (&f, large, sizeof large, 1000 * size + 7); /* parts; shared */
  must_read (&f, large, sizeof large, 1000 * size + 7);
  for (unsigned i = 0; i < 300; i++) { /* parts of everything */
    must_write (&f, "part", 4, (uint64_t) i * size + i);
    must_discard (&f, (uint64_t) i * size + 100, 50);
    must_read (&f, got, size, (uint64_t) i * size);
  }
  must_discard (&f, 0, 100 * size);
  write_some (20);
}

/* Zspages of the largest class, far more than were kept. */
static void
use_up (void)
{
  for (uint64_t i = 0; i < 3 * KEEP / f.slot_size; i++)
    write_size (5000 + i, f.slot_size);
}

static void
check_codec (uint32_t slot_size, const char *codec)
{
  open_with (slot_size, codec);
  watch ();
  use ();
  nobody_asked ();
  close_it ();
}

static void
test_requests (void **state)
{
  static const char *const codecs[] = { "lz4", "lz4hc", "zstd", "deflate" };

  (void) state;
  for (unsigned i = 0; i < sizeof codecs / sizeof codecs[0]; i++) {
    check_codec (4096, codecs[i]);
    check_codec (MAX_SLOT, codecs[i]);
  }
}

static void
test_used_up (void **state)
{
  (void) state;
  open_with (4096, "lz4");
  watch ();
  use_up ();
  nobody_asked ();
  close_it ();
}

/* What another codec made, which those that are used now have no context for.
 */
static void
test_other_codec (void **state)
{
  static const char *const codecs[] = { "zstd", "deflate", "lz4" };

  (void) state;
  open_with (16384, "lz4hc");
  for (unsigned i = 0; i < 3; i++) {
    struct zcomp_method method = { .format = codec_named (codecs[i]) };

    method.level = codec_by_id (method.format)->level_default;
    assert_int_equal (store_set_primary (f.store, &method), 0);
    assert_int_equal (store_set_workers (f.store, 1 + i), 0);
    write_some (i * 500);
  }
  watch ();
  for (unsigned i = 0; i < 1400; i++) {
    must_read (&f, got, 16384, i * UINT64_C (16384));
    must_write (&f, "part", 4, i * UINT64_C (16384) + i);
  }
  nobody_asked ();
  close_it ();
}

/* -- with a backing store ---------------------------------------------------
 */

/* What the store is asked for is its own: this one asks for nothing. */
static void
test_backed (void **state)
{
  struct batch_writer *w;
  enum put_result r = PUT_DONE;

  (void) state;
  open_with (16384, "zstd");
  held_attach (&f, 4096);
  write_some (0);
  w = batch_writer_create (f.store);
  check_always (w);

  watch ();
  for (uint64_t i = 0; i < 380 && r == PUT_DONE; i++)
    if (fixture_state (&f, i) == SLOT_OBJECT)
      r = held_put (&f, w, i);
  batch_writer_drain (w);
  batch_writer_trim (w);
  atomic_store (&f.store->promote, true);
  for (uint64_t i = 0; i < 380; i++) {
    must_read (&f, got, 16384 - i % 2, i * 16384);
    must_write (&f, "part", 4, i * 16384 + i);
    must_discard (&f, i * 16384 + 1000, 100);
  }
  nobody_asked ();
  assert_int_equal (r, PUT_DONE);
  assert_true (fixture_count (&f, DISK_BD_READS) > 300);
  batch_writer_destroy (w);
  close_it ();
}

/* What all of this rests on: without the reserve somebody asks. */
static void
test_without (void **state)
{
  struct store_config config = fixture_config (16384, codec_named ("lz4"), 1,
                                               LARGEST_DISK);
  struct zcomp_method zstd = { .format = codec_named ("zstd"), .level = 3 };
  struct zcomp_method lz4 = config.primary;

  (void) state;
  f.slot_size = 16384;
  f.store = store_create (&config);
  f.disk = disk_create (f.store, LARGEST_DISK);
  check_always (store_set_primary (f.store, &zstd) == 0);
  rng = unit_rng (1);
  write_size (0, 100);
  check_always (store_set_primary (f.store, &lz4) == 0);
  watch ();
  must_read (&f, got, 16384, 0);
  atomic_store (&watching, false);
  assert_true (atomic_load (&asked) > 0);
  fixture_close (&f);
}

int
main (void)
{
  static const struct CMUnitTest tests[] = {
    UNIT_TEST (test_requests),    UNIT_TEST (test_used_up),
    UNIT_TEST (test_other_codec), UNIT_TEST (test_backed),
    UNIT_TEST (test_without),
  };

  return UNIT_RUN (tests);
}

#else

int
main (void)
{
  printf ("skipped: malloc is the sanitizer's, or not glibc's\n");
  return 77;
}

#endif
