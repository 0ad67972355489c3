/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The space of a backing store: which of its 4 KiB blocks are in use, and by
 * how many objects.
 *
 * Objects are packed back to back, so several share a block and one may
 * straddle two or more.  A block is in use while anything touches it:
 *
 *     block     7          8          9          10
 *          +----------+----------+----------+----------+
 *          | A | B | C   C | D |   E   E  E   E | #### |   #: nothing yet
 *          +----------+----------+----------+----------+
 *     count     3          3          1          1
 *
 * One byte a block says everything, and 4096 blocks are a group, whose
 * bytes are one page that is given back when the whole group is free:
 *
 *        0      free
 *     1 … 253   references: one for each object that touches it, and one
 *               for the writer who got it from blocks_alloc
 *       254     nobody's, and waits to be punched
 *       255     nobody's, and is being punched
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
 * A block that is being punched is nobody's to write: the punch could land
 * after the write.  This is why it is a state, and no list beside the map.
 *
 * Invariants, recomputed by the audit:
 *   used + waiting + punching + free == total, each the number of such bytes
 *   a group's two numbers are those of its 4096 bytes
 *   count == objects that touch the block + writers that hold it
 *   live_bytes == the sum of the lengths of all objects
 *
 * Locks: one, rank BACKING, taken inside; it protects all of the above.
 * Every function here may be called under a slot's lock; none sleeps or
 * calls back (it does a system call once in 4096 blocks at the most).
 * blocks_alloc looks at 16 K blocks at the most after the first that it could
 * take, for a longer run, and goes over full groups without reading them.
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

/* References that one block can have.  Objects with their headers take 32
 * bytes at the least, so at most 129 touch one; more than this aborts.
 */
#define BLOCK_COUNT_MAX 253

struct blocks;

struct blocks_stats {
  uint64_t total;      /* blocks */
  uint64_t used;       /* blocks with references */
  uint64_t waiting;    /* blocks to be punched */
  uint64_t punching;   /* blocks being punched */
  uint64_t free;       /* blocks; those that wait are not among them */
  uint64_t live_bytes; /* bytes of all objects; used * 4096 - this is waste */
  uint64_t memory;     /* bytes of RAM that the map itself takes */
};

/* 'total' blocks (1 … BLOCKS_MAX), all free.  'punch': those that fall free
 * are to be punched before they are used again.  NULL with errno ENOMEM or
 * EINVAL.
 */
struct blocks *blocks_open (uint64_t total, bool punch) MUST_USE;
void blocks_close (struct blocks *b);

/* Up to 'want' (1 … 65536) blocks in a row, from where the last ones ended if
 * possible, so that what is written one after the other lies so.  Each has
 * one reference, the writer's own, so it stays whatever happens to the
 * objects that are put there.  Returns how many (the first is *first), 0 if
 * the store is full.
 *
 * Ask first and pack then: fewer blocks than wanted are no error.
 */
unsigned blocks_alloc (struct blocks *b, unsigned want, uint64_t *first)
  MUST_USE;

/* An object lies in the bytes [at, at + len): one reference more for each
 * block that it touches.  For the writer alone, who holds them.
 */
void blocks_ref (struct blocks *b, uint64_t at, uint64_t len);

/* That object is there no more.  The caller held what kept it readable (its
 * slot's lock, exclusive); whoever reads an object holds the same lock.
 */
void blocks_unref (struct blocks *b, uint64_t at, uint64_t len);

/* The writer's own references: blocks in which nothing ended up are free.
 * May be called for a part of what was got, e.g. for the tail that was not
 * needed.  A writer whose request was 'resent' (backing.h) should keep them
 * for a while.
 */
void blocks_release (struct blocks *b, uint64_t first, unsigned n);

/* -- punching ----------------------------------------------------------- */

/* Take a run of at least 'least' and at most 'most' waiting blocks to punch
 * them; returns how many.  They are nobody's until blocks_punch_end, which
 * makes them free whether the punch worked or not.  0: no such run in the
 * next 64 groups that have blocks waiting; asked again it looks further on.
 */
unsigned blocks_punch_begin (struct blocks *b, unsigned least, unsigned most,
                             uint64_t *first) MUST_USE;
void blocks_punch_end (struct blocks *b, uint64_t first, unsigned n);

/* Without punching, blocks that wait can be had like free ones. */
void blocks_set_punch (struct blocks *b, bool punch);

void blocks_get_stats (struct blocks *b, struct blocks_stats *s);

/* -- audit: nothing runs meanwhile -------------------------------------- */

/* Recount: begin, name every object (and, as [first * 4096, n * 4096), what
 * writers hold), end.  _end says how many things were wrong and in 'why' the
 * first of them; with it the audit is over.
 */
struct blocks_audit;

/* NULL with errno ENOMEM. */
struct blocks_audit *blocks_audit_begin (struct blocks *b) MUST_USE;
void blocks_audit_object (struct blocks_audit *a, uint64_t at, uint64_t len);
void blocks_audit_writer (struct blocks_audit *a, uint64_t first, unsigned n);
uint64_t blocks_audit_end (struct blocks_audit *a, struct reason *why) MUST_USE;

#endif /* ZRAM_BLOCKS_H */
