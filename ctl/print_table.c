/* SPDX-License-Identifier: BSD-3-Clause */
/* Without a verb: a line a disk, as zramctl prints it.  Columns are as wide as
 * their contents, names to the left, numbers to the right.
 */

#include <config.h>

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "answer.h"
#include "client.h"
#include "out.h"
#include "text.h"
#include "verbs.h"
#include "zram-protocol.h"

enum kind { NAME, SIZE, WORD, COUNT, RATIO };

static const struct column {
  const char *heading, *path;
  enum kind kind;
} columns[] = {
  { "NAME", NULL, NAME },
  { "DISKSIZE", "disksize", SIZE },
  { "DATA", "mm.orig_data_size", SIZE },
  { "COMPR", "mm.compr_data_size", SIZE },
  { "ALGORITHM", "algorithm", WORD },
  { "STREAMS", "workers", COUNT },
  { "ZERO-PAGES", "mm.same_pages", COUNT },
  { "TOTAL", "mm.mem_used_total", SIZE },
  { "MEM-LIMIT", "mm.mem_limit", SIZE },
  { "MEM-USED", "mm.mem_used_max", SIZE },
  { "MIGRATED", "mm.pages_compacted", COUNT },
  { "COMP-RATIO", NULL, RATIO },
  { "BACKED", "backing.live_bytes", SIZE }, /* with a backing store */
};
#define NCOLUMNS (sizeof columns / sizeof columns[0])

/* To be freed. */
static char *
field (const struct ctl *ctl, const struct column *c, json_t *stats)
{
  char buf[TEXT_MAX];

  switch (c->kind) {
  case NAME:
    return out_value (ctl->socket);
  case WORD:
    return out_value (answer_string (stats, c->path));
  case RATIO:
    return out_value (text_ratio (buf, answer_u64 (stats, "mm.orig_data_size"),
                                  answer_u64 (stats, "mm.mem_used_total")));
  case SIZE:
    if (!ctl->bytes)
      return out_value (text_size (buf, answer_u64 (stats, c->path)));
    break;
  case COUNT:
    break;
  }
  snprintf (buf, TEXT_MAX, "%" PRIu64, answer_u64 (stats, c->path));
  return out_value (buf);
}

static void
print_line (const char *const *cells, const int *widths, size_t n)
{
  for (size_t i = 0; i < n; i++) {
    bool left = columns[i].kind == NAME || columns[i].kind == WORD;

    out ("%s%*s", i ? " " : "", left ? -widths[i] : widths[i], cells[i]);
  }
  out_newline ();
}

int
run_table (struct ctl *ctl, const struct arguments *args)
{
  json_t *stats = client_call (ctl, ZRAM_VERB_STATS, NULL);
  const char *headings[NCOLUMNS];
  char *cells[NCOLUMNS];
  int widths[NCOLUMNS];
  size_t n = NCOLUMNS;

  (void) args;
  if (json_is_null (answer_member (stats, "backing")))
    n--;
  if (ctl->json)
    out_json_answer (stats);
  else {
    for (size_t i = 0; i < n; i++) {
      headings[i] = columns[i].heading;
      cells[i] = field (ctl, &columns[i], stats);
      widths[i] = (int) strlen (cells[i]);
      if (!ctl->no_headings && widths[i] < (int) strlen (headings[i]))
        widths[i] = (int) strlen (headings[i]);
    }
    if (!ctl->no_headings)
      print_line (headings, widths, n);
    print_line ((const char *const *) cells, widths, n);
    for (size_t i = 0; i < n; i++)
      free (cells[i]);
  }
  json_decref (stats);
  return STATUS_OK;
}
