/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Blocks: the space of a backing store.  Which of its 4 KiB blocks are in use,
 * and by how many objects.
 *
 * Objects are packed back to back, so several share a block and one may
 * straddle two or more.  A block is in use while any object touches it:
 *
 *     block     7          8          9          10
 *          +----------+----------+----------+----------+
 *          | A | B | C   C | D |   E   E  E   E | #### |   #: nothing yet
 *          +----------+----------+----------+----------+
 *     count     3          3          1          1
 *
 * The state of a block is one byte.  4096 blocks are a group: their bytes are
 * one page, which is given back when the whole group is free:
 *
 *        0      free
 *     1 … 253   references: one for each object that touches it, and one
 *               for the writer that got it from blocks_alloc
 *       254     not in use, and waits to be punched
 *       255     not in use, and is being punched
 *
 *                blocks_alloc              last blocks_unref
 *      +------> free ----------> counted ------------------+
 *      |         ^                  ^  |                   |
 *      |         | no punching      |  |                   v
 *      |         +------------------|--+               waiting
 *      |                            +------------------ |  |
 *      |                            blocks_alloc, if    |  | blocks_punch_
 *      |                            nothing is free     |  v      begin
 *      +--------------------------------------------- punching
 *                     blocks_punch_end
 *
 * A block that is being punched must not be written: the punch could land after
 * the write.  This is why it is a state and not a list beside the map.
 *
 * Invariants, recomputed by the audit:
 *   used + waiting + punching + free == total, each the number of such bytes
 *   a group's two numbers are those of its 4096 bytes
 *   count == objects that touch the block + writers that hold it
 *   live_bytes == the sum of the lengths of all objects
 *
 * Locks: one, rank BACKING, taken inside; it protects all of the above.  Every
 * function here may be called under a slot's lock.  None sleeps or calls back
 * (at most one system call for 4096 blocks).  After the first run that it could
 * take, blocks_alloc looks at no more than 16 K blocks for a longer one.  It
 * skips full groups without reading them.
 */

#ifndef ZRAM_BLOCKS_H
#define ZRAM_BLOCKS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/compiler.h"
#include "base/reason.h"

#define BLOCK_SHIFT 12
#define BLOCK_SIZE (1u << BLOCK_SHIFT)
#define BLOCKS_MAX (UINT64_C (1) << 40)

/* References that one block can have.  An object with its header takes at least
 * 32 bytes, so at most 129 touch one block.  More references than this abort.
 */
#define BLOCK_COUNT_MAX 253

struct blocks;

struct blocks_stats {
  uint64_t total;      /* blocks */
  uint64_t used;       /* blocks with references */
  uint64_t waiting;    /* blocks to be punched */
  uint64_t punching;   /* blocks being punched */
  uint64_t free;       /* blocks, without those that wait */
  uint64_t live_bytes; /* bytes of all objects; used * 4096 - this is waste */
  uint64_t memory;     /* bytes of RAM that the map itself takes */
};

/* 'total' blocks (1 … BLOCKS_MAX), all free. 'punch': freed blocks must be
 * punched before they are used again.  NULL with errno ENOMEM or EINVAL.
 */
struct blocks *blocks_open (uint64_t total, bool punch) MUST_USE;
void blocks_close (struct blocks *b);

/* Up to 'want' (1 … 65536) blocks in a row, if possible from where the last
 * ones ended, so that successive writes are contiguous.  Each block has one
 * reference, the writer's own, so it stays in use whatever happens to the
 * objects in it.  Returns how many (the first is *first), 0 if the backing is
 * full.
 *
 * Ask for blocks first and pack objects then: fewer blocks than wanted are no
 * error.
 */
unsigned blocks_alloc (struct blocks *b, unsigned want, uint64_t *first)
  MUST_USE;

/* An object lies in the bytes [at, at + len): one reference more for each block
 * that it touches.  Only for the writer that holds these blocks.
 */
void blocks_ref (struct blocks *b, uint64_t at, uint64_t len);

/* The object is gone.  The caller held the lock that kept it readable (its
 * slot's lock, exclusive); every reader of the object holds the same lock.
 */
void blocks_unref (struct blocks *b, uint64_t at, uint64_t len);

/* Drop the writer's own references: blocks without an object are then free.
 * May be called for a part of the blocks, for example for a tail that was not
 * needed.  A writer whose request was 'resent' (backing.h) should keep its
 * references for a while.
 */
void blocks_release (struct blocks *b, uint64_t first, unsigned n);

/* -- punching ----------------------------------------------------------- */

/* Take a run of at least 'least' and at most 'most' waiting blocks to punch
 * them; returns how many.  They cannot be used until blocks_punch_end, which
 * makes them free whether the punch worked or not.  0: no such run is in the
 * next 64 groups with waiting blocks; the next call looks further on.
 */
unsigned blocks_punch_begin (struct blocks *b, unsigned least, unsigned most,
                             uint64_t *first) MUST_USE;
void blocks_punch_end (struct blocks *b, uint64_t first, unsigned n);

/* Without punching, waiting blocks can be allocated like free ones. */
void blocks_set_punch (struct blocks *b, bool punch);

void blocks_get_stats (struct blocks *b, struct blocks_stats *s);

/* -- audit: nothing runs meanwhile -------------------------------------- */

/* Recount: call _begin, name every object (and the blocks that writers hold, as
 * [first * 4096, n * 4096)), call _end. _end returns how many things were
 * wrong, with the first of them in 'why', and ends the audit.
 */
struct blocks_audit;

/* NULL with errno ENOMEM. */
struct blocks_audit *blocks_audit_begin (struct blocks *b) MUST_USE;
void blocks_audit_object (struct blocks_audit *a, uint64_t at, uint64_t len);
void blocks_audit_writer (struct blocks_audit *a, uint64_t first, unsigned n);
uint64_t blocks_audit_end (struct blocks_audit *a, struct reason *why) MUST_USE;

#endif /* ZRAM_BLOCKS_H */
