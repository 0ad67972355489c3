/* SPDX-License-Identifier: BSD-3-Clause */
/* One connection to the control socket: one request, one answer, in turn.
 *
 *   -> {"jsonrpc":"2.0","id":1,"method":"stats","params":{}}\n
 *   <- {"jsonrpc":"2.0","id":1,"result":{...}}\n
 */

#ifndef NBDZRAMCTL_CLIENT_H
#define NBDZRAMCTL_CLIENT_H

#include <jansson.h>

#include "ctl.h"

/* The result, which the caller owns.  params is taken over; NULL for none.
 * The first call connects.  Dies if the server refuses (STATUS_REFUSED),
 * rejects the parameters (STATUS_USAGE), does not exist or does not answer
 * within 30 s (STATUS_NO_SERVER).
 */
json_t *client_call (struct ctl *ctl, const char *method, json_t *params);

/* The same, but NULL if the server answers with an error. */
json_t *client_try (struct ctl *ctl, const char *method, json_t *params);

/* Also if it was never opened. */
void client_close (struct ctl *ctl);

#endif /* NBDZRAMCTL_CLIENT_H */
