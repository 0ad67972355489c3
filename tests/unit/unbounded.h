/* SPDX-License-Identifier: BSD-3-Clause */
/* Calls of the engine that end early when patience ends, as most tests use
 * them: until they are done.  The hang limit of a test (unit.h) bounds them.
 */

#ifndef TEST_UNBOUNDED_H
#define TEST_UNBOUNDED_H

#include "unit.h"

#include "maint/compactor.h"
#include "maint/evictor.h"
#include "maint/writeback.h"
#include "store/reset.h"

static inline struct patience
unbounded (void)
{
  return patience_ms (UINT32_MAX, NULL);
}

static inline void
compactor_hold (struct compactor *c)
{
  const struct patience p = unbounded ();

  check_always (compactor_hold_patiently (c, &p));
}

static inline void
evictor_hold (struct evictor *e)
{
  const struct patience p = unbounded ();

  check_always (evictor_hold_patiently (e, &p));
}

static inline void
writeback_hold (struct writeback *wb)
{
  const struct patience p = unbounded ();

  check_always (writeback_hold_patiently (wb, &p));
}

static inline void
disk_reset (struct disk *disk)
{
  const struct patience p = unbounded ();

  check_always (disk_reset_patiently (disk, &p) == 0);
}

#endif /* TEST_UNBOUNDED_H */
