/* SPDX-License-Identifier: BSD-3-Clause */
/* block_state: a line for each stored slot, as the kernel's file has them:
 *
 *         300    75.033841 .wh...
 *
 * index, seconds since it was last used, flags.  JSON also has its size and its
 * codec.  The list may be long, so it is requested and printed piece by piece.
 */

#include <config.h>

#include <inttypes.h>
#include <stdio.h>

#include "answer.h"
#include "args.h"
#include "client.h"
#include "out.h"
#include "text.h"
#include "verbs.h"
#include "zram-protocol.h"

static void
print_slot (const struct ctl *ctl, json_t *slot, bool first)
{
  if (ctl->json) {
    out_text (first ? "\n  " : ",\n  ");
    out_json (slot);
    return;
  }
  out_line ("%12" PRIu64 " %12.6f %s", answer_u64 (slot, "i"),
            answer_real (slot, "t"), answer_string (slot, "s"));
}

/* Those in [start, end). */
static void
print_slots (struct ctl *ctl, int64_t start, int64_t end)
{
  bool first = true;

  while (start < end) {
    int64_t count = end - start < ZRAM_BLOCK_STATE_MAX ? end - start
                                                       : ZRAM_BLOCK_STATE_MAX;
    json_t *answer = client_call (ctl, ZRAM_VERB_BLOCK_STATE,
                                  json_pack ("{s:I, s:I}", "start",
                                             (json_int_t) start, "count",
                                             (json_int_t) count));
    json_t *slot, *next = answer_member (answer, "next");
    size_t i;

    json_array_foreach (answer_array (answer, "slots"), i, slot)
    {
      print_slot (ctl, slot, first);
      first = false;
    }
    /* Never go back: a server that answers so would keep us here. */
    if (json_is_null (next) || json_integer_value (next) <= start)
      end = start;
    else
      start = json_integer_value (next);
    json_decref (answer);
  }
}

int
run_block_state (struct ctl *ctl, const struct arguments *args)
{
  int64_t start = 0, count = INT64_MAX;

  if (args->n)
    arg_range (args->verb, args->v[0], &start, &count);
  if (ctl->json)
    out ("{\"slots\": [");
  print_slots (ctl, start, start + count);
  if (ctl->json)
    out_text ("\n]}\n");
  return STATUS_OK;
}
