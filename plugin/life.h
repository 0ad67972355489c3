/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The life of the process, in nbdkit's order:
 *
 *   load
 *   (keys)
 *   get_ready    everything that can fail, so that the person at the terminal
 *                reads the message
 *   (fork)
 *   after_fork   threads
 *   (requests, on many threads at once)
 *   cleanup      no request runs after it; threads are joined
 *   unload
 *
 * A callback that fails has logged why.
 */

#ifndef ZRAM_LIFE_H
#define ZRAM_LIFE_H

#include "plugin/control/service.h"

/* The service of this process; valid between get_ready and unload. */
extern struct service service;

void life_load (void);
int life_get_ready (void);
int life_after_fork (void);
void life_cleanup (void);
void life_unload (void);

/* -D zram.stats=1: writes a line of statistics to nbdkit's debug output. */
void life_log_stats (void);

#endif /* ZRAM_LIFE_H */
