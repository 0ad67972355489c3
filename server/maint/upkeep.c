/* SPDX-License-Identifier: BSD-3-Clause */
/* Upkeep: makes, starts, holds and stops all background work.
 * Contract: maint/upkeep.h.
 */

#include <config.h>

#include <stdlib.h>

#include "base/alloc.h"
#include "base/keep_errno.h"
#include "maint/upkeep.h"

/* -- life --------------------------------------------------------------- */

struct upkeep *
upkeep_create (struct store *store, const struct upkeep_config *config)
{
  struct upkeep *u = alloc_zeroed (CACHE_LINE, sizeof *u);

  if (!u)
    return NULL;
  u->store = store;
  u->compactor = compactor_create (store, config->compact_threshold,
                                   config->compact_pause);
  u->recompressor = recompressor_create (store, config->methods,
                                         config->methods_count);
  recompress_policy_init (&u->policy, store, u->recompressor, config->auto_age,
                          config->auto_share);
  u->drainer = drainer_create (store);
  refill_init (&u->refill, store);
  writeback_init (&u->writeback, store);
  if (store->backed)
    u->evictor = evictor_create (store, config->evict_low, config->evict_high);
  if (u->compactor && u->recompressor && u->drainer &&
      (u->evictor || !store->backed))
    return u;
  upkeep_destroy (u);
  errno = ENOMEM;
  return NULL;
}

int
upkeep_start (struct upkeep *u)
{
  if (compactor_start (u->compactor) == 0 && drainer_start (u->drainer) == 0 &&
      refill_start (&u->refill) == 0 &&
      recompress_policy_start (&u->policy) == 0 &&
      (!u->evictor || evictor_start (u->evictor) == 0))
    return 0;
  upkeep_stop (u);
  return -1;
}

void
upkeep_stop (struct upkeep *u)
{
  KEEP_ERRNO;

  room_close (&u->store->room);
  if (u->compactor)
    compactor_stop (u->compactor);
  if (u->drainer)
    drainer_stop (u->drainer);
  refill_stop (&u->refill);
  recompress_policy_stop (&u->policy);
  if (u->evictor)
    evictor_stop (u->evictor);
}

void
upkeep_destroy (struct upkeep *u)
{
  if (!u)
    return;
  upkeep_stop (u);
  deep_reader_destroy (u->reader);
  evictor_destroy (u->evictor);
  writeback_destroy (&u->writeback);
  refill_destroy (&u->refill);
  drainer_destroy (u->drainer);
  recompress_policy_destroy (&u->policy);
  recompressor_destroy (u->recompressor);
  compactor_destroy (u->compactor);
  free (u);
}

/* -- standing still ------------------------------------------------------- */

static bool
recompression_ended (struct upkeep *u, const struct patience *p)
{
  while (recompressor_is_running (u->recompressor))
    if (!patience_nap (p))
      return false;
  return true;
}

static bool
hold_settings (struct upkeep *u, const struct patience *p)
{
  return mutex_lock_patiently (&u->store->settings, NULL, p);
}

static void
unhold_settings (struct upkeep *u) NO_THREAD_SAFETY_ANALYSIS
{
  mutex_unlock (&u->store->settings);
}

static bool
hold_compactor (struct upkeep *u, const struct patience *p)
{
  return compactor_hold_patiently (u->compactor, p);
}

static void
unhold_compactor (struct upkeep *u) NO_THREAD_SAFETY_ANALYSIS
{
  compactor_unhold (u->compactor);
}

static bool
hold_recompressor (struct upkeep *u, const struct patience *p)
{
  return recompressor_hold_patiently (u->recompressor, p);
}

static void
unhold_recompressor (struct upkeep *u) NO_THREAD_SAFETY_ANALYSIS
{
  recompressor_unhold (u->recompressor);
}

static bool
hold_writeback (struct upkeep *u, const struct patience *p)
{
  return writeback_hold_patiently (&u->writeback, p);
}

static void
unhold_writeback (struct upkeep *u) NO_THREAD_SAFETY_ANALYSIS
{
  writeback_unhold (&u->writeback);
}

static bool
hold_evictor (struct upkeep *u, const struct patience *p)
{
  return !u->evictor || evictor_hold_patiently (u->evictor, p);
}

static void
unhold_evictor (struct upkeep *u) NO_THREAD_SAFETY_ANALYSIS
{
  if (u->evictor)
    evictor_unhold (u->evictor);
}

static bool
hold_drain (struct upkeep *u, const struct patience *p)
{
  return drain_hold_patiently (u->store, p);
}

static void
unhold_drain (struct upkeep *u) NO_THREAD_SAFETY_ANALYSIS
{
  drain_unhold (u->store);
}

static bool
hold_refill (struct upkeep *u, const struct patience *p)
{
  return refill_hold_patiently (&u->refill, p);
}

static void
unhold_refill (struct upkeep *u) NO_THREAD_SAFETY_ANALYSIS
{
  refill_unhold (&u->refill);
}

/* The holds, in the order in which they are taken. */
static const struct {
  enum upkeep_hold of; /* the lowest level that includes it */
  bool (*hold) (struct upkeep *u, const struct patience *p);
  void (*unhold) (struct upkeep *u); /* NULL: nothing to undo */
  const char *too_late;
} holds[] = {
  { UPKEEP_PASSES, recompression_ended, NULL,
    "a recompression does not come to an end" },
  { UPKEEP_PASSES, hold_settings, unhold_settings,
    "a change of the settings does not come to an end" },
  { UPKEEP_PASSES, hold_compactor, unhold_compactor,
    "a compaction does not come to an end" },
  { UPKEEP_PASSES, hold_recompressor, unhold_recompressor,
    "a recompression does not come to an end" },
  { UPKEEP_ALL, hold_writeback, unhold_writeback,
    "the backing store does not answer" },
  { UPKEEP_ALL, hold_evictor, unhold_evictor,
    "the backing store does not answer" },
  { UPKEEP_ALL, hold_drain, unhold_drain,
    "the write buffer's draining does not come to an end" },
  { UPKEEP_ALL, hold_refill, unhold_refill,
    "the system does not give the memory that is kept ready" },
};

static unsigned
holds_of (enum upkeep_hold what)
{
  unsigned n = 0;

  while (n < sizeof holds / sizeof holds[0] && holds[n].of <= what)
    n++;
  return n;
}

static void
unhold_first (struct upkeep *u, unsigned n)
{
  while (n-- > 0)
    if (holds[n].unhold)
      holds[n].unhold (u);
}

const char *
upkeep_hold (struct upkeep *u, enum upkeep_hold what, const struct patience *p)
{
  for (unsigned n = 0; n < holds_of (what); n++)
    if (!holds[n].hold (u, p)) {
      unhold_first (u, n);
      return holds[n].too_late;
    }
  return NULL;
}

void
upkeep_unhold (struct upkeep *u, enum upkeep_hold what)
{
  unhold_first (u, holds_of (what));
}

void
upkeep_make_way (struct upkeep *u)
{
  recompress_policy_pause (&u->policy);
}

void
upkeep_resume (struct upkeep *u)
{
  recompress_policy_resume (&u->policy);
}
