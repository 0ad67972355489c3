/* SPDX-License-Identifier: BSD-3-Clause */
/* Numbers from arguments.  A wrong argument dies with STATUS_USAGE, and the
 * message names the verb, the argument and the expected form.
 */

#ifndef NBDZRAMCTL_ARGS_H
#define NBDZRAMCTL_ARGS_H

#include <stdbool.h>
#include <stdint.h>

#include <jansson.h>

/* A whole number from min to max. */
int64_t arg_number (const char *verb, const char *arg, int64_t min,
                    int64_t max);

/* A string for JSON, which is UTF-8. */
json_t *arg_string (const char *verb, const char *arg);

/* Makes it a member of params, which takes it over.  A member given twice is an
 * error.
 */
void arg_put (const char *verb, json_t *params, const char *key, json_t *value);

/* A time in seconds, fractions allowed, more than 0. */
double arg_seconds (const char *verb, const char *arg);

/* Bytes, with an optional suffix k M G T P E. */
int64_t arg_size (const char *verb, const char *arg);

/* "5": slot 5.  "5-9": slots 5 to 9.  "5-": from 5 to the end (*count is
 * then INT64_MAX - *start).
 */
void arg_range (const char *verb, const char *arg, int64_t *start,
                int64_t *count);

#endif /* NBDZRAMCTL_ARGS_H */
