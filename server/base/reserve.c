/* SPDX-License-Identifier: BSD-3-Clause */
/* Reserves: address space with a usable prefix.
 * Contract: base/reserve.h.
 */

#include <config.h>

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/check.h"
#include "base/fault.h"
#include "base/keep_errno.h"
#include "base/reserve.h"

#define COMMIT_STEP ((size_t) 16 << 20)
#define ALIGNMENT ((size_t) 2 << 20) /* one page of page table entries */

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

#ifndef MADV_DONTNEED_LOCKED
#define MADV_DONTNEED_LOCKED 24
#endif

static size_t
round_up (size_t n, size_t unit)
{
  return (n + unit - 1) / unit * unit;
}

/* Addresses for *want bytes and an alignment, or for as many as there are, but
 * not fewer than 'least'; *want becomes how many those are.  NULL with errno
 * ENOMEM.
 */
static char *
map_some (size_t *want, size_t least)
{
  void *p = MAP_FAILED;
  bool all = true;

  for (;;) {
    if (!fault_hit ("reserve.open"))
      p = mmap (NULL, *want + ALIGNMENT, PROT_NONE,
                MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p != MAP_FAILED || *want / 2 < least)
      break;
    *want = *want / 2 / ALIGNMENT * ALIGNMENT;
    all = false;
  }
  if (p == MAP_FAILED) {
    errno = ENOMEM; /* EAGAIN, if every mapping is to be locked */
    return NULL;
  }
  /* Where addresses are scarce others need some too, so take at most a half of
   * those that are left.  The rest is given back.
   */
  if (!all && *want / 2 >= least) {
    size_t half = *want / 2 / ALIGNMENT * ALIGNMENT;

    munmap ((char *) p + half + ALIGNMENT, *want - half);
    *want = half;
  }
  return p;
}

int
reserve_open (struct reserve *r, size_t want, size_t least)
{
  size_t size = round_up (want, ALIGNMENT);
  char *p = map_some (&size, round_up (least, ALIGNMENT));

  if (!p)
    return -1;
  /* Cut to the alignment, so that page tables can be given back whole. */
  char *base = (char *) round_up ((uintptr_t) p, ALIGNMENT);
  size_t head = base - p;
  if (head)
    munmap (p, head);
  if (ALIGNMENT - head)
    munmap (base + size, ALIGNMENT - head);
  r->base = base;
  r->reserved = size;
  r->committed = 0;
  return 0;
}

void
reserve_close (struct reserve *r)
{
  KEEP_ERRNO;

  if (r->base)
    munmap (r->base, r->reserved);
  memset (r, 0, sizeof *r);
}

int
reserve_commit (struct reserve *r, size_t bytes)
{
  if (bytes <= r->committed)
    return 0;
  size_t to = round_up (bytes, COMMIT_STEP);
  if (to > r->reserved)
    to = r->reserved;
  if (bytes > to || fault_hit ("reserve.commit")) {
    errno = ENOMEM;
    return -1;
  }

  char *from = r->base + r->committed;
  size_t len = to - r->committed;
  if (mprotect (from, len, PROT_READ | PROT_WRITE) == -1) {
    errno = ENOMEM; /* whatever the system says */
    return -1;
  }
  /* One touched byte must cost one page, not 2 MiB. */
  madvise (from, len, MADV_NOHUGEPAGE);
  r->committed = to;
  return 0;
}

void
reserve_return (struct reserve *r, size_t from, size_t len)
{
  KEEP_ERRNO;

  check_debug (from + len <= r->committed);
  if (likely (madvise (r->base + from, len, MADV_DONTNEED) == 0))
    return;
  /* The kernel refuses to give locked memory back with a plain madvise.  Before
   * Linux 5.18 it cannot be given back at all: it then stays, but as zeroes.
   * The next user of it, and a thread that waits for a lock in it, rely on the
   * zeroes.
   */
  if (madvise (r->base + from, len, MADV_DONTNEED_LOCKED) == -1)
    memset (r->base + from, 0, len);
}

void
reserve_return_all (struct reserve *r, size_t from, size_t len)
{
  KEEP_ERRNO;

  check_debug (from + len <= r->committed);
  /* If memory is locked, a new mapping might be made resident as a whole. */
  if (len && madvise (r->base + from, len, MADV_DONTNEED) == -1) {
    reserve_return (r, from, len);
    return;
  }
  /* A new mapping in the place of the old: the kernel frees the page tables of
   * the old one and merges the new one with its neighbours.
   */
  if (mmap (r->base + from, len, PROT_READ | PROT_WRITE,
            MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1,
            0) == MAP_FAILED) {
    reserve_return (r, from, len);
    return;
  }
  madvise (r->base + from, len, MADV_NOHUGEPAGE);
}

void
reserve_populate (struct reserve *r, size_t from, size_t len)
{
  KEEP_ERRNO;

  check_debug (from + len <= r->committed);
  (void) madvise (r->base + from, len, MADV_POPULATE_WRITE);
}

void
reserve_populate_from (struct reserve *r, size_t from, size_t to)
{
  size_t page = (size_t) sysconf (_SC_PAGESIZE);

  from = from / page * page;
  to = round_up (to, page);
  if (to > r->committed)
    to = r->committed;
  if (from < to)
    reserve_populate (r, from, to - from);
}

size_t
reserve_resident (const struct reserve *r, size_t bytes)
{
  enum { BATCH = 4096 };
  unsigned char vec[BATCH];
  size_t page = (size_t) sysconf (_SC_PAGESIZE), resident = 0;

  for (size_t at = 0; at < bytes; at += BATCH * page) {
    size_t len = bytes - at < BATCH * page ? bytes - at : BATCH * page;

    if (mincore (r->base + at, len, vec) == -1)
      return 0;
    for (size_t i = 0; i < (len + page - 1) / page; i++)
      resident += (vec[i] & 1) * page;
  }
  return resident;
}
