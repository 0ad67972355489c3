/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * For the tests of codecs: data of several kinds, buffers that notice one byte
 * too far, and a codec's operations with all checks around them.
 *
 * Buffers that a codec sees end at, or begin after, a page that may not be
 * touched, so that one byte read or written too far stops the test.
 */

#ifndef TEST_CODEC_UTIL_H
#define TEST_CODEC_UTIL_H

#include <sys/mman.h>

#include "unit.h"

#include "comp/codec.h"
#include "comp/dict.h"

#define MAX_LEN 65536
#define ROOM (2 * MAX_LEN + 4096)

enum kind { ZEROISH, TEXT, RANDOM, MIXED, POINTERS, KINDS };

/* ------------------------------------------------------------------------
 * Data.
 */

static void
fill_text (unsigned char *p, size_t len, struct unit_rng *rng)
{
  static const char *const words[] = { "slot ",   "stream", " the ",
                                       "of\n",    "codec ", "0x00000000",
                                       "return ", "if (",   ");\n  " };

  for (size_t i = 0; i < len;) {
    const char *w = words[unit_rand (rng) % (sizeof words / sizeof *words)];

    while (*w && i < len)
      p[i++] = (unsigned char) *w++;
  }
}

static void
fill (unsigned char *p, size_t len, enum kind kind, struct unit_rng *rng)
{
  uint64_t word;

  memset (p, 0, len);
  switch (kind) {
  case ZEROISH:
    for (size_t i = 0; i < len; i += 500)
      p[i] = (unsigned char) unit_rand (rng);
    break;
  case TEXT:
    fill_text (p, len, rng);
    break;
  case RANDOM:
    for (size_t i = 0; i < len; i++)
      p[i] = (unsigned char) unit_rand (rng);
    break;
  case MIXED:
    fill (p, len / 2, RANDOM, rng);
    fill_text (p + len / 2, len - len / 2, rng);
    break;
  case POINTERS:
    for (size_t i = 0; i + 8 <= len; i += 8) {
      word = UINT64_C (0x7f0000000000) + unit_rand (rng) % 100000 * 16;
      memcpy (p + i, &word, 8);
    }
    break;
  case KINDS:
    abort ();
  }
}

/* ------------------------------------------------------------------------
 * Buffers with a page on either side that nobody may touch.
 */

static unsigned char *in_room, *packed_room, *out_room;

static unsigned char *
make_room (void)
{
  size_t page = (size_t) sysconf (_SC_PAGESIZE);
  unsigned char *p = mmap (NULL, ROOM + 2 * page, PROT_NONE,
                           MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

  check_always (p != MAP_FAILED);
  check_always (mprotect (p + page, ROOM, PROT_READ | PROT_WRITE) == 0);
  return p + page;
}

static void
free_room (unsigned char *room)
{
  size_t page = (size_t) sysconf (_SC_PAGESIZE);

  munmap (room - page, ROOM + 2 * page);
}

/* len bytes that end where the room ends, or begin where it begins; the
 * other side is canary.
 */
#define CANARY 0xa5
#define CANARY_LEN 128

static unsigned char *
place (unsigned char *room, size_t len, bool at_end)
{
  unsigned char *p = at_end ? room + ROOM - len : room;

  memset (at_end ? p - CANARY_LEN : p + len, CANARY, CANARY_LEN);
  return p;
}

static void
check_canary (const unsigned char *p, size_t len, bool at_end)
{
  const unsigned char *c = at_end ? p - CANARY_LEN : p + len;

  for (size_t i = 0; i < CANARY_LEN; i++)
    if (c[i] != CANARY)
      fail_msg ("byte %zu of the canary %s a buffer of %zu was overwritten", i,
                at_end ? "before" : "after", len);
}

/* ------------------------------------------------------------------------
 * A codec with its contexts, and the two operations with all checks.
 */

struct pair {
  const struct codec *codec;
  struct codec_params params;
  void *cctx, *dctx;
};

static void
open_pair_dict (struct pair *p, const struct codec *codec, int level,
                size_t slot_size, struct dict *dict)
{
  p->codec = codec;
  p->params.level = level;
  p->params.slot_size = slot_size;
  p->params.dict = dict;
  p->cctx = codec_cctx_create (codec, &p->params);
  assert_non_null (p->cctx);
  p->dctx = NULL;
  if (codec->decompress_needs_ctx) {
    p->dctx = codec_dctx_create (codec, &p->params);
    assert_non_null (p->dctx);
  }
}

static void
open_pair (struct pair *p, const struct codec *codec, int level,
           size_t slot_size)
{
  open_pair_dict (p, codec, level, slot_size, NULL);
}

static void
close_pair (struct pair *p)
{
  p->codec->cctx_destroy (p->cctx);
  if (p->dctx)
    p->codec->dctx_destroy (p->dctx);
}

/* Compress to the placed room; *out is where the result is. */
static ssize_t
compress (struct pair *p, const void *src, size_t len, size_t dcap, bool at_end,
          unsigned char **out)
{
  ssize_t n;

  *out = place (packed_room, dcap, at_end);
  n = p->codec->compress (p->cctx, src, len, *out, dcap);
  check_canary (*out, dcap, at_end);
  assert_in_range (n, 0, dcap);
  return n;
}

static int
decompress (struct pair *p, const void *src, size_t slen, size_t dlen,
            bool at_end, unsigned char **out)
{
  int r;

  *out = place (out_room, dlen, at_end);
  r = p->params.dict
        ? dict_decompress (p->params.dict, p->dctx, src, slen, *out, dlen)
        : p->codec->decompress (p->dctx, src, slen, *out, dlen);
  check_canary (*out, dlen, at_end);
  assert_true (r == 0 || r == -1);
  return r;
}

static void
check_decompresses_to (struct pair *p, const void *src, size_t slen,
                       const void *plain, size_t dlen)
{
  unsigned char *copy, *out;

  for (int at_end = 0; at_end < 2; at_end++) {
    copy = malloc (slen);
    assert_non_null (copy);
    memcpy (copy, src, slen);
    assert_int_equal (decompress (p, copy, slen, dlen, at_end, &out), 0);
    assert_memory_equal (out, plain, dlen);
    free (copy);
  }
}

/* Damage one object in some way; returns its new length, 0 ... len. */
static inline size_t
damage (unsigned char *p, size_t len, struct unit_rng *rng)
{
  size_t at = unit_rand (rng) % len;

  switch (unit_rand (rng) % 6) {
  case 0:
  case 1: /* one bit */
    p[at] ^= (unsigned char) (1 << unit_rand (rng) % 8);
    return len;
  case 2: /* several bits */
    for (int i = 0; i < 8; i++)
      p[unit_rand (rng) % len] ^= (unsigned char) (1 << unit_rand (rng) % 8);
    return len;
  case 3: /* a run of one byte, as lengths are coded in some formats */
    memset (p + at, (int) unit_rand (rng) & 1 ? 0xff : 0, len - at);
    return len;
  case 4: /* the tail is missing */
    return at;
  default: /* noise from somewhere on */
    for (size_t i = at; i < len; i++)
      p[i] = (unsigned char) unit_rand (rng);
    return len;
  }
}

static inline void
damage_pair (struct pair *p)
{
  const size_t len = p->params.slot_size;
  struct unit_rng rng = unit_rng (len);
  unsigned char *plain = malloc (len), *object = malloc (2 * len), *src, *out;
  unsigned noticed = 0, passed = 0;
  size_t n = 0, m;
  bool at_end;

  assert_non_null (plain);
  assert_non_null (object);
  for (int round = 0; round < UNIT_TIMES (3000); round++) {
    if (round % 300 == 0) {
      fill (plain, len, round / 300 % KINDS, &rng);
      n = (size_t) compress (p, plain, len, 2 * len, true, &out);
      memcpy (object, out, n);
    }
    at_end = unit_rand (&rng) % 2;
    src = place (in_room, n, at_end);
    memcpy (src, object, n);
    m = damage (src, n, &rng);
    if (at_end)
      memmove (src + n - m, src, m);
    if (decompress (p, at_end ? src + n - m : src, m, len, at_end, &out) == 0)
      passed++;
    else
      noticed++;
    if (round % 100 == 99)
      check_decompresses_to (p, object, n, plain, len);
  }
  print_message ("    %s %d%s: %u damaged objects noticed, %u passed\n",
                 p->codec->name, p->params.level,
                 p->params.dict ? " with a dictionary" : "", noticed, passed);
  assert_true (noticed > 100);
  free (object);
  free (plain);
}

static inline void
for_each_codec (void (*f) (const struct codec *codec))
{
  const struct codec *codec;

  for (unsigned id = CODEC_RAW + 1; id < CODEC_IDS; id++)
    if ((codec = codec_by_id (id)) != NULL)
      f (codec);
}

static inline void
for_each_pair (const struct codec *codec, size_t slot_size,
               void (*f) (struct pair *p))
{
  const int levels[] = { codec->level_min, codec->level_default,
                         codec->level_max };
  struct pair p;

  for (size_t i = 0; i < 3; i++) {
    open_pair (&p, codec, levels[i], slot_size);
    f (&p);
    close_pair (&p);
  }
}

static void
make_rooms (void)
{
  in_room = make_room ();
  packed_room = make_room ();
  out_room = make_room ();
}

static void
free_rooms (void)
{
  free_room (in_room);
  free_room (packed_room);
  free_room (out_room);
}

#endif /* TEST_CODEC_UTIL_H */
