/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Reserved addresses: they cost nothing before they are used, what is given
 * back is gone from the process and reads as zeroes, and the system may say
 * no at every place where it can.
 */

#include <config.h>

#include <errno.h>
#include <sys/resource.h>

#include "unit.h"

#include "base/reserve.h"

#define PAGE ((size_t) 4096)
#define MIB ((size_t) 1 << 20)
#define GIB ((size_t) 1 << 30)
#define ALIGNMENT (2 * MIB)

/* Bytes of addresses that the process has. */
static size_t
addresses (void)
{
  FILE *fp = fopen ("/proc/self/statm", "r");
  unsigned long pages = 0;

  check_always (fp && fscanf (fp, "%lu", &pages) == 1);
  fclose (fp);
  return pages * PAGE;
}

static struct reserve
opened (size_t want, size_t commit)
{
  struct reserve r;

  assert_int_equal (reserve_open (&r, want, want), 0);
  assert_int_equal (reserve_commit (&r, commit), 0);
  return r;
}

static bool
all_zero (const char *p, size_t len)
{
  for (size_t i = 0; i < len; i++)
    if (p[i])
      return false;
  return true;
}

static void
test_open (void **state)
{
  static const size_t wants[] = { 1, PAGE, ALIGNMENT, ALIGNMENT + 1, GIB };
  size_t before = addresses ();

  (void) state;
  for (size_t i = 0; i < sizeof wants / sizeof *wants; i++) {
    struct reserve r;

    assert_int_equal (reserve_open (&r, wants[i], 1), 0);
    assert_int_equal ((uintptr_t) r.base % ALIGNMENT, 0);
    assert_int_equal (r.reserved % ALIGNMENT, 0);
    assert_in_range (r.reserved, wants[i], wants[i] + ALIGNMENT - 1);
    assert_int_equal (r.committed, 0);
    assert_int_equal (reserve_resident (&r, r.reserved), 0);
    reserve_close (&r);
    assert_null (r.base);
    reserve_close (&r); /* twice does no harm */
  }
  assert_in_range (addresses (), 0, before + MIB);
}

static void
test_commit (void **state)
{
  struct reserve r;

  (void) state;
  assert_int_equal (reserve_open (&r, 40 * MIB, 40 * MIB), 0);
  assert_int_equal (reserve_commit (&r, 0), 0);
  assert_int_equal (r.committed, 0);
  assert_int_equal (reserve_commit (&r, 1), 0);
  assert_int_equal (r.committed, 16 * MIB);
  r.base[16 * MIB - 1] = 1;
  assert_int_equal (reserve_commit (&r, 16 * MIB), 0);
  assert_int_equal (r.committed, 16 * MIB);
  assert_int_equal (reserve_commit (&r, 16 * MIB + 1), 0);
  assert_int_equal (r.committed, 32 * MIB);
  r.base[32 * MIB - 1] = 2;
  assert_int_equal (reserve_commit (&r, 40 * MIB), 0);
  assert_int_equal (r.committed, 40 * MIB); /* the last step is shorter */
  r.base[40 * MIB - 1] = 3;
  assert_int_equal (r.base[16 * MIB - 1], 1);
  assert_int_equal (r.base[32 * MIB - 1], 2);
  errno = 0;
  assert_int_equal (reserve_commit (&r, 40 * MIB + 1), -1);
  assert_int_equal (errno, ENOMEM);
  assert_int_equal (r.committed, 40 * MIB);
  reserve_close (&r);
}

static void
touch_uncommitted (void *arg)
{
  struct reserve *r = arg;

  *(volatile char *) (r->base + r->committed) = 1;
}

static void
test_no_access_beyond (void **state)
{
  struct reserve r = opened (32 * MIB, 1);
  char said[4096];

  (void) state;
  /* A signal, or what a sanitizer makes of it. */
  assert_int_not_equal (unit_child (touch_uncommitted, &r, said, sizeof said),
                        0);
  reserve_close (&r);
}

/* One touched byte is one page. */
static void
test_resident (void **state)
{
  struct reserve r = opened (64 * MIB, 64 * MIB);

  (void) state;
  assert_int_equal (reserve_resident (&r, r.reserved), 0);
  r.base[0] = 1;
  r.base[5 * PAGE + 17] = 1;
  r.base[33 * MIB] = 1; /* not in the first batch that is looked at */
  assert_int_equal (reserve_resident (&r, r.reserved), 3 * PAGE);
  assert_int_equal (reserve_resident (&r, 5 * PAGE), PAGE);
  assert_int_equal (reserve_resident (&r, 6 * PAGE), 2 * PAGE);
  reserve_close (&r);
}

static void
test_populate (void **state)
{
  struct reserve r = opened (ALIGNMENT, ALIGNMENT);

  (void) state;
  r.base[9 * PAGE] = 7;
  reserve_populate (&r, 8 * PAGE, 3 * PAGE);
  assert_int_equal (reserve_resident (&r, r.reserved), 3 * PAGE);
  assert_int_equal (r.base[9 * PAGE], 7);
  assert_true (all_zero (r.base + 8 * PAGE, PAGE));

  /* Where the system cannot, nothing happens, not even to errno. */
  errno = EXDEV;
  reserve_populate (&r, 1, 1);
  assert_int_equal (errno, EXDEV);
  reserve_close (&r);
}

static void
test_return (void **state)
{
  struct reserve r = opened (ALIGNMENT, ALIGNMENT);

  (void) state;
  memset (r.base, 0xee, 10 * PAGE);
  reserve_return (&r, 2 * PAGE, 3 * PAGE);
  assert_int_equal (reserve_resident (&r, r.reserved), 7 * PAGE);
  assert_true (all_zero (r.base + 2 * PAGE, 3 * PAGE));
  assert_int_equal ((unsigned char) r.base[2 * PAGE - 1], 0xee);
  assert_int_equal ((unsigned char) r.base[5 * PAGE], 0xee);
  reserve_return (&r, 2 * PAGE, 3 * PAGE); /* what is gone already */
  r.base[2 * PAGE] = 1;                    /* and it can be used again */
  assert_int_equal (r.base[2 * PAGE], 1);
  reserve_close (&r);
}

/* In the middle, to the end, and all of it. */
static void
test_return_all (void **state)
{
  struct reserve r = opened (32 * MIB, 32 * MIB);
  size_t before = addresses ();

  (void) state;
  memset (r.base, 0xee, 8 * MIB);
  reserve_return_all (&r, 2 * MIB, 4 * MIB);
  assert_int_equal (reserve_resident (&r, r.reserved), 4 * MIB);
  assert_int_equal ((unsigned char) r.base[2 * MIB - 1], 0xee);
  assert_int_equal ((unsigned char) r.base[6 * MIB], 0xee);
  reserve_return_all (&r, 6 * MIB, 26 * MIB);
  assert_int_equal (reserve_resident (&r, r.reserved), 2 * MIB);
  r.base[32 * MIB - 1] = 1;
  assert_int_equal (reserve_resident (&r, r.reserved), 2 * MIB + PAGE);
  /* Last, for a page of zeroes that was read counts as resident. */
  assert_true (all_zero (r.base + 2 * MIB, 4 * MIB));
  assert_true (all_zero (r.base + 6 * MIB, 2 * MIB));
  reserve_return_all (&r, 0, 32 * MIB);
  assert_int_equal (reserve_resident (&r, r.reserved), 0);
  assert_int_equal (addresses (), before);
  r.base[0] = 1;
  assert_int_equal (reserve_resident (&r, r.reserved), PAGE);
  reserve_close (&r);
}

#if UNIT_SCALE == 1 /* a sanitizer's shadow has page tables too */
static size_t
page_tables (void)
{
  FILE *fp = fopen ("/proc/self/status", "r");
  unsigned long kib = 0;
  char line[256];

  check_always (fp);
  while (fgets (line, sizeof line, fp))
    if (sscanf (line, "VmPTE: %lu kB", &kib) == 1)
      break;
  fclose (fp);
  return kib * 1024;
}

/* A page of them for every 2 MiB in which a page was touched. */
static void
test_page_tables (void **state)
{
  enum { N = 64 };
  struct reserve r = opened (N * 2 * MIB, N * 2 * MIB);
  size_t before = page_tables ();

  (void) state;
  for (unsigned i = 0; i < N; i++)
    r.base[i * 2 * MIB] = 1;
  assert_true (page_tables () >= before + N * PAGE);
  reserve_return_all (&r, 0, N * 2 * MIB);
  assert_in_range (page_tables (), 0, before + 4 * PAGE);
  reserve_close (&r);
}
#endif

/* -- the system says no ------------------------------------------------- */

static void
limit_addresses (size_t more)
{
  struct rlimit rl;

  check_always (getrlimit (RLIMIT_AS, &rl) == 0);
  rl.rlim_cur = addresses () + more;
  check_always (setrlimit (RLIMIT_AS, &rl) == 0);
}

/* A half, a quarter … of what was wanted, in whole units, and all of it is
 * given back; an odd number of units must not break that.
 */
static void
open_under_limit (void *arg)
{
  size_t before;
  struct reserve r;

  (void) arg;
  limit_addresses (GIB);
  before = addresses ();
  for (size_t odd = 0; odd < 8; odd++) {
    size_t want = 8 * GIB + odd * ALIGNMENT;

    check_always (reserve_open (&r, want, 4 * MIB) == 0);
    check_always (r.reserved <= GIB && r.reserved >= GIB / 4);
    check_always ((uintptr_t) r.base % ALIGNMENT == 0);
    check_always (r.reserved % ALIGNMENT == 0);
    check_always (addresses () - before == r.reserved);
    check_always (reserve_commit (&r, r.reserved) == 0);
    r.base[r.reserved - 1] = 1;
    reserve_close (&r);
    check_always (addresses () == before);
  }
  errno = 0;
  check_always (reserve_open (&r, 8 * GIB, 2 * GIB) == -1);
  check_always (errno == ENOMEM);
  check_always (addresses () == before);
}

static void
test_smaller (void **state)
{
  (void) state;
  unit_child_succeeds (open_under_limit, NULL);
}

#ifdef ZRAM_FAULTS
static void
test_open_fails (void **state)
{
  struct reserve r;

  (void) state;
  fault_fail_nth ("reserve.open", 1, false);
  assert_int_equal (reserve_open (&r, 8 * ALIGNMENT, ALIGNMENT), 0);
  assert_int_equal (r.reserved, 2 * ALIGNMENT); /* a half of what there is */
  reserve_close (&r);

  fault_fail_nth ("reserve.open", 1, true);
  errno = 0;
  assert_int_equal (reserve_open (&r, 8 * ALIGNMENT, ALIGNMENT), -1);
  assert_int_equal (errno, ENOMEM);
  assert_int_equal (fault_reached ("reserve.open"), 4);
}

static void
test_commit_fails (void **state)
{
  struct reserve r;

  (void) state;
  assert_int_equal (reserve_open (&r, 64 * MIB, 64 * MIB), 0);
  fault_fail_nth ("reserve.commit", 2, false);
  assert_int_equal (reserve_commit (&r, 1), 0);
  assert_int_equal (reserve_commit (&r, 2), 0); /* no system call */
  errno = 0;
  assert_int_equal (reserve_commit (&r, 17 * MIB), -1);
  assert_int_equal (errno, ENOMEM);
  assert_int_equal (r.committed, 16 * MIB);
  r.base[16 * MIB - 1] = 1;
  assert_int_equal (reserve_commit (&r, 17 * MIB), 0);
  r.base[17 * MIB - 1] = 1;
  reserve_close (&r);
}
#endif

static const struct CMUnitTest tests[] = {
  UNIT_TEST (test_open),
  UNIT_TEST (test_commit),
  UNIT_TEST (test_no_access_beyond),
  UNIT_TEST (test_resident),
  UNIT_TEST (test_populate),
  UNIT_TEST (test_return),
  UNIT_TEST (test_return_all),
#if UNIT_SCALE == 1
  UNIT_TEST (test_page_tables),
#endif
  UNIT_TEST (test_smaller),
#ifdef ZRAM_FAULTS
  UNIT_TEST (test_open_fails),
  UNIT_TEST (test_commit_fails),
#endif
};

int
main (void)
{
  return UNIT_RUN (tests);
}
