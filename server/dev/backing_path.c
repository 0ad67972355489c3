/* SPDX-License-Identifier: BSD-3-Clause */
/* The file or block device that a path names, for a backing.
 * Contract: dev/backing_path.h.
 */

#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error_text.h"
#include "dev/backing_path.h"

struct opening {
  const struct backing_config *config;
  struct reason *why;
  struct backing_path path;
};

static bool
kind_is_fine (struct opening *o, const struct stat *st)
{
  o->path.device = S_ISBLK (st->st_mode);
  if (S_ISREG (st->st_mode) || o->path.device)
    return true;
  reason_set (o->why, "is a %s: expected a file, a block device or an NBD URI",
              S_ISDIR (st->st_mode)    ? "directory"
              : S_ISCHR (st->st_mode)  ? "character device"
              : S_ISFIFO (st->st_mode) ? "pipe"
              : S_ISSOCK (st->st_mode) ? "socket (an NBD server's is "
                                         "nbd+unix:///?socket=PATH)"
                                       : "thing of an unknown kind");
  return false;
}

static bool
create (struct opening *o)
{
  if (o->config->size == 0) {
    reason_set (o->why,
                "does not exist, and without backing_size it is not made");
    return false;
  }
  o->path.fd = open (o->config->where, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC,
                     0600);
  o->path.created = o->path.fd != -1;
  if (o->path.fd == -1)
    reason_set (o->why, "cannot be made: %s", error_text (errno));
  return o->path.fd != -1;
}

/* Looked at before it is opened, since opening alone does things to some
 * devices and pipes; and again after, since it may be another one by then.
 */
static bool
open_it (struct opening *o)
{
  struct stat st;

  if (stat (o->config->where, &st) == -1) {
    if (errno == ENOENT)
      return create (o);
    reason_set (o->why, "%s", error_text (errno));
    return false;
  }
  if (!kind_is_fine (o, &st))
    return false;
  o->path.fd = open (o->config->where, O_RDWR | O_CLOEXEC | O_NONBLOCK |
                                         (o->path.device ? O_EXCL : 0));
  if (o->path.fd == -1 && o->path.device && errno == EBUSY)
    reason_set (o->why,
                "is in use: mounted, swapped on, or another's backing store");
  else if (o->path.fd == -1)
    reason_set (o->why, "cannot be opened for reading and writing: %s",
                error_text (errno));
  return o->path.fd != -1 && fstat (o->path.fd, &st) == 0 &&
         kind_is_fine (o, &st);
}

/* The lock belongs to the open file, so it outlives nbdkit's fork; and two
 * stores of one process cannot share a file either.  QEMU's locks clash with
 * it, as they should.
 */
static bool
lock_it (struct opening *o)
{
  struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };

  if (o->path.device || fcntl (o->path.fd, F_OFD_SETLK, &lock) == 0)
    return true;
  if (errno == EAGAIN || errno == EACCES)
    reason_set (o->why, "is locked: another store or program uses it");
  else
    reason_set (o->why, "cannot be locked: %s", error_text (errno));
  return false;
}

static bool
measure_device (struct opening *o)
{
  uint64_t bytes = 0;
  int read_only = 0, sector = 512;

  if (ioctl (o->path.fd, BLKGETSIZE64, &bytes) == -1) {
    reason_set (o->why, "cannot be measured: %s", error_text (errno));
    return false;
  }
  if (ioctl (o->path.fd, BLKROGET, &read_only) == 0 && read_only) {
    reason_set (o->why, "is read-only");
    return false;
  }
  if (ioctl (o->path.fd, BLKSSZGET, &sector) == 0 &&
      (unsigned) sector > BACKING_BLOCK) {
    reason_set (o->why, "has sectors of %d bytes: expected at most %u", sector,
                BACKING_BLOCK);
    return false;
  }
  o->path.size = backing_fit_size (bytes, o->config, o->why);
  return o->path.size != 0;
}

/* What lies past the limit of file sizes could never be written, and to grow
 * the file there is a signal.  The limit counts for files alone.
 */
static bool
is_within_limit (struct opening *o, uint64_t size)
{
  struct rlimit limit;

  if (getrlimit (RLIMIT_FSIZE, &limit) == -1 ||
      limit.rlim_cur == RLIM_INFINITY || size <= limit.rlim_cur)
    return true;
  reason_set (
    o->why,
    "%llu bytes are more than the %llu that a file may have here (ulimit -f, "
    "RLIMIT_FSIZE): raise that, or set backing_size to no more",
    (unsigned long long) size, (unsigned long long) limit.rlim_cur);
  return false;
}

/* A file is grown to what is asked for, and never cut. */
static bool
measure_file (struct opening *o)
{
  struct stat st;

  if (fstat (o->path.fd, &st) == -1) {
    reason_set (o->why, "%s", error_text (errno));
    return false;
  }
  if (!is_within_limit (o, o->config->size ? o->config->size
                                           : (uint64_t) st.st_size))
    return false;
  if (o->config->size > (uint64_t) st.st_size) {
    if (ftruncate (o->path.fd, (off_t) o->config->size) == -1) {
      reason_set (o->why, "cannot be made %llu bytes long: %s",
                  (unsigned long long) o->config->size, error_text (errno));
      return false;
    }
    st.st_size = (off_t) o->config->size;
  }
  o->path.size = backing_fit_size ((uint64_t) st.st_size, o->config, o->why);
  return o->path.size != 0;
}

int
backing_path_open (const struct backing_config *config,
                   struct backing_path *path, struct reason *why)
{
  struct opening o = { .config = config, .why = why, .path.fd = -1 };

  reason_set (why, "cannot be opened");
  if (open_it (&o) && lock_it (&o) &&
      (o.path.device ? measure_device (&o) : measure_file (&o))) {
    *path = o.path;
    return 0;
  }
  if (o.path.fd != -1)
    close (o.path.fd);
  backing_path_unmake (config, &o.path);
  return -1;
}

void
backing_path_unmake (const struct backing_config *config,
                     const struct backing_path *path)
{
  if (path->created)
    unlink (config->where);
}
