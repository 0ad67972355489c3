/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * nbdkit's header, for all of plugin/; no other file includes it
 * (static/test-strings.sh).
 *
 * Log messages may contain names from outside.  So nbdkit's two log functions
 * are replaced by ours, under the same names: ours write one line, and make it
 * harmless as zram-shown.h says.  Both leave errno as it is.
 */

#ifndef ZRAM_NBDKIT_H
#define ZRAM_NBDKIT_H

#define NBDKIT_API_VERSION 2
#include <nbdkit-plugin.h>

/*
 * May be called without memory: then messages that are too long are cut.  Use
 * error_text() for the words of an errno, not %m, which looks at the locale.
 */
void log_error (const char *format, ...)
  __attribute__ ((format (printf, 1, 2)));
void log_debug (const char *format, ...)
  __attribute__ ((format (printf, 1, 2)));

#define nbdkit_error log_error
#define nbdkit_debug log_debug

/* Debug flags, which nbdkit sets by name before it calls anything.
 * -D zram.stats=1: a line of statistics when a client leaves.
 * -D zram.compact=1: the compactor never rests.
 * -D zram.audit=1: audit everything at exit, and abort if it is not sound.
 */
extern NBDKIT_DLL_PUBLIC int zram_debug_stats;
extern NBDKIT_DLL_PUBLIC int zram_debug_compact;
extern NBDKIT_DLL_PUBLIC int zram_debug_audit;

#endif /* ZRAM_NBDKIT_H */
