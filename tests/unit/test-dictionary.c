/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Dictionaries of the stored data: trained, installed only if that pays, and
 * thrown away when nothing needs them any more.
 */

#include <config.h>

#include "maint/dictionary.h"
#include "recompress-fixture.h"

#define SLOT 4096u
#define SLOTS 1500u

static struct fixture f;
static struct recompressor *r;

static const struct zcomp_method zstd_method = { 3, 3 };

/* Sentences of a few words: what one slot has, others have, too. */
static void
sentences (char *p, size_t len, struct unit_rng *rng)
{
  for (size_t i = 0; i < len;) {
    struct unit_rng word = { 7 + unit_below (rng, 500) };
    size_t n = 4 + unit_below (&word, 12);

    for (size_t k = 0; k < n && i < len; k++)
      p[i++] = (char) ('a' + unit_below (&word, 26));
    if (i < len)
      p[i++] = ' ';
  }
}

static void
slot_data (char *buf, uint64_t i, uint32_t gen)
{
  struct unit_rng rng = unit_rng (i * 1000 + gen);

  sentences (buf, SLOT, &rng);
}

static void
put (uint64_t i, uint32_t gen)
{
  char buf[SLOT];

  slot_data (buf, i, gen);
  must_write (&f, buf, SLOT, i * SLOT);
}

static void
holds (uint64_t i, uint32_t gen)
{
  char buf[SLOT];

  slot_data (buf, i, gen);
  must_hold (&f, buf, SLOT, i * SLOT);
}

static void
fill_all (unsigned slots)
{
  for (unsigned i = 0; i < slots; i++)
    put (i, 1);
}

/* lz4, recompressed with zstd. */
static void
open_disk (const char *codec, unsigned methods)
{
  assert_ptr_equal (codec_by_id (zstd_method.format), codec_find ("zstd"));
  fixture_open (&f, SLOT, codec, 2, (uint64_t) SLOTS * SLOT);
  r = recompressor_create (f.store, &zstd_method, methods);
  check_always (r);
}

static void
close_device (void)
{
  check_no_claims (&f);
  recompressor_destroy (r);
  fixture_close (&f);
}

static int
train (uint64_t samples, size_t size, struct train_result *result,
       struct reason *why)
{
  const struct train_request q = { .samples = samples, .size = size };
  struct pass_progress progress = { 0 };

  why->text[0] = '\0';
  return dictionary_train (f.store, r, &q, &progress, result, why);
}

static unsigned
dictionaries (void)
{
  unsigned n = 0;

  for (unsigned format = 0; format < FORMATS; format++)
    n += format_is_dict (format) &&
         zcomp_format_codec (f.store->zcomp, format) != NULL;
  return n;
}

static void
must_recompress (void)
{
  const struct recompress_request q = { 0 };
  struct pass_progress progress = { 0 };
  struct recompress_totals t;
  struct pace pace;

  pace_init (&pace, f.store, NULL, 100, 100);
  check_always (recompressor_run (r, &q, &pace, &progress, &t) == 0);
  check_always (t.failed == 0 && t.error == 0);
}

/* -- it pays ------------------------------------------------------------- */

static void
test_pays (void **state)
{
  struct zcomp_method methods[RECOMPRESS_METHODS];
  struct train_result result;
  struct reason why;

  (void) state;
  open_disk ("lz4", 1);
  fill_all (SLOTS);
  must_recompress ();
  int64_t bytes = fixture_count (&f, DISK_COMPR_BYTES);
  if (train (0, 4096, &result, &why) == -1)
    fail_msg ("%s", why.text);
  assert_true (result.samples + result.held_out <= SLOTS);
  assert_true (result.samples > 2 * result.held_out && result.held_out > 0);
  assert_int_equal (result.n, 2);

  unsigned installed = 0;
  assert_int_equal (recompressor_methods (r, methods), 1);
  for (unsigned i = 0; i < result.n; i++) {
    struct train_gain *g = &result.gains[i];

    assert_int_equal (g->methods, 1);
    assert_true (g->before > 0 && g->after > 0 && g->costs > g->size);
    if (!g->installed)
      continue;
    installed++;
    assert_true (g->before > g->after && g->saves >= 2 * g->costs);
    assert_ptr_equal (zcomp_format_codec (f.store->zcomp, g->format), g->codec);
    assert_int_equal (g->format, g->codec == codec_find ("zstd")
                                   ? methods[0].format
                                   : zcomp_primary (f.store->zcomp).format);
  }
  assert_true (installed > 0);
  assert_int_equal (dictionaries (), installed);
  assert_true (format_is_dict (methods[0].format));
  assert_int_equal (methods[0].level, zstd_method.level);

  /* It wins what it promised, and nothing is lost. */
  assert_int_equal (slot_meta_by (fixture_meta (&f, 7)), 0); /* cleared */
  must_recompress ();
  assert_true (fixture_count (&f, DISK_COMPR_BYTES) < bytes);
  for (unsigned i = 0; i < SLOTS; i++)
    holds (i, 1);
  assert_true (store_format_objects (f.store, methods[0].format) > 0);
  fixture_audit (&f);

  /* In use: it stays, by the method, and then by the slots. */
  assert_int_equal (dictionary_sweep (f.store, r), 0);
  recompressor_set_methods (r, &zstd_method, 1);
  struct zcomp_method lz4 = { codec_named ("lz4"), 1 };
  assert_int_equal (store_set_primary (f.store, &lz4), 0);
  (void) dictionary_sweep (f.store, r);
  assert_non_null (zcomp_format_codec (f.store->zcomp, methods[0].format));
  must_discard (&f, SLOT, (uint64_t) (SLOTS - 1) * SLOT);
  (void) dictionary_sweep (f.store, r);
  assert_int_equal (store_format_objects (f.store, methods[0].format),
                    slot_meta_format (fixture_meta (&f, 0)) ==
                      methods[0].format);
  holds (0, 1);
  must_discard (&f, 0, SLOT);
  (void) dictionary_sweep (f.store, r);
  assert_int_equal (dictionaries (), 0);

  /* Memory is as before, except for contexts that streams keep. */
  assert_int_equal (store_set_workers (f.store, 1), 0);
  assert_int_equal (store_set_workers (f.store, 2), 0);
  fixture_check_empty (&f);
  close_device ();
}

/* The primary alone. */
static void
test_primary (void **state)
{
  struct train_result result;
  struct reason why;

  (void) state;
  open_disk ("zstd", 0);
  fill_all (SLOTS);
  size_t before = zcomp_memory (f.store->zcomp);
  if (train (1000, 2048, &result, &why) == -1)
    fail_msg ("%s", why.text);
  assert_int_equal (result.n, 1);
  assert_true (result.gains[0].installed);
  assert_true (result.samples + result.held_out <= 1000);
  unsigned format = zcomp_primary (f.store->zcomp).format;
  assert_int_equal (format, result.gains[0].format);
  put (3, 2);
  assert_int_equal (slot_meta_format (fixture_meta (&f, 3)), format);
  holds (3, 2);
  assert_true (zcomp_memory (f.store->zcomp) > before);
  struct zcomp_method plain = { 3, codec_by_id (3)->level_default };
  assert_int_equal (store_set_primary (f.store, &plain), 0);
  assert_int_equal (dictionary_sweep (f.store, r), 0);
  put (3, 3);
  assert_int_equal (dictionary_sweep (f.store, r), 1);
  assert_int_equal (zcomp_memory (f.store->zcomp), before);
  close_device ();
}

/* -- it does not --------------------------------------------------------- */

static void
test_does_not_pay (void **state)
{
  struct train_result result;
  struct reason why;
  char buf[SLOT];
  struct unit_rng rng = unit_rng (1);

  (void) state;
  open_disk ("lz4", 1);
  assert_int_equal (train (0, 0, &result, &why), -1); /* empty */
  assert_true (why.text[0]);
  fill_all (TRAIN_SAMPLES_MIN - 1);
  assert_int_equal (train (0, 4096, &result, &why), -1);
  assert_true (why.text[0]);
  put (TRAIN_SAMPLES_MIN - 1, 1);
  assert_int_equal (train (TRAIN_SAMPLES_MIN - 1, 4096, &result, &why), -1);

  /* So small a disk that no dictionary can win its own size. */
  if (train (0, 65536, &result, &why) == 0)
    for (unsigned i = 0; i < result.n; i++)
      assert_false (result.gains[i].installed);
  assert_int_equal (dictionaries (), 0);

  /* Noise. */
  for (unsigned i = 0; i < 400; i++) {
    fill_kind (buf, SLOT, KIND_RANDOM, &rng);
    must_write (&f, buf, SLOT, (uint64_t) i * SLOT);
  }
  if (train (0, 4096, &result, &why) == 0)
    for (unsigned i = 0; i < result.n; i++)
      assert_false (result.gains[i].installed);
  else
    assert_true (why.text[0]);
  assert_int_equal (dictionaries (), 0);
  assert_int_equal (zcomp_primary (f.store->zcomp).format, codec_named ("lz4"));
  close_device ();

  /* A codec that takes none. */
  open_disk ("deflate", 0);
  fill_all (200);
  assert_int_equal (train (0, 4096, &result, &why), -1);
  assert_true (why.text[0]);
  close_device ();
}

static void
test_cancelled (void **state)
{
  const struct train_request q = { .size = 4096 };
  struct pass_progress progress = { 0 };
  struct train_result result;
  struct reason why;

  (void) state;
  open_disk ("zstd", 0);
  fill_all (200);
  size_t before = zcomp_memory (f.store->zcomp);
  atomic_store (&progress.cancel, true);
  assert_int_equal (dictionary_train (f.store, r, &q, &progress, &result, &why),
                    0);
  assert_int_equal (result.n, 0);
  assert_int_equal (dictionaries (), 0);
  assert_int_equal (zcomp_memory (f.store->zcomp), before);
  close_device ();
}

static unsigned
add_some (uint64_t seed)
{
  struct unit_rng rng = unit_rng (seed);
  char bytes[2000];
  struct reason why;
  unsigned format;

  sentences (bytes, sizeof bytes, &rng);
  check_always (zcomp_dict_add (f.store->zcomp, codec_find ("zstd"), bytes,
                                sizeof bytes, &format, &why) == 0);
  return format;
}

/* All formats are needed by slots: it says so.  When one is free, it goes. */
static void
test_formats_full (void **state)
{
  struct train_result result;
  struct zcomp_method plain = { 3, 3 };
  struct reason why;

  (void) state;
  open_disk ("zstd", 0);
  fill_all (SLOTS);
  for (unsigned i = 0; i < FORMAT_DICTS; i++) {
    struct zcomp_method m = { add_some (i), 3 };

    assert_int_equal (store_set_primary (f.store, &m), 0);
    put (i, 1);
    assert_int_equal (slot_meta_format (fixture_meta (&f, i)), m.format);
  }
  assert_int_equal (store_set_primary (f.store, &plain), 0);
  assert_int_equal (train (0, 2048, &result, &why), -1);
  assert_non_null (strstr (why.text, "16"));
  assert_int_equal (dictionaries (), FORMAT_DICTS);
  must_discard (&f, 5 * SLOT, SLOT);
  if (train (0, 2048, &result, &why) == -1)
    fail_msg ("%s", why.text);
  assert_true (result.gains[0].installed);
  for (unsigned i = 0; i < 40; i++)
    if (i != 5)
      holds (i, 1);
  must_discard (&f, 0, (uint64_t) SLOTS * SLOT);
  assert_int_equal (dictionary_sweep (f.store, r), FORMAT_DICTS - 1);
  close_device ();
}

/* -- settings that change meanwhile -------------------------------------- */

#ifdef ZRAM_FAULTS

struct trainer {
  int rc;
  struct train_result result;
  struct reason why;
};

static void *
train_thread (void *arg)
{
  struct trainer *t = arg;

  t->rc = train (0, 2048, &t->result, &t->why);
  return NULL;
}

/* The algorithm that was set while it trained is not taken back. */
static void
test_algorithm_changes (void **state)
{
  struct zcomp_method lz4hc = { codec_named ("lz4hc"), 9 };
  struct trainer t;
  struct unit_thread thread;

  (void) state;
  open_disk ("zstd", 0);
  fill_all (SLOTS);
  mutex_lock (&f.store->settings); /* it trains, and then waits for us */
  unit_start (&thread, train_thread, &t);
  unit_wait_asleep (&thread);
  assert_int_equal (store_set_primary (f.store, &lz4hc), 0);
  mutex_unlock (&f.store->settings);
  unit_join (&thread);
  assert_int_equal (zcomp_primary (f.store->zcomp).format, lz4hc.format);
  assert_int_equal (zcomp_primary (f.store->zcomp).level, 9);
  assert_int_equal (dictionaries (), 0);
  close_device ();
}

/* Whatever fails while it trains, for every N. */
static void
fail_each (bool ever_after)
{
  bool reached = true;

  for (uint64_t n = 1; reached && n < 400;
       n += n < 40 ? 1 + UNIT_SCALE / 4 : UNIT_SCALE) {
    struct train_result result;
    struct reason why;

    open_disk ("lz4", 1);
    fill_all (200);
    fault_fail_nth (NULL, n, ever_after);
    int rc = train (128, 512, &result, &why);
    reached = fault_reached (NULL) >= n;
    fault_clear ();
    assert_true (rc == 0 || why.text[0]);
    must_recompress ();
    for (unsigned i = 0; i < 200; i += 7)
      holds (i, 1);
    must_discard (&f, 0, (uint64_t) SLOTS * SLOT);
    close_device ();
  }
  assert_false (reached);
}

static void
test_failures (void **state)
{
  (void) state;
  fail_each (false);
  fail_each (true);
}

#endif

/* -- raced --------------------------------------------------------------- */

#define RACED 64u

static atomic_bool stop;
static atomic_uint gone;

static void *
race_writer (void *arg)
{
  unsigned id = *(unsigned *) arg;
  struct unit_rng rng = unit_rng (80 + id);

  /* Until a dictionary has gone, however slow the machine is. */
  for (uint32_t gen = 1; gen < UNIT_TIMES (4000) || atomic_load (&gone) == 0;
       gen++) {
    uint64_t i = unit_below (&rng, RACED / 2) * 2 + id;

    if (gen % 4 == 0)
      must_discard (&f, i * SLOT, SLOT);
    put (i, gen);
    holds (i, gen);
  }
  return NULL;
}

static void *
race_reader (void *arg)
{
  struct unit_rng rng = unit_rng (90);
  char buf[SLOT];

  (void) arg;
  while (!atomic_load (&stop)) {
    must_read (&f, buf, SLOT, (uint64_t) unit_below (&rng, RACED) * SLOT);
    must_read (&f, buf, 100, (uint64_t) unit_below (&rng, RACED) * SLOT + 50);
  }
  return NULL;
}

static void *
race_recompressor (void *arg)
{
  (void) arg;
  while (!atomic_load (&stop)) {
    const struct recompress_request q = { 0 };
    struct pass_progress progress = { 0 };
    struct recompress_totals t;
    struct pace pace;

    pace_init (&pace, f.store, NULL, 100, 100);
    check_always (recompressor_run (r, &q, &pace, &progress, &t) == 0);
    check_always (t.failed == 0);
  }
  return NULL;
}

/* New dictionaries for one and the other all the time. */
static void *
race_settings (void *arg)
{
  (void) arg;
  for (unsigned i = 0; !atomic_load (&stop); i++) {
    struct zcomp_method m = { 3, 3 }, lz4 = { codec_named ("lz4"), 1 };

    mutex_lock (&f.store->settings);
    m.format = add_some (i);
    if (i % 2)
      recompressor_set_methods (r, &m, 1);
    else
      check_always (store_set_primary (f.store, i % 4 ? &m : &lz4) == 0);
    mutex_unlock (&f.store->settings);
    claim_clear_marks (f.store);
    /* What few slots still hold must go before all formats are taken. */
    do
      atomic_fetch_add (&gone, dictionary_sweep (f.store, r));
    while (dictionaries () >= FORMAT_DICTS - 1 && !atomic_load (&stop));
  }
  return NULL;
}

static void
test_race (void **state)
{
  struct unit_thread writers[2], others[3];
  unsigned id[2] = { 0, 1 };

  (void) state;
  open_disk ("lz4", 1);
  atomic_store (&stop, false);
  atomic_store (&gone, 0);
  unit_start (&others[0], race_reader, NULL);
  unit_start (&others[1], race_recompressor, NULL);
  unit_start (&others[2], race_settings, NULL);
  unit_start_all (writers, 2, race_writer, id, sizeof *id);
  unit_join_all (writers, 2);
  atomic_store (&stop, true);
  unit_join_all (others, 3);
  assert_true (atomic_load (&gone) > 0);
  fixture_audit (&f);
  must_discard (&f, 0, (uint64_t) SLOTS * SLOT);
  struct zcomp_method plain = { 3, 3 };
  assert_int_equal (store_set_primary (f.store, &plain), 0);
  recompressor_set_methods (r, &plain, 1);
  (void) dictionary_sweep (f.store, r);
  assert_int_equal (dictionaries (), 0);
  close_device ();
}

int
main (void)
{
  static const struct CMUnitTest tests[] = {
    UNIT_TEST (test_pays),
    UNIT_TEST (test_primary),
    UNIT_TEST (test_does_not_pay),
    UNIT_TEST (test_cancelled),
    UNIT_TEST (test_formats_full),
#ifdef ZRAM_FAULTS
    UNIT_TEST (test_algorithm_changes),
    UNIT_TEST (test_failures),
#endif
    UNIT_TEST (test_race),
  };

  return UNIT_RUN (tests);
}
