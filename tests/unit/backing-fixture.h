/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Shared by the tests of backing stores: requests whose end can be waited
 * for, and blocks that say which they are.
 */

#ifndef ZRAM_BACKING_FIXTURE_H
#define ZRAM_BACKING_FIXTURE_H

#include <errno.h>

#include "unit.h"

#include "base/park.h"
#include "dev/backing.h"

struct request {
  struct backing_io io;
  _Atomic uint32_t finished;
  unsigned turn; /* the how manyth to finish */
};

static atomic_uint request_turns;

static void
request_done (struct backing_io *io)
{
  struct request *r = io->ctx;

  r->turn = atomic_fetch_add (&request_turns, 1);
  atomic_store (&r->finished, 1);
  park_wake (&r->finished);
}

static inline void
request_submit (struct backing *b, struct request *r, enum backing_op op,
                void *buf, uint64_t offset, uint64_t len)
{
  memset (r, 0, sizeof *r);
  r->io.op = op;
  r->io.buf = buf;
  r->io.offset = offset;
  r->io.len = len;
  r->io.done = request_done;
  r->io.ctx = r;
  backing_submit (b, &r->io);
}

static inline int
request_wait (struct request *r)
{
  for (;;) {
    uint32_t ticket = park_ticket (&r->finished);

    if (atomic_load (&r->finished))
      return r->io.error;
    park_wait (&r->finished, ticket);
  }
}

static inline int
request_run (struct backing *b, enum backing_op op, void *buf, uint64_t offset,
             uint64_t len)
{
  struct request r;

  request_submit (b, &r, op, buf, offset, len);
  return request_wait (&r);
}

/* Every 8 bytes say where they are and which generation. */
static inline void
stamp (void *buf, uint64_t offset, size_t len, uint64_t generation)
{
  uint64_t *word = buf;

  for (size_t i = 0; i < len / 8; i++)
    word[i] = unit_mix (offset / 8 + i + (generation << 48));
}

/* Reads back and compares; at an odd place too. */
static inline void
assert_stamped (struct backing *b, uint64_t offset, size_t len,
                uint64_t generation)
{
  char *is = malloc (len), *want = malloc (len);

  assert_true (is && want);
  stamp (want, offset, len, generation);
  assert_int_equal (backing_read (b, is, len, offset), 0);
  assert_memory_equal (is, want, len);
  assert_int_equal (backing_read (b, is, len - 20, offset + 13), 0);
  assert_memory_equal (is, want + 13, len - 20);
  free (is);
  free (want);
}

#endif /* ZRAM_BACKING_FIXTURE_H */
