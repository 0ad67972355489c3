/* SPDX-License-Identifier: BSD-3-Clause */
/* The queue and the thread of one lane.
 * Contract: plugin/control/slow.h.
 */

#include <config.h>

#include <errno.h>
#include <stdlib.h>
#include <sys/eventfd.h>

#include "base/mutex.h"
#include "plugin/control/slow.h"
#include "plugin/control/thread.h"

struct slow {
  struct service *service; /* not owned */
  int wake_fd;             /* not owned */
  struct mutex lock;
  struct cond put;
  struct slow_request *queue, **queue_end;
  struct slow_request *done;
  bool stop;
  bool started;
  pthread_t thread;
};

static struct slow_request *
take_first (struct slow *slow)
{
  struct slow_request *s = slow->queue;

  slow->queue = s->next;
  if (!slow->queue)
    slow->queue_end = &slow->queue;
  return s;
}

static void *
slow_thread (void *arg)
{
  struct slow *slow = arg;

  mutex_lock (&slow->lock);
  while (!slow->stop) {
    struct slow_request *s;

    if (!slow->queue) {
      cond_wait (&slow->put, &slow->lock);
      continue;
    }
    s = take_first (slow);
    mutex_unlock (&slow->lock);
    rpc_run (&s->request, slow->service, &s->answer);
    mutex_lock (&slow->lock);
    s->next = slow->done;
    slow->done = s;
    eventfd_write (slow->wake_fd, 1);
  }
  mutex_unlock (&slow->lock);
  return NULL;
}

bool
slow_put (struct slow *slow, uint64_t client, const struct rpc_request *request)
{
  struct slow_request *s = calloc (1, sizeof *s);

  if (!s)
    return false;
  s->client = client;
  s->request = *request;
  mutex_lock (&slow->lock);
  *slow->queue_end = s;
  slow->queue_end = &s->next;
  cond_signal (&slow->put);
  mutex_unlock (&slow->lock);
  return true;
}

struct slow_request *
slow_take (struct slow *slow)
{
  struct slow_request *done;

  mutex_lock (&slow->lock);
  done = slow->done;
  slow->done = NULL;
  mutex_unlock (&slow->lock);
  return done;
}

void
slow_free (struct slow_request *s)
{
  rpc_request_free (&s->request);
  text_free (&s->answer);
  free (s);
}

/* -- life --------------------------------------------------------------- */

struct slow *
slow_create (struct service *service, int wake_fd)
{
  struct slow *slow = calloc (1, sizeof *slow);

  if (!slow)
    return NULL;
  slow->service = service;
  slow->wake_fd = wake_fd;
  slow->queue_end = &slow->queue;
  mutex_init (&slow->lock, RANK_LEAF);
  cond_init (&slow->put);
  return slow;
}

int
slow_start (struct slow *slow)
{
  if (control_thread_start (&slow->thread, slow_thread, slow) == -1)
    return -1;
  slow->started = true;
  return 0;
}

void
slow_stop (struct slow *slow)
{
  if (!slow->started)
    return;
  mutex_lock (&slow->lock);
  slow->stop = true;
  cond_signal (&slow->put);
  mutex_unlock (&slow->lock);
  /* Requests here wait for a step of a pass or for streams, but not for the
   * backing store.
   */
  pthread_join (slow->thread, NULL);
  slow->started = false;
}

static void
free_all (struct slow_request *s)
{
  while (s) {
    struct slow_request *next = s->next;

    slow_free (s);
    s = next;
  }
}

void
slow_destroy (struct slow *slow)
{
  if (!slow)
    return;
  slow_stop (slow);
  free_all (slow->queue);
  free_all (slow->done);
  cond_destroy (&slow->put);
  mutex_destroy (&slow->lock);
  free (slow);
}
