/* SPDX-License-Identifier: BSD-3-Clause */
/* Names of this machine, and the Host headers that match them.
 * Contract: plugin/control/hosts.h.
 */

#include <config.h>

#include <arpa/inet.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>
#ifdef __GLIBC__
#include <resolv.h>
#endif

#include "plugin/control/hosts.h"

#define NAME_SIZE 256 /* of a DNS name, with its final \0 */

bool
hosts_is_name (const char *name)
{
  static const char allowed[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                "abcdefghijklmnopqrstuvwxyz0123456789-_.";
  size_t len = strlen (name);

  return len > 0 && len < NAME_SIZE && strspn (name, allowed) == len;
}

/* -- names -------------------------------------------------------------- */

/* Compares without case; "a." is the same as "a". */
static bool
is_same (const char *a, size_t a_len, const char *b)
{
  size_t b_len = strlen (b);

  a_len -= a_len > 0 && a[a_len - 1] == '.';
  b_len -= b_len > 0 && b[b_len - 1] == '.';
  return a_len == b_len && strncasecmp (a, b, a_len) == 0;
}

static bool
is_listed (const struct hosts *hosts, const char *name, size_t len)
{
  for (unsigned i = 0; i < hosts->n; i++)
    if (is_same (name, len, hosts->name[i]))
      return true;
  return false;
}

bool
hosts_add (struct hosts *hosts, const char *name)
{
  if (is_listed (hosts, name, strlen (name)))
    return true;
  if (hosts->n == HOSTS_MAX || !(hosts->name[hosts->n] = strdup (name)))
    return false;
  hosts->n++;
  return true;
}

void
hosts_free (struct hosts *hosts)
{
  while (hosts->n > 0)
    free (hosts->name[--hosts->n]);
}

/* -- this machine's names ------------------------------------------------ */

static bool
names_it (const struct hostent *entry, const char *name)
{
  size_t len = strlen (name);

  if (is_same (name, len, entry->h_name))
    return true;
  for (char **alias = entry->h_aliases; *alias; alias++)
    if (is_same (name, len, *alias))
      return true;
  return false;
}

/* Add the other names in the /etc/hosts lines of a name. */
static void
add_from_file (struct hosts *hosts, const char *name)
{
  const struct hostent *entry;

  sethostent (0);
  while ((entry = gethostent ()))
    if (names_it (entry, name)) {
      hosts_add (hosts, entry->h_name);
      for (char **alias = entry->h_aliases; *alias; alias++)
        hosts_add (hosts, *alias);
    }
  endhostent ();
}

/* Add the name with each of the resolver's search domains. */
static void
add_with_domains (struct hosts *hosts, const char *name)
{
#ifdef __GLIBC__
  struct __res_state state = { 0 };
  char whole[2 * NAME_SIZE];

  if (res_ninit (&state) == -1)
    return;
  for (unsigned i = 0; i < MAXDNSRCH && state.dnsrch[i]; i++) {
    snprintf (whole, sizeof whole, "%s.%s", name, state.dnsrch[i]);
    if (*state.dnsrch[i])
      hosts_add (hosts, whole);
  }
  res_nclose (&state);
#else
  (void) hosts;
  (void) name;
#endif
}

void
hosts_add_own (struct hosts *hosts)
{
  char name[NAME_SIZE];

  if (gethostname (name, sizeof name - 1) == -1)
    return;
  name[sizeof name - 1] = '\0';
  if (!*name)
    return;
  hosts_add (hosts, name);
  add_from_file (hosts, name);
  name[strcspn (name, ".")] = '\0';
  hosts_add (hosts, name);
  add_with_domains (hosts, name);
}

/* -- the Host header ----------------------------------------------------- */

static bool
is_address (int family, const char *text, size_t len)
{
  char copy[INET6_ADDRSTRLEN];
  unsigned char address[sizeof (struct in6_addr)];

  if (len >= sizeof copy)
    return false;
  memcpy (copy, text, len);
  copy[len] = '\0';
  return inet_pton (family, copy, address) == 1;
}

static bool
is_port_or_nothing (const char *text)
{
  return *text == '\0' ||
         (*text == ':' && text[1 + strspn (text + 1, "0123456789")] == '\0');
}

bool
hosts_has (const struct hosts *hosts, const char *value)
{
  size_t len;

  if (*value == '[') {
    len = strcspn (value, "]");
    return value[len] == ']' && is_port_or_nothing (value + len + 1) &&
           is_address (AF_INET6, value + 1, strcspn (value, "%]") - 1);
  }
  len = strcspn (value, ":");
  return is_port_or_nothing (value + len) &&
         (is_address (AF_INET, value, len) ||
          is_same (value, len, "localhost") || is_listed (hosts, value, len));
}
