/* SPDX-License-Identifier: BSD-3-Clause */
/* The one way to stdout and stderr.  Nothing else here writes to them, except
 * ncurses, which shows a canvas (static/test-strings.sh).
 *
 * The text may come from a server or from the command line.  Here it is made
 * harmless (zram-shown.h): a control character in it does nothing to a
 * terminal, and a newline in it starts no line.  If the locale is not UTF-8,
 * everything that is not ASCII is written as \xNN.
 *
 * If no memory is left, these end the program with STATUS_REFUSED.
 */

#ifndef NBDZRAMCTL_OUT_H
#define NBDZRAMCTL_OUT_H

#include <stddef.h>
#include <wchar.h>

#include <jansson.h>

/* Make sure that the descriptors of stdin, stdout and stderr are taken, so that
 * no file or socket gets their numbers.  Writing to one that was closed fails.
 */
void out_begin (void);

/* 0, or -1 if something could not be written. */
int out_end (void);

/* A piece of a line on stdout, and one that ends it. */
void out (const char *fmt, ...) __attribute__ ((format (printf, 1, 2)));
void out_line (const char *fmt, ...) __attribute__ ((format (printf, 1, 2)));

void out_newline (void);

/* Text of several lines: its newlines and tabs stay. */
void out_text (const char *text);

/* One value; on one line, or (--json) indented and with a newline after it. */
void out_json (const json_t *value);
void out_json_answer (const json_t *value);

/* One character of a picture. */
void out_cell (wchar_t ch);

/* The same on stderr, and at once.  Not more than some KiB. */
void err (const char *fmt, ...) __attribute__ ((format (printf, 1, 2)));
void err_line (const char *fmt, ...) __attribute__ ((format (printf, 1, 2)));

/* On a terminal: clear the line of the cursor. */
void err_erase_line (void);

/* A value, for a field of a table; to be freed. */
char *out_value (const char *bytes);

#endif /* NBDZRAMCTL_OUT_H */
