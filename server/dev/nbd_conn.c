/* SPDX-License-Identifier: BSD-3-Clause */
/* One connection to an NBD server.
 * Contract: dev/nbd_conn.h.
 */

#include <config.h>

#include <string.h>
#include <strings.h>

#include "base/clock.h"
#include "base/fault.h"
#include "base/run_clock.h"
#include "dev/nbd_conn.h"

#define MS UINT64_C (1000000) /* in ns */
#define MAX_PIECE (UINT64_C (32) << 20)
#define CLOSE_MS 1000 /* to disconnect politely */

struct nbd_handle *
nbd_conn_begin (const char *uri)
{
  struct nbd_handle *h = fault_hit ("dev.nbd.connect") ? NULL : nbd_create ();

  if (h && (nbd_set_uri_allow_local_file (h, true) == -1 ||
            nbd_aio_connect_uri (h, uri) == -1)) {
    nbd_close (h);
    return NULL;
  }
  return h;
}

void
nbd_conn_end (struct nbd_handle *h)
{
  uint64_t until = clock_ns () + CLOSE_MS * MS;

  if (nbd_aio_is_ready (h) == 1 && nbd_aio_disconnect (h, 0) == 0)
    while (!nbd_conn_lost (h) && clock_ns () < until)
      if (nbd_poll (h, 50) == -1)
        break;
  nbd_close (h);
}

/* Without limits of its own NBD asks for units of 512 and at most 32 MiB. */
bool
nbd_conn_limits (struct nbd_handle *h, struct nbd_limits *l, struct reason *why)
{
  int64_t size = nbd_get_size (h);
  int64_t least = nbd_get_block_size (h, LIBNBD_SIZE_MINIMUM);
  int64_t most = nbd_get_block_size (h, LIBNBD_SIZE_MAXIMUM);

  if (size < 0 || nbd_is_read_only (h) != 0) {
    reason_set (why, "%s",
                size < 0 ? nbd_get_error () : "the export is read-only");
    return false;
  }
  least = least <= 0 ? 512 : least;
  most = most <= 0 || (uint64_t) most > MAX_PIECE ? (int64_t) MAX_PIECE : most;
  if (least > BACKING_BLOCK || most < BACKING_BLOCK) {
    reason_set (why,
                "the server takes requests of %lld to %lld bytes: expected "
                "that it takes those of %u",
                (long long) least, (long long) most, BACKING_BLOCK);
    return false;
  }
  l->size = (uint64_t) size;
  l->read_unit = (unsigned) least;
  l->max_piece = (uint64_t) most / BACKING_BLOCK * BACKING_BLOCK;
  l->can_trim = nbd_can_trim (h) == 1;
  return true;
}

bool
nbd_conn_uri_is_fine (const char *uri, struct reason *why)
{
  static const char *const keys[] = { "socket=", "tls-certificates=",
                                      "tls-psk-file=" };
  const char *p = strchr (uri, '?');

  while (p) {
    p++;
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
      const char *path = p + strlen (keys[i]);
      size_t end = strcspn (p, "&;");

      if (strncmp (p, keys[i], strlen (keys[i])) == 0 && *path != '/' &&
          strncasecmp (path, "%2f", 3) != 0) {
        reason_set (why, "%.*s: expected an absolute path",
                    (int) (end < 100 ? end : 100), p);
        return false;
      }
    }
    p = strpbrk (p, "&;");
  }
  return true;
}

/* Without the name of the function that it begins with. */
void
nbd_conn_why (struct reason *why, size_t most)
{
  const char *error = nbd_get_error ();
  size_t half = most / 2 - 2;

  if (error && strncmp (error, "nbd_", 4) == 0) {
    const char *colon = strstr (error, ": ");

    error = colon ? colon + 2 : error;
  }
  error = error ? error : "cannot connect";
  /* A message that is too long has a long name in it, and the reason after
   * that: keep the end.
   */
  if (strlen (error) < most)
    reason_set (why, "%s", error);
  else
    reason_set (why, "%.*s...%s", (int) half, error,
                error + strlen (error) - half);
}

bool
nbd_conn_ask (const struct backing_config *config, struct nbd_limits *l,
              struct reason *why)
{
  struct nbd_handle *h = nbd_conn_begin (config->where);
  uint64_t until = run_clock_ns () + config->timeout_ms * MS;
  bool fine = false;

  if (!h) {
    nbd_conn_why (why, sizeof why->text);
    return false;
  }
  while (nbd_aio_is_connecting (h) == 1 || nbd_aio_is_negotiating (h) == 1) {
    if (run_clock_ns () >= until) {
      reason_set (why, "the server did not answer within %u ms",
                  config->timeout_ms);
      nbd_close (h);
      return false;
    }
    if (nbd_poll (h, 50) == -1)
      break;
  }
  if (nbd_aio_is_ready (h) == 1)
    fine = nbd_conn_limits (h, l, why);
  else
    nbd_conn_why (why, sizeof why->text);
  nbd_conn_end (h);
  return fine;
}

bool
nbd_conn_lost (struct nbd_handle *h)
{
  return nbd_aio_is_dead (h) != 0 || nbd_aio_is_closed (h) != 0;
}
