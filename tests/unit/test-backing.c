/* SPDX-License-Identifier: BSD-3-Clause */
/* Backing stores that are files; NBD is test-backing-nbd.c's. */

#include <config.h>

#include <sys/socket.h>
#include <sys/stat.h>

#include "backing-fixture.h"

#include "dev/blocks.h"

#define MIB (UINT64_C (1) << 20)

static char dir[] = "/tmp/zram-backing-XXXXXX";
static char path[64];

static struct backing *
open_file (uint64_t size, struct reason *why)
{
  struct backing_config c = { .where = path, .size = size };

  strcpy (why->text, "?");
  return backing_open (&c, why);
}

static struct backing *
start_file (uint64_t size)
{
  struct reason why;
  struct backing *b = open_file (size, &why);

  if (!b)
    fail_msg ("%s: %s", path, why.text);
  assert_int_equal (backing_start (b), 0);
  return b;
}

static void
assert_refused (const char *where, uint64_t size, const char *message)
{
  struct backing_config c = { .where = where, .size = size };
  struct reason why = { "?" };

  assert_null (backing_open (&c, &why));
  if (!strstr (why.text, message))
    fail_msg ("%s: \"%s\" should say \"%s\"", where, why.text, message);
}

static void
test_refusals (void **state)
{
  int fd;

  (void) state;
  unlink (path);
  assert_refused ("", 0, "expected a path");
  assert_refused (dir, 0, "is a directory");
  assert_refused ("/dev/null", 0, "is a character device");
  assert_refused (path, 0, "without backing_size it is not made");
  assert_refused (path, 12345, "backing_size of 12345 bytes: expected a mult");
  assert_refused (path, 4096, "at least 1048576");
  assert_refused ("/no/such/place", MIB, "cannot be made: No such file");
  assert_refused ("http://localhost/x", 0, "expected nbd://, nbds://");
  assert_int_equal (access (path, F_OK), -1);

  assert_int_equal (mkfifo (path, 0600), 0);
  assert_refused (path, 0, "is a pipe");
  unlink (path);
  fd = open (path, O_CREAT | O_RDWR, 0600);
  assert_int_equal (ftruncate (fd, 5000), 0);
  assert_refused (path, 0, "has 4096 bytes, fewer than the least, 1048576");
  close (fd);
  unlink (path);
}

static void
test_file_is_made_grown_never_cut (void **state)
{
  struct backing *b = start_file (8 * MIB);
  struct stat st;

  (void) state;
  assert_int_equal (stat (path, &st), 0);
  assert_int_equal (st.st_size, 8 * MIB);
  assert_int_equal (st.st_mode & 0777, 0600);
  assert_int_equal (st.st_blocks, 0);
  assert_int_equal (backing_size (b), 8 * MIB);
  assert_string_equal (backing_kind (b), "file");
  backing_close (b);
  b = start_file (9 * MIB);
  assert_int_equal (backing_size (b), 9 * MIB);
  backing_close (b);
  b = start_file (2 * MIB);
  assert_int_equal (backing_size (b), 2 * MIB);
  backing_close (b);
  assert_int_equal (truncate (path, 3 * MIB + 5), 0);
  b = start_file (0);
  assert_int_equal (backing_size (b), 3 * MIB);
  backing_close (b);
}

/* After a fork the lock stays with the process that goes on. */
static void
test_lock (void **state)
{
  struct backing *b = start_file (MIB), *other;
  struct reason why;
  char byte;
  int fds[2], status;
  pid_t pid;

  (void) state;
  backing_close (b);
  b = open_file (MIB, &why);
  assert_non_null (b);
  assert_refused (path, MIB, "is locked: another store or program uses it");
  assert_int_equal (pipe (fds), 0);
  pid = fork ();
  if (pid == 0) {
    close (fds[1]);
    _exit (read (fds[0], &byte, 1) == 0 ? 0 : 1);
  }
  close (fds[0]);
  backing_close (b); /* never started */
  assert_refused (path, MIB, "is locked");
  close (fds[1]);
  assert_int_equal (waitpid (pid, &status, 0), pid);
  assert_int_equal (status, 0);
  other = start_file (MIB);
  backing_close (other);
}

#define REQUESTS 64
#define LENGTH (64 << 10)

static char *
stamped_buffers (uint64_t generation)
{
  char *buf = malloc (REQUESTS * LENGTH);

  assert_non_null (buf);
  stamp (buf, 0, REQUESTS * LENGTH, generation);
  return buf;
}

static void
test_many_in_flight (void **state)
{
  struct backing *b = start_file (REQUESTS * LENGTH);
  char *buf = stamped_buffers (1);
  struct request r[REQUESTS];
  struct backing_stats s;

  (void) state;
  for (unsigned i = 0; i < REQUESTS; i++)
    request_submit (b, &r[i], BACKING_WRITE, buf + i * LENGTH, i * LENGTH,
                    LENGTH);
  backing_drain (b);
  for (unsigned i = 0; i < REQUESTS; i++) {
    assert_true (atomic_load (&r[i].finished));
    assert_int_equal (r[i].io.error, 0);
    assert_stamped (b, i * LENGTH, LENGTH, 1);
  }
  assert_int_equal (request_run (b, BACKING_FLUSH, NULL, 0, 0), 0);
  backing_drain (b);
  backing_get_stats (b, &s);
  assert_int_equal (s.in_flight, 0);
  assert_int_equal (s.writes, REQUESTS);
  assert_int_equal (s.write_bytes, REQUESTS * LENGTH);
  assert_int_equal (s.reads, 2 * REQUESTS);
  assert_int_equal (s.write_errors + s.read_errors + s.retries, 0);

  /* Close waits for what is under way. */
  stamp (buf, 0, REQUESTS * LENGTH, 2);
  for (unsigned i = 0; i < REQUESTS; i++)
    request_submit (b, &r[i], BACKING_WRITE, buf + i * LENGTH, i * LENGTH,
                    LENGTH);
  backing_close (b);
  for (unsigned i = 0; i < REQUESTS; i++)
    assert_true (atomic_load (&r[i].finished) && r[i].io.error == 0);
  b = start_file (0);
  assert_stamped (b, 0, REQUESTS * LENGTH, 2);
  backing_close (b);
  free (buf);
}

static void
test_punch_gives_space_back (void **state)
{
  struct backing *b = start_file (4 * MIB);
  char *buf = stamped_buffers (3), zeroes[4096] = "", is[4096];
  struct stat before, after;

  (void) state;
  assert_int_equal (request_run (b, BACKING_WRITE, buf, 0, 2 * MIB), 0);
  assert_int_equal (stat (path, &before), 0);
  int error = request_run (b, BACKING_PUNCH, NULL, MIB, MIB);
  if (error == EOPNOTSUPP) {
    assert_false (backing_can_punch (b));
    print_message ("no holes can be made in %s\n", path);
  }
  else {
    assert_int_equal (error, 0);
    assert_int_equal (stat (path, &after), 0);
    assert_true (before.st_blocks - after.st_blocks >= (int) (MIB / 512));
    assert_int_equal (backing_read (b, is, sizeof is, 2 * MIB - 4096), 0);
    assert_memory_equal (is, zeroes, sizeof is);
  }
  assert_stamped (b, 0, MIB, 3);
  backing_close (b);
  free (buf);
}

/* Somebody cut the file: an error, no short read. */
static void
test_read_past_the_end_of_a_cut_file (void **state)
{
  struct backing *b = start_file (MIB);
  char buf[8192];

  (void) state;
  assert_int_equal (truncate (path, 4096), 0);
  errno = 0;
  assert_int_equal (backing_read (b, buf, sizeof buf, 0), -1);
  assert_int_equal (errno, EIO);
  assert_int_equal (backing_read (b, buf, 4096, 0), 0);
  backing_close (b);
}

#ifdef ZRAM_FAULTS

/* The nth of 8 writes fails, and no other. */
static void
fail_nth_write (const char *point, int error)
{
  struct backing *b = start_file (MIB);
  char *buf = stamped_buffers (4);
  struct backing_stats s;
  struct request r[8];

  for (unsigned nth = 1; nth <= 9; nth++) {
    unsigned failed = 0;

    fault_fail_nth (point, nth, false);
    for (unsigned i = 0; i < 8; i++)
      request_submit (b, &r[i], BACKING_WRITE, buf + i * LENGTH, i * LENGTH,
                      LENGTH);
    backing_drain (b);
    for (unsigned i = 0; i < 8; i++) {
      assert_true (r[i].io.error == 0 || r[i].io.error == error);
      failed += r[i].io.error != 0;
    }
    assert_int_equal (failed, nth <= 8 && error);
  }
  fault_clear ();
  assert_stamped (b, 0, 8 * LENGTH, 4);
  backing_get_stats (b, &s);
  assert_int_equal (s.write_errors, error ? 8 : 0);
  backing_close (b);
  free (buf);
}

static void
test_nth_write_fails (void **state)
{
  (void) state;
  fail_nth_write ("dev.write", EIO);
  fail_nth_write ("dev.write.full", ENOSPC);
  fail_nth_write ("dev.write.short", 0); /* is gone on with */
}

static void
test_nth_read_fails (void **state)
{
  struct backing *b = start_file (MIB);
  char *buf = stamped_buffers (5), is[100];

  (void) state;
  assert_int_equal (request_run (b, BACKING_WRITE, buf, 0, MIB), 0);
  for (unsigned nth = 1; nth <= 4; nth++) {
    fault_fail_nth ("dev.read", nth, false);
    for (unsigned i = 1; i <= 4; i++) {
      errno = 0;
      assert_int_equal (backing_read (b, is, sizeof is, 4000),
                        i == nth ? -1 : 0);
      assert_int_equal (errno, i == nth ? EIO : 0);
    }
  }
  fault_clear ();
  fault_fail_nth ("dev.read.short", 1, true);
  assert_stamped (b, 0, 8192, 5);
  assert_true (fault_reached ("dev.read.short") > 2);
  fault_clear ();
  fault_fail_nth ("dev.punch", 1, false);
  assert_int_equal (request_run (b, BACKING_PUNCH, NULL, 0, 4096), EIO);
  backing_close (b);
  free (buf);
}

static void
test_nothing_leaks_where_opening_fails (void **state)
{
  static const char *const points[] = { "alloc", "dev.open", "dev.thread" };
  struct reason why;

  (void) state;
  for (unsigned p = 0; p < 3; p++)
    for (unsigned nth = 1;; nth++) {
      struct backing *b;
      bool failed;

      unlink (path);
      fault_fail_nth (points[p], nth, false);
      b = open_file (MIB, &why);
      failed = !b || backing_start (b) == -1;
      if (!b) /* a file that was made for nothing is not left behind */
        assert_int_equal (access (path, F_OK), -1);
      fault_clear ();
      backing_close (b);
      if (!failed) {
        assert_true (nth > 1);
        break;
      }
    }
}

/* The first request of four ends last. */
static void
test_completions_out_of_order (void **state)
{
  struct backing *b = start_file (MIB);
  char *buf = stamped_buffers (6);
  struct request r[4];
  unsigned first = atomic_load (&request_turns);

  (void) state;
  fault_hold_first ("dev.write");
  request_submit (b, &r[0], BACKING_WRITE, buf, 0, 4096);
  fault_wait_held ("dev.write");
  for (unsigned i = 3; i >= 1; i--) {
    request_submit (b, &r[i], BACKING_WRITE, buf + i * 4096, i * 4096, 4096);
    assert_int_equal (request_wait (&r[i]), 0);
  }
  assert_false (atomic_load (&r[0].finished));
  fault_release ("dev.write");
  assert_int_equal (request_wait (&r[0]), 0);
  for (unsigned i = 0; i < 4; i++)
    assert_int_equal (r[i].turn - first, 3 - i);
  assert_stamped (b, 0, 4 * 4096, 6);
  backing_close (b);
  free (buf);
}

/* A block is freed, and its punch hangs: a writer gets other blocks meanwhile,
 * so that the punch destroys nothing.
 */
static void
test_punch_against_allocation (void **state)
{
  struct backing *b = start_file (MIB);
  struct blocks *blocks = blocks_open (256, true);
  char *buf = stamped_buffers (7);
  struct request punch;
  uint64_t first, hole;
  unsigned n;

  (void) state;
  assert_int_equal (blocks_alloc (blocks, 256, &first), 256);
  assert_int_equal (request_run (b, BACKING_WRITE, buf, 0, MIB), 0);
  blocks_release (blocks, 100, 8);
  n = blocks_punch_begin (blocks, 1, 8, &hole);
  assert_int_equal (n, 8);
  fault_hold ("dev.punch.begin");
  request_submit (b, &punch, BACKING_PUNCH, NULL, hole * 4096, n * 4096);
  fault_wait_held ("dev.punch.begin");
  assert_int_equal (blocks_alloc (blocks, 8, &first), 0);
  blocks_release (blocks, 50, 1);
  assert_int_equal (blocks_alloc (blocks, 8, &first), 1);
  assert_int_equal (first, 50);
  fault_release ("dev.punch.begin");
  (void) request_wait (&punch);
  blocks_punch_end (blocks, hole, n);

  assert_int_equal (blocks_alloc (blocks, 8, &first), 8);
  assert_int_equal (first, 100);
  assert_int_equal (
    request_run (b, BACKING_WRITE, buf + 100 * 4096, 100 * 4096, 8 * 4096), 0);
  assert_stamped (b, 0, MIB, 7);
  backing_close (b);
  blocks_close (blocks);
  free (buf);
}

static void *
close_store (void *b)
{
  backing_close (b);
  return NULL;
}

/* A device that hangs: close fails what no thread has begun. */
static void
test_close_is_bounded (void **state)
{
  struct backing_config c = {
    .where = path, .size = MIB, .threads = 1, .timeout_ms = 50
  };
  struct reason why;
  char *buf = stamped_buffers (8);
  struct backing *b = backing_open (&c, &why);
  struct request r[3];
  struct unit_thread t;

  (void) state;
  assert_non_null (b);
  assert_int_equal (backing_start (b), 0);
  fault_hold ("dev.write.begin");
  request_submit (b, &r[0], BACKING_WRITE, buf, 0, 4096);
  fault_wait_held ("dev.write.begin");
  request_submit (b, &r[1], BACKING_WRITE, buf, 4096, 4096);
  request_submit (b, &r[2], BACKING_WRITE, buf, 8192, 4096);
  unit_start (&t, close_store, b);
  assert_int_equal (request_wait (&r[1]), EIO);
  assert_int_equal (request_wait (&r[2]), EIO);
  assert_false (atomic_load (&r[0].finished));
  fault_release ("dev.write.begin");
  unit_join (&t);
  assert_int_equal (request_wait (&r[0]), 0);
  free (buf);
}

#endif

int
main (void)
{
  static const struct CMUnitTest tests[] = {
    UNIT_TEST (test_refusals),
    UNIT_TEST (test_file_is_made_grown_never_cut),
    UNIT_TEST (test_lock),
    UNIT_TEST (test_many_in_flight),
    UNIT_TEST (test_punch_gives_space_back),
    UNIT_TEST (test_read_past_the_end_of_a_cut_file),
#ifdef ZRAM_FAULTS
    UNIT_TEST (test_nth_write_fails),
    UNIT_TEST (test_nth_read_fails),
    UNIT_TEST (test_nothing_leaks_where_opening_fails),
    UNIT_TEST (test_completions_out_of_order),
    UNIT_TEST (test_punch_against_allocation),
    UNIT_TEST (test_close_is_bounded),
#endif
  };
  int r;

  check_always (mkdtemp (dir));
  snprintf (path, sizeof path, "%s/store", dir);
  r = UNIT_RUN (tests);
  unlink (path);
  rmdir (dir);
  return r;
}
