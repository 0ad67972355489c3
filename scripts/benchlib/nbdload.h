/* SPDX-License-Identifier: BSD-3-Clause */
/* What a run of nbdload is: its operation, and the image and model behind it.
 * See nbdload.c for the drawing.  All of struct run is set before threads
 * start and constant while they run, except `cursor` and `busy` (atomic) and
 * the entries of `model` (each written by the owner of its unit).
 */
#ifndef NBDLOAD_H
#define NBDLOAD_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PAGE 4096u
#define HOLE UINT32_MAX /* In the model: reads as zeros. */
#define MAX_CONNECTIONS 256
#define TURN 6464u /* Pages; a multiple of 256 KiB, and of no image. */

enum kind { READ, WRITE, TRIM };
enum order { RANDOM, SEQUENTIAL, SHUFFLED };

struct op {
  const char *name;
  enum kind kind;
  enum order order;
  bool timed; /* Ends after --seconds, not after --cover. */
  bool verify;
};

struct run {
  struct op op;
  const char *socket, *image_name, *model_name;
  unsigned connections, depth;
  size_t size; /* Bytes a request: one unit. */
  double seconds, cover;
  double first; /* Only the units in this part of the disk, from its start. */
  uint64_t seed;
  int cpu;     /* Run on this CPU only, or -1. */
  bool hold;   /* Keep connections until stdin ends. */
  bool simple; /* Simple replies, not structured ones. */

  const unsigned char *image;
  uint32_t image_pages, pages_per_unit;
  uint32_t *model;
  uint32_t units; /* Whole units of the disk. */
  uint32_t limit; /* Units to visit when not timed. */
  uint32_t *shuffled;
  atomic_uchar *busy;
  _Atomic uint32_t cursor;
  uint64_t deadline; /* Nanoseconds, monotonic. */
};

/* The page of the image that a page of the disk holds at first.  A disk that
 * is larger than the image holds it again and again, each time turned further.
 */
static inline uint32_t
first_content (const struct run *run, uint64_t page)
{
  return (page + page / run->image_pages * TURN) % run->image_pages;
}

/* nbdload-setup.c */
_Noreturn void fail (const char *what);
void *must_alloc (size_t count, size_t size);
uint64_t next_random (uint64_t *state);
void parse (struct run *run, int argc, char *argv[]);
void map_image (struct run *run);
void set_up (struct run *run, int64_t disk_size);

#endif /* NBDLOAD_H */
