/* SPDX-License-Identifier: BSD-3-Clause */
/* Which server, where none was named.
 *
 * Never one that is found by where somebody stands: whoever may write there
 * could answer in the server's place.
 */

#ifndef NBDZRAMCTL_SOCKET_PATH_H
#define NBDZRAMCTL_SOCKET_PATH_H

/* NBDZRAM_SOCKET, if it is set and not empty; else that of scripts/run for the
 * build tree that this program lies in, BUILD/run/control.sock, if it belongs
 * to us, to root, or to whom this program belongs.  Dies if there is none.
 * Never to be freed.
 */
const char *socket_path (void);

#endif /* NBDZRAMCTL_SOCKET_PATH_H */
