/* SPDX-License-Identifier: BSD-3-Clause */
/* The marker file: making, checking, removing it.
 * Contract: plugin/marker.h.
 */

#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error_text.h"
#include "base/keep_errno.h"
#include "plugin/marker.h"

/* For the person who finds the file. */
static const char text[] =
  "A compressed RAM disk was served while this file was made, by the nbdkit\n"
  "whose process was %ld.  When that has ended, the disk is gone.  A client\n"
  "that was attached to it would read zeros from another.  Detach those that\n"
  "are left, then remove this file.\n";

static int marker = -1; /* the file, open and locked while it marks our disk */

/* Describe the file that is already there. */
static void
describe (const char *path, struct reason *why)
{
  struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
  struct stat st;
  bool lives;
  int fd;

  if (lstat (path, &st) == 0 && !S_ISREG (st.st_mode)) {
    reason_set (why,
                "is there already, and is not a file that a server has made");
    return;
  }
  fd = open (path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
  lives = fd != -1 && fcntl (fd, F_OFD_GETLK, &lock) == 0 &&
          lock.l_type != F_UNLCK;
  if (fd != -1)
    close (fd);
  reason_set (why, "%s",
              lives ? "a server that is running has made this file; each disk "
                      "needs a file of its own"
                    : "the disk that was served before is gone; clients that "
                      "are still attached to it would read zeros from a new "
                      "one: detach them, then remove this file");
}

static int
create (const char *path, struct reason *why)
{
  int fd = open (path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);

  if (fd == -1 && errno == EEXIST)
    describe (path, why);
  else if (fd == -1)
    reason_set (why, "cannot be made: %s", error_text (errno));
  return fd;
}

/* A file survives a power cut only if its folder was synced. */
static int
sync_folder (const char *path)
{
  char *folder = strndup (path, (size_t) (strrchr (path, '/') - path) + 1);
  int fd, r;

  if (!folder)
    return -1;
  fd = open (folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  free (folder);
  if (fd == -1)
    return -1;
  r = fsync (fd);
  /* Some file systems cannot sync a folder. */
  if (r == -1 && errno == EINVAL)
    r = 0;
  KEEP_ERRNO;
  close (fd);
  return r;
}

int
marker_check (const char *path, struct reason *why)
{
  int fd = create (path, why);

  if (fd == -1)
    return -1;
  close (fd);
  if (unlink (path) == 0)
    return 0;
  reason_set (why, "cannot be removed: %s", error_text (errno));
  return -1;
}

int
marker_make (const char *path, struct reason *why)
{
  struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };

  marker = create (path, why);
  if (marker == -1)
    return -1;
  /* Without locks in the file system, only the message is less exact. */
  (void) fcntl (marker, F_OFD_SETLK, &lock);
  if (dprintf (marker, text, (long) getpid ()) > 0 && fsync (marker) == 0 &&
      sync_folder (path) == 0)
    return 0;
  reason_set (why, "cannot be written: %s", error_text (errno));
  marker_remove (path);
  return -1;
}

int
marker_remove (const char *path)
{
  struct stat ours, there;
  int r = 0;

  if (marker == -1)
    return 0;
  if (fstat (marker, &ours) == 0 && lstat (path, &there) == 0 &&
      ours.st_dev == there.st_dev && ours.st_ino == there.st_ino)
    r = unlink (path);
  KEEP_ERRNO;
  close (marker);
  marker = -1;
  return r;
}
