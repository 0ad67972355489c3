/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Shared by both sides of the control socket. docs/protocol.md describes every
 * method.
 *
 *   client                                      server
 *     {"jsonrpc":"2.0","id":1,"method":"stats"}\n   -->
 *     <--   {"jsonrpc":"2.0","id":1,"result":{…}}\n
 *
 * A stream socket, JSON-RPC 2.0, UTF-8, one object a line in both directions,
 * no batches.  The requests of one connection are answered in their order.
 */

#ifndef ZRAM_PROTOCOL_H
#define ZRAM_PROTOCOL_H

/* Grows when an answer loses a field or a method changes its meaning; new
 * fields, parameters and methods do not change it.
 */
#define ZRAM_PROTOCOL_VERSION 1

/* -- limits ------------------------------------------------------------- */

/* Bytes of a request's line, without the \n. */
#define ZRAM_REQUEST_MAX 65536

/* Bytes of answers that a client may leave unread.  Over that its requests
 * wait, and after some seconds in which it reads nothing it is closed.
 */
#define ZRAM_UNREAD_MAX (1 << 20)

/* The most connections at a time; with few descriptors it is less. */
#define ZRAM_CLIENTS_MAX 256

/* Slots that one block_state looks at, and cells of one map. */
#define ZRAM_BLOCK_STATE_MAX 65536
#define ZRAM_MAP_CELLS_MAX 65536

/* Finished jobs that can be asked for. */
#define ZRAM_JOBS_KEPT 16

/* -- error codes -------------------------------------------------------- */

enum zram_error {
  ZRAM_ERROR_PARSE = -32700,   /* not JSON */
  ZRAM_ERROR_REQUEST = -32600, /* not a request, or longer than allowed */
  ZRAM_ERROR_METHOD = -32601,  /* no such method */
  ZRAM_ERROR_PARAMS = -32602,  /* message: parameter, value, what is allowed */
  ZRAM_ERROR_REFUSED = 1,      /* message: why not now */
  ZRAM_ERROR_INTERNAL = 2,     /* message: what failed */
};

/* -- methods ------------------------------------------------------------ */

#define ZRAM_VERB_VERSION "version"
#define ZRAM_VERB_STATS "stats"
#define ZRAM_VERB_CLASSES "classes"
#define ZRAM_VERB_BLOCK_STATE "block_state"
#define ZRAM_VERB_MAP "map"
#define ZRAM_VERB_IDLE "idle"
#define ZRAM_VERB_MEM_LIMIT "mem_limit"
#define ZRAM_VERB_WRITE_BUFFER "write_buffer"
#define ZRAM_VERB_MEM_USED_MAX "mem_used_max"
#define ZRAM_VERB_ALGORITHM "algorithm"
#define ZRAM_VERB_WORKERS "workers"
#define ZRAM_VERB_RECOMP_ALGORITHM "recomp_algorithm"
#define ZRAM_VERB_AUTO_RECOMPRESS "auto_recompress"
#define ZRAM_VERB_WRITEBACK_LIMIT "writeback_limit"
#define ZRAM_VERB_EVICT "evict"
#define ZRAM_VERB_PROMOTE "promote"
#define ZRAM_VERB_COMPACT "compact"
#define ZRAM_VERB_RECOMPRESS "recompress"
#define ZRAM_VERB_TRAIN "train"
#define ZRAM_VERB_WRITEBACK "writeback"
#define ZRAM_VERB_AUDIT "audit"
#define ZRAM_VERB_RESET "reset"
#define ZRAM_VERB_JOB "job"
#define ZRAM_VERB_JOB_CANCEL "job_cancel"
#define ZRAM_VERB_LATENCY "latency"
#define ZRAM_VERB_METRICS "metrics"

/* -- words in answers --------------------------------------------------- */

/* job: "state" */
#define ZRAM_JOB_RUNNING "running"
#define ZRAM_JOB_DONE "done"
#define ZRAM_JOB_FAILED "failed"
#define ZRAM_JOB_CANCELLED "cancelled"

/* block_state: "s", one letter for each that holds, in the kernel's order;
 * ZRAM_FLAG_NONE for each that does not.
 */
#define ZRAM_FLAGS "swhirn"
#define ZRAM_FLAG_SAME 's'           /* one word, repeated */
#define ZRAM_FLAG_WRITTEN_BACK 'w'   /* on the backing store */
#define ZRAM_FLAG_HUGE 'h'           /* stored as it is */
#define ZRAM_FLAG_IDLE 'i'           /* marked idle, not accessed since */
#define ZRAM_FLAG_RECOMPRESSED 'r'   /* by a secondary algorithm */
#define ZRAM_FLAG_INCOMPRESSIBLE 'n' /* the last secondary one did not help */
#define ZRAM_FLAG_NONE '.'

/* classes: "groups", by how full a zspage is: 0 %, up to 10, 20 … 90 %, 99 %,
 * 100 %.
 */
#define ZRAM_CLASS_GROUPS 12

#endif /* ZRAM_PROTOCOL_H */
