/* SPDX-License-Identifier: BSD-3-Clause */
/* Locks and gets memory, so that this process never waits for it.
 * Contract: plugin/swap.h.
 */

#include <config.h>

#include <errno.h>
#include <limits.h>
#include <inttypes.h>
#include <malloc.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/error_text.h"
#include "plugin/swap.h"

#ifndef PR_SET_IO_FLUSHER
#define PR_SET_IO_FLUSHER 57
#define PR_GET_IO_FLUSHER 58
#endif
#ifndef MCL_ONFAULT
#define MCL_ONFAULT 4
#endif
#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ 22
#define MADV_POPULATE_WRITE 23
#endif
#ifndef MADV_DONTNEED_LOCKED
#define MADV_DONTNEED_LOCKED 24
#endif

/* Buffers for 128 threads with requests of 128 KiB. */
#define HEAP_AHEAD ((size_t) 16 << 20)

/* Of a thread: a usual size elsewhere, and all of it will be resident. */
#define STACK_SIZE ((size_t) 256 << 10)

/* No program or library is larger. */
#define LARGEST_MAPPED_FILE ((uintptr_t) 256 << 20)

static int
become_io_flusher (struct reason *why)
{
  if (prctl (PR_SET_IO_FLUSHER, 1, 0, 0, 0) == -1) {
    reason_set (why, "%s: %s (PR_SET_IO_FLUSHER: %s)",
                errno == EPERM ? "CAP_SYS_RESOURCE is missing"
                               : "Linux 5.6 or later is needed",
                "without it the machine could wait for this process to free "
                "memory while this process waits for memory",
                error_text (errno));
    return -1;
  }
  return 0;
}

/* Another user may not even ask; then it has been checked before. */
static int
check_io_flusher (struct reason *why)
{
  int is = prctl (PR_GET_IO_FLUSHER, 0, 0, 0, 0);

  if (is == 1 || (is == -1 && errno == EPERM))
    return 0;
  reason_set (why, "the kernel did not keep PR_SET_IO_FLUSHER");
  return -1;
}

static int
lock_all (struct reason *why)
{
  struct rlimit limit = { 0 };

  if (mlockall (MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT) == 0)
    return 0;
  int err = errno;
  getrlimit (RLIMIT_MEMLOCK, &limit);
  if (limit.rlim_cur == RLIM_INFINITY)
    reason_set (why, "cannot lock memory: %s", error_text (err));
  else
    reason_set (why,
                "cannot lock memory: %s (RLIMIT_MEMLOCK is %" PRIuMAX
                " bytes: it must be unlimited, as by ulimit -l unlimited, or "
                "CAP_IPC_LOCK is needed)",
                error_text (err), (uintmax_t) limit.rlim_cur);
  return -1;
}

/* Since Linux 5.18, locked memory that is free can be given back. */
static int
check_give_back (struct reason *why)
{
  size_t page = (size_t) sysconf (_SC_PAGESIZE);
  void *p = mmap (NULL, page, PROT_READ | PROT_WRITE,
                  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  int r = p == MAP_FAILED ? -1 : madvise (p, page, MADV_DONTNEED_LOCKED);

  if (r == -1)
    reason_set (why, "Linux 5.18 or later is needed (MADV_DONTNEED_LOCKED: %s)",
                error_text (errno));
  if (p != MAP_FAILED)
    munmap (p, page);
  return r;
}

int
swap_prepare (struct reason *why)
{
  const struct rlimit unlimited = { RLIM_INFINITY, RLIM_INFINITY };
  const struct rlimit one = { 1, 1 };
  int r;

  if (become_io_flusher (why) == -1 || check_io_flusher (why) == -1)
    return -1;
  /* A process that may become an I/O flusher may also do this.  The limit
   * survives a change of the user, which CAP_IPC_LOCK does not.  If it fails,
   * the lock reports the error.
   */
  (void) setrlimit (RLIMIT_MEMLOCK, &unlimited);
  (void) setrlimit (RLIMIT_RTPRIO, &one); /* refill.h */
  /* The fork drops the lock; this shows errors while a person reads them. */
  if (lock_all (why) == -1)
    return -1;
  r = check_give_back (why);
  munlockall ();
  return r;
}

/* Read in everything that is mapped from files, that is programs and libraries.
 * Later it might have to be read from a disk, into memory that is not there.
 */
static void
read_in_programs (void)
{
  FILE *maps = fopen ("/proc/self/maps", "re");
  char *line = NULL;
  size_t room = 0;

  if (!maps)
    return;
  while (getline (&line, &room, maps) != -1) {
    uintptr_t from, to;
    unsigned long inode;
    char mode[5];

    if (sscanf (line, "%" SCNxPTR "-%" SCNxPTR " %4s %*s %*s %lu", &from, &to,
                mode, &inode) != 4 ||
        mode[0] != 'r' || to - from > LARGEST_MAPPED_FILE ||
        (inode == 0 && !strstr (line, "[heap]")))
      continue;
    /* A write to a private page makes another page. */
    (void) madvise ((void *) from, to - from,
                    mode[1] == 'w' && mode[3] == 'p' ? MADV_POPULATE_WRITE
                                                     : MADV_POPULATE_READ);
  }
  free (line);
  fclose (maps);
}

/* One heap for all threads, which keeps its memory, and gets some now. */
static int
fill_heap (void)
{
  char *p;

#ifdef M_ARENA_MAX
  mallopt (M_ARENA_MAX, 1);
  mallopt (M_MMAP_THRESHOLD, 32 << 20); /* the most that glibc accepts */
  mallopt (M_TRIM_THRESHOLD, INT_MAX);
#endif
  p = malloc (HEAP_AHEAD);
  if (!p)
    return -1;
  /* By hand: the compiler might omit a call without a visible effect. */
  for (size_t i = 0; i < HEAP_AHEAD; i += 4096)
    *(volatile char *) (p + i) = 0;
  free (p);
  return 0;
}

static int
make_stacks_small (void)
{
  pthread_attr_t attr;
  int err = pthread_attr_init (&attr);

  if (!err)
    err = pthread_attr_setstacksize (&attr, STACK_SIZE);
#ifdef __GLIBC__
  if (!err)
    err = pthread_setattr_default_np (&attr);
#endif
  pthread_attr_destroy (&attr);
  errno = err;
  return err ? -1 : 0;
}

int
swap_lock (struct reason *why)
{
  if (check_io_flusher (why) == -1 || lock_all (why) == -1)
    return -1;
  if (make_stacks_small () == -1 || fill_heap () == -1 ||
      mlockall (MCL_FUTURE) == -1) { /* resident at once from here on */
    reason_set (why, "cannot get memory in advance: %s", error_text (errno));
    return -1;
  }
  read_in_programs ();
  return 0;
}
