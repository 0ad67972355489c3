/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What is written of a log that clients could fill: the first lines of each
 * kind, then few, and in the end every line was written or counted.
 */

#include <config.h>

#include <inttypes.h>

#include "base/log_limit.h"
#include "unit.h"

#define S UINT64_C (1000000000)

static struct log_limit limit;

/* Lines written of so many that come at that time. */
static uint64_t
lines (uint64_t kind, uint64_t n, uint64_t now)
{
  uint64_t written = 0;
  bool first;

  for (uint64_t i = 0; i < n; i++)
    written += log_limit_take (&limit, kind, "reads", now, &first);
  return written;
}

static uint64_t
summary (char *buf, size_t size)
{
  uint64_t n = 0;

  if (!log_limit_summary (&limit, buf, size))
    return 0;
  assert_int_equal (sscanf (buf, "%" SCNu64, &n), 1);
  return n;
}

static void
begin (void)
{
  const struct log_limit empty = LOG_LIMIT_INIT;

  limit = empty;
}

static void
test_storm (void **state)
{
  char said[400];
  uint64_t written = 0, left_out = 0, periods = 6;

  (void) state;
  begin ();
  for (uint64_t ms = 0; ms < periods * LOG_LIMIT_PERIOD_S * 1000; ms++) {
    written += lines (7, 4, S + ms * 1000000);
    if (ms % (LOG_LIMIT_PERIOD_S * 1000) == 0)
      left_out += summary (said, sizeof said);
  }
  left_out += summary (said, sizeof said);
  assert_int_equal (written, LOG_LIMIT_BURST + periods - 1);
  assert_int_equal (written + left_out, periods * LOG_LIMIT_PERIOD_S * 4000);
  assert_int_equal (summary (said, sizeof said), 0);
}

/* One that is over is not held against the next. */
static void
test_quiet_time (void **state)
{
  char said[400];

  (void) state;
  begin ();
  assert_int_equal (lines (1, 100, S), LOG_LIMIT_BURST);
  assert_int_equal (lines (1, 100, S), 0);
  assert_int_equal (lines (1, 100, S + 3 * LOG_LIMIT_PERIOD_NS), 3);
  assert_int_equal (lines (1, 100, S + 3600 * S), LOG_LIMIT_BURST);
  assert_int_equal (lines (1, 100, S), 0); /* a clock read earlier */
  assert_int_equal (summary (said, sizeof said), 500 - 2 * LOG_LIMIT_BURST - 3);
}

static void
test_first_of_each_kind (void **state)
{
  char said[400];
  bool first;

  (void) state;
  begin ();
  for (unsigned kind = 0; kind < LOG_LIMIT_KINDS - 1; kind++) {
    assert_int_equal (lines (kind, 1, S), 1);
    assert_int_equal (lines (kind, 1000, S), LOG_LIMIT_BURST - 1);
  }
  /* And of more kinds than there is room for not many are written. */
  uint64_t written = 0;

  for (unsigned kind = 100; kind < 10000; kind++)
    written += log_limit_take (&limit, kind, "more", S, &first);
  assert_int_equal (written, LOG_LIMIT_BURST);
  assert_int_equal (summary (said, sizeof said),
                    (LOG_LIMIT_KINDS - 1) * (1001 - LOG_LIMIT_BURST) + 9900 -
                      LOG_LIMIT_BURST);
}

static void
test_words (void **state)
{
  char said[400], little[20];
  bool first;

  (void) state;
  begin ();
  assert_false (log_limit_summary (&limit, said, sizeof said));
  lines (1, LOG_LIMIT_BURST, S);
  assert_false (log_limit_summary (&limit, said, sizeof said));
  assert_false (log_limit_take (&limit, 1, "reads", S, &first));
  assert_true (first);
  assert_false (log_limit_take (&limit, 1, "reads", S, &first));
  assert_false (first);
  for (unsigned i = 0; i < LOG_LIMIT_BURST; i++)
    assert_true (log_limit_take (&limit, 2, "writes", S, &first));
  assert_false (log_limit_take (&limit, 2, "writes", S, &first));
  assert_false (first);
  assert_true (log_limit_summary (&limit, said, sizeof said));
  assert_string_equal (said, "3 lines like these left out: 2 reads, 1 writes");
  assert_false (log_limit_take (&limit, 2, "writes", S, &first));
  assert_true (first);
  assert_true (log_limit_summary (&limit, little, sizeof little));
  assert_string_equal (little, "1 lines like these ");
}

/* -- many at once ------------------------------------------------------- */

#define THREADS 4
#define EACH UNIT_TIMES (200000)

static _Atomic uint64_t written, firsts;
static atomic_uint running;

static void *
cause_lines (void *arg)
{
  unsigned kind = *(unsigned *) arg % 2;
  bool first;

  for (unsigned i = 0; i < EACH; i++) {
    atomic_fetch_add (&written,
                      log_limit_take (&limit, kind, "lines", S, &first));
    atomic_fetch_add (&firsts, first);
  }
  atomic_fetch_sub (&running, 1);
  return NULL;
}

static void
test_threads (void **state)
{
  struct unit_thread t[THREADS];
  unsigned arg[THREADS];
  uint64_t left_out = 0, summaries = 0, n;
  char said[400];

  (void) state;
  begin ();
  atomic_store (&running, THREADS);
  for (unsigned i = 0; i < THREADS; i++) {
    arg[i] = i;
    unit_start (&t[i], cause_lines, &arg[i]);
  }
  do {
    n = summary (said, sizeof said);
    summaries += n > 0;
    left_out += n;
  } while (atomic_load (&running));
  unit_join_all (t, THREADS);
  n = summary (said, sizeof said);
  summaries += n > 0;
  left_out += n;
  assert_int_equal (atomic_load (&written), 2 * LOG_LIMIT_BURST);
  assert_int_equal (atomic_load (&written) + left_out, THREADS * EACH);
  assert_int_equal (atomic_load (&firsts), summaries);
}

int
main (void)
{
  static const struct CMUnitTest tests[] = {
    UNIT_TEST (test_storm),
    UNIT_TEST (test_quiet_time),
    UNIT_TEST (test_first_of_each_kind),
    UNIT_TEST (test_words),
    UNIT_TEST (test_threads),
  };

  return UNIT_RUN (tests);
}
