/* SPDX-License-Identifier: BSD-3-Clause */
/* Which server, where none was named.
 *
 * scripts/run serves from RUN/control.sock, where RUN is the folder run/ of
 * its build tree, by default build/run in the source tree.
 */

#ifndef NBDZRAMCTL_SOCKET_PATH_H
#define NBDZRAMCTL_SOCKET_PATH_H

/* NBDZRAM_SOCKET, if it is set and not empty; else that of the build tree that
 * this program lies in; else, for one that is installed, that of the build
 * tree in the working folder.  Never to be freed.
 */
const char *socket_path (void);

#endif /* NBDZRAMCTL_SOCKET_PATH_H */
