/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * nbdkit's header, for all of plugin/; nothing else includes it
 * (static/test-strings.sh).
 *
 * What is logged may have names from outside in it.  So nbdkit's two functions
 * that log are called by way of ours, which have their names: one line, made
 * harmless as zram-shown.h says.  Both leave errno as it is.
 */

#ifndef ZRAM_NBDKIT_H
#define ZRAM_NBDKIT_H

#define NBDKIT_API_VERSION 2
#include <nbdkit-plugin.h>

/*
 * May be called without memory: what is too long then is cut.  The words of an
 * errno come from error_text(), not from %m, which looks at the locale.
 */
void log_error (const char *format, ...)
  __attribute__ ((format (printf, 1, 2)));
void log_debug (const char *format, ...)
  __attribute__ ((format (printf, 1, 2)));

#define nbdkit_error log_error
#define nbdkit_debug log_debug

/* What nbdkit sets by name before it calls anything.
 * -D zram.stats=1: a line of statistics when a client leaves.
 * -D zram.compact=1: the compactor never rests.
 * -D zram.audit=1: audit everything at exit, and abort if it is not sound.
 */
extern NBDKIT_DLL_PUBLIC int zram_debug_stats;
extern NBDKIT_DLL_PUBLIC int zram_debug_compact;
extern NBDKIT_DLL_PUBLIC int zram_debug_audit;

#endif /* ZRAM_NBDKIT_H */
