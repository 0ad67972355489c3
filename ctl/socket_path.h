/* SPDX-License-Identifier: BSD-3-Clause */
/* Which server to use if none was named.
 *
 *Never a socket in the working directory: any program that may write there
 *could answer in the server's place.
 */

#ifndef NBDZRAMCTL_SOCKET_PATH_H
#define NBDZRAMCTL_SOCKET_PATH_H

/* NBDZRAM_SOCKET, if it is set and not empty; else that of scripts/run for the
 * build tree that this program lies in, BUILD/run/control.sock, if it belongs
 * to us, to root, or to the owner of this program.  Dies if neither exists.
 * Not to be freed.
 */
const char *socket_path (void);

#endif /* NBDZRAMCTL_SOCKET_PATH_H */
