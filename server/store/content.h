/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The content of a slot, and how to replace it.
 *
 *   data --same-filled?--> word
 *     |  |                   |
 *     |  +--make_buffered----+----------+   if the write buffer has room
 *     object_pack, once      |          |
 *     v                      v          v
 *   packed --make--> content (an object in transit, the word, or an entry)
 *                      |  slot locked
 *                      v
 *                    set: the slot's cell and meta, and every counter; the
 *                    old content is freed
 *
 * Before "set" nothing is visible, so a failure before it changes nothing.
 *
 * Invariants, which the auditor checks: the disk's counters of slots, objects
 * and bytes are sums over the table.  For each dictionary's format, the store
 * counts at least as many objects made and not yet freed as there are in slots.
 */

#ifndef ZRAM_CONTENT_H
#define ZRAM_CONTENT_H

#include "store/object.h"

/* The future content of a slot. */
struct content {
  enum slot_state state;
  unsigned format;
  uint32_t size;  /* bytes of the object */
  uint32_t marks; /* in its meta: by, incompressible */
  uint64_t cell;  /* the word, the handle of an object in transit, the address
                   * of a record in the backing store, or an entry of the
                   * write buffer in transit */
};

/* Put the bytes into a new object, in transit.  0, or -1 with errno ENOSPC or
 * ENOMEM.
 */
int content_make (struct disk *disk, const struct packed *packed,
                  struct content *new) MUST_USE;

/* Content whose object lies in a record at that address, in blocks that the
 * caller owns.  The record counts from here on.
 */
void content_make_backed (struct disk *disk, uint64_t address, unsigned format,
                          uint32_t size, struct content *new);

/* Keep the data uncompressed, in the write buffer; NULL: the caller puts them
 * into the entry.  False if that has no room for them now.
 */
bool content_make_buffered (struct disk *disk, uint64_t slot, const void *data,
                            struct content *new) MUST_USE;

/* Change a BUFFERED slot in place: it holds these bytes at 'offset' from here
 * on (NULL: zeroes).  The slot loses its claim.
 */
void content_rewrite_locked (struct disk *disk, struct slot *s, const void *buf,
                             uint32_t offset, uint32_t len) REQUIRES (s);

/* Free a content that was made and will not be used. */
void content_drop (struct disk *disk, const struct content *new);

/* The slot holds it from here on.  Cannot fail. */
void content_set_locked (struct disk *disk, struct slot *s,
                         const struct content *new) REQUIRES (s);

/* For use when there is no room for a second object: write the new one over the
 * old one, if it fits there.  Smaller data always fit, so trimming a part of a
 * slot works without free memory.  Nothing can fail after the check, so the old
 * data need not be kept until the new data are safe.
 */
bool content_overwrite_locked (struct disk *disk, struct slot *s,
                               const struct packed *packed) REQUIRES (s)
  MUST_USE;

#endif /* ZRAM_CONTENT_H */
