/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Automatic recompression: of slots that were not accessed for 'age' seconds,
 * with spare CPU time.  Its thread looks at the table every age / 8 seconds (1
 * to 60), and also frees dictionaries that nothing needs any more.
 *
 * It has 'share' percent of a CPU, and an eighth of that while clients send
 * requests.
 */

#ifndef ZRAM_RECOMPRESS_POLICY_H
#define ZRAM_RECOMPRESS_POLICY_H

#include "maint/dictionary.h"

#define RECOMPRESS_AGE 600  /* seconds, the default */
#define RECOMPRESS_SHARE 50 /* percent, the default */

struct recompress_policy {
  struct store *store;    /* not owned */
  struct recompressor *r; /* not owned */
  atomic_uint age;        /* seconds, below SLOT_OLD; 0: switched off */
  unsigned share;         /* percent, 1 to 100 */
  atomic_uint pauses;     /* in effect now (recompress_policy_pause) */
  struct ticker ticker;
  struct pass_progress progress; /* of its running pass */
};

void recompress_policy_init (struct recompress_policy *p, struct store *store,
                             struct recompressor *r, unsigned age,
                             unsigned share);

/* Start the thread (after the last fork).  0, or -1 with errno EAGAIN. */
int recompress_policy_start (struct recompress_policy *p) MUST_USE;

/* End the thread, after its current slot. */
void recompress_policy_stop (struct recompress_policy *p);
void recompress_policy_destroy (struct recompress_policy *p);

/* Between pause and resume it begins no pass, and a running pass ends after its
 * current slot.  Several threads may pause it at once.
 */
void recompress_policy_pause (struct recompress_policy *p);
void recompress_policy_resume (struct recompress_policy *p);

void recompress_policy_set_age (struct recompress_policy *p, unsigned seconds);

#endif /* ZRAM_RECOMPRESS_POLICY_H */
