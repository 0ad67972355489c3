/* SPDX-License-Identifier: BSD-3-Clause */
/* Deep reader: the thread that reads slots for a deep audit.
 * Contract: maint/deep_reader.h.
 */

#include <config.h>

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/mutex.h"
#include "maint/deep_reader.h"
#include "store/slot_read.h"

/* Milliseconds between two checks of 'cancel'. */
#define LOOK_MS 10

struct deep_reader {
  struct store *store;
  char *buf; /* the thread's own while it is BUSY */
  pthread_t thread;

  struct mutex lock;
  struct cond changed;
  enum { IDLE, BUSY, ANSWERED } state;
  bool left_alone; /* BUSY, and no caller waits for the answer */
  bool stop;
  uint64_t slot; /* its number in the store */
  int error;     /* ANSWERED: errno, or 0 */
};

/* Looks the disk up, which may be removed while no caller waits for the answer.
 */
static int
read_as_a_request (struct deep_reader *r, uint64_t slot)
{
  struct disk *disk;
  int error = ENOENT;

  if (store_request_begin (r->store) == -1)
    return errno;
  disk = store_disk (r->store, disk_id_of (slot));
  if (disk) {
    error = slot_read_unnoticed (disk, disk_index_of (slot), r->buf) == -1
              ? errno
              : 0;
    disk_put (disk);
  }
  store_request_end (r->store);
  return error;
}

static void *
reader_thread (void *arg)
{
  struct deep_reader *r = arg;

  mutex_lock (&r->lock);
  while (!r->stop) {
    uint64_t slot = r->slot;

    if (r->state != BUSY) {
      cond_wait (&r->changed, &r->lock);
      continue;
    }
    mutex_unlock (&r->lock);
    int error = read_as_a_request (r, slot);
    mutex_lock (&r->lock);
    r->error = error;
    r->state = r->left_alone ? IDLE : ANSWERED;
    cond_broadcast (&r->changed);
  }
  mutex_unlock (&r->lock);
  return NULL;
}

/* Wait until it is in that state; false if patience ended first. */
static bool
wait_locked (struct deep_reader *r, int state, const struct patience *p)
  REQUIRES (r->lock)
{
  while ((int) r->state != state) {
    if (patience_is_over (p))
      return false;
    cond_wait_until (&r->changed, &r->lock,
                     clock_ns () + LOOK_MS * UINT64_C (1000000));
  }
  return true;
}

static int
ask_locked (struct deep_reader *r, uint64_t slot, void *buf,
            const struct patience *p) REQUIRES (r->lock)
{
  if (!wait_locked (r, IDLE, p))
    return patience_errno (p);
  r->slot = slot;
  r->left_alone = false;
  r->state = BUSY;
  cond_broadcast (&r->changed);
  if (!wait_locked (r, ANSWERED, p)) {
    r->left_alone = true;
    return patience_errno (p);
  }
  r->state = IDLE;
  if (!r->error)
    memcpy (buf, r->buf, r->store->config.slot_size);
  return r->error;
}

int
deep_reader_read (struct deep_reader *r, struct disk *disk, uint64_t index,
                  void *buf, const struct patience *p, unsigned *requests)
{
  int error;

  if (slot_read_in_memory (disk, index, buf) == 0)
    return 0;
  if (errno != EREMOTE)
    return -1;
  ++*requests;
  mutex_lock (&r->lock);
  error = ask_locked (r, disk_slot (disk, index), buf, p);
  mutex_unlock (&r->lock);
  errno = error;
  return error ? -1 : 0;
}

struct deep_reader *
deep_reader_create (struct store *store)
{
  struct deep_reader *r = alloc_zeroed (CACHE_LINE, sizeof *r);
  int err;

  if (!r)
    return NULL;
  r->store = store;
  r->buf = alloc_zeroed (CACHE_LINE, store->config.slot_size);
  if (!r->buf) {
    free (r);
    return NULL;
  }
  mutex_init (&r->lock, RANK_LEAF);
  cond_init (&r->changed);
  err = pthread_create (&r->thread, NULL, reader_thread, r);
  if (!err)
    return r;
  cond_destroy (&r->changed);
  mutex_destroy (&r->lock);
  free (r->buf);
  free (r);
  errno = err;
  return NULL;
}

void
deep_reader_destroy (struct deep_reader *r)
{
  if (!r)
    return;
  mutex_lock (&r->lock);
  r->stop = true;
  cond_broadcast (&r->changed);
  mutex_unlock (&r->lock);
  pthread_join (r->thread, NULL);
  cond_destroy (&r->changed);
  mutex_destroy (&r->lock);
  free (r->buf);
  free (r);
}
