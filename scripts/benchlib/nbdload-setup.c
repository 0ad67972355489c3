/* SPDX-License-Identifier: BSD-3-Clause */
/* nbdload, before the load: the command line, the mapped image, the model. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "nbdload.h"

#define MAX_PAGES 0x7fffffff /* Of a disk: 8 TiB. */

/* clang-format off */
static const struct op ops[] = {
  { "randread", READ, RANDOM, true, false },
  { "randwrite", WRITE, RANDOM, true, false },
  { "seqread", READ, SEQUENTIAL, true, false },
  { "fill", WRITE, SEQUENTIAL, false, false },
  { "verify", READ, SEQUENTIAL, false, true },
  { "overwrite", WRITE, SHUFFLED, false, false },
  { "discard", TRIM, SHUFFLED, false, false },
  { "discardall", TRIM, SEQUENTIAL, false, false },
  { NULL }
};
/* clang-format on */

_Noreturn void
fail (const char *what)
{
  fprintf (stderr, "nbdload: %s: %s\n", what, strerror (errno));
  exit (EXIT_FAILURE);
}

void *
must_alloc (size_t count, size_t size)
{
  void *p = calloc (count, size);

  if (p == NULL)
    fail ("calloc");
  return p;
}

/* A 64-bit linear congruential step, its high half folded down. */
uint64_t
next_random (uint64_t *state)
{
  uint64_t x = *state = *state * 6364136223846793005u + 1442695040888963407u;

  x ^= x >> 33;
  return x * 0xff51afd7ed558ccdu >> 11;
}

void
map_image (struct run *run)
{
  int fd = open (run->image_name, O_RDONLY | O_CLOEXEC);
  struct stat st;

  if (fd == -1 || fstat (fd, &st) == -1)
    fail (run->image_name);
  run->image_pages = st.st_size / PAGE;
  run->image = mmap (NULL, st.st_size, PROT_READ, MAP_SHARED | MAP_POPULATE, fd,
                     0);
  if (run->image == MAP_FAILED)
    fail (run->image_name);
  close (fd);
}

/* Map the model, or make one that says that the disk holds the image. */
static void
map_model (struct run *run, uint64_t pages)
{
  int fd = -1, flags = MAP_PRIVATE | MAP_ANONYMOUS;
  size_t bytes = pages * sizeof *run->model;
  struct stat st = { .st_size = 0 };

  if (run->model_name != NULL) {
    flags = MAP_SHARED;
    fd = open (run->model_name, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (fd == -1 || fstat (fd, &st) == -1 || ftruncate (fd, bytes) == -1)
      fail (run->model_name);
  }
  run->model = mmap (NULL, bytes, PROT_READ | PROT_WRITE, flags, fd, 0);
  if (run->model == MAP_FAILED)
    fail ("model");
  if (fd != -1)
    close (fd);
  if ((size_t) st.st_size != bytes)
    for (uint64_t i = 0; i < pages; ++i)
      run->model[i] = first_content (run, i);
}

/* Fisher and Yates, of which the first `limit` units will be used. */
static void
shuffle (struct run *run)
{
  uint64_t state = run->seed ^ 0x5bd1e995;

  run->shuffled = must_alloc (run->units, sizeof *run->shuffled);
  for (uint32_t i = 0; i < run->units; ++i)
    run->shuffled[i] = i;
  for (uint32_t i = 0; i + 1 < run->units; ++i) {
    uint32_t j = i + next_random (&state) % (run->units - i);
    uint32_t t = run->shuffled[i];

    run->shuffled[i] = run->shuffled[j];
    run->shuffled[j] = t;
  }
}

void
set_up (struct run *run, int64_t disk_size)
{
  run->pages_per_unit = run->size / PAGE;
  if (disk_size / PAGE > MAX_PAGES) {
    fprintf (stderr, "nbdload: the disk is too large\n");
    exit (EXIT_FAILURE);
  }
  if (run->op.kind == WRITE && run->op.order == SEQUENTIAL &&
      disk_size > (int64_t) run->image_pages * PAGE &&
      (run->image_pages | TURN) % run->pages_per_unit != 0) {
    fprintf (stderr, "nbdload: units of that size would run over the end of "
                     "the image\n");
    exit (EXIT_FAILURE);
  }
  map_model (run, disk_size / PAGE);
  run->units = run->first * (disk_size / run->size);
  if (run->units < 2 * (uint64_t) run->depth * run->connections &&
      run->op.order == RANDOM) {
    fprintf (stderr, "nbdload: the disk is too small for that depth\n");
    exit (EXIT_FAILURE);
  }
  run->limit = run->cover * run->units;
  run->busy = must_alloc (run->units, sizeof *run->busy);
  if (run->op.order == SHUFFLED)
    shuffle (run);
}

/* ---- Command line ---- */

static unsigned long long
number (const char *option, const char *text, unsigned long long max)
{
  char *end;
  unsigned long long n = strtoull (text, &end, 10);

  if (end == text || *end != '\0' || n > max) {
    fprintf (stderr, "nbdload: --%s: %s is not a number up to %llu\n", option,
             text, max);
    exit (EXIT_FAILURE);
  }
  return n;
}

static void
choose_op (struct run *run, const char *name)
{
  for (const struct op *op = ops; op->name != NULL; ++op) {
    if (strcmp (op->name, name) == 0) {
      run->op = *op;
      return;
    }
  }
  fprintf (stderr, "nbdload: --op: %s is none of", name);
  for (const struct op *op = ops; op->name != NULL; ++op)
    fprintf (stderr, " %s", op->name);
  fprintf (stderr, "\n");
  exit (EXIT_FAILURE);
}

/* clang-format off */
static const struct option options[] = {
  { "op", 1, NULL, 'o' }, { "socket", 1, NULL, 's' },
  { "image", 1, NULL, 'i' }, { "model", 1, NULL, 'm' },
  { "connections", 1, NULL, 'c' }, { "depth", 1, NULL, 'd' },
  { "size", 1, NULL, 'b' }, { "seconds", 1, NULL, 't' },
  { "cover", 1, NULL, 'f' }, { "first", 1, NULL, 'F' }, { "seed", 1, NULL, 'r' },
  { "cpu", 1, NULL, 'p' }, { "hold", 0, NULL, 'h' },
  { "verify", 0, NULL, 'v' }, { "simple", 0, NULL, 'S' },
  { NULL }
};
/* clang-format on */

static void
set_option (struct run *run, int c, const char *name)
{
  switch (c) {
  case 'o':
    choose_op (run, optarg);
    break;
  case 's':
    run->socket = optarg;
    break;
  case 'i':
    run->image_name = optarg;
    break;
  case 'm':
    run->model_name = optarg;
    break;
  case 'c':
    run->connections = number (name, optarg, MAX_CONNECTIONS);
    break;
  case 'd':
    run->depth = number (name, optarg, 4096);
    break;
  case 'b':
    run->size = number (name, optarg, 32 << 20);
    break;
  case 't':
    run->seconds = atof (optarg);
    break;
  case 'f':
    run->cover = atof (optarg);
    break;
  case 'F':
    run->first = atof (optarg);
    break;
  case 'r':
    run->seed = number (name, optarg, UINT64_MAX);
    break;
  case 'p':
    run->cpu = number (name, optarg, CPU_SETSIZE - 1);
    break;
  case 'h':
    run->hold = true;
    break;
  case 'v':
    run->op.verify = true;
    break;
  case 'S':
    run->simple = true;
    break;
  default:
    exit (EXIT_FAILURE);
  }
}

void
parse (struct run *run, int argc, char *argv[])
{
  int c, index;

  while ((c = getopt_long (argc, argv, "", options, &index)) != -1)
    set_option (run, c, c == '?' ? "" : options[index].name);
  if (optind != argc || run->op.name == NULL || run->socket == NULL ||
      run->image_name == NULL || run->connections == 0 || run->depth == 0 ||
      run->size == 0 || run->size % PAGE != 0 || run->seconds <= 0 ||
      run->cover < 0 || run->cover > 1 || run->first <= 0 || run->first > 1) {
    fprintf (stderr,
             "usage: nbdload --op OP --socket PATH --image FILE "
             "[--model FILE] [--connections N]\n  [--depth N] [--size BYTES] "
             "[--seconds S | --cover FRACTION] [--first FRACTION] "
             "[--seed N] [--cpu N]\n"
             "  [--verify] [--hold] [--simple]\n");
    exit (EXIT_FAILURE);
  }
}
