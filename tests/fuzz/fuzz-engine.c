/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Fuzz target: a disk's life, from its settings to its last audit, as the
 * input says; fuzz-disk.h has the model that it is held to.
 *
 *   input | settings, 8 bytes | operation | its choices | operation | ...
 *
 * Built and run by test-fuzz-engine.sh; a crash is repeated by giving the
 * program the file.  ZRAM_FUZZ_TRACE=1 in the environment names the operations
 * as they come.  With an evictor the same input need not do quite the same
 * twice: that is a thread of its own.
 */

#include <config.h>

#include "fuzz-disk.h"

/* No input does more than so much: it would only be slow. */
#define OPERATIONS 200

int LLVMFuzzerTestOneInput (const uint8_t *data, size_t size);

/* -- choices ------------------------------------------------------------- */

static struct zcomp_method
choose_method (struct input *in)
{
  static const char *const names[] = { "lz4", "zstd", "lz4hc", "deflate" };
  unsigned choice = take8 (in);
  struct zcomp_method m = { .format = codec_named (names[choice % 4]) };
  const struct codec *codec = codec_by_id (m.format);

  /* The highest levels need a lot of memory and time, and nothing else. */
  m.level = choice & 4 ? codec->level_min : codec->level_default;
  return m;
}

static void
choose_range (struct input *in, struct fuzzed *d, uint32_t *at, uint32_t *len)
{
  uint32_t slot_size = d->f.slot_size, kind = take8 (in);
  uint32_t slot = take_below (in, d->slots);

  *at = slot * slot_size;
  switch (kind & 3) {
  case 0: /* whole slots */
    *len = (1 + (kind >> 2) % 4) * slot_size;
    break;
  case 1: /* a small part of one, perhaps across its end */
    *at += take16 (in) % slot_size;
    *len = 1 + (kind >> 2);
    break;
  case 2: /* any range of a few slots */
    *at += take16 (in) % slot_size;
    *len = 1 + take16 (in) % (2 * slot_size);
    break;
  default: /* so many that several threads share it */
    *at += kind & 64 ? take16 (in) % slot_size : 0;
    *len = (kind >> 2) % 16 * (DISK_MOST / 16) / 4 + 1;
  }
  if (*at >= d->size)
    *at = d->size - 1;
  if (*len > d->size - *at)
    *len = d->size - *at;
}

static void
choose_data (struct input *in, struct fuzzed *d, uint32_t len)
{
  unsigned kind = take8 (in);
  struct unit_rng rng = { .s = kind >> 3 };
  uint32_t from;

  switch (kind & 7) {
  case 6: /* what stands elsewhere */
    from = take_below (in, d->slots) * d->f.slot_size;
    memset (d->data, 0, len);
    memcpy (d->data, d->model + from,
            len < d->size - from ? len : d->size - from);
    break;
  case 7: /* the input's own bytes, again and again */
    for (uint32_t i = 0; i < len; i++)
      d->data[i] = i < 16 ? (char) take8 (in) : d->data[i & 15];
    break;
  default:
    fill_kind (d->data, len, (enum kind) (kind & 7), &rng);
  }
}

/* -- requests ------------------------------------------------------------ */

static void
op_write (struct input *in, struct fuzzed *d)
{
  uint32_t at, len;

  choose_range (in, d, &at, &len);
  choose_data (in, d, len);
  if (disk_write (d->f.disk, d->data, len, at) == 0)
    model_set (d, at, len, d->data);
  else {
    excuse (d, "write");
    settle (d, at, len, d->data);
  }
}

static void
op_read (struct input *in, struct fuzzed *d)
{
  uint32_t at, len;

  choose_range (in, d, &at, &len);
  compare (d, at, len);
}

static void
op_discard (struct input *in, struct fuzzed *d)
{
  uint32_t at, len;

  choose_range (in, d, &at, &len);
  if (disk_discard (d->f.disk, at, len) == 0)
    model_set (d, at, len, NULL);
  else {
    excuse (d, "discard");
    settle (d, at, len, NULL);
  }
}

static void
op_extents (struct input *in, struct fuzzed *d)
{
  uint32_t at, len;

  choose_range (in, d, &at, &len);
  check_extents (d, at, len, len % 4 == 0);
}

static void
op_reset (struct input *in, struct fuzzed *d)
{
  if (take8 (in) % 2)
    disk_reset (d->f.disk);
  else
    disk_discard_all (d->f.disk);
  model_set (d, 0, d->size, NULL);
}

/* -- passes -------------------------------------------------------------- */

static void
op_compact (struct input *in, struct fuzzed *d)
{
  (void) in;
  (void) compactor_run (d->compactor);
}

static void
op_recompress (struct input *in, struct fuzzed *d)
{
  struct recompress_request request = { .huge = take8 (in) % 4 == 0 };
  struct pass_progress progress = { .done = 0 };
  struct recompress_totals totals;
  struct pace pace;

  request.disk = d->f.disk;
  request.first = take_below (in, d->slots);
  request.max_slots = take8 (in);
  request.threshold = take8 (in) * d->f.slot_size / 256;
  pace_init (&pace, d->f.store, NULL, 100, 100);
  if (recompressor_run (d->recompressor, &request, &pace, &progress, &totals))
    check_always (errno == EINVAL || d->trouble); /* no method */
}

static void
op_write_back (struct input *in, struct fuzzed *d)
{
  struct slot_range range = { .first = take_below (in, d->slots) };
  unsigned choice = take8 (in);
  struct writeback_request request = { .huge = (choice & 3) == 1,
                                       .incompressible = (choice & 3) == 2,
                                       .idle = (choice & 3) == 3,
                                       .disk = d->f.disk,
                                       .ranges = &range,
                                       .ranges_count = 1 };
  struct pass_progress progress = { .done = 0 };
  struct writeback_totals totals;
  struct pace pace;

  range.end = range.first + 1 + (choice >> 2) * 4;
  pace_init (&pace, d->f.store, NULL, 100, 100);
  if (writeback_run (&d->writeback, &request, &pace, &progress, &totals))
    check_always (d->held ? d->trouble : errno == ENODEV);
  else
    check_always (!totals.error || d->trouble);
}

static void
op_tidy (struct input *in, struct fuzzed *d)
{
  if (!d->held)
    return;
  /* What the store had when a connection broke is kept back a while. */
  d->held->resent = take8 (in) % 4 == 0;
  if (!d->evictor) /* which does it by itself */
    (void) backed_tidy (d->f.store->backed);
}

static void
op_idle (struct input *in, struct fuzzed *d)
{
  uint32_t first = take_below (in, d->slots);

  disk_mark_idle (d->f.disk, first, first + 1 + take8 (in), 0, 0);
}

/* -- settings ------------------------------------------------------------ */

static void
op_limit (struct input *in, struct fuzzed *d)
{
  unsigned choice = take8 (in);

  store_set_mem_limit (d->f.store, choice % 4 ? choice * 4 * KiB : 0);
  d->limited = true; /* a write begins before the limit is lifted */
  if (d->held)
    writeback_limit_set (&d->f.store->writeback_limit, choice % 8 == 1,
                         take8 (in));
  if (d->evictor)
    evictor_set_marks (d->evictor, 50 + choice % 40, 90);
}

/* The write buffer's size; else it is drained, a part of it or for room. */
static void
op_buffer (struct input *in, struct fuzzed *d)
{
  struct store *store = d->f.store;
  unsigned choice = take8 (in), n = take8 (in);
  struct drain_totals totals = { 0 };

  if (choice % 4 < 2) {
    if (buffer_set_size (&store->buffer, n / 4 * BUFFER_CHUNK) == -1)
      check_always (d->trouble);
    return;
  }
  if (choice % 8 == 7)
    (void) !drain_for_room (store);
  drain_hold (store);
  (void) drain_step_locked (store, 0, 1 + n, 1 + choice / 8, &totals);
  if (choice % 8 == 3)
    (void) buffer_trim (&store->buffer);
  drain_unhold (store);
  check_always (totals.failed == 0 || d->limited || d->trouble);
}

static void
op_workers (struct input *in, struct fuzzed *d)
{
  mutex_lock (&d->f.store->settings);
  if (store_set_workers (d->f.store, 1 + take8 (in) % 4) == -1)
    check_always (d->trouble);
  mutex_unlock (&d->f.store->settings);
}

static void
op_methods (struct input *in, struct fuzzed *d)
{
  struct zcomp_method methods[RECOMPRESS_METHODS];
  unsigned n = take8 (in) % (RECOMPRESS_METHODS + 1);

  for (unsigned i = 0; i < n; i++)
    methods[i] = choose_method (in);
  mutex_lock (&d->f.store->settings);
  recompressor_set_methods (d->recompressor, methods, n);
  claim_clear_marks (d->f.store);
  mutex_unlock (&d->f.store->settings);
}

static void
op_primary (struct input *in, struct fuzzed *d)
{
  struct zcomp_method m = choose_method (in);

  mutex_lock (&d->f.store->settings);
  if (store_set_primary (d->f.store, &m) == -1)
    check_always (d->trouble);
  mutex_unlock (&d->f.store->settings);
}

/* What stands on the disk is a dictionary; sweeping throws others away. */
static void
op_dictionary (struct input *in, struct fuzzed *d)
{
  struct zcomp_method m = choose_method (in);
  uint32_t from = take_below (in, d->slots) * d->f.slot_size;
  uint32_t size = d->size - from < 8192 ? d->size - from : 8192;
  unsigned way = take8 (in);
  struct reason why = { "" };

  (void) dictionary_sweep (d->f.store, d->recompressor);
  mutex_lock (&d->f.store->settings);
  if (zcomp_dict_add (d->f.store->zcomp, codec_by_id (m.format),
                      d->model + from, size, &m.format, &why) == 0) {
    if (way % 2)
      recompressor_set_methods (d->recompressor, &m, 1);
    else if (store_set_primary (d->f.store, &m) == -1)
      check_always (d->trouble);
  }
  mutex_unlock (&d->f.store->settings);
}

/* -- looking, and trouble ------------------------------------------------ */

static void
op_look (struct input *in, struct fuzzed *d)
{
  if (take8 (in) % 4 == 0)
    audit (d);
  if (!d->evictor)
    check_statistics (d);
}

/* For the next operation. */
static void
op_trouble (struct input *in, struct fuzzed *d)
{
  unsigned kind = take8 (in), nth = 1 + take8 (in) % 64;

  d->trouble = true;
  if (d->held && kind % 4 == 1)
    held_fail (d->held, nth, 1 + kind / 16, kind & 4 ? EIO : ENOSPC);
  else if (d->held && kind % 4 == 2)
    held_fail_reads (d->held, nth, EIO);
  else
    fault_fail_nth (NULL, nth, kind & 4);
}

static const struct operation {
  const char *name;
  void (*run) (struct input *in, struct fuzzed *d);
} operations[] = {
  { "write", op_write },
  { "write", op_write },
  { "write", op_write },
  { "write", op_write },
  { "read", op_read },
  { "read", op_read },
  { "discard", op_discard },
  { "discard", op_discard },
  { "extents", op_extents },
  { "compact", op_compact },
  { "recompress", op_recompress },
  { "write back", op_write_back },
  { "limit", op_limit },
  { "trouble", op_trouble },
  { "look", op_look },
  { "idle", op_idle },
  { "methods", op_methods },
  { "primary", op_primary },
  { "dictionary", op_dictionary },
  { "workers", op_workers },
  { "tidy", op_tidy },
  { "reset", op_reset },
  { "write back", op_write_back },
  { "trouble", op_trouble },
  { "buffer", op_buffer },
  { "buffer", op_buffer },
};

/* -- life ---------------------------------------------------------------- */

static void
open_store (struct fuzzed *d, unsigned choice, unsigned blocks)
{
  writeback_init (&d->writeback, d->f.store);
  if (!(choice & 1))
    return;
  d->held = held_attach (&d->f, 256 + blocks * 4);
  atomic_store (&d->held->base.can_punch, (choice & 2) != 0);
  blocks_set_punch (d->f.store->backed->blocks, (choice & 2) != 0);
  atomic_store (&d->f.store->promote, (choice & 4) != 0);
  if ((choice & 0x18) != 0x18)
    return;
  d->evictor = evictor_create (d->f.store, EVICT_LOW, EVICT_HIGH);
  check_always (d->evictor && evictor_start (d->evictor) == 0);
}

static void
open_disk (struct fuzzed *d, struct input *in)
{
  static const uint32_t sizes[] = { 4096, 4096,  4096, 8192,
                                    4096, 16384, 4096, 65536 };
  static char model[DISK_MOST], data[DISK_MOST], is[DISK_MOST];
  uint32_t slot_size = sizes[take8 (in) % 8], odd;
  uint32_t most = DISK_MOST / slot_size < SLOTS_MOST ? DISK_MOST / slot_size
                                                     : SLOTS_MOST;
  struct zcomp_method primary = choose_method (in);
  unsigned workers = take8 (in), choice, blocks;

  *d = (struct fuzzed){ .model = model, .data = data, .is = is };
  d->slots = 1 + take_below (in, most);
  odd = take16 (in) % slot_size;
  d->size = d->slots * slot_size - (odd & 1 ? odd : 0);
  memset (model, 0, d->size);
  choose_allocator (workers >> 7);
  fixture_open_id (&d->f, slot_size, primary.format, 1 + workers % 3, d->size);
  d->recompressor = recompressor_create (d->f.store, NULL, 0);
  d->compactor = compactor_create (d->f.store, 0, 1);
  check_always (d->recompressor && d->compactor);
  choice = take8 (in);
  blocks = take8 (in);
  open_store (d, choice, blocks);
}

static void
close_disk (struct fuzzed *d)
{
  calm (d);
  d->trouble = false;
  compare (d, 0, d->size);
  if (d->evictor)
    evictor_stop (d->evictor);
  evictor_destroy (d->evictor);
  d->evictor = NULL;
  check_statistics (d);
  check_extents (d, 0, d->size, false);
  writeback_destroy (&d->writeback);
  recompressor_destroy (d->recompressor);
  compactor_destroy (d->compactor);
  check_always (atomic_load (&d->f.store->claims) == 0);
  fixture_close (&d->f);
}

static void
run_operation (struct input *in, struct fuzzed *d)
{
  static int trace = -1;
  const struct operation *o =
    &operations[take8 (in) % (sizeof operations / sizeof *operations)];
  bool had_trouble = d->trouble;

  if (trace == -1)
    trace = getenv ("ZRAM_FUZZ_TRACE") != NULL;
  if (trace)
    fprintf (stderr, "%s%s\n", o->name, had_trouble ? ", with trouble" : "");
  o->run (in, d);
  if (had_trouble) {
    calm (d);
    d->trouble = false;
  }
}

int
LLVMFuzzerTestOneInput (const uint8_t *data, size_t size)
{
  struct input in = { data, data + size };
  struct fuzzed d;

  open_disk (&d, &in);
  for (unsigned i = 0; i < OPERATIONS && !input_is_over (&in); i++)
    run_operation (&in, &d);
  close_disk (&d);
  return 0;
}
