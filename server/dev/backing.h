/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Backing store: a place for bytes outside of memory.  There are three kinds;
 * the name tells them apart:
 *   PATH of a regular file    created (sparse, mode 0600) if it does not exist
 *   PATH of a block device    opened O_EXCL: not while mounted or swapped on
 *   nbd:// nbds:// nbd+unix:// nbds+unix://    any NBD server (libnbd)
 *
 * The old contents are lost, as with zram's own backing device: a backing store
 * does not outlive its server, and takes the whole file or device.  A file or
 * device is locked, so no second server and no qemu can use it.
 *
 *   the writer                  this                    backing_file, _nbd
 *   backing_submit (io)  ->  counts, checks  ->  queue -> thread: does it
 *   io->done (io)        <-  no lock held    <-  backing_complete
 *   backing_read         ->                  ->  the caller waits
 *
 * Life: backing_open (before nbdkit forks: errors reach the terminal, and the
 * privileges are those of the user who started it), backing_start (after the
 * fork: threads), use, backing_close.  Only file descriptors are opened before
 * the fork and used after it, and their locks go with them.  An NBD server is
 * asked for its size and limits before the fork, and the connection is made
 * anew after it, because libnbd's state (TLS!) should have only one owner.
 *
 * Contract for the data: a write is complete when the device (not the page
 * cache) has it, or the NBD server says so.  Only then may the only other copy
 * be freed.  Nothing here makes data survive a crash of this machine: that
 * would be useless.
 *
 * Locks: the locks inside have rank BACKING. None is held while done() runs or
 * while a thread waits for a device.
 */

#ifndef ZRAM_BACKING_H
#define ZRAM_BACKING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/compiler.h"
#include "base/reason.h"

#define BACKING_BLOCK 4096u /* bytes; the unit of writing and punching */
#define BACKING_MIN_SIZE (UINT64_C (1) << 20)

struct backing;

struct backing_config {
  const char *where;   /* path or URI; copied */
  uint64_t size;       /* bytes to use, a multiple of 4096; 0: all there is */
  unsigned threads;    /* of a file or device; 0: 4 */
  unsigned timeout_ms; /* of a request to an NBD server; 0: 30 s */
  bool no_punch;       /* leave the space of freed blocks allocated */
};

enum backing_op {
  BACKING_WRITE,
  BACKING_PUNCH, /* the bytes are not needed any more */
  BACKING_FLUSH, /* everything completed before reaches the medium */
  BACKING_READ,  /* see backing_read */
};

/* One request.  It is the caller's memory, as is the buffer; the caller does
 * not touch either from submit until done.
 */
struct backing_io {
  enum backing_op op;
  void *buf;       /* written or read; NULL for the other two */
  uint64_t offset; /* write, punch: a multiple of 4096 */
  uint64_t len;    /* write, punch: a multiple of 4096, not 0 */
  /* Called once, with no lock of this floor held, on a thread of the backing
   * or, if the backing is down, on the submitter's thread before backing_submit
   * returns.  It may take slot locks, submit, and free the io.  It must not
   * call backing_read, _drain or _close.
   */
  void (*done) (struct backing_io *io);
  void *ctx; /* done's */

  /* Set when done is called. */
  int error;   /* 0 or an errno */
  bool resent; /* the connection broke while the server had it: an earlier
                * try of it may still land, so its blocks should not be used
                * for anything else for a while, whatever 'error' says */

  /* Below this line: private to the backing, set by backing_submit. */
  struct backing_io *next;
  uint64_t deadline_ns;
  uint64_t moved; /* bytes done, if it goes in several pieces */
  uint64_t piece; /* bytes now under way */
  bool answered;  /* the piece under way is over */
  int answer;     /* with this errno, or 0 */
  struct backing *backing;
};

/* Kinds of trouble with a backing itself, and the last one that happened. */
enum backing_trouble_kind {
  BACKING_TROUBLE_WRITE,
  BACKING_TROUBLE_READ,
  BACKING_TROUBLE_LOST, /* the connection was lost, or cannot be made */
  BACKING_TROUBLES
};

struct backing_trouble {
  uint64_t at_ns; /* clock_ns; 0: never */
  char why[128];  /* the words of the system or libnbd; only printable ASCII */
};

struct backing_stats {
  uint64_t in_flight;              /* requests, reads included */
  uint64_t reads, writes, punches; /* completed without error */
  uint64_t read_bytes, write_bytes, punch_bytes;
  uint64_t read_errors, write_errors, punch_errors;
  uint64_t retries;    /* requests sent again on another connection */
  uint64_t reconnects; /* connections made after the first */
  bool down;           /* requests fail at once until it is back, or for ever */

  /* Not counted: requests that fail because the backing is down.  The cause of
   * that is.
   */
  struct backing_trouble trouble[BACKING_TROUBLES];
};

/* On failure NULL, with a message in 'why' without its key: the caller puts
 * "backing=WHERE: " before it.
 */
struct backing *backing_open (const struct backing_config *config,
                              struct reason *why) MUST_USE;

/* Start the threads.  0, or -1 with errno set: then only close it. */
int backing_start (struct backing *b) MUST_USE;

/* Waits for requests in flight.  For an NBD server they end within its timeout.
 * For a file, requests that no thread has begun fail (EIO) after the same time,
 * but it must wait for those that are in the kernel.  NULL is allowed.
 */
void backing_close (struct backing *b);

/* Constant after open. */
uint64_t backing_size (const struct backing *b);    /* bytes, whole blocks */
const char *backing_kind (const struct backing *b); /* file, device, nbd */

/* May turn false later: only the first punch shows whether the file system can
 * do it.
 */
bool backing_can_punch (const struct backing *b);

/* Read bytes [offset, offset + len), of any alignment, within the size.  0, or
 * -1 with errno set; never a part of it.  Sleeps.
 */
int backing_read (struct backing *b, void *buf, size_t len, uint64_t offset)
  MUST_USE;

/* Never waits for the device.  Failures are reported only by io->error. */
void backing_submit (struct backing *b, struct backing_io *io);

/* Waits until nothing is in flight and every done() has returned.  The caller
 * holds no lock that a done() may take.
 */
void backing_drain (struct backing *b);

/* For an end that does not wait for a backing which does not answer.  From here
 * on every request fails at once (EIO), and so do the requests in flight to an
 * NBD server.  Requests to a file that are in the kernel go on.  Any thread;
 * does not wait; cannot be undone.
 */
void backing_shut (struct backing *b);

void backing_get_stats (struct backing *b, struct backing_stats *s);

#endif /* ZRAM_BACKING_H */
