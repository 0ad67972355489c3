/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The control server as a whole, over its socket, in this process.  A client
 * that waits delays no other.  Every knob is read while it is written and data
 * are written and verified (this is for the thread sanitizer).  The socket
 * appears and disappears.
 */

#include <config.h>

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "control-fixture.h"
#include "unbounded.h"

#include "plugin/control/control.h"
#include "plugin/control/listener.h"

static struct control_fixture c;
static struct control *control;
static char folder[64], path[80];

/* -- a client ------------------------------------------------------------ */

struct peer {
  int fd;
  FILE *fp;
  char *line;
  size_t size;
};

static void
peer_open (struct peer *p)
{
  struct sockaddr_un address = { .sun_family = AF_UNIX };

  memset (p, 0, sizeof *p);
  strcpy (address.sun_path, path);
  p->fd = socket (AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  check_always (p->fd >= 0);
  check_always (connect (p->fd, (struct sockaddr *) &address, sizeof address) ==
                0);
  p->fp = fdopen (p->fd, "r");
  check_always (p->fp);
}

static void
peer_close (struct peer *p)
{
  fclose (p->fp);
  free (p->line);
}

static void
peer_send (struct peer *p, const char *method, const char *params)
{
  check_always (dprintf (p->fd,
                         "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"%s\","
                         "\"params\":{%s}}\n",
                         method, params) > 0);
}

/* The next answer, until the next call. */
static const char *
peer_answer (struct peer *p)
{
  check_always (getline (&p->line, &p->size, p->fp) > 0);
  return p->line;
}

/* What follows "name": in the answer; -1 if it is not there. */
static long long
field (const char *answer, const char *name)
{
  char key[40];
  const char *at;

  snprintf (key, sizeof key, "\"%s\":", name);
  at = strstr (answer, key);
  return at ? strtoll (at + strlen (key), NULL, 10) : -1;
}

static const char *
peer_ask (struct peer *p, const char *method, const char *params)
{
  peer_send (p, method, params);
  return peer_answer (p);
}

static void
peer_must (struct peer *p, const char *method, const char *params,
           const char *words)
{
  const char *answer = peer_ask (p, method, params);

  if (!strstr (answer, words)) {
    fprintf (stderr, "%s {%s}: %.300s is without %s\n", method, params, answer,
             words);
    abort ();
  }
}

/* Begin a job and wait for its end; returns whether it is done. */
static bool
peer_job (struct peer *p, const char *method, const char *params)
{
  long long id = field (peer_ask (p, method, params), "job");
  char which[40];

  if (id == -1) {
    check_always (strstr (p->line, "is running"));
    return false;
  }
  snprintf (which, sizeof which, "\"id\":%lld", id);
  while (strstr (peer_ask (p, "job", which), "\"running\""))
    unit_sleep_ms (1);
  return strstr (p->line, "\"done\"");
}

/* Nothing has come from the server yet. */
static bool
peer_waits (struct peer *p)
{
  struct pollfd fd = { p->fd, POLLIN, 0 };

  return poll (&fd, 1, 0) == 0;
}

/* -- a client that waits delays no other --------------------------------- */

/* A job that waits for a pass: everybody is answered, its owner too. */
static void
test_held_pass (void **state)
{
  struct peer a, b;

  (void) state;
  peer_open (&a);
  peer_open (&b);
  compactor_hold (c.service.upkeep->compactor);
  peer_must (&a, "compact", "", "{\"job\":1}");
  for (unsigned i = 0; i < 100; i++) {
    peer_must (&b, "stats", "", "\"running\":");
    peer_must (&a, "job", "\"id\":1", "\"running\"");
    peer_must (&b, "metrics", "", "nbdzram_mem_used_bytes");
    peer_must (&b, "classes", "", "\"groups\"");
    peer_must (&b, "latency", "", "\"lock_wait\"");
    peer_must (&b, "map", "\"cells\":3", "\"cells\"");
    peer_must (&b, "mem_limit", "\"set\":0", "{\"mem_limit\":0}");
  }
  peer_must (&b, "audit", "", "job 1 (compact) is running");
  peer_must (&b, "workers", "\"set\":3", "{\"workers\":3}");
  compactor_unhold (c.service.upkeep->compactor);
  while (strstr (peer_ask (&a, "job", "\"id\":1"), "\"running\""))
    unit_sleep_ms (1);
  peer_must (&a, "job", "\"id\":1", "\"done\"");
  peer_close (&a);
  peer_close (&b);
}

/* An audit that waits for a pass has the settings already: changing them is
 * refused at once, and the event loop goes on.
 */
static void
test_held_audit (void **state)
{
  struct peer a, b;

  (void) state;
  peer_open (&a);
  peer_open (&b);
  compactor_hold (c.service.upkeep->compactor);
  peer_must (&a, "audit", "", "{\"job\":1}");
  while (!strstr (peer_ask (&b, "workers", "\"set\":3"), "a job is running"))
    unit_sleep_ms (1); /* its thread is on its way */
  peer_must (&b, "algorithm", "\"set\":\"zstd\"", "a job is running");
  peer_must (&b, "workers", "", "\"workers\":");
  peer_must (&b, "stats", "", "\"algorithm\":\"lz4\"");
  peer_must (&b, "reset", "\"force\":true", "job 1 (audit) is running");
  compactor_unhold (c.service.upkeep->compactor);
  while (strstr (peer_ask (&a, "job", "\"id\":1"), "\"running\""))
    unit_sleep_ms (1);
  peer_must (&a, "job", "\"id\":1", "\"done\"");
  peer_must (&b, "workers", "\"set\":1", "{\"workers\":1}");
  peer_close (&a);
  peer_close (&b);
}

static atomic_bool let_go;

static void *
hold_a_stream (void *arg)
{
  struct zcomp_stream *s = zcomp_stream_get (c.f.store->zcomp);

  (void) arg;
  while (!atomic_load (&let_go))
    unit_sleep_ms (1);
  zcomp_stream_put (s);
  return NULL;
}

/* Fewer workers must wait for a stream that a thread holds.  The client that
 * asked for it waits, and clients that want the same; no other does.
 */
static void
test_held_stream (void **state)
{
  struct unit_thread t[2];
  struct peer a, b, gone;

  (void) state;
  peer_open (&a);
  peer_open (&b);
  peer_open (&gone);
  atomic_store (&let_go, false);
  unit_start_all (t, 2, hold_a_stream, t, 0);
  while (zcomp_busy (c.f.store->zcomp) < 2)
    unit_sleep_ms (1);
  peer_must (&b, "stats", "", "\"streams_busy\":2");
  peer_send (&a, "workers", "\"set\":1");
  peer_send (&a, "version", "");
  peer_send (&gone, "map", "\"cells\":1");
  peer_close (&gone); /* and its answer finds no client */
  for (unsigned i = 0; i < 100; i++) {
    peer_must (&b, "stats", "", "\"streams_busy\":");
    check_always (peer_waits (&a));
  }
  atomic_store (&let_go, true);
  unit_join_all (t, 2);
  check_always (strstr (peer_answer (&a), "{\"workers\":1}"));
  check_always (strstr (peer_answer (&a), "\"protocol\"")); /* in order */
  peer_must (&b, "stats", "", "\"streams_busy\":0");
  peer_close (&a);
  peer_close (&b);
}

/* -- every knob, while it is written ------------------------------------- */

#define OWN (64 * 1024 + 100) /* bytes of a thread; not whole slots */
#define CLIENTS 2u

static atomic_bool stop;

static void *
load (void *arg)
{
  unsigned id = *(unsigned *) arg;
  struct unit_rng rng = unit_rng (id);
  char *model = must_alloc (OWN);

  while (!atomic_load (&stop)) {
    uint32_t at = unit_below (&rng, OWN);
    uint32_t len = 1 + unit_below (&rng, OWN - at);

    fill_any (model + at, len, &rng);
    must_write (&c.f, model + at, len, id * OWN + at);
    must_hold (&c.f, model + at, len, id * OWN + at);
  }
  must_hold (&c.f, model, OWN, id * OWN);
  free (model);
  return NULL;
}

static void
write_a_knob (struct peer *p, struct unit_rng *rng)
{
  static const char *const knobs[][2] = {
    { "algorithm", "\"set\":\"zstd\",\"level\":1" },
    { "algorithm", "\"set\":\"lz4\"" },
    { "workers", "\"set\":1" },
    { "workers", "\"set\":4" },
    { "mem_limit", "\"set\":1073741824" },
    { "mem_limit", "\"set\":0" },
    { "mem_used_max", "\"reset\":true" },
    { "idle", "\"mode\":\"all\"" },
    { "idle", "\"mode\":\"age\",\"seconds\":5" },
    { "idle", "\"mode\":\"range\",\"start\":3,\"count\":20" },
  };
  unsigned k = unit_below (rng, sizeof knobs / sizeof knobs[0]);
  const char *answer = peer_ask (p, knobs[k][0], knobs[k][1]);

  check_always (strstr (answer, "\"result\":") || strstr (answer, "a job is"));
}

static void *
write_knobs (void *arg)
{
  struct unit_rng rng = unit_rng (100 + *(unsigned *) arg);
  struct peer p;

  peer_open (&p);
  for (unsigned i = 0; i < UNIT_TIMES (3000); i++)
    write_a_knob (&p, &rng);
  peer_close (&p);
  return NULL;
}

static void *
read_knobs (void *arg)
{
  static const char *const verbs[][2] = {
    { "stats", "" },           { "classes", "" },
    { "latency", "" },         { "metrics", "" },
    { "mem_limit", "" },       { "mem_used_max", "" },
    { "algorithm", "" },       { "workers", "" },
    { "map", "\"cells\":20" }, { "block_state", "\"start\":0,\"count\":100" },
  };
  const unsigned n = sizeof verbs / sizeof verbs[0];
  struct peer p;

  (void) arg;
  peer_open (&p);
  for (unsigned i = 0; i < UNIT_TIMES (3000); i++)
    peer_must (&p, verbs[i % n][0], verbs[i % n][1], "\"result\":");
  peer_close (&p);
  return NULL;
}

static void *
begin_jobs (void *arg)
{
  struct peer p;

  (void) arg;
  peer_open (&p);
  for (unsigned i = 0; i < UNIT_TIMES (300); i++)
    check_always (peer_job (&p, i % 3 ? "compact" : "audit", ""));
  peer_close (&p);
  return NULL;
}

static void
test_knobs (void **state)
{
  void *(*const work[]) (void *) = { write_knobs, write_knobs, read_knobs,
                                     read_knobs, begin_jobs };
  struct unit_thread loads[CLIENTS], others[5];
  unsigned ids[5] = { 0, 1, 2, 3, 4 };

  (void) state;
  atomic_store (&stop, false);
  unit_start_all (loads, CLIENTS, load, ids, sizeof ids[0]);
  for (unsigned i = 0; i < 5; i++)
    unit_start (&others[i], work[i], &ids[i]);
  unit_join_all (others, 5);
  atomic_store (&stop, true);
  unit_join_all (loads, CLIENTS);
}

/* A reset under load: in the end all counters fit what is there. */
static void *
load_blindly (void *arg)
{
  struct unit_rng rng = unit_rng (200 + *(unsigned *) arg);
  char *buf = must_alloc (OWN);

  while (!atomic_load (&stop)) {
    uint32_t at = unit_below (&rng, OWN);
    uint32_t len = 1 + unit_below (&rng, OWN - at);

    fill_any (buf, len, &rng);
    must_write (&c.f, buf, len, at);
    must_read (&c.f, buf, len, at);
  }
  free (buf);
  return NULL;
}

static void
test_reset_under_load (void **state)
{
  unsigned ids[CLIENTS] = { 0, 1 };
  struct unit_thread t[CLIENTS];
  struct peer p;

  (void) state;
  atomic_store (&stop, false);
  unit_start_all (t, CLIENTS, load_blindly, ids, sizeof ids[0]);
  peer_open (&p);
  for (unsigned i = 0; i < UNIT_TIMES (120); i++) {
    check_always (peer_job (&p, "reset", "\"force\":true"));
    if (i % 8 == 0)
      check_always (peer_job (&p, "audit", "\"deep\":true"));
  }
  atomic_store (&stop, true);
  unit_join_all (t, CLIENTS);
  check_always (peer_job (&p, "reset", ""));
  peer_must (&p, "stats", "", "\"orig_data_size\":0,\"compr_data_size\":0,");
  peer_close (&p);
}

/* -- coming and going ---------------------------------------------------- */

/* It ends while clients are connected, requests wait and a job runs. */
static void
test_stop_in_the_middle (void **state)
{
  struct peer p[4];

  (void) state;
  for (unsigned i = 0; i < 4; i++)
    peer_open (&p[i]);
  peer_must (&p[0], "version", "", "\"protocol\"");
  peer_must (&p[1], "compact", "", "{\"job\":1}");
  for (unsigned i = 0; i < 50; i++) {
    peer_send (&p[0], "map", "\"cells\":1000");
    peer_send (&p[2], "idle", "\"mode\":\"all\"");
  }
  check_always (dprintf (p[3].fd, "{\"jsonrpc\"") > 0);
  control_close (control);
  control = NULL;
  check_always (access (path, F_OK) == -1);
  for (unsigned i = 0; i < 4; i++) {
    ssize_t n;

    while ((n = getline (&p[i].line, &p[i].size, p[i].fp)) > 0)
      ; /* until it notices */
    check_always (n == -1);
    peer_close (&p[i]);
  }
}

static void
listen_in_child (void *arg)
{
  struct listener l;
  struct reason why;

  check_always (listener_open (&l, arg, &why) == 0);
  /* Dies without a word: the socket stays. */
}

static void
test_listener (void **state)
{
  struct reason why;
  char other[120], said[2000];
  struct listener l, l2;
  struct stat st;

  (void) state;
  snprintf (other, sizeof other, "%s/other", folder);
  assert_int_equal (listener_open (&l, path, &why), -1);
  assert_non_null (strstr (why.text, "listening"));

  assert_int_equal (unit_child (listen_in_child, other, said, sizeof said), 0);
  assert_int_equal (stat (other, &st), 0);
  assert_int_equal (st.st_mode, S_IFSOCK | 0600);
  assert_int_equal (listener_open (&l, other, &why), 0);
  assert_int_equal (listener_open (&l2, other, &why), -1);
  listener_close (&l2);
  assert_int_equal (access (other, F_OK), 0);
  listener_close (&l);
  assert_int_equal (access (other, F_OK), -1);
  listener_close (&l);

  /* Opened before a fork, the socket belongs to the child: only a process
   * that adopted it removes it.
   */
  for (unsigned adopted = 0; adopted < 2; adopted++) {
    assert_int_equal (listener_open (&l, other, &why), 0);
    if (adopted)
      listener_adopt (&l);
    snprintf (said, sizeof said, "%s/none", folder);
    unit_child_succeeds (listen_in_child, said);
    assert_int_equal (unlink (said), 0);
    listener_close (&l);
    assert_int_equal (access (other, F_OK), adopted ? -1 : 0);
  }
}

/* -------------------------------------------------------------------------- */

static int
setup (void **state)
{
  struct reason why;

  unit_setup (state);
  control_fixture_open (&c, 4 * MiB);
  strcpy (folder, "/tmp/zram-unit.XXXXXX");
  check_always (mkdtemp (folder));
  snprintf (path, sizeof path, "%s/control", folder);
  control = control_open (&c.service, path, &why);
  check_always (control);
  check_always (control_start (control) == 0);
  return 0;
}

static int
teardown (void **state)
{
  control_close (control);
  check_always (rmdir (folder) == 0);
  control_fixture_close (&c);
  return unit_teardown (state);
}

#define CONTROL_TEST(f)                 \
  {                                     \
#f, f, setup, teardown, (void *) #f \
  }

int
main (void)
{
  static const struct CMUnitTest tests[] = {
    CONTROL_TEST (test_held_pass),
    CONTROL_TEST (test_held_audit),
    CONTROL_TEST (test_held_stream),
    CONTROL_TEST (test_knobs),
    CONTROL_TEST (test_reset_under_load),
    CONTROL_TEST (test_stop_in_the_middle),
    CONTROL_TEST (test_listener),
  };

  return UNIT_RUN (tests);
}
