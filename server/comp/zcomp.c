/* SPDX-License-Identifier: BSD-3-Clause */
/* The compression streams, and borrowing them.
 * Contract: comp/zcomp.h.
 */

#include <config.h>

#include <errno.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "base/check.h"
#include "base/cpu.h"
#include "base/keep_errno.h"
#include "base/mutex.h"
#include "comp/dict.h"
#include "comp/eventcount.h"
#include "comp/stream_parts.h"
#include "comp/zcomp.h"

struct zcomp_stream {
  _Alignas(CACHE_LINE) struct mutex lock;
  struct stream_parts *parts GUARDED_BY (lock); /* NULL: no stream here */
  atomic_bool borrowed; /* written by the holder, for zcomp_busy only */
  struct zcomp *zcomp;
};

struct zcomp {
  size_t slot_size;
  _Atomic uint64_t primary; /* a packed method */
  atomic_uint workers;
  atomic_size_t memory;
  bool keeps_ready;     /* see zcomp_keep_ready; set before use */
  atomic_flag resizing; /* catches callers that do not serialize */
  struct formats formats;
  struct eventcount freed; /* "a stream may be free" */
  struct zcomp_stream streams[ZCOMP_MAX_STREAMS];
};

static uint64_t
pack_method (const struct zcomp_method *method)
{
  return (uint64_t) method->format << 32 | (uint32_t) method->level;
}

struct zcomp_method
zcomp_primary (const struct zcomp *z)
{
  uint64_t packed = atomic_load_explicit (&z->primary, memory_order_relaxed);

  return (struct zcomp_method){ .format = (unsigned) (packed >> 32),
                                .level = (int) (uint32_t) packed };
}

/* ------------------------------------------------------------------------
 * The number of streams, and what they are made for.
 */

static void
install (struct zcomp_stream *stream, struct stream_parts *parts)
{
  mutex_lock (&stream->lock);
  check_debug (!stream->parts);
  stream->parts = parts;
  mutex_unlock (&stream->lock);
}

/* Waits for the borrower. */
static void
take_away (struct zcomp_stream *stream)
{
  struct stream_parts *parts;

  mutex_lock (&stream->lock);
  parts = stream->parts;
  stream->parts = NULL;
  mutex_unlock (&stream->lock);
  stream_parts_free (parts);
}

static struct stream_parts *
new_parts (struct zcomp *z, const struct zcomp_method *primary)
{
  struct stream_parts *parts = stream_parts_new (primary, &z->formats,
                                                 z->slot_size, &z->memory);

  if (parts && z->keeps_ready && stream_parts_need_all (parts) == -1) {
    stream_parts_free (parts);
    return NULL;
  }
  return parts;
}

static int
grow (struct zcomp *z, unsigned from, unsigned to)
{
  const struct zcomp_method primary = zcomp_primary (z);
  struct stream_parts *parts;

  for (unsigned i = from; i < to; i++) {
    parts = new_parts (z, &primary);
    if (!parts) {
      while (i-- > from)
        take_away (&z->streams[i]);
      errno = ENOMEM;
      return -1;
    }
    install (&z->streams[i], parts);
  }
  atomic_store (&z->workers, to);
  eventcount_signal_all (&z->freed);
  return 0;
}

static void
shrink (struct zcomp *z, unsigned from, unsigned to)
{
  atomic_store (&z->workers, to);
  for (unsigned i = to; i < from; i++)
    take_away (&z->streams[i]);
}

int
zcomp_set_workers (struct zcomp *z, unsigned workers)
{
  unsigned old;
  int r = 0;

  if (workers < 1 || workers > ZCOMP_MAX_STREAMS) {
    errno = EINVAL;
    return -1;
  }
  check_always (!atomic_flag_test_and_set (&z->resizing));
  old = atomic_load (&z->workers);
  if (workers > old)
    r = grow (z, old, workers);
  else
    shrink (z, old, workers);
  atomic_flag_clear (&z->resizing);
  return r;
}

/* Waits for the borrower.  A thread that found this stream locked meanwhile may
 * have gone to sleep for it, so this signals as a put does.
 */
static struct stream_parts *
exchange (struct zcomp_stream *stream, struct stream_parts *parts)
{
  struct stream_parts *old;

  mutex_lock (&stream->lock);
  fault_pause ("zcomp.exchange");
  old = stream->parts;
  stream->parts = parts;
  mutex_unlock (&stream->lock);
  eventcount_signal (&stream->zcomp->freed);
  return old;
}

/* Make all new parts first, so that a failure happens before the first stream
 * changes.
 */
static int
set_primary (struct zcomp *z, const struct zcomp_method *primary)
{
  struct stream_parts *parts[ZCOMP_MAX_STREAMS];
  unsigned n = atomic_load (&z->workers);

  for (unsigned i = 0; i < n; i++) {
    parts[i] = new_parts (z, primary);
    if (!parts[i]) {
      while (i-- > 0)
        stream_parts_free (parts[i]);
      errno = ENOMEM;
      return -1;
    }
  }
  atomic_store (&z->primary, pack_method (primary));
  for (unsigned i = 0; i < n; i++)
    stream_parts_free (exchange (&z->streams[i], parts[i]));
  return 0;
}

int
zcomp_set_primary (struct zcomp *z, const struct zcomp_method *primary)
{
  int r;

  if (!method_codec (&z->formats, primary))
    return -1;
  check_always (!atomic_flag_test_and_set (&z->resizing));
  r = set_primary (z, primary);
  atomic_flag_clear (&z->resizing);
  return r;
}

int
zcomp_keep_ready (struct zcomp *z)
{
  int r = 0;

  z->keeps_ready = true;
  for (unsigned i = 0; i < atomic_load (&z->workers) && r == 0; i++) {
    mutex_lock (&z->streams[i].lock);
    r = stream_parts_need_all (z->streams[i].parts);
    mutex_unlock (&z->streams[i].lock);
  }
  return r;
}

struct zcomp *
zcomp_new (const struct zcomp_method *primary, size_t slot_size,
           unsigned workers)
{
  struct zcomp *z;

  z = alloc_zeroed (CACHE_LINE, sizeof *z);
  if (!z)
    return NULL;
  if (!method_codec (&z->formats, primary)) {
    free (z);
    errno = EINVAL;
    return NULL;
  }
  z->slot_size = slot_size;
  mutex_init (&z->formats.lock, RANK_DICT);
  atomic_init (&z->primary, pack_method (primary));
  atomic_flag_clear (&z->resizing);
  atomic_store (&z->memory, sizeof *z);
  for (unsigned i = 0; i < ZCOMP_MAX_STREAMS; i++) {
    mutex_init (&z->streams[i].lock, RANK_STREAM);
    z->streams[i].zcomp = z;
  }
  if (zcomp_set_workers (z, workers) == -1) {
    zcomp_free (z);
    return NULL;
  }
  return z;
}

void
zcomp_free (struct zcomp *z)
{
  KEEP_ERRNO;

  if (!z)
    return;
  shrink (z, atomic_load (&z->workers), 0);
  for (unsigned i = 0; i < FORMAT_DICTS; i++)
    dict_unref (format_dict (&z->formats, FORMAT_DICT + i));
  check_debug (atomic_load (&z->memory) == sizeof *z);
  mutex_destroy (&z->formats.lock);
  for (unsigned i = 0; i < ZCOMP_MAX_STREAMS; i++)
    mutex_destroy (&z->streams[i].lock);
  free (z);
}

unsigned
zcomp_workers (const struct zcomp *z)
{
  return atomic_load_explicit (&z->workers, memory_order_relaxed);
}

unsigned
zcomp_busy (const struct zcomp *z)
{
  unsigned n = zcomp_workers (z), busy = 0;

  for (unsigned i = 0; i < n; i++)
    busy += atomic_load_explicit (&z->streams[i].borrowed,
                                  memory_order_relaxed);
  return busy;
}

size_t
zcomp_memory (const struct zcomp *z)
{
  return atomic_load_explicit (&z->memory, memory_order_relaxed);
}

/* ------------------------------------------------------------------------
 * Formats and dictionaries.
 */

const struct codec *
zcomp_format_codec (const struct zcomp *z, unsigned format)
{
  return format_codec (&z->formats, format);
}

const char *
zcomp_format_name (const struct zcomp *z, unsigned format)
{
  const struct codec *codec = format_codec (&z->formats, format);

  return codec ? codec->name : "raw";
}

int
zcomp_dict_add (struct zcomp *z, const struct codec *codec, const void *bytes,
                size_t size, unsigned *format, struct reason *why)
{
  unsigned f = FORMAT_DICT;
  struct dict *dict;

  check_always (!atomic_flag_test_and_set (&z->resizing));
  while (f < FORMATS && format_codec (&z->formats, f))
    f++;
  if (f < FORMATS)
    dict = dict_new (codec, bytes, size, &z->memory, why);
  else {
    reason_set (why, "there are 16 dictionaries already");
    errno = ENOSPC;
    dict = NULL;
  }
  if (dict) {
    formats_set (&z->formats, f, dict);
    *format = f;
  }
  atomic_flag_clear (&z->resizing);
  return dict ? 0 : -1;
}

/* Waits for the borrower, and signals for the same reason as exchange. */
static void
forget (struct zcomp_stream *stream, unsigned format)
{
  mutex_lock (&stream->lock);
  fault_pause ("zcomp.forget");
  stream_parts_forget (stream->parts, format);
  mutex_unlock (&stream->lock);
  eventcount_signal (&stream->zcomp->freed);
}

/* First the table, so that no thread makes a context for it any more. */
static void
remove_format (struct zcomp *z, unsigned format)
{
  struct dict *dict = format_dict (&z->formats, format);
  unsigned n = atomic_load (&z->workers);

  formats_set (&z->formats, format, NULL);
  for (unsigned i = 0; i < n; i++)
    forget (&z->streams[i], format);
  dict_unref (dict);
}

int
zcomp_dict_remove (struct zcomp *z, unsigned format)
{
  int error = 0;

  check_always (!atomic_flag_test_and_set (&z->resizing));
  if (!format_dict (&z->formats, format))
    error = EINVAL;
  else if (zcomp_primary (z).format == format)
    error = EBUSY;
  else
    remove_format (z, format);
  atomic_flag_clear (&z->resizing);
  if (error)
    errno = error;
  return error ? -1 : 0;
}

int
zcomp_dict_info (struct zcomp *z, unsigned format, struct zcomp_dict_info *info)
{
  return formats_info (&z->formats, format, info);
}

/* ------------------------------------------------------------------------
 * Borrowing a stream.
 *
 * A borrower looks at streams without any lock.  By the time it has locked one,
 * zcomp_set_workers may have removed its parts (or not yet made them).  So it
 * looks at them under the lock, and goes on to the next stream if they do not
 * exist.
 *
 * It cannot loop for ever: it never looks twice at a stream in one pass, and it
 * sleeps between passes.  Stream 0 always exists (workers >= 1), so a pass that
 * finds nothing has found stream 0 locked.
 *
 * And it cannot sleep for ever.  Suppose a waiter sleeps and stream i, below
 * workers, is free.  In the waiter's last pass (which began after it was
 * counted as a waiter and had its ticket) one of these was true:
 *   - i was locked by a borrower, the auditor, zcomp_set_primary or
 *     zcomp_dict_remove: they unlock it later, and then signal;
 *   - i was not below the number of workers, was without its parts, or was
 *     locked by zcomp_set_workers or by a thread that found no parts: then the
 *     number is raised over i later, and that signals.
 * Either makes the ticket stale.  An event wakes one waiter.  If that finds the
 * stream taken again, the thread that has it will signal in turn.
 *
 * The first waiter is not always served first: a thread that is running takes a
 * free stream before one that has yet to wake up.  This keeps the streams busy.
 * Blocking on the near stream's mutex instead would be fair, but a codec that
 * sleeps would then collect the threads of all streams.
 */

static bool
try_stream (struct zcomp_stream *stream) NO_THREAD_SAFETY_ANALYSIS
{
  if (!mutex_trylock (&stream->lock))
    return false;
  if (likely (stream->parts)) {
    atomic_store_explicit (&stream->borrowed, true, memory_order_relaxed);
    return true;
  }
  mutex_unlock (&stream->lock);
  return false;
}

/* One pass over all streams, beginning with the one of this CPU. */
static struct zcomp_stream *
try_all (struct zcomp *z)
{
  unsigned n = atomic_load_explicit (&z->workers, memory_order_acquire);
  unsigned i = cpu_current () % n;

  fault_pause ("zcomp.pass");
  for (unsigned left = n; left > 0; left--) {
    if (try_stream (&z->streams[i]))
      return &z->streams[i];
    i = i + 1 < n ? i + 1 : 0;
  }
  return NULL;
}

static NOINLINE struct zcomp_stream *
wait_for_stream (struct zcomp *z)
{
  struct zcomp_stream *stream;
  uint32_t ticket;

  for (;;) {
    ticket = eventcount_prepare (&z->freed);
    stream = try_all (z);
    if (stream) {
      eventcount_cancel (&z->freed);
      return stream;
    }
    fault_pause ("zcomp.wait");
    eventcount_wait (&z->freed, ticket);
  }
}

struct zcomp_stream *
zcomp_stream_get (struct zcomp *z)
{
  struct zcomp_stream *stream;

  /* It only tries locks, but may wait for one later: check the stricter rule.
   */
  rank_acquire (RANK_STREAM);
  rank_release (RANK_STREAM);

  stream = try_all (z);
  return likely (stream) ? stream : wait_for_stream (z);
}

void
zcomp_stream_put (struct zcomp_stream *stream) NO_THREAD_SAFETY_ANALYSIS
{
  struct zcomp *z = stream->zcomp;

  atomic_store_explicit (&stream->borrowed, false, memory_order_relaxed);
  mutex_unlock (&stream->lock);
  eventcount_signal (&z->freed);
}

bool
zcomp_is_idle (struct zcomp *z)
{
  unsigned n = atomic_load (&z->workers);

  for (unsigned i = 0; i < n; i++) {
    if (!try_stream (&z->streams[i]))
      return false;
    zcomp_stream_put (&z->streams[i]);
  }
  return true;
}

/* ------------------------------------------------------------------------
 * Using it.
 */

/* The caller has borrowed the stream. */
static struct stream_parts *
parts_of (struct zcomp_stream *stream)
{
  check_debug (stream->parts);
  return stream->parts;
}

ssize_t
zcomp_compress (struct zcomp_stream *stream, const struct zcomp_method *method,
                const void *src, size_t slen, size_t dcap, const void **out)
{
  struct stream_parts *p = parts_of (stream);
  const struct compressor *c = stream_parts_compressor (p, method);

  if (!c)
    return -1;
  check_debug (slen >= 1 && slen <= p->slot_size);
  check_always (dcap <= p->slot_size);
  *out = p->buffer;
  return c->codec->compress (c->cctx, src, slen, p->buffer, dcap);
}

struct zcomp_method
zcomp_stream_primary (const struct zcomp_stream *stream)
{
  return stream->parts->compressors[0].method;
}

void *
zcomp_stream_scratch (struct zcomp_stream *stream)
{
  return parts_of (stream)->scratch;
}

/* The format's codec and dictionary. */
static int
look_up (const struct formats *formats, unsigned format,
         struct zcomp_reader *reader)
{
  *reader = (struct zcomp_reader){ .codec = format_codec (formats, format),
                                   .dict = format_dict (formats, format) };
  if (likely (reader->codec))
    return 0;
  errno = EIO;
  return -1;
}

/* And the context, from a stream that the caller holds. */
static int
take_context (struct stream_parts *p, unsigned format,
              struct zcomp_reader *reader)
{
  unsigned id = reader->dict ? codec_id (reader->codec) : format;

  if (stream_parts_need_dctx (p, id) == -1)
    return -1;
  reader->dctx = p->dctx[id];
  return 0;
}

int
zcomp_stream_reader (struct zcomp_stream *stream, unsigned format,
                     struct zcomp_reader *reader)
{
  if (look_up (&stream->zcomp->formats, format, reader) == -1)
    return -1;
  return take_context (parts_of (stream), format, reader);
}

int
zcomp_reader_get (struct zcomp *z, unsigned format, struct zcomp_reader *reader)
{
  struct zcomp_stream *stream;

  if (look_up (&z->formats, format, reader) == -1)
    return -1;
  if (!reader->codec->decompress_needs_ctx)
    return 0;
  stream = zcomp_stream_get (z);
  if (take_context (parts_of (stream), format, reader) == -1) {
    zcomp_stream_put (stream);
    return -1;
  }
  reader->stream = stream;
  return 0;
}

void
zcomp_reader_put (struct zcomp_reader *reader)
{
  if (reader->stream)
    zcomp_stream_put (reader->stream);
  *reader = (struct zcomp_reader){ .codec = NULL };
}

int
zcomp_reader_decompress (const struct zcomp_reader *reader, const void *src,
                         size_t slen, void *dst, size_t dlen)
{
  int r = reader->dict
            ? dict_decompress (reader->dict, reader->dctx, src, slen, dst, dlen)
            : reader->codec->decompress (reader->dctx, src, slen, dst, dlen);

  if (likely (r == 0))
    return 0;
  errno = EIO;
  return -1;
}
