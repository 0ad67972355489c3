/* SPDX-License-Identifier: BSD-3-Clause */
/* Reads a file on a thread that may be left alone.
 * Contract: plugin/read_file.h.
 */

#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error_text.h"
#include "base/fault.h"
#include "base/mutex.h"
#include "base/own_files.h"
#include "plugin/control/thread.h"
#include "plugin/read_file.h"

struct reading {
  char *path;
  size_t most, size;
  char *bytes;       /* of most + 1 */
  const char *fault; /* NULL: none; "": error */
  int error;
  bool done, left; /* under the lock; written by: thread, reader */
};

/* Protects 'done' and 'left' of all readings, and the variables below.  A leaf;
 * it is not held during waits for a file.
 */
static struct mutex lock = MUTEX_INIT (RANK_LEAF);
static struct cond done;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static unsigned stuck; /* threads that were left alone */
static bool cancelled;

static const char ending[] = "the server is about to end";

static void
init (void)
{
  cond_init (&done);
}

/* -- the thread --------------------------------------------------------- */

static int
failed (struct reading *r)
{
  r->fault = "";
  r->error = errno;
  return -1;
}

static int
refuse (struct reading *r, const struct stat *st)
{
  if (S_ISREG (st->st_mode))
    return 0;
  errno = EISDIR;
  if (S_ISDIR (st->st_mode))
    return failed (r);
  r->fault = "is not a regular file";
  return -1;
}

static int
read_all (struct reading *r, int fd)
{
  while (r->size <= r->most) {
    ssize_t n = read (fd, r->bytes + r->size, r->most + 1 - r->size);

    if (n == -1 && errno == EINTR)
      continue;
    if (n == -1)
      return failed (r);
    if (n == 0)
      return 0;
    r->size += (size_t) n;
  }
  return 0; /* and the file is too long */
}

/* Checks the file before opening it, because opening alone has effects on some
 * devices and pipes; and again after, because the name may lead to another file
 * by then.
 */
static void
do_read (struct reading *r)
{
  struct stat st;
  int fd;

  if (stat (r->path, &st) == -1) {
    failed (r);
    return;
  }
  if (refuse (r, &st) == -1)
    return;
  fd = open (r->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
  if (fd == -1) {
    failed (r);
    return;
  }
  if (fstat (fd, &st) == -1)
    failed (r);
  else if (refuse (r, &st) == 0)
    read_all (r, fd);
  close (fd);
}

static void
reading_free (struct reading *r)
{
  free (r->path);
  free (r->bytes);
  free (r);
}

static void *
reading_thread (void *arg)
{
  struct reading *r = arg;
  bool left;

  (void) own_files (-1, -1);
  fault_pause ("read_file");
  do_read (r);
  mutex_lock (&lock);
  r->done = true;
  left = r->left;
  stuck -= left;
  cond_broadcast (&done);
  mutex_unlock (&lock);
  if (left)
    reading_free (r);
  return NULL;
}

/* -- the reader --------------------------------------------------------- */

static struct reading *
reading_new (const char *path, size_t most)
{
  struct reading *r = calloc (1, sizeof *r);

  if (!r)
    return NULL;
  r->path = strdup (path);
  r->bytes = malloc (most + 1);
  r->most = most;
  if (r->path && r->bytes)
    return r;
  reading_free (r);
  return NULL;
}

/* Wait until the thread is done.  False, with a reason, if the reading was left
 * to the thread.
 */
static bool
wait_for (struct reading *r, uint64_t deadline_ns, struct reason *why)
{
  bool in_time;

  mutex_lock (&lock);
  while (!r->done && !cancelled && cond_wait_until (&done, &lock, deadline_ns))
    ;
  in_time = r->done;
  r->left = !in_time;
  stuck += !in_time;
  if (cancelled)
    reason_set (why, "%s", ending);
  else
    reason_set (why, "the file did not answer within %d seconds",
                READ_FILE_SECONDS);
  mutex_unlock (&lock);
  return in_time;
}

static bool
is_refused (struct reason *why)
{
  bool late, full;

  mutex_lock (&lock);
  late = cancelled;
  full = stuck >= READ_FILE_STUCK_MAX;
  mutex_unlock (&lock);
  if (late)
    reason_set (why, "%s", ending);
  else if (full)
    reason_set (why,
                "not read: %d files that were named before still do not answer",
                READ_FILE_STUCK_MAX);
  return late || full;
}

/* Takes over 'r', which is done and was not left. */
static void *
bytes_of (struct reading *r, size_t *size, struct reason *why)
{
  void *bytes = NULL;

  if (!r->fault && r->size > r->most)
    reason_set (why, "must be at most %zu bytes", r->most);
  else if (!r->fault) {
    bytes = r->bytes;
    r->bytes = NULL;
    *size = r->size;
  }
  else
    reason_set (why, "%s", *r->fault ? r->fault : error_text (r->error));
  reading_free (r);
  return bytes;
}

uint64_t
read_file_deadline (void)
{
  return clock_ns () + READ_FILE_SECONDS * UINT64_C (1000000000);
}

void *
read_file (const char *path, size_t most, uint64_t deadline_ns, size_t *size,
           struct reason *why)
{
  struct reading *r;
  pthread_t thread;

  pthread_once (&once, init);
  if (is_refused (why))
    return NULL;
  r = reading_new (path, most);
  if (!r || control_thread_start (&thread, reading_thread, r) == -1) {
    reason_set (why, "%s", error_text (r ? errno : ENOMEM));
    if (r)
      reading_free (r);
    return NULL;
  }
  if (!wait_for (r, deadline_ns, why)) {
    pthread_detach (thread);
    return NULL;
  }
  pthread_join (thread, NULL); /* it is about to return */
  return bytes_of (r, size, why);
}

void
read_files_cancel (void)
{
  pthread_once (&once, init);
  mutex_lock (&lock);
  cancelled = true;
  cond_broadcast (&done);
  mutex_unlock (&lock);
}
