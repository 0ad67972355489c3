/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Files that others name: what is read, what is refused, and what is not waited
 * for.
 */

#include <config.h>

#include <errno.h>
#include <sys/stat.h>

#include "unit.h"

#include "plugin/read_file.h"

#define MOST 1000

static char dir[] = "/tmp/zram-read-XXXXXX";
static char path[64];
static struct reason why;
static size_t size;

static void *
take (uint64_t deadline_ns)
{
  size = 0;
  why.text[0] = '\0';
  return read_file (path, MOST, deadline_ns, &size, &why);
}

static void
assert_refused (const char *message)
{
  assert_null (take (read_file_deadline ()));
  if (!strstr (why.text, message))
    fail_msg ("\"%s\" should say \"%s\"", why.text, message);
}

static void
make (size_t bytes)
{
  FILE *f = fopen (path, "w");

  assert_non_null (f);
  for (size_t i = 0; i < bytes; i++)
    assert_true (putc ((int) (i % 251), f) != EOF);
  assert_int_equal (fclose (f), 0);
}

static void
test_read (void **state)
{
  static const size_t sizes[] = { 0, 1, MOST - 1, MOST };

  (void) state;
  for (unsigned i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
    unsigned char *bytes;

    make (sizes[i]);
    bytes = take (read_file_deadline ());
    assert_non_null (bytes);
    assert_int_equal (size, sizes[i]);
    for (size_t k = 0; k < size; k++)
      assert_int_equal (bytes[k], k % 251);
    free (bytes);
  }
  make (MOST + 1);
  assert_refused ("must be at most 1000 bytes");
  unlink (path);
}

static void
test_refused (void **state)
{
  (void) state;
  assert_refused ("No such file");
  assert_int_equal (mkfifo (path, 0600), 0);
  assert_refused ("is not a regular file");
  unlink (path);
  assert_int_equal (mkdir (path, 0700), 0);
  assert_refused ("Is a directory");
  rmdir (path);
  assert_int_equal (symlink ("/dev/zero", path), 0);
  assert_refused ("is not a regular file");
  unlink (path);
  assert_int_equal (symlink (path, path), 0);
  assert_refused ("Too many levels");
  unlink (path);
}

#ifdef ZRAM_FAULTS

/* So many are left alone, then none is tried; until one comes back. */
static void
test_stuck (void **state)
{
  unsigned char *bytes;

  (void) state;
  make (10);
  fault_hold ("read_file");
  for (unsigned i = 0; i < READ_FILE_STUCK_MAX; i++) {
    assert_null (take (clock_ns ()));
    assert_non_null (strstr (why.text, "did not answer within"));
  }
  assert_null (take (UINT64_MAX)); /* at once */
  assert_non_null (strstr (why.text, "still do not answer"));
  fault_clear ();
  while (!(bytes = take (read_file_deadline ())))
    sched_yield ();
  assert_int_equal (size, 10);
  free (bytes);
  unlink (path);
}

static void *
cancel (void *arg)
{
  (void) arg;
  fault_wait_held ("read_file");
  read_files_cancel ();
  return NULL;
}

/* Endless waits are released; the last test, as nothing is read after it. */
static void
test_cancelled (void **state)
{
  pthread_t thread;

  (void) state;
  make (10);
  fault_hold ("read_file");
  assert_int_equal (pthread_create (&thread, NULL, cancel, NULL), 0);
  assert_null (take (clock_ns () + UINT64_C (3600000000000)));
  assert_non_null (strstr (why.text, "about to end"));
  pthread_join (thread, NULL);
  assert_refused ("about to end");
  fault_clear ();
  unlink (path);
}

#endif

int
main (void)
{
  static const struct CMUnitTest tests[] = {
    UNIT_TEST (test_read),
    UNIT_TEST (test_refused),
#ifdef ZRAM_FAULTS
    UNIT_TEST (test_stuck),
    UNIT_TEST (test_cancelled),
#endif
  };
  int r;

  check_always (mkdtemp (dir));
  snprintf (path, sizeof path, "%s/file", dir);
  r = UNIT_RUN (tests);
  unlink (path);
  rmdir (dir);
  return r;
}
