/* SPDX-License-Identifier: BSD-3-Clause */
/* mm_stat, io_stat, bd_stat, debug_stat: the fields, order, units and layout of
 * the kernel's files of these names, so that their readers can read these.
 */

#include <config.h>

#include <inttypes.h>
#include <stdio.h>

#include "answer.h"
#include "client.h"
#include "out.h"
#include "text.h"
#include "verbs.h"
#include "zram-protocol.h"

/* One line with these fields of the part of that name; the list ends with NULL.
 */
static int
print_part (struct ctl *ctl, const char *part, const char *const *fields,
            const char *before)
{
  json_t *stats = client_call (ctl, ZRAM_VERB_STATS, NULL);
  json_t *values = answer_member (stats, part), *only = json_object ();

  for (const char *const *f = fields; *f; f++)
    json_object_set_new (only, *f, json_integer (answer_i64 (values, *f)));
  if (ctl->json)
    out_json_answer (only);
  else {
    out_text (before);
    for (const char *const *f = fields; *f; f++)
      out ("%s%8" PRIu64, f == fields ? "" : " ", answer_u64 (values, *f));
    out_newline ();
  }
  json_decref (only);
  json_decref (stats);
  return STATUS_OK;
}

int
run_mm_stat (struct ctl *ctl, const struct arguments *args)
{
  static const char *const fields[] = {
    "orig_data_size",   "compr_data_size",
    "mem_used_total",   "mem_limit",
    "mem_used_max",     "same_pages",
    "pages_compacted",  "huge_pages",
    "huge_pages_since", NULL,
  };

  (void) args;
  return print_part (ctl, "mm", fields, "");
}

int
run_io_stat (struct ctl *ctl, const struct arguments *args)
{
  static const char *const fields[] = {
    "failed_reads", "failed_writes", "invalid_io", "notify_free", NULL,
  };

  (void) args;
  return print_part (ctl, "io", fields, "");
}

int
run_bd_stat (struct ctl *ctl, const struct arguments *args)
{
  static const char *const fields[] = {
    "bd_count",
    "bd_reads",
    "bd_writes",
    NULL,
  };

  (void) args;
  return print_part (ctl, "bd", fields, "");
}

int
run_debug_stat (struct ctl *ctl, const struct arguments *args)
{
  static const char *const fields[] = { "writestall", "miss_free", NULL };

  (void) args;
  return print_part (ctl, "debug", fields, "version: 1\n");
}
