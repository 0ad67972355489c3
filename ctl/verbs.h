/* SPDX-License-Identifier: BSD-3-Clause */
/* The verbs of nbdzramctl. */

#ifndef NBDZRAMCTL_VERBS_H
#define NBDZRAMCTL_VERBS_H

#include <stdbool.h>
#include <stdint.h>

#include "ctl.h"

/* The words after the verb. */
struct arguments {
  const char *verb;
  char **v; /* n words, flag and --json taken out */
  int n;
  bool flag; /* the verb's flag was given */
};

/* For a verb that takes any number of words. */
#define WORDS_MAX 1000000

/* The exit status; before STATUS_REFUSED the reason was printed. */
typedef int verb_fn (struct ctl *, const struct arguments *);

struct verb {
  const char *name;
  const char *args; /* as help shows them */
  const char *help;
  const char *flag; /* the one option it takes, or NULL */
  int max_args;
  verb_fn *run;
};

/* Ends with an entry whose name is NULL. */
extern const struct verb verbs[];

/* NULL if there is no such verb. */
const struct verb *verb_find (const char *name);

/* The number of slots of a range from start on.  A range to the end ("5-") is
 * cut at the end of the disk, which only the server knows.
 */
int64_t slots_up_to_end (struct ctl *ctl, int64_t start, int64_t count);

verb_fn run_table;

verb_fn run_algorithm;
verb_fn run_audit;
verb_fn run_auto_recompress;
verb_fn run_bd_stat;
verb_fn run_block_state;
verb_fn run_classes;
verb_fn run_compact;
verb_fn run_debug_stat;
verb_fn run_evict;
verb_fn run_idle;
verb_fn run_io_stat;
verb_fn run_latency;
verb_fn run_map;
verb_fn run_mem_limit;
verb_fn run_write_buffer;
verb_fn run_mem_used_max;
verb_fn run_metrics;
verb_fn run_mm_stat;
verb_fn run_promote;
verb_fn run_recomp_algorithm;
verb_fn run_recompress;
verb_fn run_reset;
verb_fn run_top;
verb_fn run_train;
verb_fn run_workers;
verb_fn run_writeback;
verb_fn run_writeback_limit;

#endif /* NBDZRAMCTL_VERBS_H */
