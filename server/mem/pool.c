/* SPDX-License-Identifier: BSD-3-Clause */

#include <config.h>

#include <errno.h>
#include <string.h>

#include "mem/pool.h"
#include "mem/z3fold.h"
#include "mem/zsmalloc.h"

static const char *const names[] = { "zsmalloc", "z3fold" };

const char *
pool_allocator (unsigned i)
{
  return i < sizeof names / sizeof names[0] ? names[i] : NULL;
}

struct pool *
pool_create (const char *allocator, uint32_t slot_size, uint64_t max_bytes,
             struct budget *budget)
{
  if (strcmp (allocator, names[0]) == 0) {
    struct zs_pool *zs = zs_create (slot_size, max_bytes, budget);

    return zs ? &zs->base : NULL;
  }
  if (strcmp (allocator, names[1]) == 0) {
    struct z3_pool *z3 = z3_create (slot_size, max_bytes, budget);

    return z3 ? &z3->base : NULL;
  }
  errno = EINVAL;
  return NULL;
}
