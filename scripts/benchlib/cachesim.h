/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * cachesim: which slots should be in memory, and which in the backing store?
 *
 *   cachesim-traces.c  makes what clients ask for, or reads it from a file
 *   cachesim-lists.c   policies as their papers have them, with lists
 *   cachesim-slots.c   policies as a slot table can have them
 *   cachesim.c         runs each policy over each trace, and counts
 *
 * A read of a slot that is in memory is a hit, any other a miss.  A write is
 * neither, but the slot is in memory afterwards whatever the policy says.
 */

#ifndef CACHESIM_H
#define CACHESIM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* -- traces ------------------------------------------------------------- */

#define OP_WRITE (UINT32_C (1) << 31)
#define OP_STEADY (UINT32_C (1) << 30) /* counts as steady state */
#define OP_SECOND (UINT32_C (1) << 29) /* … as second pass after a change */
#define OP_SLOT (OP_SECOND - 1)

struct trace {
  uint32_t *ops;
  size_t count, room;
  uint32_t slots; /* all slot numbers are below this */
};

/* The patterns by name, NULL at the end. */
const char *trace_name (unsigned number);
/* For so many slots of memory.  False if there is no such pattern. */
bool trace_make (struct trace *t, const char *name, uint32_t memory);
/* Lines "r SLOT" and "w SLOT"; the second half is the steady state.  False and
 * a message if it cannot be read.
 */
bool trace_read (struct trace *t, FILE *f, const char *name);
void trace_free (struct trace *t);

/* -- memory ------------------------------------------------------------- */

#define UNIT 64 /* what an object of a whole slot weighs */
#define NONE UINT32_MAX

struct counts {
  uint64_t reads, hits;
  uint64_t second_reads, second_hits;
  uint64_t ops;
  uint64_t dirty_out, clean_out; /* evicted slots */
};

struct cache {
  const struct trace *trace;
  uint64_t room, used; /* weights */
  uint8_t *weight;     /* of each slot, up to UNIT */
  bool *resident, *dirty;
  size_t now;    /* number of the operation */
  bool counting; /* this operation counts as steady state */
  struct counts counts;
  void *own; /* the policy's */
};

/* The policy says so; 'went' counts what had to be written. */
void cache_came (struct cache *c, uint32_t slot);
void cache_went (struct cache *c, uint32_t slot);

/* -- policies ----------------------------------------------------------- */

struct policy {
  const char *name;
  void *(*create) (struct cache *c);
  /* The slot is accessed; one that is written must be resident afterwards. */
  void (*access) (struct cache *c, uint32_t slot, bool write);
  void (*destroy) (void *own);
};

extern const struct policy list_policies[], slot_policies[]; /* name NULL */

/* An option of a policy, by name, as the command line has it. */
double option (const char *name, double otherwise);

void *must_alloc (size_t count, size_t size);
uint64_t random_next (uint64_t *state);

#endif /* CACHESIM_H */
