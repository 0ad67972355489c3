/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Functions that our code calls, made as nasty as the standard allows,
 * and made to fail.  Linked with --wrap (see tests/Makefile.am), so they are
 * only between our own code and the C library.
 *
 *   clobber_on         every function that releases something sets errno to
 *                      nonsense, although it succeeds: errno means nothing
 *                      after a success
 *   clobber_locked     memory is as if locked: MADV_DONTNEED fails with EINVAL
 *   clobber_fail (n)   the nth call from now on that may fail does, with an
 *                      errno that must reach no caller; with 'for_good' all
 *                      calls after it fail too
 */

#ifndef ZRAM_CLOBBER_H
#define ZRAM_CLOBBER_H

#include "unit.h"

#include <errno.h>
#include <sys/mman.h>

#include "base/keep_errno.h"

#define NONSENSE EDOM

static atomic_bool clobber_on, clobber_locked, clobber_for_good;
static _Atomic uint64_t clobber_nth, clobber_calls;

static inline void
clobber (void)
{
  if (atomic_load (&clobber_on))
    errno = NONSENSE;
}

/* Is this the call that fails? */
static inline bool
clobber_fails (int error)
{
  uint64_t nth = atomic_load (&clobber_nth);
  uint64_t n = nth ? atomic_fetch_add (&clobber_calls, 1) + 1 : 0;

  if (!nth || n < nth || (n > nth && !atomic_load (&clobber_for_good)))
    return false;
  errno = error;
  return true;
}

static inline void
clobber_fail (uint64_t nth, bool for_good)
{
  atomic_store (&clobber_calls, 0);
  atomic_store (&clobber_for_good, for_good);
  atomic_store (&clobber_nth, nth);
}

/* Disarmed.  Did it come to that call? */
static inline bool
clobber_failed (void)
{
  return atomic_exchange (&clobber_nth, 0) <= atomic_load (&clobber_calls);
}

/* WRAP_RELEASE (type of result, name, parameters, arguments): succeeds. */
#define WRAP_RELEASE(type, name, params, args) \
  extern type __real_##name params;            \
  extern type __wrap_##name params;            \
  type __wrap_##name params                    \
  {                                            \
    type result = __real_##name args;          \
                                               \
    clobber ();                                \
    return result;                             \
  }

/* WRAP_TAKE: the same, but it may fail: it returns that, with that errno. */
#define WRAP_TAKE(type, name, params, args, failure, error) \
  extern type __real_##name params;                         \
  extern type __wrap_##name params;                         \
  type __wrap_##name params                                 \
  {                                                         \
    if (clobber_fails (error))                              \
      return failure;                                       \
    type result = __real_##name args;                       \
                                                            \
    clobber ();                                             \
    return result;                                          \
  }

WRAP_RELEASE (int, munmap, (void *p, size_t n), (p, n))
WRAP_RELEASE (int, close, (int fd), (fd))
WRAP_RELEASE (int, nanosleep, (const struct timespec *t, struct timespec *left),
              (t, left))
WRAP_RELEASE (int, pthread_join, (pthread_t t, void **r), (t, r))
WRAP_RELEASE (int, pthread_mutex_destroy, (pthread_mutex_t * m), (m))
WRAP_RELEASE (int, pthread_cond_destroy, (pthread_cond_t * c), (c))

/* futex */
extern long __real_syscall (long number, long a, long b, long c, long d, long e,
                            long f);
extern long __wrap_syscall (long number, long a, long b, long c, long d, long e,
                            long f);

long
__wrap_syscall (long number, long a, long b, long c, long d, long e, long f)
{
  long r = __real_syscall (number, a, b, c, d, e, f);

  if (r != -1)
    clobber ();
  return r;
}

WRAP_TAKE (void *, malloc, (size_t n), (n), NULL, ENOMEM)
WRAP_TAKE (int, posix_memalign, (void **p, size_t align, size_t n),
           (p, align, n), ENOMEM, NONSENSE)
WRAP_TAKE (void *, mmap,
           (void *at, size_t n, int prot, int flags, int fd, off_t offset),
           (at, n, prot, flags, fd, offset), MAP_FAILED, EAGAIN)
WRAP_TAKE (int, mprotect, (void *at, size_t n, int prot), (at, n, prot), -1,
           EACCES)
WRAP_TAKE (int, pthread_create,
           (pthread_t * t, const pthread_attr_t *attr, void *(*fn) (void *),
            void *arg),
           (t, attr, fn, arg), EAGAIN, NONSENSE)

extern int __real_madvise (void *at, size_t n, int advice);
extern int __wrap_madvise (void *at, size_t n, int advice);

int
__wrap_madvise (void *at, size_t n, int advice)
{
  enum { DONTNEED_LOCKED = 24, POPULATE_WRITE = 23 };
  int r;

  if (atomic_load (&clobber_locked) && advice == MADV_DONTNEED) {
    errno = EINVAL;
    return -1;
  }
  if (advice == POPULATE_WRITE && clobber_fails (EFAULT))
    return -1;
  /* Nothing is really locked, and the kernel may be too old to know it. */
  r = __real_madvise (at, n,
                      advice == DONTNEED_LOCKED ? MADV_DONTNEED : advice);
  if (r == 0)
    clobber ();
  return r;
}

#endif /* ZRAM_CLOBBER_H */
