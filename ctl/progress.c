/* SPDX-License-Identifier: BSD-3-Clause */

#include <config.h>

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "answer.h"
#include "client.h"
#include "out.h"
#include "out.h"
#include "progress.h"
#include "screen.h"
#include "signals.h"
#include "text.h"
#include "zram-protocol.h"

/* Poll often at first, so that short work is not delayed, and later less often.
 */
#define FIRST_LOOK_MS 5
#define LOOK_MS 100
#define LINE_MS 1000

#define BAR_MAX 40

void
progress_catch_signals (void)
{
  signals_catch (1);
}

/* -- what is shown while it runs ---------------------------------------- */

static int
terminal_columns (void)
{
  struct winsize ws;

  if (ioctl (STDERR_FILENO, TIOCGWINSZ, &ws) == 0 && ws.ws_col > 0)
    return ws.ws_col;
  return 80;
}

/* Seconds that fit in the number, whatever a server sends. */
static double
within (double seconds)
{
  return seconds < 1e15 ? seconds : 1e15;
}

/* ", 400/s, 0:02 left" */
static void
pace (char *buf, size_t size, uint64_t done, uint64_t left, bool known,
      uint64_t elapsed_ms)
{
  double seconds = (double) elapsed_ms / 1000;
  double rate = elapsed_ms ? (double) done / seconds : 0;
  char per_second[TEXT_MAX], time[TEXT_MAX] = "?";

  text_count (per_second, rate);
  if (!known)
    snprintf (buf, size, ", %s/s, %s so far", per_second,
              text_duration (time, (uint64_t) seconds));
  else {
    if (rate > 0)
      text_duration (time, (uint64_t) within ((double) left / rate + 0.5));
    snprintf (buf, size, ", %s/s, %s left", per_second, time);
  }
}

/* What a signal did to the job. */
enum wish { GO_ON, CANCELLED, NOT_HEEDED };

static bool
total_is_known (json_t *job)
{
  return json_integer_value (answer_member (job, "total")) > 0;
}

/* "60% 1200/2000 pages, 400/s, 0:02 left", or "0:02 so far" for a job that does
 * not tell how far it is.
 */
static void
figures (char *buf, size_t size, json_t *job, enum wish wish)
{
  bool known = total_is_known (job);
  uint64_t total = known ? answer_u64 (job, "total") : 0;
  uint64_t done = answer_u64 (job, "done");
  uint64_t left = done < total ? total - done : 0;
  const char *unit = answer_string (job, "unit");
  uint64_t elapsed = answer_u64 (job, "elapsed_ms");
  char tail[3 * TEXT_MAX] = "", time[TEXT_MAX];

  if (wish == CANCELLED)
    strcpy (tail, ", cancelling");
  else if (wish == NOT_HEEDED)
    strcpy (tail, ", cannot be cancelled");
  else if (known || done)
    pace (tail, sizeof tail, done, left, known, elapsed);
  if (!known && !done)
    snprintf (buf, size, "%s so far%s", text_duration (time, elapsed / 1000),
              tail);
  else if (known)
    snprintf (buf, size, "%3.0f%% %" PRIu64 "/%" PRIu64 " %s%s",
              100 * (double) (total - left) / (double) total, done, total, unit,
              tail);
  else
    snprintf (buf, size, "%" PRIu64 " %s%s", done, unit, tail);
}

static void
draw_bar (const char *kind, json_t *job, const char *text)
{
  int columns = terminal_columns () - 1;
  int width = columns - (int) (strlen (kind) + strlen (text) + 4);
  char bar[BAR_MAX + 1], line[200];

  if (width > BAR_MAX)
    width = BAR_MAX;
  err_erase_line ();
  if (!total_is_known (job)) {
    /* No bar, but a sign of life. */
    snprintf (line, sizeof line, "%s %c %s", kind,
              "|/-\\"[answer_u64 (job, "elapsed_ms") / LOOK_MS % 4], text);
    err ("%.*s", columns > 0 ? columns : 0, line);
    return;
  }
  if (width < 5) {
    err ("%.*s", columns > 0 ? columns : 0, text);
    return;
  }
  double share = (double) answer_u64 (job, "done") /
                 (double) answer_u64 (job, "total");
  int full = (int) ((share < 1 ? share : 1) * width);

  memset (bar, '-', sizeof bar);
  memset (bar, '#', (size_t) full);
  err ("%s [%.*s] %s", kind, width, bar, text);
}

/* The text on the terminal, or the last line printed. */
struct view {
  bool terminal, silent;
  enum wish wish;
  uint64_t next_ms; /* when the next line is due */
};

static void
show (struct view *v, json_t *job)
{
  const char *kind = answer_string (job, "kind");
  uint64_t elapsed = answer_u64 (job, "elapsed_ms");
  char text[160];

  if (v->silent)
    return;
  figures (text, sizeof text, job, v->wish);
  if (v->terminal)
    draw_bar (kind, job, text);
  else if (elapsed >= v->next_ms) {
    err_line ("%s: %s", kind, text);
    v->next_ms = elapsed - elapsed % LINE_MS + LINE_MS;
  }
}

/* -- how it ended ------------------------------------------------------- */

/* "compact: cancelled after 1.2s, 120/200 pages: 120 pages freed, ..." */
static void
print_outcome (json_t *job, const char *state, const char *message)
{
  uint64_t ms = answer_u64 (job, "elapsed_ms");
  char time[TEXT_MAX];

  out ("%s: %s after %s", answer_string (job, "kind"), state,
       ms ? text_ns (time, ms * 1000000) : "0ms");
  if (json_is_integer (answer_member (job, "total")))
    out (", %" PRIu64 "/%" PRIu64 " %s", answer_u64 (job, "done"),
         answer_u64 (job, "total"), answer_string (job, "unit"));
  out_line ("%s%s", *message ? ": " : "", message);
}

static int
finish (struct ctl *ctl, json_t *job)
{
  const char *state = answer_string (job, "state");
  const char *kind = answer_string (job, "kind");
  const char *message = answer_string (job, "message");
  bool failed = strcmp (state, ZRAM_JOB_FAILED) == 0;

  if (ctl->json)
    out_json_answer (job);
  else
    print_outcome (job, state, failed ? "" : message);
  if (strcmp (state, ZRAM_JOB_DONE) == 0)
    return STATUS_OK;
  out_end ();
  err_line ("nbdzramctl: %s %s%s%s", kind, state,
            failed && *message ? ": " : "", failed ? message : "");
  return STATUS_REFUSED;
}

static enum wish
ask_to_end (struct ctl *ctl, int64_t id)
{
  /* It may have ended just now: then nothing is left to cancel. */
  json_t *answer = client_try (ctl, ZRAM_VERB_JOB_CANCEL,
                               json_pack ("{s:I}", "id", (json_int_t) id));
  bool heeded = json_is_true (json_object_get (answer, "heeded"));

  json_decref (answer);
  return heeded ? CANCELLED : NOT_HEEDED;
}

int
progress_follow (struct ctl *ctl, int64_t id)
{
  struct view view = {
    .terminal = screen_can_erase (STDERR_FILENO),
    .next_ms = LINE_MS,
  };
  unsigned pause = FIRST_LOOK_MS;
  json_t *job;

  view.silent = ctl->json && !view.terminal;
  if (view.terminal)
    set_before_death (err_erase_line);
  for (;;) {
    job = client_call (ctl, ZRAM_VERB_JOB,
                       json_pack ("{s:I}", "id", (json_int_t) id));
    if (strcmp (answer_string (job, "state"), ZRAM_JOB_RUNNING) != 0)
      break;
    if (signals_seen () && view.wish == GO_ON) {
      view.wish = ask_to_end (ctl, id);
      view.next_ms = 0;
    }
    show (&view, job);
    json_decref (job);
    if (signals_impatient ())
      die (STATUS_REFUSED, "interrupted; the server goes on with it");
    signals_sleep_ms (pause);
    pause = pause < LOOK_MS / 2 ? 2 * pause : LOOK_MS;
  }
  if (view.terminal)
    err_erase_line ();
  set_before_death (NULL);

  int status = finish (ctl, job);

  json_decref (job);
  return status;
}
