/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Fuzz target: objects that are not what they were.
 *
 *   input | what, 1 | method, 1 | data, 1 | edits ...
 *
 *   codec   data --compress--> object --edits--> decompress
 *   raw     the rest of the input is the object
 *   pool    the same inside an engine: damaged where it lies, then read,
 *           written in part, recompressed, written back
 *   record  the header that an object has in a backing store, or the object
 *           behind it, or what the slot says of it: refused
 *
 * Whatever the object is, decompressing either fails or makes a whole slot; it
 * reads nothing but the object, writes nothing but the slot, and the next good
 * object of the same stream is well again.  The libraries are not built with
 * sanitizers, so all buffers end at a page that nobody may touch, or begin
 * behind one.
 *
 * Built and run by test-fuzz-object.sh.
 */

#include <config.h>

#include <sys/mman.h>

#include "comp/train.h"
#include "decompress.h"
#include "fuzz-damage.h"
#include "held-backing.h"
#include "maint/recompressor.h"

#define ROOM (3 * MAX_SLOT)
#define CANARY 0xa5
#define CANARY_LEN 64
#define FILL 0x5a

int LLVMFuzzerTestOneInput (const uint8_t *data, size_t size);

/* -- rooms between pages that nobody may touch --------------------------- */

static char *in_room, *out_room;

static char *
make_room (void)
{
  size_t page = (size_t) sysconf (_SC_PAGESIZE);
  char *p = mmap (NULL, ROOM + 2 * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS,
                  -1, 0);

  check_always (p != MAP_FAILED);
  check_always (mprotect (p + page, ROOM, PROT_READ | PROT_WRITE) == 0);
  return p + page;
}

static char *
place (char *room, size_t len, bool at_end)
{
  char *p = at_end ? room + ROOM - len : room;

  memset (at_end ? p - CANARY_LEN : p + len, CANARY, CANARY_LEN);
  return p;
}

static void
check_canary (const char *p, size_t len, bool at_end)
{
  const char *c = at_end ? p - CANARY_LEN : p + len;

  for (size_t i = 0; i < CANARY_LEN; i++)
    check_always (c[i] == (char) CANARY);
}

/* -- methods ------------------------------------------------------------- */

/* Every codec, and those that take a dictionary with two of them: text, and
 * a trained one, which for zstd has tables.
 */
#define METHODS_MOST 12
#define SIZES 2

static const uint32_t slot_sizes[SIZES] = { 4096, 65536 };
static struct method {
  const struct codec *codec;
  struct dict_bytes dict; /* no bytes: none */
  struct zcomp *zcomp[SIZES];
  struct zcomp_method m; /* the same in all of them */
} methods[METHODS_MOST];
static unsigned methods_count;

static void
plain_data (void *buf, size_t len, unsigned choice)
{
  struct unit_rng rng = { .s = choice >> 3 };

  fill_kind (buf, len, (enum kind) (choice & 7) % KINDS, &rng);
}

/* Text like the data that inputs choose, whatever their seed. */
static struct dict_bytes
text_dict (void)
{
  struct dict_bytes d = { .bytes = must_alloc (8192), .size = 8192 };

  plain_data (d.bytes, d.size, KIND_TEXT);
  return d;
}

static struct dict_bytes
trained_dict (const struct codec *codec)
{
  enum { N = 256, LEN = 4096 };
  static size_t sizes[N];
  char *samples = must_alloc (N * LEN);
  struct dict_bytes d;
  struct reason why;

  for (unsigned i = 0; i < N; i++) {
    plain_data (samples + i * LEN, LEN, (i / 3) << 3 | (2 + i % 3));
    sizes[i] = LEN;
  }
  check_always (dict_train (codec, codec->level_default, samples, sizes, N,
                            8192, &d, &why) == 0);
  free (samples);
  return d;
}

static void
add_method (const struct codec *codec, struct dict_bytes dict)
{
  struct method *m = &methods[methods_count++];
  const struct zcomp_method lz4 = { codec_named ("lz4"), 1 };
  struct reason why;

  check_always (methods_count <= METHODS_MOST);
  *m = (struct method){ .codec = codec, .dict = dict };
  for (unsigned i = 0; i < SIZES; i++) {
    m->zcomp[i] = zcomp_new (&lz4, slot_sizes[i], 1);
    check_always (m->zcomp[i]);
    m->m = (struct zcomp_method){ codec_id (codec), codec->level_default };
    if (dict.size)
      check_always (zcomp_dict_add (m->zcomp[i], codec, dict.bytes, dict.size,
                                    &m->m.format, &why) == 0);
  }
}

static void
set_up (void)
{
  const struct codec *codec;

  in_room = make_room ();
  out_room = make_room ();
  for (unsigned id = CODEC_RAW + 1; id < CODEC_IDS; id++) {
    if (!(codec = codec_by_id (id)))
      continue;
    add_method (codec, (struct dict_bytes){ .size = 0 });
    if (codec->dict) {
      add_method (codec, text_dict ());
      add_method (codec, trained_dict (codec));
    }
  }
}

/* -- decompressing ------------------------------------------------------- */

/* How far the libraries, which have no counters, have got: libFuzzer takes
 * these as new branches.
 */
__attribute__ ((used, section ("__libfuzzer_extra_counters"))) static uint8_t
  reached[METHODS_MOST][SIZES][2][24];

static unsigned
log_of (size_t n)
{
  return n ? 64 - (unsigned) __builtin_clzll (n) : 0;
}

static void
note_reached (const struct method *m, unsigned size, bool good, const char *out)
{
  size_t n = slot_sizes[size];

  while (n > 0 && out[n - 1] == FILL)
    n--;
  reached[m - methods][size][good][log_of (n)] = 1;
}

/* NULL if it is damaged. */
static const char *
decompress (const struct method *m, unsigned size, const void *object,
            size_t len, bool at_end)
{
  uint32_t slot_size = slot_sizes[size];
  char *src = place (in_room, len, at_end);
  char *dst = place (out_room, slot_size, !at_end);
  int r;

  memcpy (src, object, len);
  memset (dst, FILL, slot_size);
  errno = 0;
  r = decompress_at_once (m->zcomp[size], m->m.format, src, len, dst,
                          slot_size);
  check_always (r == 0 || (r == -1 && errno == EIO));
  check_canary (src, len, at_end);
  check_canary (dst, slot_size, !at_end);
  check_always (memcmp (src, object, len) == 0);
  note_reached (m, size, r == 0, dst);
  return r == 0 ? dst : NULL;
}

/* Returns the object's size; 0 if it does not fit. */
static size_t
compress (const struct method *m, unsigned size, const void *data,
          uint8_t *object)
{
  struct zcomp_stream *stream = zcomp_stream_get (m->zcomp[size]);
  const void *out;
  ssize_t n = zcomp_compress (stream, &m->m, data, slot_sizes[size],
                              slot_sizes[size], &out);

  check_always (n >= 0);
  memcpy (object, out, (size_t) n);
  zcomp_stream_put (stream);
  return (size_t) n;
}

static void
fuzz_codec (struct input *in, const struct method *m, unsigned choice, bool raw)
{
  static char data[MAX_SLOT];
  static uint8_t good[MAX_SLOT], bad[2 * MAX_SLOT];
  unsigned size = choice & 1;
  size_t n, len;
  const char *is;

  plain_data (data, slot_sizes[size], choice >> 1);
  n = compress (m, size, data, good);
  if (n == 0)
    return;
  if (raw) {
    len = (size_t) (in->end - in->p);
    memcpy (bad, in->p, len);
  }
  else {
    memcpy (bad, good, n);
    edit_some (in, bad, n);
    len = edit_length (in, bad, n, sizeof bad);
  }
  if (len == 0)
    return;
  is = decompress (m, size, bad, len, choice & 2);
  if (len == n && memcmp (good, bad, n) == 0)
    check_always (is);
  is = decompress (m, size, good, n, choice & 4);
  check_always (is && memcmp (is, data, slot_sizes[size]) == 0);
}

/* -- in the pool --------------------------------------------------------- */

#define SLOTS 4u
#define BROKEN 1u /* that one */

static struct fixture f;

static void
open_engine (const struct method *m, uint32_t slot_size)
{
  struct zcomp_method primary = { codec_id (m->codec), m->m.level };
  struct reason why;

  fixture_open_id (&f, slot_size, primary.format, 1, SLOTS * slot_size);
  (void) held_attach (&f, 256);
  if (m->dict.size) {
    check_always (zcomp_dict_add (f.store->zcomp, m->codec, m->dict.bytes,
                                  m->dict.size, &primary.format, &why) == 0);
    check_always (store_set_primary (f.store, &primary) == 0);
  }
}

static void
damage_object (struct input *in) NO_THREAD_SAFETY_ANALYSIS
{
  struct slot *s = slot_table_write_lock (&f.disk->table, BROKEN);
  uint64_t handle;

  if (!s) /* all zeros: there is no leaf */
    return;
  if (slot_meta_state (slot_load_meta (s)) == SLOT_OBJECT) {
    edit_some (in,
               (void *) (uintptr_t) pool_pin (f.store->pool, &s->cell, &handle),
               slot_meta_size (slot_load_meta (s)));
    pool_unpin (f.store->pool, handle);
  }
  slot_write_unlock (s);
}

static void
read_broken (uint32_t at, uint32_t len, bool at_end)
{
  char *buf = place (out_room, len, at_end);
  int r = disk_read (f.disk, buf, len, BROKEN * f.slot_size + at);

  check_always (r == 0 || errno == EIO);
  check_canary (buf, len, at_end);
}

static void
recompress_all (void)
{
  static const struct recompress_request all = { .priority = 0 };
  struct zcomp_method zstd = { codec_named ("zstd"), 1 };
  struct recompressor *r = recompressor_create (f.store, &zstd, 1);
  struct pass_progress progress = { .done = 0 };
  struct recompress_totals totals;
  struct pace pace;

  check_always (r);
  pace_init (&pace, f.store, NULL, 100, 100);
  check_always (recompressor_run (r, &all, &pace, &progress, &totals) == 0);
  recompressor_destroy (r);
}

/* Damaged or not, objects go to the store as they are. */
static void
write_back_all (void)
{
  struct batch_writer *w = batch_writer_create (f.store);

  check_always (w);
  for (unsigned i = 0; i < SLOTS; i++)
    if (fixture_state (&f, i) == SLOT_OBJECT)
      check_always (held_put (&f, w, i) == PUT_DONE);
  batch_writer_destroy (w);
}

static void
use_broken (struct input *in)
{
  uint32_t at = take_below (in, f.slot_size), len;
  char part[16] = "part";

  len = 1 + take_below (in, f.slot_size - at);
  switch (take8 (in) % 5) {
  case 0:
    read_broken (0, f.slot_size, at % 2);
    break;
  case 1:
    read_broken (at, len, at % 2);
    break;
  case 2:
    len = len < sizeof part ? len : sizeof part;
    if (disk_write (f.disk, part, len, BROKEN * f.slot_size + at) == -1)
      check_always (errno == EIO);
    break;
  case 3:
    recompress_all ();
    break;
  default:
    write_back_all ();
  }
}

static void
fuzz_pool (struct input *in, const struct method *m, unsigned choice)
{
  static char data[SLOTS * MAX_SLOT];
  uint32_t slot_size = slot_sizes[choice & 1];
  struct reason why;

  choose_allocator (choice >> 7);
  open_engine (m, slot_size);
  for (unsigned i = 0; i < SLOTS; i++)
    plain_data (data + i * slot_size, slot_size, (choice >> 1) + (i << 3));
  must_write (&f, data, SLOTS * slot_size, 0);
  damage_object (in);
  for (unsigned i = 0; i < 8 && !input_is_over (in); i++)
    use_broken (in);
  must_hold (&f, data, BROKEN * slot_size, 0);
  must_hold (&f, data + (BROKEN + 1) * slot_size,
             (SLOTS - BROKEN - 1) * slot_size, (BROKEN + 1) * slot_size);
  if (store_audit (f.store, false, &why) == -1) {
    fprintf (stderr, "audit: %s\n", why.text);
    abort ();
  }
  must_write (&f, data, slot_size, BROKEN * slot_size);
  must_hold (&f, data, slot_size, BROKEN * slot_size);
  fixture_close (&f);
}

/* -- records ------------------------------------------------------------- */

/* What the slot says of the record is wrong in some way. */
static void
check_wrong_place (const struct backed *b, const void *record, uint64_t at,
                   uint64_t slot, unsigned format, uint32_t size,
                   unsigned wrong)
{
  uint64_t bit = UINT64_C (1) << wrong % 64;

  check_always (!record_check (b, record, at, slot ^ bit, format, size));
  check_always (!record_check (b, record, at ^ bit, slot, format, size));
  check_always (
    !record_check (b, record, at, slot, format ^ 1u << wrong % 5, size));
  if (wrong + 1 < size)
    check_always (!record_check (b, record, at, slot, format, 1 + wrong));
}

/* A changed record passes with a probability of 2^-32. */
static void
fuzz_record (struct input *in, unsigned choice)
{
  static struct backed *b;
  uint8_t record[RECORD_HEADER + 300], sealed[sizeof record];
  uint32_t size = 1 + take_below (in, 300);
  uint64_t slot = (uint64_t) choice << take8 (in) % 57;
  uint64_t at = (uint64_t) take16 (in) << take8 (in) % 48;
  unsigned format = take8 (in) % FORMATS;

  if (!b)
    b = backed_create (&held_open (256)->base);
  check_always (b);
  b->secret = 1; /* the same input, the same record */
  plain_data (record + RECORD_HEADER, size, choice);
  record_seal (b, record, at, slot, format, size);
  memcpy (sealed, record, record_bytes (size));
  check_always (record_check (b, record, at, slot, format, size));
  check_wrong_place (b, record, at, slot, format, size, take8 (in));
  edit_some (in, record, record_bytes (size));
  check_always (record_check (b, record, at, slot, format, size) ==
                (memcmp (record, sealed, record_bytes (size)) == 0));
}

int
LLVMFuzzerTestOneInput (const uint8_t *data, size_t size)
{
  struct input in = { data, data + size };
  const struct method *m;
  unsigned what, choice;

  if (!methods_count)
    set_up ();
  if (size > MAX_SLOT)
    return 0;
  what = take8 (&in);
  m = &methods[take8 (&in) % methods_count];
  choice = take8 (&in);
  if (what % 16 == 15)
    fuzz_pool (&in, m, choice);
  else if (what % 16 == 14)
    fuzz_record (&in, choice);
  else
    fuzz_codec (&in, m, choice, what % 2);
  return 0;
}
