/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * NBD backing stores, against servers (nbdkit) that the test starts on a
 * socket of its own, stops, kills and starts again.
 */

#include <config.h>

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "backing-fixture.h"

#define MIB (UINT64_C (1) << 20)

static char dir[] = "/tmp/zram-nbd-XXXXXX";
static char path[64], sock[64], uri[128], image[80];
static const char *nbdkit;
static pid_t server;

/* -- the server --------------------------------------------------------- */

static void
wait_until_it_listens (void)
{
  struct sockaddr_un a = { .sun_family = AF_UNIX };
  int status;

  strcpy (a.sun_path, sock);
  for (;;) {
    int fd = socket (AF_UNIX, SOCK_STREAM, 0);
    bool up = connect (fd, (struct sockaddr *) &a, sizeof a) == 0;

    close (fd);
    if (up)
      return;
    if (waitpid (server, &status, WNOHANG) == server) {
      server = 0;
      fail_msg ("nbdkit ended with status 0x%x", status);
    }
    unit_sleep_ms (2);
  }
}

/* Arguments of nbdkit after the socket's; the last is NULL. */
static void
start_server (const char *const *args)
{
  const char *argv[24] = { nbdkit, "-f", "-U", sock };
  unsigned n = 4;

  while (*args)
    argv[n++] = *args++;
  unlink (sock);
  server = fork ();
  assert_true (server >= 0);
  if (server == 0) {
    execvp (nbdkit, (char **) argv);
    _exit (127);
  }
  wait_until_it_listens ();
}

static void
stop_server (int signal)
{
  if (server <= 0)
    return;
  kill (server, signal);
  kill (server, SIGCONT);
  waitpid (server, NULL, 0);
  server = 0;
}

/* Returns when it stands still: until then it may answer what is asked next. */
static void
freeze_server (void)
{
  int status;

  check_always (kill (server, SIGSTOP) == 0);
  check_always (waitpid (server, &status, WUNTRACED) == server &&
                WIFSTOPPED (status));
}

#define START_SERVER(...) \
  start_server ((const char *const[]){ __VA_ARGS__, NULL })

static int
stop_after (void **state)
{
  stop_server (SIGKILL);
  return unit_teardown (state);
}

/* -- the store ---------------------------------------------------------- */

/* Of requests that must not fail a slow machine's server takes less. */
#define PATIENCE_MS 2000

static struct backing *
start_store (unsigned timeout_ms)
{
  struct backing_config c = { .where = uri, .timeout_ms = timeout_ms };
  struct reason why = { "?" };
  struct backing *b = backing_open (&c, &why);

  if (!b)
    fail_msg ("%s: %s", uri, why.text);
  assert_int_equal (backing_start (b), 0);
  return b;
}

static void
assert_refused (const char *where, uint64_t size, const char *message)
{
  struct backing_config c = { .where = where,
                              .size = size,
                              .timeout_ms = 2000 };
  struct reason why = { "?" };

  assert_null (backing_open (&c, &why));
  if (!strstr (why.text, message))
    fail_msg ("%s: \"%s\" should say \"%s\"", where, why.text, message);
}

static void
test_refusals (void **state)
{
  (void) state;
  assert_refused (uri, 0, "connect");
  assert_refused ("nbd://[/", 0, "URI");
  assert_refused ("nbd+unix:///?socket=here/sock", 0,
                  "socket=here/sock: expected an absolute path");
  assert_refused ("nbds://host/x?a=b&tls-certificates=pki", 0,
                  "tls-certificates=pki: expected an absolute path");
  START_SERVER ("memory", "64K");
  assert_refused (uri, 0, "has 65536 bytes, fewer than the least");
  stop_server (SIGKILL);
  START_SERVER ("-r", "memory", "2M");
  assert_refused (uri, 0, "the export is read-only");
  stop_server (SIGKILL);
  START_SERVER ("memory", "2M");
  assert_refused (uri, 4 * MIB, "fewer than the 4194304 of backing_size");
  stop_server (SIGKILL);
  START_SERVER ("--filter=blocksize-policy", "memory", "2M",
                "blocksize-minimum=8192", "blocksize-preferred=8192");
  assert_refused (uri, 0, "the server takes requests of 8192 to");
}

#define REQUESTS 64
#define LENGTH (64 << 10)

static void
write_all_at (struct backing *b, struct request *r, char *buf, uint64_t offset,
              uint64_t generation)
{
  stamp (buf, offset, REQUESTS * LENGTH, generation);
  for (unsigned i = 0; i < REQUESTS; i++)
    request_submit (b, &r[i], BACKING_WRITE, buf + i * LENGTH,
                    offset + i * LENGTH, LENGTH);
}

static void
write_all (struct backing *b, struct request *r, char *buf, uint64_t generation)
{
  write_all_at (b, r, buf, 0, generation);
}

static unsigned
count_errors (struct request *r)
{
  unsigned errors = 0;

  for (unsigned i = 0; i < REQUESTS; i++) {
    int error = request_wait (&r[i]);

    assert_true (error == 0 || error == EIO);
    errors += error != 0;
  }
  return errors;
}

static void
round_trip (struct backing *b)
{
  char *buf = malloc (REQUESTS * LENGTH), is[4096];
  static const char zeroes[4096];
  struct request r[REQUESTS];
  struct backing_stats s;

  assert_non_null (buf);
  write_all (b, r, buf, 1);
  assert_int_equal (count_errors (r), 0);
  assert_stamped (b, 0, REQUESTS * LENGTH, 1);
  assert_stamped (b, LENGTH, 100 * 8, 1);
  assert_int_equal (request_run (b, BACKING_FLUSH, NULL, 0, 0), 0);
  assert_true (backing_can_punch (b));
  assert_int_equal (request_run (b, BACKING_PUNCH, NULL, MIB, MIB), 0);
  assert_int_equal (backing_read (b, is, sizeof is, MIB + 4096), 0);
  assert_memory_equal (is, zeroes, sizeof is);
  backing_drain (b);
  backing_get_stats (b, &s);
  assert_int_equal (s.in_flight, 0);
  assert_int_equal (s.writes, REQUESTS);
  assert_int_equal (s.write_bytes, REQUESTS * LENGTH);
  assert_int_equal (s.retries + s.reconnects + s.write_errors, 0);
  free (buf);
}

static void
test_round_trip (void **state)
{
  struct backing *b;

  (void) state;
  START_SERVER ("memory", "64M");
  b = start_store (0);
  assert_int_equal (backing_size (b), 64 * MIB);
  assert_string_equal (backing_kind (b), "nbd");
  round_trip (b);
  backing_close (b);
}

/* Requests are cut to the server's maximum, and reads widened to its minimum;
 * the server refuses all others.
 */
static void
test_block_sizes_are_kept (void **state)
{
  struct backing *b;

  (void) state;
  START_SERVER ("--filter=blocksize-policy", "memory", "64M",
                "blocksize-minimum=4096", "blocksize-preferred=4096",
                "blocksize-maximum=20480", "blocksize-error-policy=error");
  b = start_store (0);
  round_trip (b);
  backing_close (b);
}

/* The connection works as it is; so it is the request that is wrong. */
static void
test_errors_of_the_server_are_not_retried (void **state)
{
  char buf[4096] = "";
  struct backing_stats s;
  struct backing *b;

  (void) state;
  START_SERVER ("--filter=error", "memory", "2M", "error-pwrite=ENOSPC",
                "error-pwrite-rate=100%", "error-pread=EIO",
                "error-pread-rate=100%");
  b = start_store (0);
  assert_int_equal (request_run (b, BACKING_WRITE, buf, 0, 4096), ENOSPC);
  assert_int_equal (backing_read (b, buf, 10, 0), -1);
  assert_int_equal (errno, EIO);
  backing_get_stats (b, &s);
  assert_int_equal (s.retries + s.reconnects, 0);
  assert_int_equal (s.write_errors, 1);
  assert_int_equal (s.read_errors, 1);
  assert_false (s.down);
  backing_close (b);
}

/* Killed again and again while it has requests: none fails, none is lost. */
static void
test_killed_and_restarted_under_load (void **state)
{
  char *buf = malloc (REQUESTS * LENGTH);
  struct request r[REQUESTS];
  struct backing_stats s;
  unsigned resent = 0;
  struct backing *b;

  (void) state;
  assert_non_null (buf);
  START_SERVER ("--filter=delay", "file", image, "delay-write=5ms");
  b = start_store (0);
  /* Until a round came upon a server with requests: it may have done them all
   * by the time that this thread runs again.
   */
  for (unsigned round = 0; round < 4 || resent == 0; round++) {
    write_all (b, r, buf, 10 + round);
    (void) request_wait (&r[unit_seed % 8]); /* in the middle of it */
    stop_server (SIGKILL);
    START_SERVER ("--filter=delay", "file", image, "delay-write=5ms");
    assert_int_equal (count_errors (r), 0);
    assert_stamped (b, 0, REQUESTS * LENGTH, 10 + round);
    for (unsigned i = 0; i < REQUESTS; i++)
      resent += r[i].io.resent;
  }
  backing_get_stats (b, &s);
  assert_true (s.reconnects >= 4);
  assert_true (s.retries >= resent && resent > 0);
  assert_int_equal (s.write_errors + s.read_errors, 0);
  backing_close (b);
  free (buf);
}

/* nbdkit 1.32 may abort (connections.c, sock >= 0) when it finds that many
 * requests have lost their client; then it is started again.
 */
static void
wait_until_up (struct backing *b)
{
  struct backing_stats s;

  do {
    unit_sleep_ms (5);
    if (server > 0 && waitpid (server, NULL, WNOHANG) == server)
      START_SERVER ("file", image);
    backing_get_stats (b, &s);
  } while (s.down);
}

/* Requests fail after the timeout, later ones at once; it comes back by
 * itself.  'stopped': the server hangs, else it is killed.
 */
static void
goes_and_returns (bool stopped)
{
  char *buf = malloc (REQUESTS * LENGTH);
  struct request r[REQUESTS];
  struct backing_stats s;
  struct backing *b;
  uint64_t from;

  assert_non_null (buf);
  START_SERVER ("file", image);
  b = start_store (PATIENCE_MS);
  write_all (b, r, buf, 20);
  assert_int_equal (count_errors (r), 0);
  /* Before the end of the server: that is when the timeout begins. */
  from = clock_ns ();
  if (stopped)
    freeze_server ();
  else
    stop_server (SIGKILL);
  write_all (b, r, buf, 21);
  assert_true (count_errors (r) > 0);
  assert_true (clock_ns () - from >= (PATIENCE_MS - 100) * UINT64_C (1000000));
  backing_get_stats (b, &s);
  assert_true (s.down);
  assert_true (s.write_errors > 0);
  assert_int_equal (backing_read (b, buf, 100, 0), -1);
  assert_int_equal (errno, EIO);
  write_all (b, r, buf, 22);
  for (unsigned i = 0; i < REQUESTS; i++) /* without anybody's waiting */
    assert_true (atomic_load (&r[i].finished) && r[i].io.error == EIO);

  if (stopped)
    kill (server, SIGCONT);
  else
    START_SERVER ("file", image);
  /* Elsewhere: a server that had only stopped may still do the old writes,
   * which is what 'resent' warns of.  Again if it went once more: see above.
   */
  for (unsigned try = 0, errors = 1; errors; try++) {
    assert_true (try == 0 || (stopped && try < 3));
    wait_until_up (b);
    write_all_at (b, r, buf, 32 * MIB, 23);
    errors = count_errors (r);
  }
  assert_stamped (b, 32 * MIB, REQUESTS * LENGTH, 23);
  backing_close (b);
  stop_server (SIGKILL);
  free (buf);
}

static void
test_goes_away_and_returns (void **state)
{
  (void) state;
  goes_and_returns (false);
}

static void
test_hangs_and_goes_on (void **state)
{
  (void) state;
  goes_and_returns (true);
}

/* Nobody asked it for anything: still known to be down, and up again. */
static void
test_idle_store_notices (void **state)
{
  struct backing_stats s;
  struct backing *b;
  char buf[16];

  (void) state;
  START_SERVER ("file", image);
  b = start_store (PATIENCE_MS);
  assert_int_equal (backing_read (b, buf, sizeof buf, 0), 0);
  stop_server (SIGKILL);
  do {
    unit_sleep_ms (5);
    backing_get_stats (b, &s);
  } while (!s.down);
  assert_int_equal (backing_read (b, buf, sizeof buf, 0), -1);
  START_SERVER ("file", image);
  wait_until_up (b);
  assert_int_equal (backing_read (b, buf, sizeof buf, 0), 0);
  backing_close (b);
}

/* What returns is smaller than what went: it is not the same store. */
static void
test_another_server_is_not_taken (void **state)
{
  struct backing *b;
  char buf[16];

  (void) state;
  START_SERVER ("memory", "8M");
  b = start_store (PATIENCE_MS);
  assert_int_equal (backing_read (b, buf, sizeof buf, 0), 0);
  stop_server (SIGKILL);
  START_SERVER ("memory", "4M");
  assert_int_equal (backing_read (b, buf, sizeof buf, 0), -1);
  assert_int_equal (errno, EIO);
  backing_close (b);
}

/* With requests in flight to a server that is gone. */
static void
test_close_is_bounded (void **state)
{
  char *buf = malloc (REQUESTS * LENGTH);
  struct request r[REQUESTS];
  struct backing *b;

  (void) state;
  assert_non_null (buf);
  START_SERVER ("file", image);
  b = start_store (300);
  freeze_server ();
  write_all (b, r, buf, 30);
  backing_close (b);
  for (unsigned i = 0; i < REQUESTS; i++)
    assert_true (atomic_load (&r[i].finished));
  free (buf);

  b = NULL;
  backing_close (b);
}

/* Whatever the timeout: of an hour here, which the test does not have. */
static void
test_shut (void **state)
{
  char *buf = malloc (REQUESTS * LENGTH), byte;
  struct request r[REQUESTS];
  struct backing_stats s;
  struct backing *b;

  (void) state;
  assert_non_null (buf);
  START_SERVER ("file", image);
  b = start_store (3600 * 1000);
  assert_int_equal (backing_read (b, &byte, 1, 0), 0);
  freeze_server ();
  write_all (b, r, buf, 40);
  backing_shut (b);
  for (unsigned i = 0; i < REQUESTS; i++)
    assert_int_equal (request_wait (&r[i]), EIO);
  assert_int_equal (backing_read (b, &byte, 1, 0), -1);
  assert_int_equal (errno, EIO);
  backing_get_stats (b, &s);
  assert_true (s.down);

  /* For ever. */
  kill (server, SIGCONT);
  backing_shut (b);
  assert_int_equal (request_run (b, BACKING_WRITE, buf, 0, LENGTH), EIO);
  backing_drain (b);
  backing_close (b);
  free (buf);
}

/* With a key that the URI names, as libnbd takes it. */
static void
test_tls (void **state)
{
  char psk[80], arg[100], secure[300];
  struct backing_config c = { .where = secure };
  struct backing *b;
  struct reason why = { "?" };
  FILE *fp;

  (void) state;
  snprintf (psk, sizeof psk, "%s/psk", dir);
  snprintf (arg, sizeof arg, "--tls-psk=%s", psk);
  snprintf (secure, sizeof secure,
            "nbds+unix://alice@/?socket=%s&tls-psk-file=%s", sock, psk);
  fp = fopen (psk, "w");
  assert_non_null (fp);
  fputs ("alice:00112233445566778899aabbccddeeff\n", fp);
  fclose (fp);
  START_SERVER ("--tls=require", arg, "memory", "64M");
  assert_refused (uri, 0, "TLS");
  b = backing_open (&c, &why);
  if (!b)
    fail_msg ("%s: %s", secure, why.text);
  assert_int_equal (backing_start (b), 0);
  round_trip (b);
  backing_close (b);
  unlink (psk);
}

/* As nbdkit does it: opened by the parent, used by the child. */
static void
use_in_child (void *arg)
{
  struct backing *b = arg;
  char buf[4096], is[4096];

  stamp (buf, 0, sizeof buf, 40);
  check_always (backing_start (b) == 0);
  check_always (request_run (b, BACKING_WRITE, buf, 0, sizeof buf) == 0);
  check_always (backing_read (b, is, sizeof is, 0) == 0);
  check_always (memcmp (buf, is, sizeof is) == 0);
  backing_close (b);
}

static void
test_opened_before_a_fork (void **state)
{
  struct backing_config c = { .where = uri };
  struct backing *b;
  struct reason why;

  (void) state;
  START_SERVER ("memory", "4M");
  b = backing_open (&c, &why);
  assert_non_null (b);
  unit_child_succeeds (use_in_child, b);
  backing_close (b);
}

#ifdef ZRAM_FAULTS

static void
test_nth_write_fails (void **state)
{
  char buf[8 * 4096];
  struct request r[8];
  struct backing *b;

  (void) state;
  START_SERVER ("memory", "4M");
  b = start_store (0);
  stamp (buf, 0, sizeof buf, 50);
  for (unsigned nth = 1; nth <= 9; nth++) {
    unsigned failed = 0;

    fault_fail_nth ("dev.write", nth, false);
    for (unsigned i = 0; i < 8; i++)
      request_submit (b, &r[i], BACKING_WRITE, buf + i * 4096, i * 4096, 4096);
    for (unsigned i = 0; i < 8; i++)
      failed += request_wait (&r[i]) != 0;
    assert_int_equal (failed, nth <= 8);
  }
  fault_clear ();
  assert_stamped (b, 0, sizeof buf, 50);
  backing_close (b);
}

static void
test_set_up_fails (void **state)
{
  static const char *const points[] = { "alloc", "dev.nbd.connect",
                                        "dev.thread" };
  struct backing_config c = { .where = uri };

  (void) state;
  START_SERVER ("memory", "4M");
  for (unsigned p = 0; p < 3; p++) {
    struct reason why = { "" };
    struct backing *b;

    fault_fail_nth (points[p], 1, false);
    b = backing_open (&c, &why);
    assert_true (b ? backing_start (b) == -1 : why.text[0] != '\0');
    fault_clear ();
    backing_close (b);
  }
}

#endif

#define NBD_TEST(f)                            \
  {                                            \
#f, f, unit_setup, stop_after, (void *) #f \
  }

static bool
have_nbdkit (void)
{
  char command[300];

  nbdkit = getenv ("NBDKIT_PROGRAM");
  if (!nbdkit)
    nbdkit = "nbdkit";
  snprintf (command, sizeof command, "'%s' --version >/dev/null 2>&1", nbdkit);
  return system (command) == 0;
}

int
main (void)
{
  static const struct CMUnitTest tests[] = {
    NBD_TEST (test_refusals),
    NBD_TEST (test_round_trip),
    NBD_TEST (test_block_sizes_are_kept),
    NBD_TEST (test_errors_of_the_server_are_not_retried),
    NBD_TEST (test_killed_and_restarted_under_load),
    NBD_TEST (test_goes_away_and_returns),
    NBD_TEST (test_hangs_and_goes_on),
    NBD_TEST (test_idle_store_notices),
    NBD_TEST (test_another_server_is_not_taken),
    NBD_TEST (test_close_is_bounded),
    NBD_TEST (test_shut),
    NBD_TEST (test_tls),
    NBD_TEST (test_opened_before_a_fork),
#ifdef ZRAM_FAULTS
    NBD_TEST (test_nth_write_fails),
    NBD_TEST (test_set_up_fails),
#endif
  };
  int fd, r;

  if (!have_nbdkit ()) {
    puts ("skipped: no nbdkit (NBDKIT_PROGRAM)");
    return 77;
  }
  check_always (mkdtemp (dir));
  snprintf (sock, sizeof sock, "%s/sock", dir);
  snprintf (path, sizeof path, "%s/image", dir);
  snprintf (image, sizeof image, "file=%s", path);
  snprintf (uri, sizeof uri, "nbd+unix:///?socket=%s", sock);
  fd = open (path, O_RDWR | O_CREAT, 0600);
  check_always (fd != -1 && ftruncate (fd, 64 * MIB) == 0);
  close (fd);
  r = UNIT_RUN (tests);
  unlink (path);
  unlink (sock);
  rmdir (dir);
  return r;
}
