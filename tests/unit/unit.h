/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the unit tests share: random numbers that can be repeated, threads
 * that can be looked at, children that may abort, and a watchdog.
 *
 *   static const struct CMUnitTest tests[] = { UNIT_TEST (test_this), … };
 *   int main (void) { return UNIT_RUN (tests); }
 *
 * SEED from the environment, or else a new one every time; it is printed.
 *
 * Nothing is timed, but a test that hangs is aborted after UNIT_HANG
 * seconds by a process of its own: a signal handler would not run, and a
 * thread would make every fork one of a process with threads.
 */

#ifndef ZRAM_UNIT_H
#define ZRAM_UNIT_H

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/fault.h"

/* Seconds that a test may take, on a slow and busy machine. */
#define UNIT_HANG 300

#if defined(__SANITIZE_THREAD__)
#define UNIT_SCALE 8
#elif defined(__SANITIZE_ADDRESS__)
#define UNIT_SCALE 3
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define UNIT_SCALE 8
#elif __has_feature(address_sanitizer)
#define UNIT_SCALE 3
#endif
#endif
#ifndef UNIT_SCALE
#define UNIT_SCALE 1
#endif

/* How often to do something of which a sanitizer's build does less. */
#define UNIT_TIMES(n) ((n) / UNIT_SCALE)

/* -- random numbers ----------------------------------------------------- */

static uint64_t unit_seed;

struct unit_rng {
  uint64_t s;
};

/* The same 64 bits for the same x, and no others that look like them. */
static inline uint64_t
unit_mix (uint64_t x)
{
  x += UINT64_C (0x9e3779b97f4a7c15);
  x = (x ^ x >> 30) * UINT64_C (0xbf58476d1ce4e5b9);
  x = (x ^ x >> 27) * UINT64_C (0x94d049bb133111eb);
  return x ^ x >> 31;
}

/* 'stream': one a thread, so that each draws its own numbers. */
static inline struct unit_rng
unit_rng (uint64_t stream)
{
  return (struct unit_rng){ unit_mix (unit_seed + unit_mix (stream)) };
}

static inline uint64_t
unit_rand (struct unit_rng *rng)
{
  return unit_mix (rng->s++);
}

/* 0 … n-1 */
static inline uint32_t
unit_below (struct unit_rng *rng, uint32_t n)
{
  return (uint32_t) (unit_rand (rng) >> 32) % n;
}

/* -- threads ------------------------------------------------------------ */

/* In threads and children use check_always; cmocka's asserts jump. */
struct unit_thread {
  pthread_t id;
  void *(*fn) (void *);
  void *arg;
  _Atomic pid_t tid;
};

static void *
unit_thread_main (void *arg)
{
  struct unit_thread *t = arg;

  atomic_store (&t->tid, (pid_t) syscall (SYS_gettid));
  return t->fn (t->arg);
}

static inline void
unit_start (struct unit_thread *t, void *(*fn) (void *), void *arg)
{
  t->fn = fn;
  t->arg = arg;
  atomic_init (&t->tid, 0);
  check_always (pthread_create (&t->id, NULL, unit_thread_main, t) == 0);
}

static inline void
unit_join (struct unit_thread *t)
{
  check_always (pthread_join (t->id, NULL) == 0);
}

/* n threads of one function, each with the address of its struct as the
 * argument's own: 'args' is an array of n elements of 'size' bytes.
 */
static inline void
unit_start_all (struct unit_thread *t, unsigned n, void *(*fn) (void *),
                void *args, size_t size)
{
  for (unsigned i = 0; i < n; i++)
    unit_start (&t[i], fn, (char *) args + i * size);
}

static inline void
unit_join_all (struct unit_thread *t, unsigned n)
{
  for (unsigned i = 0; i < n; i++)
    unit_join (&t[i]);
}

static inline bool
unit_is_asleep (struct unit_thread *t)
{
  char path[64], line[256] = "", *p;
  FILE *fp;

  if (atomic_load (&t->tid) == 0)
    return false;
  snprintf (path, sizeof path, "/proc/self/task/%d/stat",
            (int) atomic_load (&t->tid));
  fp = fopen (path, "r");
  if (!fp)
    return false;
  if (!fgets (line, sizeof line, fp))
    line[0] = '\0';
  fclose (fp);
  p = strrchr (line, ')');
  return p && p[1] == ' ' && p[2] == 'S';
}

/* Until that thread sleeps in the kernel (not until some time passed). */
static inline void
unit_wait_asleep (struct unit_thread *t)
{
  while (!unit_is_asleep (t))
    sched_yield ();
}

/* CPU time that the thread has used, in nanoseconds. */
static inline uint64_t
unit_cpu_ns (struct unit_thread *t)
{
  struct timespec ts;
  clockid_t clock;

  check_always (pthread_getcpuclockid (t->id, &clock) == 0);
  check_always (clock_gettime (clock, &ts) == 0);
  return (uint64_t) ts.tv_sec * 1000000000u + (uint64_t) ts.tv_nsec;
}

static inline void
unit_sleep_ms (unsigned ms)
{
  struct timespec ts = { ms / 1000, ms % 1000 * 1000000l };

  nanosleep (&ts, NULL);
}

/* -- children ----------------------------------------------------------- */

/* Run fn (arg) in a child, which must have no more to say on its standard
 * error than fits.  Returns what waitpid said.
 */
static inline int
unit_child (void (*fn) (void *), void *arg, char *said, size_t size)
{
  int fds[2], status;
  size_t got = 0;
  ssize_t n;
  pid_t pid;

  check_always (pipe (fds) == 0);
  fflush (NULL);
  pid = fork ();
  check_always (pid >= 0);
  if (pid == 0) {
    alarm (UNIT_HANG / 2);
    dup2 (fds[1], STDERR_FILENO);
    close (fds[0]);
    close (fds[1]);
    fn (arg);
    fflush (stderr);
    _exit (0);
  }
  close (fds[1]);
  while (got < size - 1 && (n = read (fds[0], said + got, size - 1 - got)) > 0)
    got += (size_t) n;
  said[got] = '\0';
  close (fds[0]);
  check_always (waitpid (pid, &status, 0) == pid);
  return status;
}

static inline void
unit_child_succeeds (void (*fn) (void *), void *arg)
{
  char said[4096];
  int status = unit_child (fn, arg, said, sizeof said);

  if (status != 0)
    fail_msg ("the child ended with status 0x%x and said: %s", status, said);
}

/* -- the watchdog ------------------------------------------------------- */

static int unit_watched = -1;
static pid_t unit_watcher;

/* Reads a name when a test begins and an empty line when it ends. */
static inline void
unit_watch (int fd, pid_t pid)
{
  char name[128] = "";
  struct pollfd p = { .fd = fd, .events = POLLIN };

  for (;;) {
    ssize_t n = 0;

    if (poll (&p, 1, UNIT_HANG * 1000) == 0) {
      dprintf (STDERR_FILENO,
               "%.*s hangs: aborted after %d seconds (SEED=%llu)\n",
               (int) strcspn (name, "\n"), name, UNIT_HANG,
               (unsigned long long) unit_seed);
      kill (pid, SIGABRT);
      _exit (1);
    }
    n = read (fd, name, sizeof name - 1);
    if (n <= 0)
      _exit (0);
    name[n] = '\0';
  }
}

static inline void
unit_begin (void)
{
  const char *seed = getenv ("SEED");
  pid_t self = getpid ();
  int fds[2];

  unit_seed = seed ? strtoull (seed, NULL, 0) : clock_ns () ^ (uint64_t) self;
  fprintf (stderr, "SEED=%llu\n", (unsigned long long) unit_seed);
  check_always (pipe2 (fds, O_CLOEXEC) == 0);
  unit_watcher = fork ();
  check_always (unit_watcher >= 0);
  if (unit_watcher == 0) {
    close (fds[1]);
    unit_watch (fds[0], self);
  }
  close (fds[0]);
  unit_watched = fds[1];
}

static inline int
unit_end (int failed)
{
  close (unit_watched);
  waitpid (unit_watcher, NULL, 0);
  return failed ? 1 : 0;
}

static inline int
unit_setup (void **state)
{
  check_always (dprintf (unit_watched, "%s\n", (char *) *state) > 0);
  return 0;
}

static inline int
unit_teardown (void **state)
{
  (void) state;
#ifdef ZRAM_FAULTS
  fault_clear ();
#endif
  return 0;
}

#define UNIT_TEST(f)                              \
  {                                               \
#f, f, unit_setup, unit_teardown, (void *) #f \
  }

#define UNIT_RUN(tests) \
  (unit_begin (), unit_end (cmocka_run_group_tests (tests, NULL, NULL)))

#endif /* ZRAM_UNIT_H */
