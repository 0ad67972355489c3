/* SPDX-License-Identifier: BSD-3-Clause */
/* Opens the kind of backing that a name means.  No other file knows all kinds.
 * Contract: dev/backing.h.
 */

#include <config.h>

#include <stdio.h>
#include <string.h>

#include "dev/backing_impl.h"

#define DEFAULT_THREADS 4
#define DEFAULT_TIMEOUT_MS 30000

static bool
is_uri (const char *where)
{
  const char *colon = strstr (where, "://");

  return colon && colon != where &&
         strcspn (where, "/") > (size_t) (colon - where);
}

static bool
is_nbd_uri (const char *where)
{
  static const char *const schemes[] = { "nbd://", "nbds://", "nbd+unix://",
                                         "nbds+unix://" };

  for (size_t i = 0; i < sizeof schemes / sizeof schemes[0]; i++)
    if (strncmp (where, schemes[i], strlen (schemes[i])) == 0)
      return true;
  return false;
}

struct backing *
backing_open (const struct backing_config *config, struct reason *why)
{
  struct backing_config c = *config;

  if (c.threads == 0)
    c.threads = DEFAULT_THREADS;
  if (c.timeout_ms == 0)
    c.timeout_ms = DEFAULT_TIMEOUT_MS;
  if (c.where[0] == '\0') {
    reason_set (why, "expected a path or an NBD URI");
    return NULL;
  }
  if (c.size % BACKING_BLOCK != 0 || (c.size && c.size < BACKING_MIN_SIZE)) {
    reason_set (why,
                "backing_size of %llu bytes: expected a multiple of %u, at "
                "least %llu",
                (unsigned long long) c.size, BACKING_BLOCK,
                (unsigned long long) BACKING_MIN_SIZE);
    return NULL;
  }
  if (is_nbd_uri (c.where))
    return backing_open_nbd (&c, why);
  if (is_uri (c.where)) {
    reason_set (why,
                "expected nbd://, nbds://, nbd+unix:// or nbds+unix:// (if it "
                "is a path, write ./ before it)");
    return NULL;
  }
  return backing_open_file (&c, why);
}
