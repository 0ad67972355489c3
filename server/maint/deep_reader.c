/* SPDX-License-Identifier: BSD-3-Clause */

#include <config.h>

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/alloc.h"
#include "maint/deep_reader.h"
#include "store/slot_io.h"

/* Milliseconds between two looks at 'cancel'. */
#define LOOK_MS 10

struct deep_reader {
  struct store *store;
  char *buf; /* the thread's own while it is BUSY */
  pthread_t thread;

  pthread_mutex_t lock;
  pthread_cond_t changed;
  enum { IDLE, BUSY, ANSWERED } state;
  bool left_alone; /* BUSY, and nobody wants the answer any more */
  bool stop;
  uint64_t slot; /* its number in the store */
  int error;     /* ANSWERED: errno, or 0 */
};

/* The disk may be removed while nobody waits for the answer. */
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

  pthread_mutex_lock (&r->lock);
  while (!r->stop) {
    uint64_t slot = r->slot;

    if (r->state != BUSY) {
      pthread_cond_wait (&r->changed, &r->lock);
      continue;
    }
    pthread_mutex_unlock (&r->lock);
    int error = read_as_a_request (r, slot);
    pthread_mutex_lock (&r->lock);
    r->error = error;
    r->state = r->left_alone ? IDLE : ANSWERED;
    pthread_cond_broadcast (&r->changed);
  }
  pthread_mutex_unlock (&r->lock);
  return NULL;
}

/* Until it is in that state; false if patience ended before. */
static bool
wait_locked (struct deep_reader *r, int state, const struct patience *p)
{
  while ((int) r->state != state) {
    struct timespec due;

    if (patience_is_over (p))
      return false;
    clock_gettime (CLOCK_MONOTONIC, &due);
    due.tv_nsec += LOOK_MS * 1000000;
    if (due.tv_nsec >= 1000000000) {
      due.tv_sec++;
      due.tv_nsec -= 1000000000;
    }
    pthread_cond_timedwait (&r->changed, &r->lock, &due);
  }
  return true;
}

static int
ask_locked (struct deep_reader *r, uint64_t slot, void *buf,
            const struct patience *p)
{
  if (!wait_locked (r, IDLE, p))
    return patience_errno (p);
  r->slot = slot;
  r->left_alone = false;
  r->state = BUSY;
  pthread_cond_broadcast (&r->changed);
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
  pthread_mutex_lock (&r->lock);
  error = ask_locked (r, disk_slot (disk, index), buf, p);
  pthread_mutex_unlock (&r->lock);
  errno = error;
  return error ? -1 : 0;
}

struct deep_reader *
deep_reader_create (struct store *store)
{
  struct deep_reader *r = alloc_zeroed (CACHE_LINE, sizeof *r);
  pthread_condattr_t attr;
  int err;

  if (!r)
    return NULL;
  r->store = store;
  r->buf = alloc_zeroed (CACHE_LINE, store->config.slot_size);
  if (!r->buf) {
    free (r);
    return NULL;
  }
  pthread_mutex_init (&r->lock, NULL);
  pthread_condattr_init (&attr);
  pthread_condattr_setclock (&attr, CLOCK_MONOTONIC);
  pthread_cond_init (&r->changed, &attr);
  pthread_condattr_destroy (&attr);
  err = pthread_create (&r->thread, NULL, reader_thread, r);
  if (!err)
    return r;
  pthread_cond_destroy (&r->changed);
  pthread_mutex_destroy (&r->lock);
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
  pthread_mutex_lock (&r->lock);
  r->stop = true;
  pthread_cond_broadcast (&r->changed);
  pthread_mutex_unlock (&r->lock);
  pthread_join (r->thread, NULL);
  pthread_cond_destroy (&r->changed);
  pthread_mutex_destroy (&r->lock);
  free (r->buf);
  free (r);
}
