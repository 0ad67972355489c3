/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * zcomp: the compression streams and their methods.
 *
 *   struct zcomp   workers = 3
 *   streams  [0]        [1]        [2]        [3]        ...  [255]
 *           +-------+  +-------+  +-------+  +-------+
 *           | lock  |  | lock  |  | lock  |  | lock  |
 *           | parts |  | parts |  | parts |  | NULL  |
 *           +---|---+  +---|---+  +---|---+  +-------+
 *               v          v          v        no stream here now
 *             buffer of one slot (result of compressing)
 *             scratch of one slot (the borrower's)
 *             compression contexts, by method; [0] the primary's
 *             decompression contexts, by codec
 *
 * A format is what a stored object must be decompressed with: the id of a
 * codec, or one of 16 numbers above them that stand for a codec with a
 * dictionary (comp/dict.h has the table).  A method is a format and a level.
 *
 * A request borrows the stream of the CPU that it runs on, or any other if that
 * is busy.  It waits only while all are busy, and then for the first that is
 * put back.  So a codec that sleeps delays only its own stream and slot.  No
 * list of free streams exists, and no lock over all of them (seeds/004): only a
 * mutex each, a count that is read, and a word that is written only while a
 * thread waits.
 *
 * Locks: stream->lock (rank: stream) protects that stream's parts, all they
 * point to, and their life.  One is held from get to put, by one thread, which
 * holds no other stream and may not take a slot meanwhile.  "workers" is
 * changed by zcomp_set_workers alone, which the caller serializes.  A reader
 * looks its format up without a lock (comp/dict.h says why it may).
 *
 * Invariants, whenever no zcomp_set_workers runs:
 *   streams[i].parts != NULL  <=>  i < workers;   1 <= workers <= 256
 *   parts of a stream have the primary's contexts
 *   zcomp_memory = sizeof (struct zcomp) + sum of parts->bytes
 *                  + sum of memory of the dictionaries
 *
 * Contexts of other codecs and levels than the primary's are made when they are
 * first needed.  If that fails, the caller gets an error and nothing else
 * changes.
 */

#ifndef ZRAM_ZCOMP_H
#define ZRAM_ZCOMP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/compiler.h"
#include "comp/codec.h"

#define ZCOMP_MAX_STREAMS 256

/* Compression contexts a stream keeps: the primary's, and as many secondary
 * ones as zram has priorities.
 */
#define ZCOMP_MAX_METHODS 4

struct zcomp;
struct zcomp_stream;

/* A way to compress.  Each context is for one method. */
struct zcomp_method {
  unsigned format;
  int level; /* level_min ... level_max of the format's codec */
};

/* Streams 0 ... workers - 1 with the primary method's contexts, for sources
 * of up to slot_size bytes.  Errors: NULL with ENOMEM, or EINVAL for an
 * impossible method or number of workers.  May sleep.
 */
struct zcomp *zcomp_new (const struct zcomp_method *primary, size_t slot_size,
                         unsigned workers) MUST_USE;

/* All streams must have been put back.  NULL is allowed. */
void zcomp_free (struct zcomp *zcomp);

/* From now on each stream has the contexts to decompress objects of every
 * codec, so that a read or a part-write never has to make one.  Call it before
 * any stream is borrowed.  0, or -1 with ENOMEM.
 */
int zcomp_keep_ready (struct zcomp *zcomp) MUST_USE;

/* Change the number of streams while requests run.  The caller makes sure
 * that there is one call at a time (it holds its control lock), and holds no
 * lock of rank stream or above.  For fewer streams it waits until the borrower
 * of each removed stream puts it back.  That is soon: a borrower compresses or
 * decompresses one slot, and never waits for a slot, the backing store or room
 * meanwhile (slot_fetch_locked checks that).  Errors: -1 with ENOMEM or EINVAL,
 * and the number is what it was.
 */
int zcomp_set_workers (struct zcomp *zcomp, unsigned workers) MUST_USE;

/* Change the primary method while requests run; serialized with
 * zcomp_set_workers, and locks as there.  A request that has begun with the
 * old one ends with it.  Errors: -1 with ENOMEM or EINVAL, and the primary is
 * what it was.
 */
int zcomp_set_primary (struct zcomp *zcomp, const struct zcomp_method *primary)
  MUST_USE;

/* ------------------------------------------------------------------------
 * Formats and dictionaries.
 *
 * zcomp_dict_add and _remove are serialized by the caller, with each other
 * and with zcomp_set_workers and _set_primary, and locks are as there.
 */

/* The codec of a format; NULL for CODEC_RAW and for formats that are free.
 * Any thread, any time, no lock.
 */
const struct codec *zcomp_format_codec (const struct zcomp *zcomp,
                                        unsigned format);

/* The name of that codec, or "raw". */
const char *zcomp_format_name (const struct zcomp *zcomp, unsigned format);

/* Copy, check and digest these bytes as a dictionary for that codec, and give
 * it a format.  Nothing uses it before the caller puts it into a method.  May
 * sleep.  Errors: -1 with ENOMEM, ENOSPC (all formats are taken) or EINVAL (the
 * bytes, or the codec), and a reason.
 */
int zcomp_dict_add (struct zcomp *zcomp, const struct codec *codec,
                    const void *bytes, size_t size, unsigned *format,
                    struct reason *why) MUST_USE;

/* Remove it, with the contexts that streams keep for it.  For these it waits
 * for each stream's borrower, as zcomp_set_primary does.
 *
 * The caller promises that the format is not in use and will not be: that no
 * stored object has it (a slot that holds the format keeps the dictionary),
 * that no request runs which read the format from a slot or which compresses
 * with it, and that neither the primary nor any other method has it.  Errors:
 * -1 with EINVAL (no dictionary has that format) or EBUSY (the primary has it).
 */
int zcomp_dict_remove (struct zcomp *zcomp, unsigned format) MUST_USE;

struct zcomp_dict_info {
  const struct codec *codec;
  size_t size;   /* bytes given */
  size_t memory; /* bytes, digests included */
  uint64_t id;   /* the same for the same bytes */
};

/* -1 with EINVAL: no dictionary has that format.  Any thread, any time; takes
 * a lock of rank dictionary.
 */
int zcomp_dict_info (struct zcomp *zcomp, unsigned format,
                     struct zcomp_dict_info *info) MUST_USE;

/* These take no lock. */
unsigned zcomp_workers (const struct zcomp *zcomp);
unsigned zcomp_busy (const struct zcomp *zcomp); /* streams borrowed now */
size_t zcomp_memory (const struct zcomp *zcomp); /* bytes, contexts included */
struct zcomp_method zcomp_primary (const struct zcomp *zcomp);

/* For the auditor: does every stream exist that should, and is no stream
 * borrowed at the moment of the check?  The caller has borrowed none and holds
 * no lock of rank stream or above; zcomp_set_workers does not run.
 */
bool zcomp_is_idle (struct zcomp *zcomp);

/* Borrow a stream: takes its lock, and sleeps if necessary (the caller holds no
 * lock of rank stream or above).  Cannot fail.
 */
struct zcomp_stream *zcomp_stream_get (struct zcomp *zcomp) MUST_USE;

/* Give it back.  The buffers that zcomp_compress and zcomp_stream_scratch
 * returned belong to the next borrower from now on. errno stays unchanged.
 */
void zcomp_stream_put (struct zcomp_stream *stream);

/* ------------------------------------------------------------------------
 * Below this line the caller has borrowed the stream.
 */

/* The method that this stream was made for: the primary one, or the one that
 * was primary a moment ago.  Its contexts exist, so compressing with it cannot
 * fail because memory is short.
 */
struct zcomp_method zcomp_stream_primary (const struct zcomp_stream *stream);

/* Compress src (slen bytes, 1 ... slot_size, which do not change meanwhile)
 * to at most dcap (1 ... slot_size) bytes.  Returns the size of the result and
 * sets *out to it: it is in the stream's buffer, until the next call or the
 * put.  Returns 0 if it does not fit (CODEC_SLACK may be lost).  Errors: -1
 * with ENOMEM (no context could be made, or the codec has no memory), EINVAL
 * (no such method) or EIO (the codec failed).
 */
ssize_t zcomp_compress (struct zcomp_stream *stream,
                        const struct zcomp_method *method, const void *src,
                        size_t slen, size_t dcap, const void **out) MUST_USE;

/* slot_size bytes for the borrower's use, for example to merge a part-write
 * before compressing it.  Contents undefined.
 */
void *zcomp_stream_scratch (struct zcomp_stream *stream) MUST_USE;

/* ------------------------------------------------------------------------
 * Decompressing.
 *
 * Some codecs need a context, hence a stream; some need nothing.  A stream must
 * be borrowed before the object is pinned in its pool (a zspage ranks above a
 * stream).  So this has three steps: get a reader; pin, decompress and unpin;
 * put the reader.
 */
struct zcomp_reader {
  const struct codec *codec;
  const struct dict *dict;     /* NULL: without */
  void *dctx;                  /* NULL if the codec needs none */
  struct zcomp_stream *stream; /* that _put gives back, or NULL */
};

/* Everything that is needed to decompress objects of that format.  Borrows a
 * stream if (and only if) the codec needs a context.  Locks as
 * zcomp_stream_get.  Errors: -1 with ENOMEM, or EIO if no such format exists.
 */
int zcomp_reader_get (struct zcomp *zcomp, unsigned format,
                      struct zcomp_reader *reader) MUST_USE;

/* The same with a stream that the caller has borrowed and keeps at least until
 * the reader is put.
 */
int zcomp_stream_reader (struct zcomp_stream *stream, unsigned format,
                         struct zcomp_reader *reader) MUST_USE;

/* errno stays as it is. */
void zcomp_reader_put (struct zcomp_reader *reader);

/* Exactly slen bytes to exactly dlen bytes.  Takes no lock and allocates
 * nothing, but a codec may sleep.  Errors: -1 with EIO if src is damaged; dst
 * is then undefined.
 */
int zcomp_reader_decompress (const struct zcomp_reader *reader, const void *src,
                             size_t slen, void *dst, size_t dlen) MUST_USE;

#endif /* ZRAM_ZCOMP_H */
