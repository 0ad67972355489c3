/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What reading a slot and writing a part of one share.  The caller holds the
 * slot's lock.
 *
 *   BACKED:  slot_fetch_locked (sleeps in the store; no stream is held)
 *               |
 *   OBJECT ----slot_unpack_locked (in a stream)----> scratch
 */

#ifndef ZRAM_SLOT_READ_H
#define ZRAM_SLOT_READ_H

#include "store/disk.h"

/* Bytes [offset, offset + len) of a slot that repeats the word. */
void slot_fill_words (char *buf, uint32_t offset, uint32_t len, uint64_t word);

/* Bytes [offset, offset + len) of the slot, whatever it is.  *record becomes
 * what had to be read from the backing store, which goes to backed_record_free,
 * or NULL.  0, or -1 with errno EIO or ENOMEM.
 */
int slot_read_locked (struct disk *disk, struct slot *s, uint64_t index,
                      void *buf, uint32_t offset, uint32_t len, char **record)
  REQUIRES_SHARED (s) MUST_USE;

#endif /* ZRAM_SLOT_READ_H */
