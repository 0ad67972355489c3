/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Fuzz target: a backing store whose bytes change under the engine.
 *
 *   input | settings, 3 bytes | operation | its choices | operation | ...
 *
 *   store   | block 0         | block 1         | block 2  ...
 *           | H obj | H obj | H  obj  | H obj   |
 *               ^ a bit turned    ^ what stood elsewhere
 *
 * Of each slot is known what it must hold, and of each record of the store the
 * bytes as they were written.  So it is known whether a slot is damaged:
 * reading it must fail with EIO, as must writing a part of it, which leaves it
 * as it was; all others, and it as soon as it is mended, trimmed or written
 * anew, hold what they should.  The auditor finds nothing wrong but that.
 *
 * What is copied about may be an older record of the same slot: it is not for
 * this place.  (An older one at the same place would pass.)
 *
 * Built and run by test-fuzz-backing.sh.
 */

#include <config.h>

#include "fuzz-damage.h"
#include "held-backing.h"
#include "maint/writeback.h"

#define SLOTS 24u
#define BLOCKS 160u
#define OPERATIONS 100

int LLVMFuzzerTestOneInput (const uint8_t *data, size_t size);

static struct fixture f;
static struct held *store;
static struct writeback writeback;
static unsigned what[SLOTS];     /* generation that each slot holds */
static char parts[SLOTS];        /* the byte that its first one was set to */
static bool parted[SLOTS];       /* whether it was */
static unsigned next_generation; /* never used before */
static uint64_t lies[SLOTS];     /* where its last record went ... */
static uint64_t lay[SLOTS];      /* ... and the one before */

/* The store as the engine wrote it, while it is not this: every byte that the
 * target changes differs between the two.
 */
static char pristine[BLOCKS * BACKING_BLOCK];

/* -- what must be -------------------------------------------------------- */

static void
expected (unsigned slot, char *buf)
{
  if (what[slot])
    held_data (buf, f.slot_size, slot, what[slot]);
  else
    memset (buf, 0, f.slot_size);
  if (parted[slot])
    buf[0] = parts[slot];
}

static bool
is_backed (unsigned slot)
{
  return fixture_state (&f, slot) == SLOT_BACKED;
}

static bool
is_damaged (unsigned slot)
{
  uint64_t at = held_cell (&f, slot);
  uint32_t n = record_bytes (slot_meta_size (fixture_meta (&f, slot)));

  return is_backed (slot) && memcmp (store->bytes + at, pristine + at, n) != 0;
}

static void
check_slot (unsigned slot, uint32_t at, uint32_t len)
{
  static char want[MAX_SLOT], is[MAX_SLOT];
  bool damaged = is_damaged (slot);
  int r = disk_read (f.disk, is, len, slot * f.slot_size + at);

  check_always (r == (damaged ? -1 : 0));
  if (damaged)
    check_always (errno == EIO);
  else {
    expected (slot, want);
    check_always (memcmp (is, want + at, len) == 0);
  }
}

static void
check_all (void)
{
  struct reason why;

  for (unsigned slot = 0; slot < SLOTS; slot++)
    check_slot (slot, 0, f.slot_size);
  if (store_audit (f.store, false, &why) == -1) {
    fprintf (stderr, "audit: %s\n", why.text);
    abort ();
  }
}

/* -- requests ------------------------------------------------------------ */

static void
op_write (struct input *in)
{
  static char buf[MAX_SLOT];
  unsigned slot = take_below (in, SLOTS);

  what[slot] = ++next_generation;
  parted[slot] = false;
  expected (slot, buf);
  must_write (&f, buf, f.slot_size, slot * f.slot_size);
}

static void
op_write_part (struct input *in)
{
  unsigned slot = take_below (in, SLOTS);
  bool damaged = is_damaged (slot);
  char byte = (char) take8 (in);
  int r = disk_write (f.disk, &byte, 1, slot * f.slot_size);

  check_always (r == (damaged ? -1 : 0));
  if (damaged)
    check_always (errno == EIO);
  else {
    parts[slot] = byte;
    parted[slot] = true;
  }
}

static void
op_discard (struct input *in)
{
  unsigned slot = take_below (in, SLOTS);

  must_discard (&f, slot * f.slot_size, f.slot_size);
  what[slot] = 0;
  parted[slot] = false;
}

static void
op_read (struct input *in)
{
  unsigned slot = take_below (in, SLOTS);
  uint32_t at = take_below (in, f.slot_size);

  check_slot (slot, at, 1 + take_below (in, f.slot_size - at));
}

/* -- the store ----------------------------------------------------------- */

static void
write_back (uint64_t first, uint64_t end)
{
  struct slot_range range = { first, end };
  struct writeback_request request = { .disk = f.disk,
                                       .ranges = &range,
                                       .ranges_count = 1 };
  struct pass_progress progress = { .done = 0 };
  struct writeback_totals totals;
  struct pace pace;

  pace_init (&pace, f.store, NULL, 100, 100);
  check_always (
    writeback_run (&writeback, &request, &pace, &progress, &totals) == 0);
  check_always (totals.error == 0);
}

/* Written blocks have the right bytes.  The old ones, which may be damaged,
 * belong to no slot now.
 */
static void
op_write_back (struct input *in)
{
  bool was[SLOTS];
  unsigned first = take_below (in, SLOTS);

  for (unsigned slot = 0; slot < SLOTS; slot++)
    was[slot] = is_backed (slot);
  write_back (first, first + 1 + take8 (in) % SLOTS);
  for (unsigned slot = 0; slot < SLOTS; slot++)
    if (is_backed (slot) && !was[slot]) {
      uint64_t at = held_cell (&f, slot);

      lay[slot] = lies[slot];
      lies[slot] = at;
      memcpy (pristine + at, store->bytes + at,
              record_bytes (slot_meta_size (fixture_meta (&f, slot))));
    }
}

/* Unused blocks are punched, so that they read as zeroes. */
static void
op_tidy (struct input *in)
{
  (void) in;
  (void) backed_tidy (f.store->backed);
}

static void
op_promote (struct input *in)
{
  atomic_store (&f.store->promote, take8 (in) % 2);
}

/* -- damage -------------------------------------------------------------- */

/* A slot's record, or (none is there) a part of the store. */
static char *
choose_bytes (struct input *in, uint32_t *len)
{
  unsigned slot = take_below (in, SLOTS);

  if (is_backed (slot)) {
    *len = record_bytes (slot_meta_size (fixture_meta (&f, slot)));
    return store->bytes + held_cell (&f, slot);
  }
  *len = 4 * BACKING_BLOCK;
  return store->bytes + take_below (in, BLOCKS - 4) * BACKING_BLOCK;
}

static void
op_damage (struct input *in)
{
  uint32_t len;
  char *p = choose_bytes (in, &len);

  edit_some (in, p, len);
}

/* Of the header, where there is little to hit. */
static void
op_damage_header (struct input *in)
{
  uint32_t len;
  char *p = choose_bytes (in, &len);

  edit_some (in, p, RECORD_HEADER);
}

/* Another slot's record, whole, where this one's should be. */
static void
op_misplace (struct input *in)
{
  uint32_t from_len, to_len;
  const char *from = choose_bytes (in, &from_len);
  char *to = choose_bytes (in, &to_len);

  memmove (to, from, from_len < to_len ? from_len : to_len);
}

/* What the slot held before, from where that lay. */
static void
op_replay (struct input *in)
{
  unsigned slot = take_below (in, SLOTS);
  uint64_t at = held_cell (&f, slot);
  uint32_t n = record_bytes (slot_meta_size (fixture_meta (&f, slot)));

  if (is_backed (slot) && lay[slot] + n <= BLOCKS * BACKING_BLOCK)
    memmove (store->bytes + at, store->bytes + lay[slot], n);
}

/* A block that lost its contents, or got a neighbour's. */
static void
op_damage_block (struct input *in)
{
  unsigned n = take_below (in, BLOCKS), from = take_below (in, BLOCKS);
  char *to = store->bytes + n * BACKING_BLOCK;

  if (take8 (in) % 2)
    memset (to, 0, BACKING_BLOCK);
  else
    memmove (to, store->bytes + from * BACKING_BLOCK, BACKING_BLOCK);
}

/* As it was. */
static void
op_mend (struct input *in)
{
  uint32_t len;
  char *p = choose_bytes (in, &len);

  memcpy (p, pristine + (p - store->bytes), len);
}

static void (*const operations[]) (struct input *in) = {
  op_damage,  op_damage,  op_damage_header, op_misplace,   op_damage_block,
  op_mend,    op_write,   op_write,         op_write_part, op_write_part,
  op_discard, op_read,    op_read,          op_write_back, op_write_back,
  op_tidy,    op_promote, op_replay,
};

/* -- life ---------------------------------------------------------------- */

static void
open_all (struct input *in)
{
  static const char *const codecs[] = { "lz4", "zstd", "deflate", "lz4hc" };
  static const uint32_t slot_sizes[] = { 4096, 4096, 4096, 16384 };
  unsigned punch = take8 (in), sizes = take8 (in);

  choose_allocator (punch >> 7);
  punch %= 2;
  fixture_open (&f, slot_sizes[sizes % 4], codecs[take8 (in) % 4], 1,
                SLOTS * slot_sizes[sizes % 4]);
  store = held_attach (&f, BLOCKS);
  f.store->backed->secret = 1; /* the same input, the same records */
  atomic_store (&store->base.can_punch, punch);
  blocks_set_punch (f.store->backed->blocks, punch);
  writeback_init (&writeback, f.store);
  memset (what, 0, sizeof what);
  memset (parted, 0, sizeof parted);
  memset (pristine, 0, sizeof pristine);
  memset (lies, 0, sizeof lies);
  memset (lay, 0, sizeof lay);
  next_generation = 0;
}

/* Written anew all is well. */
static void
close_all (void)
{
  static char buf[MAX_SLOT];

  check_all ();
  for (unsigned slot = 0; slot < SLOTS; slot++)
    if (is_damaged (slot)) {
      what[slot] = ++next_generation;
      parted[slot] = false;
      expected (slot, buf);
      must_write (&f, buf, f.slot_size, slot * f.slot_size);
    }
  check_all ();
  writeback_destroy (&writeback);
  fixture_close (&f);
}

int
LLVMFuzzerTestOneInput (const uint8_t *data, size_t size)
{
  struct input in = { data, data + size };

  open_all (&in);
  for (unsigned slot = 0; slot < SLOTS; slot += 2) {
    uint8_t number[1] = { (uint8_t) slot };

    op_write (&(struct input){ number, number + 1 });
  }
  for (unsigned i = 0; i < OPERATIONS && !input_is_over (&in); i++)
    operations[take8 (&in) % (sizeof operations / sizeof *operations)](&in);
  close_all ();
  return 0;
}
