/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The engine's one way to ask for small memory, so that a test can make any
 * request fail (fault point "alloc").  Free with free().
 */

#ifndef ZRAM_ALLOC_H
#define ZRAM_ALLOC_H

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "base/compiler.h"
#include "base/fault.h"
#include "base/rank.h"

/* 'size' zeroed bytes, aligned to 'align' (a power of two); NULL with errno
 * ENOMEM.  May sleep.
 */
static inline void *MUST_USE
alloc_zeroed (size_t align, size_t size)
{
  void *p = NULL;

  rank_may_sleep ("alloc");
  if (align < sizeof (void *))
    align = sizeof (void *);
  if (fault_hit ("alloc") || posix_memalign (&p, align, size) != 0) {
    errno = ENOMEM;
    return NULL;
  }
  memset (p, 0, size);
  return p;
}

#endif /* ZRAM_ALLOC_H */
