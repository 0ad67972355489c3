/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Requests without a socket: what is parsed, what is refused, how answers
 * look; the jobs; text that grows; lines that a client sent.
 */

#include <config.h>

#include "control-fixture.h"
#include "held-backing.h"

#include "plugin/control/client.h"

static struct control_fixture c;

/* -- text ---------------------------------------------------------------- */

static void
test_text (void **state)
{
  struct unit_rng rng = unit_rng (1);
  struct text t = { 0 };
  char model[4096];
  size_t at = 0, len = 0;

  (void) state;
  assert_int_equal (text_size (&t), 0);
  assert_string_equal (text_begin (&t), "");
  for (unsigned i = 0; i < UNIT_TIMES (200000); i++) {
    unsigned n = unit_below (&rng, 30);

    if (len - at + n > sizeof model / 2 || unit_below (&rng, 3) == 0) {
      n = n < len - at ? n : (unsigned) (len - at);
      text_consume (&t, n);
      at += n;
    }
    else {
      memmove (model, model + at, len - at);
      len -= at;
      at = 0;
      for (unsigned j = 0; j < n; j++)
        model[len + j] = (char) ('a' + unit_below (&rng, 26));
      if (n % 2)
        text_add (&t, model + len, n);
      else
        text_printf (&t, "%.*s", (int) n, model + len);
      len += n;
    }
    assert_false (t.broken);
    assert_int_equal (text_size (&t), len - at);
    assert_memory_equal (text_begin (&t), model + at, len - at);
    assert_true (t.cap <= 2 * sizeof model);
  }
  text_free (&t);
}

/* No memory: what follows is dropped, and it is seen. */
static void
test_text_breaks (void **state)
{
  struct text t = { 0 };

  (void) state;
  text_puts (&t, "abc");
  assert_null (text_room (&t, SIZE_MAX / 2 + 1));
  assert_true (t.broken);
  text_puts (&t, "def");
  text_printf (&t, "%d", 5);
  assert_int_equal (text_size (&t), 3);
  text_clear (&t);
  text_puts (&t, "ghi");
  assert_false (t.broken);
  assert_int_equal (text_size (&t), 3);
  text_free (&t);
}

/* -- lines --------------------------------------------------------------- */

/* The same bytes give the same lines however they come. */
static void
test_lines (void **state)
{
  static const char said[] = "one\n\ntwo and a half\r\n\nlast";
  static const char *const lines[] = { "one", "", "two and a half\r", "",
                                       "last" };

  (void) state;
  for (unsigned step = 1; step <= sizeof said; step++) {
    struct client cl = { .fd = -1 };
    size_t given = 0, n = 0, len;
    const char *line;

    while (n < 5) {
      if (client_line (&cl, &line, &len) == CLIENT_NO_LINE) {
        size_t more = sizeof said - 1 - given;

        assert_false (cl.eof);
        more = more < step ? more : step;
        text_add (&cl.in, said + given, more);
        given += more;
        cl.eof = given == sizeof said - 1;
        continue;
      }
      assert_int_equal (len, strlen (lines[n]));
      assert_memory_equal (line, lines[n], len);
      client_line_done (&cl, len);
      n++;
    }
    assert_int_equal (client_line (&cl, &line, &len), CLIENT_NO_LINE);
    assert_true (client_is_done (&cl));
    text_free (&cl.in);
  }
}

static void
test_longest_line (void **state)
{
  char *bytes = must_alloc (ZRAM_REQUEST_MAX + 2);
  const char *line;
  size_t len;

  (void) state;
  memset (bytes, 'x', ZRAM_REQUEST_MAX + 2);
  for (unsigned over = 0; over < 2; over++)
    for (unsigned ended = 0; ended < 2; ended++) {
      struct client cl = { .fd = -1 };
      enum client_line want = over    ? CLIENT_LINE_TOO_LONG
                              : ended ? CLIENT_LINE
                                      : CLIENT_NO_LINE;

      text_add (&cl.in, bytes, ZRAM_REQUEST_MAX + over);
      if (ended)
        text_add (&cl.in, "\n", 1);
      assert_int_equal (client_line (&cl, &line, &len), want);
      text_free (&cl.in);
    }
  free (bytes);
}

/* -- requests ------------------------------------------------------------ */

struct example {
  const char *line, *answer; /* NULL: none */
};

#define ERROR(id, code, message)                                 \
  "{\"jsonrpc\":\"2.0\",\"id\":" id ",\"error\":{\"code\":" code \
  ",\"message\":\"" message "\"}}\n"

static void
test_requests (void **state)
{
  static const struct example examples[] = {
    { "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"version\"}",
      "{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{\"protocol\":1,"
      "\"version\":\"" PACKAGE_VERSION "\"}}\n" },
    { "{\"jsonrpc\":\"2.0\",\"id\":\"\\u00e4\",\"method\":\"workers\"}",
      "{\"jsonrpc\":\"2.0\",\"id\":\"\xc3\xa4\",\"result\":{\"workers\":2}}"
      "\n" },
    { "{\"jsonrpc\":\"2.0\",\"id\":null,\"method\":\"mem_limit\"}",
      "{\"jsonrpc\":\"2.0\",\"id\":null,\"result\":{\"mem_limit\":0}}\n" },
    { "{\"jsonrpc\":\"2.0\",\"method\":\"version\"}", NULL },
    { "{\"jsonrpc\":\"2.0\",\"method\":\"nonsense\"}", NULL },
    { "{\"jsonrpc\":\"2.0\",\"method\":\"stats\",\"params\":7}", NULL },
    { "[]", ERROR ("null", "-32600",
                   "a request is one object (there are no batches)") },
    { "{}", ERROR ("null", "-32600", "jsonrpc: must be \\\"2.0\\\"") },
    { "{\"jsonrpc\":\"2.0\",\"id\":2}",
      ERROR ("2", "-32600", "method: must be a string") },
    { "{\"jsonrpc\":\"2.0\",\"id\":[],\"method\":\"version\"}",
      ERROR ("null", "-32600", "id: must be a string, a number or null") },
    { "{\"jsonrpc\":\"2.0\",\"id\":3,\"method\":\"nonsense\"}",
      ERROR ("3", "-32601", "nonsense: no such method") },
    { "{\"jsonrpc\":\"2.0\",\"id\":4,\"method\":\"stats\",\"params\":[]}",
      ERROR ("4", "-32602",
             "params: must be an object, with parameters by name") },
    { "{\"jsonrpc\":\"2.0\",\"id\":5,\"method\":\"stats\","
      "\"params\":{\"a\":1}}",
      ERROR ("5", "-32602", "a: unknown parameter; there is none") },
    { "{\"jsonrpc\":\"2.0\",\"id\":6,\"method\":\"job\"}",
      ERROR ("6", "-32602",
             "id: missing; must be a whole number from 1 to "
             "9223372036854775807") },
  };

  (void) state;
  for (unsigned i = 0; i < sizeof examples / sizeof examples[0]; i++) {
    const struct example *e = &examples[i];
    char *answer = serve (&c, e->line);

    assert_string_equal (answer, e->answer ? e->answer : "");
    free (answer);
  }
}

/* An answer is one line of JSON, whatever was asked. */
static void
must_be_an_answer (const char *answer)
{
  size_t len = strlen (answer);
  json_t *json = json_loads (answer, JSON_REJECT_DUPLICATES, NULL);

  check_always (json_is_object (json));
  check_always (len > 0 && strchr (answer, '\n') == answer + len - 1);
  check_always (json_object_get (json, "id"));
  check_always (!json_object_get (json, "result") !=
                !json_object_get (json, "error"));
  json_decref (json);
}

/* Messages quote the request, cut short: also within a character. */
static void
test_long_values (void **state)
{
  static const char *const characters[] = { "x", "\xc3\xa4", "\xe2\x82\xac",
                                            "\xf0\x9f\x98\x80" };
  char value[1024], line[2048];

  (void) state;
  for (unsigned k = 0; k < 4; k++)
    for (unsigned lead = 0; lead < 4; lead++) {
      snprintf (value, sizeof value, "%.*s", (int) lead, "abcd");
      for (unsigned i = 0; i < 200; i++)
        strcat (value, characters[k]);
      for (unsigned place = 0; place < 3; place++) {
        const char *form[] = {
          "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"%s\"}",
          "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"idle\","
          "\"params\":{\"mode\":\"%s\"}}",
          "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"idle\","
          "\"params\":{\"%s\":0}}",
        };
        char *answer;

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
        snprintf (line, sizeof line, form[place], value);
#pragma GCC diagnostic pop
        answer = serve (&c, line);
        must_be_an_answer (answer);
        assert_true (strlen (answer) < 600);
        free (answer);
      }
    }
}

/* Bytes changed, dropped and repeated at random: an answer or none, nothing
 * else.  (The fuzzer does more of it.)
 */
static void
test_damaged_requests (void **state)
{
  static const char line[] =
    "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"idle\",\"params\":"
    "{\"mode\":\"range\",\"start\":0,\"count\":5}}";
  struct unit_rng rng = unit_rng (2);

  (void) state;
  for (unsigned i = 0; i < UNIT_TIMES (100000); i++) {
    size_t len = sizeof line - 1, at = unit_below (&rng, sizeof line - 1);
    char bytes[2 * sizeof line];
    char *answer;

    memcpy (bytes, line, len);
    switch (unit_below (&rng, 4)) {
    case 0:
      bytes[at] = (char) unit_below (&rng, 256);
      break;
    case 1:
      len = at;
      break;
    case 2:
      memmove (bytes + at, bytes + at + 1, --len - at);
      break;
    case 3:
      memcpy (bytes + len, line + at, len - at);
      len += len - at;
    }
    answer = serve_bytes (&c, bytes, len);
    if (*answer)
      must_be_an_answer (answer);
    free (answer);
  }
}

/* Every method has its parameters' names in order: none is unknown to it. */
static void
test_table (void **state)
{
  const struct verb *m;
  unsigned n = 0;

  (void) state;
  for (; (m = verb_at (n)) != NULL; n++) {
    assert_ptr_equal (verb_find (m->name), m);
    if (*m->params)
      must_answer (&c, m->name, "\"surely not\":1", m->params);
    must_answer (&c, m->name, "\"surely not\":1", "unknown parameter");
  }
  assert_true (n >= 17);
  assert_null (verb_find (""));
}

/* -- jobs, without their thread ------------------------------------------ */

static void
test_jobs (void **state)
{
  const struct job_request compact = { .kind = JOB_COMPACT };
  const struct job_request audit = { .kind = JOB_AUDIT, .deep = true };
  const struct job_request reset = { .kind = JOB_RESET };
  struct job job;
  struct reason why;
  uint64_t id;
  bool heeded;

  (void) state;
  assert_false (jobs_get (c.service.jobs, 0, &job));
  assert_false (jobs_cancel (c.service.jobs, 0, &heeded));
  id = jobs_begin (c.service.jobs, &compact, &why);
  assert_int_equal (id, 1);
  assert_int_equal (jobs_begin (c.service.jobs, &audit, &why), 0);
  assert_string_equal (why.text, "job 1 (compact) is running");
  must_answer (&c, "audit", "", "\"code\":1,\"message\":\"job 1 (compact)");
  must_answer (&c, "job", "\"id\":1", "\"state\":\"running\"");
  must_answer (&c, "job", "\"id\":1", "\"result\":null");
  jobs_run_current (c.service.jobs);
  must_answer (&c, "job", "\"id\":1", "\"state\":\"done\"");
  jobs_run_current (c.service.jobs); /* no job is left */

  must_answer (&c, "audit", "\"deep\":true", "{\"job\":2}");
  must_answer (&c, "job_cancel", "\"id\":2", "{\"heeded\":true}");
  jobs_run_current (c.service.jobs);
  must_answer (&c, "job", "\"id\":2", "\"state\":\"cancelled\"");
  must_answer (&c, "job", "\"id\":2", "nothing done");
  must_answer (&c, "audit", "\"deep\":true", "{\"job\":3}");
  jobs_run_current (c.service.jobs);
  must_answer (&c, "job", "\"id\":3", "\"state\":\"done\"");
  must_answer (&c, "job_cancel", "\"id\":3", "{\"heeded\":false}");
  must_answer (&c, "job", "\"id\":3", "\"state\":\"done\"");

  for (unsigned i = 4; i <= 40; i++) {
    assert_int_equal (jobs_begin (c.service.jobs, &reset, &why), i);
    jobs_run_current (c.service.jobs);
    for (unsigned k = 0; k <= 41; k++) {
      bool kept = k > 0 && k <= i && k + ZRAM_JOBS_KEPT > i;

      assert_int_equal (jobs_get (c.service.jobs, k, &job), kept);
      assert_int_equal (jobs_cancel (c.service.jobs, k, &heeded), kept);
      assert_false (heeded); /* all have ended */
      if (kept)
        assert_int_equal (job.id, k);
    }
  }
  jobs_stop (c.service.jobs);
  must_answer (&c, "compact", "", "about to end");
}

/* An audit that finds something fails, and says what. */
static void
test_failed_audit (void **state)
{
  struct text text = { 0 };

  (void) state;
  text_puts (&text, "something that compresses well enough");
  must_write (&c.f, text_begin (&text), (uint32_t) text_size (&text), 0);
  disk_count (c.f.disk, DISK_COMPR_BYTES, 1);
  must_answer (&c, "audit", "", "{\"job\":1}");
  jobs_run_current (c.service.jobs);
  must_answer (&c, "job", "\"id\":1", "\"state\":\"failed\"");
  must_answer (&c, "job", "\"id\":1", "\"sound\":false");
  disk_count (c.f.disk, DISK_COMPR_BYTES, -1);
  must_answer (&c, "audit", "", "{\"job\":2}");
  jobs_run_current (c.service.jobs);
  must_answer (&c, "job", "\"id\":2", "\"sound\":true");
  text_free (&text);
}

/* While a job needs the settings to stay, changing them is refused at once. */
static void
test_settings_are_held (void **state)
{
  (void) state;
  mutex_lock (&c.service.store->settings);
  must_answer (&c, "workers", "\"set\":1", "\"code\":1,");
  must_answer (&c, "algorithm", "\"set\":\"zstd\"", "\"code\":1,");
  must_answer (&c, "workers", "", "{\"workers\":2}");
  must_answer (&c, "algorithm", "", "\"algorithm\":\"lz4\"");
  mutex_unlock (&c.service.store->settings);
  must_answer (&c, "workers", "\"set\":1", "{\"workers\":1}");
  must_answer (&c, "algorithm", "\"set\":\"zstd\"", "\"algorithm\":\"zstd\"");
}

/* -- recompression ------------------------------------------------------- */

static void
store_text (uint64_t offset)
{
  char buf[4096];

  for (size_t i = 0; i < sizeof buf; i++)
    buf[i] = (char) ('a' + (offset / 4096 * 7 + i * i / 5 + i / 37) % 23);
  must_write (&c.f, buf, sizeof buf, offset);
}

static void
test_recompression (void **state)
{
  (void) state;
  for (unsigned i = 0; i < 4; i++)
    store_text (i * 4096);
  must_answer (&c, "recompress", "", "no secondary algorithm");
  must_answer (&c, "recomp_algorithm", "", "{\"methods\":[]}");
  must_answer (&c, "recomp_algorithm", "\"set\":\"zstd:level=9,lz4hc\"",
               "\"priority\":2,\"algorithm\":\"lz4hc\"");
  must_answer (&c, "recompress", "\"type\":\"big\"", "huge_idle");
  must_answer (&c, "recompress", "\"algorithm\":\"deflate\"",
               "one of: zstd, lz4hc");
  must_answer (&c, "recompress", "\"priority\":3", "from 1 to 2");
  must_answer (&c, "recompress", "\"priority\":1,\"algorithm\":\"zstd\"",
               "only one");
  must_answer (&c, "recomp_algorithm", "\"set\":\"zstd:level=9\"",
               "\"priority\":1,\"algorithm\":\"zstd\",\"level\":9");
  must_answer (&c, "recompress", "\"start\":1,\"count\":2", "{\"job\":1}");
  jobs_run_current (c.service.jobs);
  must_answer (&c, "job", "\"id\":1", "\"recompressed\":2,");
  must_answer (&c, "block_state", "\"start\":1,\"count\":1",
               "\"s\":\"....r.\"");
  must_answer (&c, "block_state", "\"start\":0,\"count\":1",
               "\"s\":\"......\"");
  must_answer (&c, "audit", "\"deep\":true", "{\"job\":2}");
  jobs_run_current (c.service.jobs);
  must_answer (&c, "job", "\"id\":2", "\"sound\":true");
  must_answer (&c, "train", "", "{\"job\":3}");
  jobs_run_current (c.service.jobs);
  must_answer (&c, "job", "\"id\":3", "too few slots");
}

static void
test_recompression_settings (void **state)
{
  (void) state;
  must_answer (&c, "auto_recompress", "", "{\"auto_recompress\":0}");
  must_answer (&c, "auto_recompress", "\"set\":5", "{\"auto_recompress\":5}");
  must_answer (&c, "auto_recompress", "\"set\":32768", "from 0 to 32767");
  must_answer (&c, "recomp_algorithm", "\"set\":\"lz4,lz4,lz4,lz4\"",
               "at most three");
  must_answer (&c, "recomp_algorithm", "\"set\":\"zstd:dict=x\"",
               "begin with /");
  must_answer (&c, "recomp_algorithm", "\"set\":\"zstd:dict=/nowhere\"",
               "dict=/nowhere: No such file");
  must_answer (&c, "recomp_algorithm", "\"set\":\"zstd:dict=/\"",
               "Is a directory");
  mutex_lock (&c.service.store->settings);
  must_answer (&c, "recomp_algorithm", "\"set\":\"lz4\"", "\"code\":1,");
  mutex_unlock (&c.service.store->settings);
  must_answer (&c, "recomp_algorithm", "", "{\"methods\":[]}");
  must_answer (&c, "recomp_algorithm", "\"set\":\"lz4\"",
               "\"dictionary\":null");
  must_answer (&c, "recomp_algorithm", "\"set\":\"\"", "{\"methods\":[]}");
}

/* -- the backing store ---------------------------------------------------- */

static void
test_writeback (void **state)
{
  (void) state;
  for (unsigned i = 0; i < 5; i++)
    store_text (i * 4096);
  must_answer (&c, "writeback", "\"page_index\":[0]", "\"code\":1,");
  must_answer (&c, "stats", "", "\"backing\":null");
  held_attach (&c.f, 1024);
  must_answer (&c, "writeback", "\"page_index\":[1,5000]",
               "page_index=5000: must be a list of slots from 0 to 1023");
  must_answer (&c, "writeback", "\"page_index\":[1],\"page_indexes\":[[2,3]]",
               "{\"job\":1}");
  must_answer (&c, "writeback", "\"page_index\":[4]", "job 1 (writeback)");
  jobs_run_current (c.service.jobs);
  must_answer (&c, "job", "\"id\":1", "\"slots\":3");
  must_answer (&c, "block_state", "\"start\":3,\"count\":1", "\".w....\"");
  must_answer (&c, "block_state", "\"start\":4,\"count\":1", "\"......\"");
  must_answer (&c, "audit", "\"deep\":true", "{\"job\":2}");
  jobs_run_current (c.service.jobs);
  must_answer (&c, "job", "\"id\":2", "\"sound\":true");
  /* Never taken up: nothing of it is left behind. */
  must_answer (&c, "writeback", "\"page_indexes\":[[0,4]]", "{\"job\":3}");
  jobs_destroy (c.service.jobs);
  c.service.jobs = NULL;
}

static void
test_writeback_settings (void **state)
{
  (void) state;
  must_answer (&c, "promote", "", "\"code\":1,");
  held_attach (&c.f, 16);
  must_answer (&c, "promote", "\"set\":true", "{\"promote\":true}");
  must_answer (&c, "promote", "\"set\":false", "{\"promote\":false}");
  must_answer (&c, "writeback_limit", "\"set\":7", "\"writeback_limit\":7");
  must_answer (&c, "writeback_limit", "\"set\":-7", "\"code\":-32602");
  must_answer (&c, "writeback_limit", "", "\"writeback_limit\":7");
  must_answer (&c, "writeback_limit", "\"set\":\"off\"",
               "\"writeback_limit\":null");
}

#ifdef ZRAM_FAULTS

/* No memory for contexts: an error, and nothing changed. */
static void
test_settings_fail (void **state)
{
  (void) state;
  fault_fail_nth ("codec.cctx", 2, false);
  must_answer (&c, "algorithm", "\"set\":\"zstd\"", "\"code\":2,");
  must_answer (&c, "algorithm", "", "\"algorithm\":\"lz4\",\"level\":1");
  fault_fail_nth ("codec.cctx", 2, false);
  must_answer (&c, "workers", "\"set\":5", "\"code\":2,");
  must_answer (&c, "workers", "", "{\"workers\":2}");
  fault_clear ();
  must_answer (&c, "workers", "\"set\":5", "{\"workers\":5}");
}

#endif /* ZRAM_FAULTS */

/* Clients keep a reset away, unless it is forced. */
static void
test_reset (void **state)
{
  (void) state;
  atomic_store (&c.service.clients, 2);
  must_answer (&c, "reset", "", "2 NBD clients are connected");
  must_answer (&c, "reset", "\"force\":false", "\"code\":1,");
  must_answer (&c, "reset", "\"force\":true", "{\"job\":1}");
  jobs_run_current (c.service.jobs);
  atomic_store (&c.service.clients, 0);
  must_answer (&c, "reset", "", "{\"job\":2}");
  jobs_run_current (c.service.jobs);
  must_answer (&c, "job", "\"id\":2", "\"state\":\"done\"");
}

/* ------------------------------------------------------------------------ */

static int
setup (void **state)
{
  unit_setup (state);
  control_fixture_open (&c, 4 * MiB);
  c.service.jobs = jobs_create (&c.service);
  check_always (c.service.jobs);
  return 0;
}

static int
teardown (void **state)
{
  jobs_destroy (c.service.jobs);
  control_fixture_close (&c);
  return unit_teardown (state);
}

#define RPC_TEST(f)                     \
  {                                     \
#f, f, setup, teardown, (void *) #f \
  }

int
main (void)
{
  static const struct CMUnitTest tests[] = {
    UNIT_TEST (test_text),
    UNIT_TEST (test_text_breaks),
    UNIT_TEST (test_lines),
    UNIT_TEST (test_longest_line),
    RPC_TEST (test_requests),
    RPC_TEST (test_long_values),
    RPC_TEST (test_damaged_requests),
    RPC_TEST (test_table),
    RPC_TEST (test_jobs),
    RPC_TEST (test_failed_audit),
    RPC_TEST (test_settings_are_held),
    RPC_TEST (test_recompression),
    RPC_TEST (test_recompression_settings),
    RPC_TEST (test_writeback),
    RPC_TEST (test_writeback_settings),
#ifdef ZRAM_FAULTS
    RPC_TEST (test_settings_fail),
#endif
    RPC_TEST (test_reset),
  };

  return UNIT_RUN (tests);
}
