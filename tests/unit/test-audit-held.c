/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A backing store that does not answer, and requests that come meanwhile:
 * audits, resets and settings are done, cancelled, or end in time and say why;
 * what is in memory is read and written all the while.
 */

#include <config.h>

#include "control-fixture.h"
#include "held-backing.h"
#include "store/content.h"

#define SLOT 4096u
#define DISK (16 * MiB)
#define SLOTS 256u
#define BACKED 160u /* slots [0, BACKED) are in the store */

/* Milliseconds: more than any of these tests takes, and no more than needs be.
 */
#define LONG_PATIENCE 600000
#define SHORT_PATIENCE 300

static struct control_fixture c;
static struct fixture *const f = &c.f;
static struct held *store;
static struct jobs *jobs;

static void
setup (void)
{
  control_fixture_open (&c, DISK);
  store = held_attach (f, 4096);
  control_fixture_renew_upkeep (&c);
  c.service.jobs = jobs = jobs_create (&c.service);
  check_always (jobs && jobs_start (jobs) == 0);
  for (unsigned i = 0; i < SLOTS; i++)
    held_write (f, i, 1);
  held_write_back (f, 0, BACKED);
}

static void
expect_all (void)
{
  for (unsigned i = 0; i < SLOTS; i++)
    held_expect (f, i, 1);
}

static void
finish (void)
{
  jobs_destroy (jobs);
  control_fixture_close (&c);
}

/* -- slots ---------------------------------------------------------------- */

static atomic_bool locked;

/* The audit waits for the slot's lock, and then the slot is gone. */
static void *
discard_slowly (void *arg)
{
  static const struct content empty = { .state = SLOT_EMPTY };
  struct slot *s = slot_table_write_lock (&f->disk->table, SLOTS - 1);

  (void) arg;
  check_always (slot_is_there (s));
  atomic_store (&locked, true);
  unit_sleep_ms (50);
  content_set_locked (f->disk, s, &empty);
  slot_write_unlock (s);
  return NULL;
}

static int
read_and_discard (void *ctx, struct disk *disk, uint64_t index, void *buf,
                  const struct patience *p)
{
  (void) p;
  if (index == 0) {
    unit_start (ctx, discard_slowly, NULL);
    while (!atomic_load (&locked))
      unit_sleep_ms (1);
  }
  return slot_read_unnoticed (disk, index, buf);
}

static void
test_discarded_meanwhile (void **state)
{
  struct unit_thread t;
  const struct audit_watch watch = { .read = read_and_discard, .ctx = &t };
  struct reason why = { "" };

  (void) state;
  setup ();
  if (store_audit_live (f->store, true, &watch, &why) == -1)
    fail_msg ("\"%s\"", why.text);
  unit_join (&t);
  held_write (f, SLOTS - 1, 1);
  expect_all ();
  finish ();
}

/* -- jobs ---------------------------------------------------------------- */

static uint64_t
begin (enum job_kind kind, bool deep, unsigned patience_ms)
{
  const struct job_request request = { .kind = kind,
                                       .deep = deep,
                                       .patience_ms = patience_ms };
  struct reason why;
  uint64_t id = jobs_begin (jobs, &request, &why);

  if (!id)
    fail_msg ("%s", why.text);
  return id;
}

static struct job
look_at (uint64_t id)
{
  struct job job;

  check_always (jobs_get (jobs, id, &job));
  return job;
}

static struct job
wait_for (uint64_t id)
{
  struct job job = look_at (id);

  for (; job.state == JOB_RUNNING; job = look_at (id))
    unit_sleep_ms (1);
  return job;
}

static void
cancel (uint64_t id)
{
  bool heeded;

  assert_true (jobs_cancel (jobs, id, &heeded));
  assert_true (heeded);
  assert_int_equal (wait_for (id).state, JOB_CANCELLED);
}

static void
must_say (const struct job *job, const char *words)
{
  if (job->state != JOB_FAILED || !strstr (job->message, words))
    fail_msg ("state %d, \"%s\", without \"%s\"", job->state, job->message,
              words);
  assert_false (job->unsound); /* it does not know */
}

static void
must_be_sound (bool deep)
{
  struct job job = wait_for (begin (JOB_AUDIT, deep, LONG_PATIENCE));

  if (job.state != JOB_DONE)
    fail_msg ("%s", job.message);
}

/* -- meanwhile ----------------------------------------------------------- */

/* Slots that are in memory: whole, in part, and discarded. */
static void
memory_goes_on (void)
{
  for (unsigned i = 0; i < 50; i++) {
    held_expect (f, SLOTS - 1 - i % 20, 1);
    held_write (f, SLOTS - 30 - i % 20, 1);
    must_write (f, "part", 4, (SLOTS + 5) * SLOT + i);
    must_discard (f, (SLOTS + 5) * SLOT, SLOT);
  }
}

/* While the store is held: an audit lets everybody go on, can be cancelled, and
 * ends by itself saying why.
 */
static void
audit_meanwhile (bool deep)
{
  uint64_t id = begin (JOB_AUDIT, deep, LONG_PATIENCE);

  for (unsigned i = 0; i < 4; i++)
    memory_goes_on ();
  assert_int_equal (look_at (id).state, JOB_RUNNING);
  must_answer (&c, "stats", "", "\"workers\"");
  must_answer (&c, "block_state", "\"start\":0,\"count\":20", "\"slots\"");
  cancel (id);

  struct job job = wait_for (begin (JOB_AUDIT, deep, SHORT_PATIENCE));
  must_say (&job, "the backing store does not answer");
  memory_goes_on ();
}

/* -- requests that sleep in the store ------------------------------------ */

static void *
read_first (void *arg)
{
  (void) arg;
  held_expect (f, 0, 1);
  return NULL;
}

static void *
write_part_of_first (void *arg)
{
  char buf[SLOT];

  (void) arg;
  held_data (buf, SLOT, 0, 1);
  must_write (f, buf + 100, 8, 100);
  return NULL;
}

static void
request_held (void *(*request) (void *), bool promote)
{
  struct unit_thread t;

  setup ();
  atomic_store (&f->store->promote, promote);
  held_hold (store, false, false, true);
  unit_start (&t, request, NULL);
  held_wait_readers (store, 1);
  audit_meanwhile (false);
  audit_meanwhile (true);
  held_release (store);
  unit_join (&t);
  must_be_sound (true);
  expect_all ();
  must_be_sound (false);
  finish ();
}

static void
test_read (void **state)
{
  (void) state;
  request_held (read_first, false);
}

static void
test_promotion (void **state)
{
  (void) state;
  request_held (read_first, true);
}

static void
test_part_write (void **state)
{
  (void) state;
  request_held (write_part_of_first, false);
}

/* -- passes that have something in flight -------------------------------- */

static void *
write_back_all (void *arg)
{
  const struct writeback_request all = { 0 };
  struct pass_progress *progress = arg;
  struct writeback_totals totals;
  struct pace pace;

  pace_init (&pace, f->store, NULL, 100, 100);
  check_always (writeback_run (&c.service.upkeep->writeback, &all, &pace,
                               progress, &totals) == 0);
  return NULL;
}

static void
test_writeback (void **state)
{
  struct pass_progress progress = { 0 };
  struct unit_thread t;

  (void) state;
  setup ();
  held_hold (store, true, false, false);
  unit_start (&t, write_back_all, &progress);
  held_wait_queued (store, 1);
  audit_meanwhile (false);
  audit_meanwhile (true);
  held_release (store);
  unit_join (&t);
  must_be_sound (true);
  expect_all ();
  finish ();
}

#define FIRST_MORE 1000u

/* Slots that were written so that eviction begins. */
static unsigned
write_until_evicting (void)
{
  unsigned n = 0;

  while (held_count (store) == 0)
    held_write (f, FIRST_MORE + n++ % 2000, 1);
  return n < 2000 ? n : 2000;
}

static void
test_eviction (void **state)
{
  unsigned n;

  (void) state;
  setup ();
  fixture_limit (f, 4 * MiB);
  evictor_set_marks (c.service.upkeep->evictor, 20, 30);
  check_always (evictor_start (c.service.upkeep->evictor) == 0);
  held_hold (store, true, false, false);
  n = write_until_evicting ();
  audit_meanwhile (false);
  audit_meanwhile (true);
  held_release (store);
  must_be_sound (true);
  expect_all ();
  for (unsigned i = 0; i < n; i++)
    held_expect (f, FIRST_MORE + i, 1);
  evictor_stop (c.service.upkeep->evictor);
  finish ();
}

/* Blocks that are being punched. */
static void
test_punch (void **state)
{
  (void) state;
  setup ();
  atomic_store (&store->base.can_punch, true);
  blocks_set_punch (f->store->backed->blocks, true);
  held_hold (store, false, true, false);
  must_discard (f, 0, BACKED / 2 * SLOT);
  check_always (evictor_start (c.service.upkeep->evictor) == 0);
  held_wait_queued (store, 1);
  audit_meanwhile (false);
  held_release (store);
  must_be_sound (true);
  evictor_stop (c.service.upkeep->evictor);
  finish ();
}

/* -- the deep part -------------------------------------------------------- */

/* Held inside a read of its own: the gate is open, and so are the settings. */
static void
test_deep (void **state)
{
  uint64_t id;

  (void) state;
  setup ();
  held_hold (store, false, false, true);
  id = begin (JOB_AUDIT, true, LONG_PATIENCE);
  held_wait_readers (store, 1);
  memory_goes_on ();
  must_answer (&c, "workers", "\"set\":4", "{\"workers\":4}");
  must_answer (&c, "algorithm", "\"set\":\"zstd\"", "\"zstd\"");
  assert_int_equal (look_at (id).state, JOB_RUNNING);
  cancel (id);

  /* It is left alone with its read, which is one that others wait for. */
  struct job job = wait_for (begin (JOB_AUDIT, false, SHORT_PATIENCE));
  must_say (&job, "the backing store does not answer; nothing was audited");
  memory_goes_on ();
  held_release (store);
  must_be_sound (true);

  held_hold (store, false, false, true);
  job = wait_for (begin (JOB_AUDIT, true, SHORT_PATIENCE));
  must_say (&job, "slot 0: the backing store does not answer");
  assert_int_equal (job.done, 0);
  held_release (store);
  must_be_sound (true);
  expect_all ();
  finish ();
}

/* What changes under it is read as it is by then. */
static void
test_deep_while_written (void **state)
{
  uint64_t id;

  (void) state;
  setup ();
  held_hold (store, false, false, true);
  id = begin (JOB_AUDIT, true, LONG_PATIENCE);
  held_wait_readers (store, 1);
  must_discard (f, SLOT, 4 * SLOT);
  for (unsigned i = 1; i < 5; i++)
    held_write (f, i, 1);
  for (unsigned i = SLOTS; i < SLOTS + 10; i++)
    held_write (f, i, 1);
  held_release (store);
  assert_int_equal (wait_for (id).state, JOB_DONE);
  assert_int_equal (look_at (id).slots, SLOTS + 10);
  expect_all ();
  finish ();
}

/* What it is for: damage behind a store that answers. */
static void
test_deep_finds (void **state)
{
  struct job job;

  (void) state;
  setup ();
  held_flip (store, (held_cell (f, 7) + RECORD_HEADER) % (4096 * SLOT), 3);
  job = wait_for (begin (JOB_AUDIT, true, LONG_PATIENCE));
  assert_int_equal (job.state, JOB_FAILED);
  assert_non_null (strstr (job.message, "slot 7: cannot be read"));
  assert_true (job.unsound);
  must_be_sound (false);
  held_flip (store, (held_cell (f, 7) + RECORD_HEADER) % (4096 * SLOT), 3);
  must_be_sound (true);
  finish ();
}

/* -- reset ---------------------------------------------------------------- */

static void
test_reset (void **state)
{
  struct unit_thread t;
  struct job job;

  (void) state;
  setup ();
  held_hold (store, false, false, true);
  unit_start (&t, read_first, NULL);
  held_wait_readers (store, 1);
  job = wait_for (begin (JOB_RESET, false, SHORT_PATIENCE));
  must_say (&job, "1 slots are in use by requests that do not come to an end");
  assert_int_equal (job.slots, SLOTS - 1);
  assert_int_equal (fixture_count (f, DISK_SLOTS_STORED), 1);
  must_hold (f, NULL, SLOT, SLOT);
  held_write (f, SLOTS, 1);
  held_expect (f, SLOTS, 1);
  held_release (store);
  unit_join (&t);
  job = wait_for (begin (JOB_RESET, false, LONG_PATIENCE));
  assert_int_equal (job.state, JOB_DONE);
  assert_int_equal (fixture_count (f, DISK_SLOTS_STORED), 0);
  finish ();
}

/* -- workers -------------------------------------------------------------- */

static unsigned
readers (void)
{
  unsigned n;

  pthread_mutex_lock (&store->lock);
  n = store->readers;
  pthread_mutex_unlock (&store->lock);
  return n;
}

/* Large enough to be shared by three. */
static void *
read_many (void *arg)
{
  char *got = must_alloc (BACKED * SLOT), want[SLOT];

  (void) arg;
  must_read (f, got, BACKED * SLOT, 0);
  for (unsigned i = 0; i < BACKED; i++) {
    held_data (want, SLOT, i, 1);
    check_always (memcmp (got + i * SLOT, want, SLOT) == 0);
  }
  free (got);
  return NULL;
}

/* Until both workers sleep in the store; they may not have been idle yet. */
static void
hold_workers (struct unit_thread *t)
{
  for (;;) {
    held_hold (store, false, false, true);
    unit_start (t, read_many, NULL);
    held_wait_readers (store, 1);
    for (unsigned i = 0; i < 1000 && readers () < 3; i++)
      unit_sleep_ms (1);
    if (readers () == 3)
      return;
    held_release (store);
    unit_join (t);
  }
}

static void
test_workers (void **state)
{
  struct workpool *wp;
  struct unit_thread t;

  (void) state;
  setup ();
  wp = f->store->workpool;
  hold_workers (&t);
  must_answer (&c, "workers", "\"set\":1", "{\"workers\":1}");
  must_answer (&c, "stats", "", "\"workers\":1,");
  assert_int_equal (workpool_leaving (wp), 1);
  must_answer (&c, "block_state", "\"start\":0,\"count\":20", "\"slots\"");
  memory_goes_on ();
  must_answer (&c, "workers", "\"set\":5", "{\"workers\":5}");
  must_answer (&c, "stats", "", "\"workers\":5,");
  assert_int_equal (workpool_leaving (wp), 0);
  must_answer (&c, "workers", "\"set\":2", "{\"workers\":2}");
  must_answer (&c, "workers", "\"set\":1", "{\"workers\":1}");
  must_answer (&c, "algorithm", "\"set\":\"zstd\"", "\"zstd\"");
  memory_goes_on ();
  assert_true (readers () >= 3); /* what was grown helped, and sleeps too */
  held_release (store);
  unit_join (&t);
  while (workpool_leaving (wp) > 0)
    unit_sleep_ms (1);
  must_answer (&c, "workers", "\"set\":3", "{\"workers\":3}");
  must_be_sound (true);
  expect_all ();
  finish ();
}

int
main (void)
{
  static const struct CMUnitTest tests[] = {
    UNIT_TEST (test_discarded_meanwhile),
    UNIT_TEST (test_read),
    UNIT_TEST (test_promotion),
    UNIT_TEST (test_part_write),
    UNIT_TEST (test_writeback),
    UNIT_TEST (test_eviction),
    UNIT_TEST (test_punch),
    UNIT_TEST (test_deep),
    UNIT_TEST (test_deep_while_written),
    UNIT_TEST (test_deep_finds),
    UNIT_TEST (test_reset),
    UNIT_TEST (test_workers),
  };

  return UNIT_RUN (tests);
}
