/* SPDX-License-Identifier: BSD-3-Clause */
/* For the tests of zcomp: slots to compress, and threads that do it. */

#ifndef TEST_ZCOMP_UTIL_H
#define TEST_ZCOMP_UTIL_H

#include "unit.h"

#include "decompress.h"

#define SLOT 4096

#define LZ4 1
#define LZ4HC 2
#define ZSTD 3
#define DEFLATE 4

static const struct zcomp_method lz4 = { LZ4, 1 };
static const struct zcomp_method zstd = { ZSTD, 3 };
static const struct zcomp_method methods[] = {
  { LZ4, 1 },     { ZSTD, 3 }, { LZ4HC, 9 },
  { DEFLATE, 6 }, { ZSTD, 1 }, { LZ4, 7 },
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
  check_always (decompress_at_once (z, method->format, object, (size_t) n, back,
                                    SLOT) == 0);
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

#define HAMMERS 8
#define ROUNDS UNIT_TIMES (4000)

struct hammer {
  struct zcomp *z;
  unsigned id, max_streams;
  atomic_int *borrowed, *left;
};

static inline void *
hammer (void *arg)
{
  struct hammer *h = arg;
  struct zcomp_stream *stream;
  uint64_t mine;

  for (unsigned i = 0; i < ROUNDS; i++) {
    round_trip (h->z, &methods[i % 16 ? i % 2 : i / 16 % METHODS],
                h->id * ROUNDS + i);

    /* No other thread has my stream. */
    stream = zcomp_stream_get (h->z);
    check_always (atomic_fetch_add (h->borrowed, 1) < (int) h->max_streams);
    mine = h->id * ROUNDS + i + 1;
    memcpy (zcomp_stream_scratch (stream), &mine, sizeof mine);
    if (i % 8 == 0)
      sched_yield ();
    check_always (memcmp (zcomp_stream_scratch (stream), &mine, sizeof mine) ==
                  0);
    atomic_fetch_sub (h->borrowed, 1);
    zcomp_stream_put (stream);
  }
  atomic_fetch_sub (h->left, 1);
  return NULL;
}

/* Runs the hammers, and calls meanwhile () until they are done. */
static void
run_hammers (struct zcomp *z, unsigned max_streams, void *(*body) (void *),
             void (*meanwhile) (struct zcomp *z, unsigned turn))
{
  atomic_int borrowed = 0, left = HAMMERS;
  struct hammer h[HAMMERS];
  struct unit_thread t[HAMMERS];

  for (unsigned i = 0; i < HAMMERS; i++) {
    h[i] = (struct hammer){ z, i, max_streams, &borrowed, &left };
    unit_start (&t[i], body, &h[i]);
  }
  for (unsigned turn = 0; meanwhile && atomic_load (&left) > 0; turn++)
    meanwhile (z, turn);
  unit_join_all (t, HAMMERS);
}

#endif /* TEST_ZCOMP_UTIL_H */
