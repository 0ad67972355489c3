/* SPDX-License-Identifier: BSD-3-Clause */
/* Backing store: a file or a block device, and its threads.
 * Contract: dev/backing.h, dev/backing_impl.h.
 */

/*
 * The page cache.  A writeback frees memory, so its data must not stay in the
 * page cache.  And when it is complete the only other copy is freed, so an
 * error that the device finds later could not be handled.  Hence each write is
 * brought to the device at once (sync_file_range, which waits only for the data
 * and does nothing on tmpfs), and its pages are dropped then.  To keep the
 * device busy with more than one request, a thread takes several from the
 * queue, writes all of them, and only then waits for each.  O_DIRECT would do
 * the same for the data, but needs aligned buffers, and tmpfs does not support
 * it.
 *
 * The kernel reports a writeback error once to each open file description that
 * asks.  So every thread has its own: if all shared one, thread A could get the
 * error for thread B's lost data, and B would see success.
 *
 * A file system may keep a thread in the kernel for as long as it likes, where
 * no signal reaches it.  If the thread shared its descriptors with the rest of
 * the process, the clients' connections would stay open after the process has
 * ended.  So the threads share none (own_files).
 *
 * Reads are small and far apart, so read-ahead is off.  The pages that they
 * leave in the cache are clean, and the first to be dropped when memory is
 * short.
 */

#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/check.h"
#include "base/clock.h"
#include "base/error_text.h"
#include "base/fault.h"
#include "base/own_files.h"
#include "dev/backing_path.h"

#define MAX_THREADS 64
#define MAX_BATCH 8

struct backing_file {
  struct backing base;
  int fd; /* holds the lock (or O_EXCL), reads and punches */
  bool device;
  unsigned timeout_ms;
  unsigned threads, running;
  int write_fd[MAX_THREADS]; /* one a thread; -1: none */
  pthread_t thread[MAX_THREADS];

  struct mutex lock;     /* rank BACKING: everything below */
  struct cond work;      /* a request came, or it is time to stop */
  struct cond none_left; /* the queue became empty */
  struct backing_io *head, **tail;
  unsigned queued;
  bool stop;
};

struct start {
  struct backing_file *f;
  int fd;
};

/* -- system calls, whole or not at all ---------------------------------- */

static int
read_all (int fd, char *buf, size_t len, uint64_t offset)
{
  while (len) {
    size_t want = len > 1 && fault_hit ("dev.read.short") ? len / 2 : len;
    ssize_t n = pread (fd, buf, want, (off_t) offset);

    if (n == -1 && errno == EINTR)
      continue;
    if (n == -1)
      return errno;
    if (n == 0) /* the file was truncated */
      return EIO;
    buf += n;
    len -= (size_t) n;
    offset += (size_t) n;
  }
  return 0;
}

static int
write_all (int fd, const char *buf, uint64_t len, uint64_t offset)
{
  while (len) {
    size_t want = len > 1 && fault_hit ("dev.write.short") ? len / 2 : len;
    ssize_t n = pwrite (fd, buf, want, (off_t) offset);

    if (n == -1 && errno == EINTR)
      continue;
    if (n == -1)
      return errno;
    if (n == 0)
      return EIO;
    buf += n;
    len -= (size_t) n;
    offset += (size_t) n;
  }
  return 0;
}

/* Data on the device, pages dropped. */
static int
settle (int fd, uint64_t len, uint64_t offset)
{
  int r;

  do
    r = sync_file_range (fd, (off_t) offset, (off_t) len,
                         SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE |
                           SYNC_FILE_RANGE_WAIT_AFTER);
  while (r == -1 && errno == EINTR);
  /* Not every file system can. */
  if (r == -1 && (errno == EINVAL || errno == ENOSYS || errno == ESPIPE))
    r = fdatasync (fd);
  if (r == -1)
    return errno;
  (void) posix_fadvise (fd, (off_t) offset, (off_t) len, POSIX_FADV_DONTNEED);
  return 0;
}

static int
punch (struct backing_file *f, uint64_t len, uint64_t offset)
{
  uint64_t range[2] = { offset, len };
  int r;

  do
    r = f->device
          ? ioctl (f->fd, BLKDISCARD, range)
          : fallocate (f->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                       (off_t) offset, (off_t) len);
  while (r == -1 && errno == EINTR);
  if (r == 0)
    return 0;
  if (errno == EOPNOTSUPP || errno == ENOSYS || errno == ENOTTY)
    atomic_store (&f->base.can_punch, false);
  return errno;
}

static int
file_read (struct backing *b, void *buf, size_t len, uint64_t offset)
{
  struct backing_file *f = (struct backing_file *) b;

  return read_all (f->fd, buf, len, offset);
}

/* -- the threads -------------------------------------------------------- */

static int
begin_io (struct backing_file *f, int fd, struct backing_io *io)
{
  int error;

  switch (io->op) {
  case BACKING_WRITE:
    fault_pause ("dev.write.begin");
    error = write_all (fd, io->buf, io->len, io->offset);
    if (error == 0) /* only begun; settle finds the result */
      (void) sync_file_range (fd, (off_t) io->offset, (off_t) io->len,
                              SYNC_FILE_RANGE_WRITE);
    return error;
  case BACKING_PUNCH:
    fault_pause ("dev.punch.begin");
    return punch (f, io->len, io->offset);
  case BACKING_READ:
    return read_all (f->fd, io->buf, io->len, io->offset);
  case BACKING_FLUSH:
    return fdatasync (fd) == -1 ? errno : 0;
  }
  return EINVAL;
}

static void
do_batch (struct backing_file *f, int fd, struct backing_io **batch, unsigned n)
{
  int error[MAX_BATCH];

  for (unsigned i = 0; i < n; i++)
    error[i] = begin_io (f, fd, batch[i]);
  for (unsigned i = 0; i < n; i++)
    if (batch[i]->op == BACKING_WRITE && error[i] == 0)
      error[i] = settle (fd, batch[i]->len, batch[i]->offset);
  for (unsigned i = 0; i < n; i++)
    backing_complete (batch[i], error[i]);
}

static struct backing_io *
take_locked (struct backing_file *f)
{
  struct backing_io *io = f->head;

  f->head = io->next;
  if (!f->head)
    f->tail = &f->head;
  if (--f->queued == 0)
    cond_broadcast (&f->none_left);
  return io;
}

/* No more than this thread's share, so that the others get some too. */
static unsigned
take_batch_locked (struct backing_file *f, struct backing_io **batch)
{
  unsigned share = (f->queued + f->threads - 1) / f->threads, n = 0;

  while (n < share && n < MAX_BATCH)
    batch[n++] = take_locked (f);
  return n;
}

static void *
file_thread (void *arg)
{
  struct start *start = arg;
  struct backing_file *f = start->f;
  struct backing_io *batch[MAX_BATCH];
  int fd = start->fd;
  bool own = own_files (f->fd, fd);

  free (start);
  mutex_lock (&f->lock);
  while (f->head || !f->stop) {
    unsigned n = take_batch_locked (f, batch);

    if (n == 0) {
      cond_wait (&f->work, &f->lock);
      continue;
    }
    mutex_unlock (&f->lock);
    do_batch (f, fd, batch, n);
    mutex_lock (&f->lock);
  }
  mutex_unlock (&f->lock);
  if (own) { /* now: after a join the file may be opened again at once */
    close (fd);
    close (f->fd);
  }
  return NULL;
}

static int
file_start (struct backing *b)
{
  struct backing_file *f = (struct backing_file *) b;

  for (; f->running < f->threads; f->running++) {
    struct start *start = alloc_zeroed (sizeof (void *), sizeof *start);
    int err;

    if (!start)
      return -1;
    start->f = f;
    start->fd = f->write_fd[f->running];
    err = fault_hit ("dev.thread")
            ? EAGAIN
            : pthread_create (&f->thread[f->running], NULL, file_thread, start);
    if (err) {
      free (start);
      errno = err;
      return -1;
    }
  }
  return 0;
}

static void
file_submit (struct backing *b, struct backing_io *io)
{
  struct backing_file *f = (struct backing_file *) b;

  mutex_lock (&f->lock);
  *f->tail = io;
  f->tail = &io->next;
  f->queued++;
  cond_signal (&f->work);
  mutex_unlock (&f->lock);
}

/* -- the end ------------------------------------------------------------ */

static void
fail_what_is_left (struct backing_file *f)
{
  uint64_t until = clock_ns () + f->timeout_ms * UINT64_C (1000000);
  struct backing_io *io, *next;

  mutex_lock (&f->lock);
  while (f->head && cond_wait_until (&f->none_left, &f->lock, until))
    ;
  io = f->head;
  f->head = NULL;
  f->tail = &f->head;
  f->queued = 0;
  f->stop = true;
  cond_broadcast (&f->work);
  mutex_unlock (&f->lock);
  for (; io; io = next) {
    next = io->next;
    backing_complete (io, EIO);
  }
}

static void
file_close (struct backing *b)
{
  struct backing_file *f = (struct backing_file *) b;

  fail_what_is_left (f);
  while (f->running)
    pthread_join (f->thread[--f->running], NULL);
  backing_destroy (b);
  for (unsigned i = 0; i < f->threads; i++)
    if (f->write_fd[i] != -1)
      close (f->write_fd[i]);
  close (f->fd);
  cond_destroy (&f->work);
  cond_destroy (&f->none_left);
  mutex_destroy (&f->lock);
  free (f);
}

static const struct backing_ops file_ops = {
  .kind = "file",
  .start = file_start,
  .read = file_read,
  .submit = file_submit,
  .close = file_close,
};

static const struct backing_ops device_ops = {
  .kind = "device",
  .start = file_start,
  .read = file_read,
  .submit = file_submit,
  .close = file_close,
};

/* -- opening ------------------------------------------------------------ */

static int
open_for_threads (struct backing_file *f, struct reason *why)
{
  char path[64];

  snprintf (path, sizeof path, "/proc/self/fd/%d", f->fd);
  for (unsigned i = 0; i < f->threads; i++) {
    f->write_fd[i] = fault_hit ("dev.open") ? -1
                                            : open (path, O_RDWR | O_CLOEXEC);
    if (f->write_fd[i] == -1) {
      reason_set (why, "cannot be opened a second time (%s): %s", path,
                  error_text (errno));
      return -1;
    }
  }
  (void) posix_fadvise (f->fd, 0, 0, POSIX_FADV_RANDOM);
  return 0;
}

/* The descriptor is the new store's.  NULL: no memory. */
static struct backing_file *
make_file (const struct backing_config *config, const struct backing_path *path)
{
  struct backing_file *f = alloc_zeroed (CACHE_LINE, sizeof *f);

  if (!f)
    return NULL;
  backing_init (&f->base, path->device ? &device_ops : &file_ops, path->size);
  atomic_store (&f->base.can_punch, !config->no_punch);
  f->fd = path->fd;
  f->device = path->device;
  f->timeout_ms = config->timeout_ms;
  f->threads = config->threads < MAX_THREADS ? config->threads : MAX_THREADS;
  memset (f->write_fd, -1, sizeof f->write_fd);
  mutex_init (&f->lock, RANK_BACKING);
  cond_init (&f->work);
  cond_init (&f->none_left);
  f->tail = &f->head;
  return f;
}

struct backing *
backing_open_file (const struct backing_config *config, struct reason *why)
{
  struct backing_path path;
  struct backing_file *f;

  if (backing_path_open (config, &path, why) == -1)
    return NULL;
  f = make_file (config, &path);
  if (f && open_for_threads (f, why) == 0)
    return &f->base;
  if (f)
    file_close (&f->base);
  else {
    reason_set (why, "%s", error_text (ENOMEM));
    close (path.fd);
  }
  backing_path_unmake (config, &path);
  return NULL;
}
