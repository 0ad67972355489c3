/* SPDX-License-Identifier: BSD-3-Clause */
/* Fields of answers, by a path: "mm.same_pages".
 *
 * A field that is not there, or is not what it should be, means that the
 * server is not the one that this was written for: these die with
 * STATUS_NO_SERVER and name it.
 */

#ifndef NBDZRAMCTL_ANSWER_H
#define NBDZRAMCTL_ANSWER_H

#include <stdbool.h>
#include <stdint.h>

#include <jansson.h>

json_t *answer_member (json_t *object, const char *path);
json_t *answer_array (json_t *object, const char *path);
const char *answer_string (json_t *object, const char *path);
int64_t answer_i64 (json_t *object, const char *path);
uint64_t answer_u64 (json_t *object, const char *path);
double answer_real (json_t *object, const char *path);
bool answer_bool (json_t *object, const char *path);

/* The number at a place of an array. */
uint64_t answer_u64_at (json_t *array, size_t i);

#endif /* NBDZRAMCTL_ANSWER_H */
