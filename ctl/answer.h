/* SPDX-License-Identifier: BSD-3-Clause */
/* Fields of answers, by a path: "mm.same_pages".
 *
 * If a field is missing or has another type than expected, the server is not of
 * the kind that this program knows: these functions die with STATUS_NO_SERVER
 * and name the field.
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

/* The number at an index of an array. */
uint64_t answer_u64_at (json_t *array, size_t i);

#endif /* NBDZRAMCTL_ANSWER_H */
