/* SPDX-License-Identifier: BSD-3-Clause */
/* Pool: creates the allocator that is asked for by name.
 * Contract: mem/pool.h.
 */

#include <config.h>

#include <errno.h>
#include <string.h>

#include "mem/pool.h"
#include "mem/z3fold.h"
#include "mem/zsmalloc.h"

static const struct {
  const char *name;
  struct pool *(*create) (uint32_t, uint64_t, struct budget *);
} allocators[] = { { "zsmalloc", zs_create }, { "z3fold", z3_create } };

#define ALLOCATORS (sizeof allocators / sizeof allocators[0])

const char *
pool_allocator (unsigned i)
{
  return i < ALLOCATORS ? allocators[i].name : NULL;
}

struct pool *
pool_create (const char *allocator, uint32_t slot_size, uint64_t max_bytes,
             struct budget *budget)
{
  for (unsigned i = 0; i < ALLOCATORS; i++)
    if (strcmp (allocator, allocators[i].name) == 0)
      return allocators[i].create (slot_size, max_bytes, budget);
  errno = EINVAL;
  return NULL;
}
