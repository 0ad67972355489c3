/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Objects: a slot's data as they are stored, packed in some format.  Only this
 * file knows how data become the bytes of an object, and how to read them
 * again.
 *
 *   data --pack--> packed --make--> object in the pool, in transit
 *                    |              (content.h puts it into a slot)
 *                    +--overwrite--> over the object of a slot
 *
 *   OBJECT: pinned in the pool ------------+--read----> data, or a part of them
 *   BACKED: fetched as a record, checked --+--unpack--> data, in a stream
 *   OBJECT: pinned --copy--> its bytes, to work --unpack--> data, in a stream
 *                            on with no lock held
 *
 * A record is an object in the backing store: its bytes, behind a header.
 *
 *   header, 16 bytes:  slot (8) | size - 1 (2) | format (1) | 0 (1) | check (4)
 *
 *   check  XXH3 of the object, seeded with a secret of this process, the
 *          record's address, the slot, the size and the format.  Only this
 *          slot's object, as this process wrote it to this place, passes
 *
 * Locks: take a stream before pinning an object, and hold none while fetching a
 * record (base/rank.h).
 */

#ifndef ZRAM_OBJECT_H
#define ZRAM_OBJECT_H

#include "store/disk.h"

/* A slot's data, packed.  The bytes are those of the data, or lie in a stream.
 */
struct packed {
  unsigned format;
  uint32_t size;
  const void *bytes;
};

/* -- making ------------------------------------------------------------- */

/* Compress a slot's data with the stream's primary method.  Data that do not
 * shrink enough are kept raw.  0, or -1 with errno ENOMEM or EIO.
 */
int object_pack (struct store *store, struct zcomp_stream *stream,
                 const void *data, struct packed *packed) MUST_USE;

/* Compress the data with that method to at most 'most' bytes.  1; 0 if they do
 * not fit; or -1 with errno ENOMEM or EIO.
 */
int object_pack_within (struct store *store, struct zcomp_stream *stream,
                        const struct zcomp_method *method, const void *data,
                        size_t most, struct packed *packed) MUST_USE;

/* Bytes of memory that the data would take with that method; UINT64_MAX with
 * errno ENOMEM or EIO.  Borrows a stream; may sleep.
 */
uint64_t object_measure (struct store *store, const struct zcomp_method *method,
                         const void *data) MUST_USE;

/* Put the bytes into a new object, in transit: its handle.  0 with errno ENOSPC
 * or ENOMEM.
 */
uint64_t object_make (struct store *store, const struct packed *packed)
  MUST_USE;

/* Write the bytes over the slot's object if they fit there.  If not, change
 * nothing and return false.
 */
bool object_overwrite_locked (struct store *store, struct slot *s,
                              const struct packed *packed) REQUIRES (s)
  MUST_USE;

/* Write the header in front of the object.  The object is at record +
 * RECORD_HEADER; 'address' is where the record will be written.
 */
void record_seal (const struct backed *b, void *record, uint64_t address,
                  uint64_t slot, unsigned format, uint32_t size);

/* -- reading; the caller holds the slot's lock --------------------------- */

/* Bytes [offset, offset + len) of the object as it is stored.  The slot is
 * OBJECT.
 */
void object_copy_locked (struct store *store, struct slot *s, void *buf,
                         uint32_t offset, uint32_t len) REQUIRES_SHARED (s);

/* Read and check the record of a BACKED slot; the caller gives it to
 * backed_record_free.  NULL with errno EIO or ENOMEM.  Sleeps in the backing
 * store.
 */
char *object_fetch_locked (struct disk *disk, struct slot *s, uint64_t index)
  REQUIRES_SHARED (s) MUST_USE;

/* Bytes [offset, offset + len) of the slot's data.  Either the slot is BACKED
 * and 'record' is its record, or it is OBJECT and 'record' is NULL.  0, or -1
 * with errno EIO or ENOMEM.
 */
int object_read_locked (struct store *store, struct slot *s, const char *record,
                        void *buf, uint32_t offset, uint32_t len)
  REQUIRES_SHARED (s) MUST_USE;

/* The whole slot's data, in the stream's scratch buffer; NULL with errno EIO or
 * ENOMEM.
 */
char *object_unpack_locked (struct store *store, struct slot *s,
                            const char *record, struct zcomp_stream *stream)
  REQUIRES_SHARED (s) MUST_USE;

/* -- without the lock ---------------------------------------------------- */

/* The data of an object that was copied out of a slot with that meta: either
 * the copy itself, or in the stream's scratch buffer.  NULL with errno EIO or
 * ENOMEM.
 */
const void *object_unpack (struct store *store, uint32_t meta,
                           const void *object, struct zcomp_stream *stream)
  MUST_USE;

/* Is this the record of that object? */
bool record_check (const struct backed *b, const void *record, uint64_t address,
                   uint64_t slot, unsigned format, uint32_t size) MUST_USE;

/* For the auditor, with the slot locked or nothing running: does the slot's
 * object, if it has one in memory, name the slot?
 */
bool object_is_attached (struct store *store, struct slot *s) MUST_USE;

#endif /* ZRAM_OBJECT_H */
