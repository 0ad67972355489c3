/* SPDX-License-Identifier: BSD-3-Clause */
/* Which values of a Host header name this server. */

#include <config.h>

#include "unit.h"

#include "plugin/control/hosts.h"

static struct hosts hosts;

static void
has (bool wanted, const char *value)
{
  if (hosts_has (&hosts, value) != wanted)
    fail_msg ("%s is %s", value, wanted ? "refused" : "accepted");
}

static void
test_addresses (void **state)
{
  (void) state;
  has (true, "127.0.0.1");
  has (true, "127.0.0.1:9750");
  has (true, "192.0.2.7:1");
  has (true, "[::1]");
  has (true, "[::1]:9750");
  has (true, "[2001:db8::1]:");
  has (true, "[fe80::1%25eth0]:9750");
  has (true, "[fe80::1%eth0]");
  has (true, "localhost");
  has (true, "LocalHost:80");
  has (true, "localhost.");

  has (false, "");
  has (false, ":80");
  has (false, ".");
  has (false, "[");
  has (false, "[]");
  has (false, "[]:80");
  has (false, "[%]");
  has (false, "[::1");
  has (false, "[::1]x");
  has (false, "[::1]:x");
  has (false, "[127.0.0.1]");
  has (false, "[localhost]");
  has (false, "::1");
  has (false, "127.0.0.1:80:80");
  has (false, "127.0.0.1 ");
  has (false, "127.0.0.1.evil.example");
  has (false, "127.0.0.1,evil.example");
  has (false, "127.1");
  has (false, "0x7f.0.0.1");
  has (false, "localhost:http");
  has (false, "localhost..");
  has (false, "localhost.evil.example");
  has (false, "evil.example:80");
  has (false, "evil");
}

static void
test_names (void **state)
{
  char name[HOSTS_MAX][20];

  (void) state;
  has (false, "db.example");
  assert_true (hosts_add (&hosts, "db.example"));
  assert_true (hosts_add (&hosts, "DB.example."));
  assert_int_equal (hosts.n, 1);
  assert_true (hosts_add (&hosts, "with_dot."));
  has (true, "db.example");
  has (true, "dB.EXAMPLE.:9750");
  has (true, "with_dot:1");
  has (false, "b.example");
  has (false, "db.exampl");
  has (false, "a.db.example");
  has (false, "db.example..");
  for (unsigned i = hosts.n; i < HOSTS_MAX; i++) {
    snprintf (name[i], sizeof name[i], "n%u", i);
    assert_true (hosts_add (&hosts, name[i]));
  }
  assert_false (hosts_add (&hosts, "one-more"));
  assert_true (hosts_add (&hosts, "n5"));
  has (true, "n5");
  has (false, "one-more");
}

static void
test_own (void **state)
{
  char name[256], longer[300];

  (void) state;
  check_always (gethostname (name, sizeof name) == 0);
  if (!hosts_is_name (name))
    skip ();
  hosts_add_own (&hosts);
  has (true, name);
  snprintf (longer, sizeof longer, "%s:80", name);
  has (true, longer);
  snprintf (longer, sizeof longer, "%s.evil.invalid", name);
  has (false, longer);
  name[strcspn (name, ".")] = '\0';
  has (true, name);
}

static void
test_what_is_a_name (void **state)
{
  char name[300];

  (void) state;
  assert_true (hosts_is_name ("a"));
  assert_true (hosts_is_name ("A-1_b.c."));
  assert_false (hosts_is_name (""));
  assert_false (hosts_is_name ("a:80"));
  assert_false (hosts_is_name ("a b"));
  assert_false (hosts_is_name ("*"));
  assert_false (hosts_is_name ("\xc3\xbc"));
  memset (name, 'a', sizeof name);
  name[255] = '\0';
  assert_true (hosts_is_name (name));
  name[255] = 'a';
  name[256] = '\0';
  assert_false (hosts_is_name (name));
}

static int
forget (void **state)
{
  hosts_free (&hosts);
  return unit_teardown (state);
}

#define HOSTS_TEST(f)                      \
  {                                        \
#f, f, unit_setup, forget, (void *) #f \
  }

int
main (void)
{
  static const struct CMUnitTest tests[] = {
    HOSTS_TEST (test_addresses),
    HOSTS_TEST (test_names),
    HOSTS_TEST (test_own),
    HOSTS_TEST (test_what_is_a_name),
  };

  return UNIT_RUN (tests);
}
