/* SPDX-License-Identifier: BSD-3-Clause */

/* Preloaded into nbdkit by test-odd-host.sh: the plugin sees another machine.
 *
 *   ODD_PAGE=N    memory pages are N bytes
 *   ODD_LOCKED=1  as if memory was locked: MADV_DONTNEED fails with EINVAL;
 *           =2    and MADV_DONTNEED_LOCKED too, as before Linux 5.18
 */

#define _GNU_SOURCE

#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define DONTNEED_LOCKED 24

static int
is_plugin (const void *caller)
{
  Dl_info info;

  return dladdr (caller, &info) && info.dli_fname &&
         strstr (info.dli_fname, "nbdkit-zram-plugin");
}

#define NEXT(name)                \
  static __typeof__ (name) *next; \
  if (!next)                      \
  next = (__typeof__ (name) *) dlsym (RTLD_NEXT, #name)

long
sysconf (int name)
{
  NEXT (sysconf);
  const char *page = getenv ("ODD_PAGE");

  return name == _SC_PAGESIZE && page &&
             is_plugin (__builtin_return_address (0))
           ? atol (page)
           : next (name);
}

int
madvise (void *at, size_t n, int advice)
{
  NEXT (madvise);
  const char *locked = getenv ("ODD_LOCKED");

  if (!locked || !is_plugin (__builtin_return_address (0)))
    return next (at, n, advice);
  if (advice == MADV_DONTNEED ||
      (advice == DONTNEED_LOCKED && *locked == '2')) {
    errno = EINVAL;
    return -1;
  }
  return next (at, n, advice == DONTNEED_LOCKED ? MADV_DONTNEED : advice);
}
