/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * writeback_limit: how much may still be written to the backing store, in units
 * of 4 KiB of the slots' data, as the kernel's zram counts it.  Units are taken
 * before the write.  If the write fails they are refunded, unless the limit was
 * set again meanwhile.  Never below zero.
 */

#ifndef ZRAM_WRITEBACK_LIMIT_H
#define ZRAM_WRITEBACK_LIMIT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/compiler.h"

struct writeback_limit {
  atomic_bool on;
  _Atomic uint64_t left; /* units, while on */
  atomic_uint setting;   /* how often it was set */
};

static inline unsigned
writeback_limit_setting (struct writeback_limit *l)
{
  return atomic_load_explicit (&l->setting, memory_order_relaxed);
}

static inline bool MUST_USE
writeback_limit_take (struct writeback_limit *l, unsigned units)
{
  uint64_t left = atomic_load (&l->left);

  if (!atomic_load (&l->on))
    return true;
  do {
    if (left < units)
      return false;
  } while (!atomic_compare_exchange_weak (&l->left, &left, left - units));
  return true;
}

/* 'setting': writeback_limit_setting when the units were taken.  If the limit
 * was set again since, or is off, nothing is refunded.
 */
static inline void
writeback_limit_refund (struct writeback_limit *l, unsigned units,
                        unsigned setting)
{
  if (atomic_load (&l->on) && setting == writeback_limit_setting (l))
    atomic_fetch_add (&l->left, units);
}

static inline void
writeback_limit_set (struct writeback_limit *l, bool on, uint64_t units)
{
  atomic_fetch_add (&l->setting, 1);
  atomic_store (&l->left, units);
  atomic_store (&l->on, on);
}

#endif /* ZRAM_WRITEBACK_LIMIT_H */
