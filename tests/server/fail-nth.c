/* SPDX-License-Identifier: BSD-3-Clause */

/* Preloaded into nbdkit by test-starved.sh: of the plugin's requests for
 * memory the Nth fails, or all from the Nth on.  The file $FAIL_NTH is mapped;
 * the test writes which fail, and reads which did:
 *
 *   | nth, 0: nothing | not 0: and all after it | asked for | failed |
 *
 * each a native uint64_t.
 */

#define _GNU_SOURCE

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

struct orders {
  _Atomic uint64_t nth, for_good, asked, failed;
};

static struct orders *orders;

__attribute__ ((constructor)) static void
map_orders (void)
{
  const char *path = getenv ("FAIL_NTH");
  int fd = path ? open (path, O_RDWR | O_CLOEXEC) : -1;

  if (fd == -1)
    return;
  void *p = mmap (NULL, sizeof *orders, PROT_READ | PROT_WRITE, MAP_SHARED, fd,
                  0);
  close (fd);
  if (p != MAP_FAILED)
    orders = p;
}

static int
must_fail (const void *caller)
{
  uint64_t nth = orders ? orders->nth : 0;
  uint64_t number;
  Dl_info info;

  if (!nth || !dladdr (caller, &info) || !info.dli_fname ||
      !strstr (info.dli_fname, "nbdkit-zram-plugin"))
    return 0;
  number = ++orders->asked;
  if (number != nth && !(orders->for_good && number > nth))
    return 0;
  orders->failed++;
  errno = ENOMEM;
  return 1;
}

#define CALLER __builtin_return_address (0)
#define NEXT(name)                \
  static __typeof__ (name) *next; \
  if (!next)                      \
  next = (__typeof__ (name) *) dlsym (RTLD_NEXT, #name)

void *
malloc (size_t n)
{
  NEXT (malloc);
  return must_fail (CALLER) ? NULL : next (n);
}

void *
realloc (void *p, size_t n)
{
  NEXT (realloc);
  return must_fail (CALLER) ? NULL : next (p, n);
}

int
posix_memalign (void **p, size_t align, size_t n)
{
  NEXT (posix_memalign);
  return must_fail (CALLER) ? ENOMEM : next (p, align, n);
}

void *
mmap (void *at, size_t n, int prot, int flags, int fd, off_t offset)
{
  NEXT (mmap);
  return must_fail (CALLER) ? MAP_FAILED
                            : next (at, n, prot, flags, fd, offset);
}

int
mprotect (void *at, size_t n, int prot)
{
  NEXT (mprotect);
  return must_fail (CALLER) ? -1 : next (at, n, prot);
}
