/* SPDX-License-Identifier: BSD-3-Clause */
/* classes: the table of the kernel's zsmalloc/NAME/classes.
 *
 * A line is a class.  The columns 10% to 100% are how many of its zspages are
 * filled up to that mark.  Empty ones are not shown, as in the kernel's table.
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

/* The first of them is empty zspages. */
#define GROUPS ZRAM_CLASS_GROUPS

static const struct {
  const char *name, *heading;
  int width;
  bool total; /* the sum means something */
} fields[] = {
  { "obj_allocated", "obj_allocated", 13, true },
  { "obj_used", "obj_used", 10, true },
  { "pages_used", "pages_used", 10, true },
  { "pages_per_zspage", "pages_per_zspage", 16, false },
  { "freeable", "freeable", 8, true },
};
#define NFIELDS (sizeof fields / sizeof fields[0])

struct totals {
  uint64_t groups[GROUPS], fields[NFIELDS];
};

static void
print_headings (void)
{
  out (" %5s %5s", "class", "size");
  for (int g = 1; g < GROUPS; g++) {
    char percent[8];

    snprintf (percent, sizeof percent, "%d%%",
              g == GROUPS - 1   ? 100
              : g == GROUPS - 2 ? 99
                                : 10 * g);
    out (" %9s", percent);
  }
  for (size_t f = 0; f < NFIELDS; f++)
    out (" %*s", fields[f].width, fields[f].heading);
  out_newline ();
}

static void
print_class (json_t *class, struct totals *t)
{
  json_t *groups = answer_array (class, "groups");

  out (" %5" PRIu64 " %5" PRIu64, answer_u64 (class, "class"),
       answer_u64 (class, "size"));
  for (size_t g = 1; g < GROUPS; g++) {
    uint64_t n = answer_u64_at (groups, g);

    t->groups[g] += n;
    out (" %9" PRIu64, n);
  }
  for (size_t f = 0; f < NFIELDS; f++) {
    uint64_t n = answer_u64 (class, fields[f].name);

    t->fields[f] += n;
    out (" %*" PRIu64, fields[f].width, n);
  }
  out_newline ();
}

static void
print_totals (const struct totals *t)
{
  out_newline ();
  out (" %5s %5s", "Total", "");
  for (size_t g = 1; g < GROUPS; g++)
    out (" %9" PRIu64, t->groups[g]);
  for (size_t f = 0; f < NFIELDS; f++)
    if (fields[f].total)
      out (" %*" PRIu64, fields[f].width, t->fields[f]);
    else
      out (" %*s", fields[f].width, "");
  out_newline ();
}

int
run_classes (struct ctl *ctl, const struct arguments *args)
{
  json_t *answer = client_call (ctl, ZRAM_VERB_CLASSES, NULL), *class;
  struct totals totals = { .groups = { 0 } };
  size_t i;

  (void) args;
  if (ctl->json)
    out_json_answer (answer);
  else {
    print_headings ();
    json_array_foreach (answer_array (answer, "classes"), i, class)
      print_class (class, &totals);
    print_totals (&totals);
  }
  json_decref (answer);
  return STATUS_OK;
}
