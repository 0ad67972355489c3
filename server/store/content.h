/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a slot holds, and putting something else in its place.
 *
 *   data --same-filled?--> word
 *     |  |                   |
 *     |  +--make_buffered----+----------+   if the write buffer has room
 *     object_pack, once      |          |
 *     v                      v          v
 *   packed --make--> content (an object in transit, the word, or an entry)
 *                      |  slot locked
 *                      v
 *                    set: the slot's cell and meta, and every counter; what
 *                    was there before is freed
 *
 * Until "set" nothing is visible, so what fails before it changes nothing.
 *
 * Invariants, which the auditor recomputes: the disk's counters of slots,
 * objects and bytes are sums over the table; what the store counted as made
 * in a dictionary's format and not freed yet is at least what slots hold in
 * it.
 */

#ifndef ZRAM_CONTENT_H
#define ZRAM_CONTENT_H

#include "store/object.h"

/* What a slot is going to hold. */
struct content {
  enum slot_state state;
  unsigned format;
  uint32_t size;  /* bytes of the object */
  uint32_t marks; /* of its meta: by, incompressible */
  uint64_t cell;  /* the word, the handle of an object in transit, the address
                   * of a record in the backing store, or an entry of the
                   * write buffer in transit */
};

/* Put the bytes into a new object, in transit.  0, or -1 with errno ENOSPC or
 * ENOMEM.
 */
int content_make (struct disk *disk, const struct packed *packed,
                  struct content *new) MUST_USE;

/* The object lies in a record at that address, in blocks that the caller holds;
 * the record counts from here on.
 */
void content_make_backed (struct disk *disk, uint64_t address, unsigned format,
                          uint32_t size, struct content *new);

/* Keep the data as they are, in the write buffer.  False if that has no room
 * for them, now.
 */
bool content_make_buffered (struct disk *disk, uint64_t slot, const void *data,
                            struct content *new) MUST_USE;

/* A slot that is BUFFERED holds these bytes at 'offset' from here on (NULL:
 * zeroes).  Whoever claimed it has lost it.
 */
void content_rewrite_locked (struct disk *disk, struct slot *s, const void *buf,
                             uint32_t offset, uint32_t len) REQUIRES (s);

/* Free what was made and will not be used. */
void content_drop (struct disk *disk, const struct content *new);

/* The slot holds it from here on.  Cannot fail. */
void content_set_locked (struct disk *disk, struct slot *s,
                         const struct content *new) REQUIRES (s);

/* For when there is no room for a second object: write it over the old one, if
 * it fits there.  What shrinks always does, so that trimming a part of a slot
 * works when memory is out.  Nothing can fail any more here, so the old data
 * need not be kept until the new are safe.
 */
bool content_overwrite_locked (struct disk *disk, struct slot *s,
                               const struct packed *packed) REQUIRES (s)
  MUST_USE;

#endif /* ZRAM_CONTENT_H */
